"""What a source without work costs: round trips and commands that the server counts, and CPU of its process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from tests.benchmarks.bench import Bench, Row
from tests.benchmarks.process import workers


def idle(bench: Bench) -> Iterator[Row]:
    """One source in a process of its own, with a long interval and with the default one."""
    for interval, target in ((5.0, "<= 1 round trip/s"), (0.1, "")):
        samples = [bench.sample(lambda: _watch(bench, interval)) for _ in range(min(bench.repeats, 2))]  # noqa: B023
        trips, commands, cpu = zip(*samples, strict=True)
        yield Row(f"idle, interval={interval:g}: round trips", "1/s", trips, target=target)
        yield Row(f"idle, interval={interval:g}: commands, with those in scripts", "1/s", commands)
        yield Row(f"idle, interval={interval:g}: CPU of its process", "% of a core", cpu)


def _watch(bench: Bench, interval: float) -> tuple[float, float, float]:
    settle, seconds = bench.pick((2.0, 10.0), (0.05, 0.25))
    with workers(bench, processes=1, sources=1, interval=interval) as (worker,):
        threading.Event().wait(settle)
        before, cpu_before, began = _counts(bench), worker.request("cpu"), time.monotonic()
        threading.Event().wait(seconds)
        after, cpu_after, took = _counts(bench), worker.request("cpu"), time.monotonic() - began
    # The two counts differ by one INFO command of our own, which is taken off.
    trips, commands = ((after[place] - before[place] - 1) / took for place in (0, 1))
    return trips, commands, (cpu_after - cpu_before) / took * 100


def _counts(bench: Bench) -> tuple[int, int]:
    """Returns how often the server has read from clients, once for each round trip, and how many commands it ran."""
    stats = bench.client.info("stats")
    return stats["total_reads_processed"], stats["total_commands_processed"]
