"""How fast the sink writes, against bare `ZADD`: a list of jobs at a time, and one by one."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Iterator

from rx_runat import Job, RunAt
from tests.benchmarks.bench import Bench, Q, Row

Times = dict[str, float]


def lists(bench: Bench) -> Iterator[Row]:
    """Lists of a thousand. In the second row the time includes making the jobs, or the mappings of `ZADD`."""
    many = [_random_times(1000, f"{n}:") for n in range(bench.pick(100, 2))]
    count = 1000 * len(many)
    ready = _row(bench, count, ours=list(map(_jobs, many)), reference=list(map(_mapping, many)))
    yield Row("schedule in lists of 1,000", "keys/s", *ready, target="ratio >= 0.85")
    made = _row(bench, count, ours=_Each(_jobs, many), reference=_Each(_mapping, many))
    yield Row("schedule in lists of 1,000, and make the jobs", "keys/s", *made, target="ratio >= 0.6")


def single(bench: Bench) -> Iterator[Row]:
    """Jobs one by one."""
    count = bench.pick(5_000, 100)
    times = _random_times(count)
    jobs = _jobs(times)
    mappings = [{key: milliseconds} for key, milliseconds in _mapping(times).items()]
    yield Row("schedule one by one", "keys/s", *_row(bench, count, jobs, mappings), target="ratio >= 0.85")


class _Each:
    """An iterable that makes an item of each list of times, during the iteration."""

    def __init__(self, make: Callable[[Times], object], many: list[Times]) -> None:
        self._make = make
        self._many = many

    def __iter__(self) -> Iterator[object]:
        return map(self._make, self._many)


def _row(bench: Bench, count: int, ours: Iterable, reference: Iterable) -> tuple[list[float], list[float]]:
    def through_sink() -> float:
        with RunAt(bench.server.url) as queue:
            queue.size()  # connects before the time is taken
            return _rate(queue.on_next, ours)

    def bare() -> float:
        with bench.server.client() as client:
            client.ping()
            return _rate(lambda mapping: client.zadd(Q, mapping), reference)

    def _rate(write: Callable[[object], object], items: Iterable) -> float:
        began = time.perf_counter()
        for item in items:
            write(item)
        rate = count / (time.perf_counter() - began)
        assert bench.client.zcard(Q) == count
        return rate

    left, right = zip(*bench.pairs(through_sink, bare), strict=True)
    return left, right


def _random_times(count: int, prefix: str = "") -> Times:
    """Returns keys with random moments of the next year, in epoch seconds."""
    rng = random.Random(count)
    return {f"job:{prefix}{n:06}": time.time() + rng.uniform(60, 3e7) for n in range(count)}


def _jobs(times: Times) -> list[Job]:
    return [Job(key, run_at) for key, run_at in times.items()]


def _mapping(times: Times) -> dict[str, int]:
    return {key: math.ceil(run_at * 1000) for key, run_at in times.items()}
