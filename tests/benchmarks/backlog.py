"""What one due key costs while a million others wait, against a thousand others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from rx_runat import Job, RunAt
from tests.benchmarks.bench import Bench, Row, percentile

FAR = 4_000_000_000_000  # epoch ms; the year 2096


def backlog(bench: Bench) -> Iterator[Row]:
    """Schedule a due key and receive it, many times, with both backlogs in turn."""
    many, few, rounds = bench.pick((1_000_000, 1_000, 1_000), (2_000, 100, 20))
    bench.client.flushall()
    _load(bench, "many", many)
    _load(bench, "few", few)
    pairs = [
        (_rounds(bench, "many", rounds, many), _rounds(bench, "few", rounds, few))
        for _ in range(bench.repeats)  # not `bench.pairs`, which would empty the server
    ]
    trips, scripts = ([[each[place] for each in pair] for pair in pairs] for place in (0, 1))
    left, right = zip(*trips, strict=True)
    yield Row(f"one due key among {many:,}, against {few:,}", "ms", left, right, target="ratio <= 1.1")
    left, right = zip(*scripts, strict=True)
    yield Row(f"one due key among {many:,}: the server's time in scripts", "us", left, right)


def _rounds(bench: Bench, queue_name: str, rounds: int, waiting: int) -> tuple[float, float]:
    """Returns the median time of a round in ms, and the server's time in scripts for each round in us."""
    received = threading.Semaphore(0)
    with RunAt(bench.server.url, queue_name=queue_name) as queue:
        queue.subscribe(lambda _: received.release())
        before = _script_us(bench)
        measure = _round(queue, received)
        milliseconds = [measure() for _ in range(rounds)]
        spent = (_script_us(bench) - before) / rounds
        assert queue.size() == waiting
    return percentile(milliseconds, 50), spent


def _round(queue: RunAt, received: threading.Semaphore) -> Callable[[], float]:
    job = Job("now", 1)

    def measure() -> float:
        began = time.perf_counter()
        queue.on_next(job)
        assert received.acquire(timeout=20)
        return (time.perf_counter() - began) * 1000

    return measure


def _script_us(bench: Bench) -> int:
    return bench.client.info("commandstats").get("cmdstat_evalsha", {"usec": 0})["usec"]


def _load(bench: Bench, queue_name: str, count: int) -> None:
    for first in range(0, count, 10_000):
        keys = range(first, min(first + 10_000, count))
        bench.client.zadd(queue_name, {f"far:{n}": FAR + n for n in keys})
