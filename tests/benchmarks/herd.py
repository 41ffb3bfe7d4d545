"""Many sleeping sources on one queue, and one key due at a time: how many of them wake, and how late the key comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

from tests.benchmarks.bench import Bench, Q, Row, percentile
from tests.benchmarks.process import workers
from tests.support.waiting import wait_until


def herd(bench: Bench) -> Iterator[Row]:
    """Sixteen sources in four processes against one source. This process schedules each key a second ahead."""
    processes, each = bench.pick((4, 4), (2, 2))
    sources = processes * each
    pairs = list(bench.pairs(lambda: _run(bench, processes, each), lambda: _run(bench, 1, 1), at_most=3))
    (left, right), *late = (
        zip(*([sample[place] for sample in pair] for pair in pairs), strict=True) for place in range(3)
    )
    yield Row(f"{sources} sources against one: claims for each source and key", "", left, right, target="<= 2")
    for percent, target, (left, right) in zip((50, 99), ("ratio <= 1.3", ""), late, strict=True):
        yield Row(f"{sources} sources against one: lateness, p{percent}", "ms", left, right, target=target)


def _run(bench: Bench, processes: int, each: int) -> tuple[float, float, float]:
    """Returns the claims for each source and key, and p50 and p99 of the lateness in ms."""
    # `ahead` is no multiple of `apart`: else each key would fall due in the very millisecond in which another one is
    # written, when all sixteen listeners read the head of the schedule on the same two cores.
    count, apart, ahead, interval = bench.pick((50, 0.1, 1.05, 5.0), (4, 0.02, 0.21, 0.1))
    due: dict[str, int] = {}
    with workers(bench, processes, each, interval) as receivers:
        threading.Event().wait(bench.pick(1.0, 0.05))  # until all have claimed once, and sleep
        before, began = _claims(bench), time.monotonic()
        for number in range(count):
            threading.Event().wait(max(0.0, began + number * apart - time.monotonic()))
            due[f"job:{number}"] = int((time.time() + ahead) * 1000)
            bench.client.zadd(Q, {f"job:{number}": due[f"job:{number}"]})
        wait_until(lambda: bench.client.zcard(Q) == 0, "all keys are taken")
        claims = _claims(bench) - before
        got = received(receivers, count)
    assert sorted(key for key, _ in got) == sorted(due)
    late = [seconds * 1000 - due[key] for key, seconds in got]
    return claims / (processes * each * count), percentile(late, 50), percentile(late, 99)


class Receiver(Protocol):
    """A process that replies to `keys` with each key that it has received, and when."""

    def request(self, line: str) -> list[tuple[str, float]]: ...


def received(receivers: Sequence[Receiver], count: int) -> list[tuple[str, float]]:
    """Wait until `count` keys have been received, and return each with the wall clock at its `on_next`.

    A source takes a key from Redis before it delivers the key, so an empty queue does not say that all have come.
    """
    got: list[tuple[str, float]] = []

    def ask() -> bool:
        got[:] = [pair for receiver in receivers for pair in receiver.request("keys")]
        return len(got) >= count

    wait_until(ask, f"{count} keys are received")
    return got


def _claims(bench: Bench) -> int:
    """Returns how many scripts have run; a claim is one script."""
    return bench.client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
