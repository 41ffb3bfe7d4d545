"""A hundred sources sleep while another process writes ten thousand keys a second that fall due in the far future."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

from tests.benchmarks.bench import Bench, Q, Row, percentile
from tests.benchmarks.process import Process, workers

PING = 0.005  # seconds from one ping to the next


def storm(bench: Bench) -> Iterator[Row]:
    """What sleeping sources cost the server, and how soon it replies to other clients; the reference has no sources."""
    processes, each = bench.pick((4, 25), (1, 4))
    pairs = list(bench.pairs(lambda: _run(bench, processes, each), lambda: _run(bench, 0, 0), at_most=3))
    columns = [zip(*([sample[place] for sample in pair] for pair in pairs), strict=True) for place in range(5)]
    name = f"storm on {processes * each} sleeping sources"
    cpu, p50, p99, written, sleepers = columns
    yield Row(f"{name}: the server's CPU", "% of a core", *cpu, by="difference", target="at most 3 points more")
    yield Row(f"{name}: ping, p50", "ms", *p50)
    yield Row(f"{name}: ping, p99", "ms", *p99, target="below 10 ms")
    yield Row(f"{name}: keys written", "1/s", *written, target="10,000 in both")
    yield Row(f"{name}: CPU of all sources", "% of a core", next(sleepers))


def _run(bench: Bench, processes: int, each: int) -> tuple[float, float, float, float, float]:
    """Returns the server's CPU in percent, p50 and p99 of a ping in ms, keys a second, the sleepers' CPU in percent."""
    seconds = bench.pick(5.0, 0.2)
    pings: list[float] = []
    with ExitStack() as stack:
        sleepers = stack.enter_context(workers(bench, processes, each, interval=5.0))
        writer = stack.enter_context(Process("writer", bench.server.url, Q))
        writer.receive()
        threading.Event().wait(bench.pick(1.0, 0.05))  # until all have claimed once, and sleep
        asleep = sum(sleeper.request("cpu") for sleeper in sleepers)
        before, began = _cpu(bench), time.monotonic()
        writer.send(str(seconds))
        while (now := time.monotonic()) < began + seconds:
            bench.client.ping()
            pings.append((time.monotonic() - now) * 1000)
            threading.Event().wait(PING)
        spent, took = _cpu(bench) - before, time.monotonic() - began
        awake = sum(sleeper.request("cpu") for sleeper in sleepers)
        written = writer.receive()
    share = (awake - asleep) / took * 100
    return spent / took * 100, percentile(pings, 50), percentile(pings, 99), written / seconds, share


def _cpu(bench: Bench) -> float:
    info = bench.client.info("cpu")
    return info["used_cpu_user"] + info["used_cpu_sys"]
