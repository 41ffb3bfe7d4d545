"""What a source without work costs: round trips, commands and CPU of the server, and CPU of the source's process.

At the default interval it is compared with plain polling: a process that takes what is due every 100 ms, as npm runat
does. A server also spends CPU on its own upkeep, some ten times a second, which is part of both figures.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from tests.benchmarks.bench import Bench, Q, Row
from tests.benchmarks.poller import INTERVAL
from tests.benchmarks.process import Process, workers

FIGURES = (  # what, its unit, and the targets with the long interval and with the default one
    ("round trips", "1/s", "<= 1 a second", ""),
    ("commands, with those in scripts", "1/s", "<= 1 a second", "<= 12 a second"),
    ("CPU of its process", "% of a core", "", ""),
    ("CPU of the server", "% of a core", "", "ratio <= 1.2"),
)


def idle(bench: Bench) -> Iterator[Row]:
    """One source in a process of its own, with a long interval, and with the default one beside plain polling."""
    samples = [bench.sample(lambda: _watch(bench, _source(bench, 5.0))) for _ in range(min(bench.repeats, 2))]
    for (what, unit, target, _), ours in zip(FIGURES, zip(*samples, strict=True), strict=True):
        yield Row(f"idle, interval=5: {what}", unit, ours, target=target)
    pairs = bench.pairs(
        lambda: _watch(bench, _source(bench, INTERVAL)), lambda: _watch(bench, _poller(bench)), at_most=3
    )
    sides = [zip(*side, strict=True) for side in zip(*pairs, strict=True)]
    for (what, unit, _, target), ours, polling in zip(FIGURES, *sides, strict=True):
        yield Row(f"idle, interval={INTERVAL:g}, against plain polling: {what}", unit, ours, polling, target=target)


@contextmanager
def _source(bench: Bench, interval: float) -> Iterator[Process]:
    with workers(bench, processes=1, sources=1, interval=interval) as (worker,):
        yield worker


@contextmanager
def _poller(bench: Bench) -> Iterator[Process]:
    with Process("poller", bench.server.url, Q) as poller:
        poller.receive()
        yield poller


def _watch(bench: Bench, process: AbstractContextManager[Process]) -> tuple[float, float, float, float]:
    """Returns the figures of `FIGURES`, for a process that replies to `cpu`."""
    settle, seconds = bench.pick((2.0, 10.0), (0.05, 0.25))
    with process as started:
        threading.Event().wait(settle)
        before, cpu_before, began = _counts(bench), started.request("cpu"), time.monotonic()
        threading.Event().wait(seconds)
        after, cpu_after, took = _counts(bench), started.request("cpu"), time.monotonic() - began
    # The counts differ by one INFO command of our own, which is taken off; its CPU, some 0.1 ms, is not.
    trips, commands = ((after[place] - before[place] - 1) / took for place in (0, 1))
    return trips, commands, (cpu_after - cpu_before) / took * 100, (after[2] - before[2]) / took * 100


def _counts(bench: Bench) -> tuple[int, int, float]:
    """Returns how often the server has read from clients, once for each round trip, its commands, its CPU seconds."""
    info = bench.client.info()
    spent = info["used_cpu_user"] + info["used_cpu_sys"]
    return info["total_reads_processed"], info["total_commands_processed"], spent
