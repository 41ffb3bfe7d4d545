"""How fast claims without work are settled: against a bare loop of the same two scripts, with data, and one by one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

from rx_runat import Claim, Job, Outcome, RunAt, settle
from tests.benchmarks import bare
from tests.benchmarks.bench import Bench, Row
from tests.benchmarks.drain import load

DATA = {"to": "x" * 191}  # 200 bytes as JSON


def settling(bench: Bench) -> Iterator[Row]:
    """With the default number of claims in flight, and with ten times as many; with data; and one key at a time."""
    count, few = bench.pick(50_000, 2_000), bench.pick(5_000, 500)
    for in_flight, target in ((100, 0.6), (1000, 0.7)):
        ours, reference = partial(_settle, bench, count, in_flight), partial(_bare, bench, count, in_flight)
        yield _row(bench, f"settle {count:,} keys, {in_flight:,} in flight", ours, reference, target)
    for in_flight in (100, 1000):
        without = partial(_settle, bench, count, in_flight)
        name = f"settle keys that carry 200 bytes against keys without data, {in_flight:,} in flight"
        yield _row(bench, name, partial(without, write=_load_with_data), without, 0.8)
    for in_flight in (100, 1):
        ours, reference = partial(_settle, bench, few, in_flight, 1), partial(_bare, bench, few, 1)
        name = f"settle with max_concurrent=1, {in_flight} in flight, against a loop of one key at a time"
        yield _row(bench, name, ours, reference, 0.5)


def _row(bench: Bench, name: str, ours: Callable[[], float], reference: Callable[[], float], target: float) -> Row:
    both = list(bench.pairs(ours, reference))
    return Row(name, "keys/s", *zip(*both, strict=True), target=f"ratio >= {target}")


def _settle(
    bench: Bench,
    count: int,
    in_flight: int,
    max_concurrent: int = 8,
    write: Callable[[Bench, int], None] = load,
) -> float:
    """Settle keys without work. Returns how many in a second."""
    write(bench, count)
    done = 0
    over = threading.Event()

    def nothing(claim: Claim) -> None:
        pass

    def receive(_: Outcome[None]) -> None:
        nonlocal done
        done += 1
        if done == count:
            over.set()

    with RunAt(bench.server.url) as queue:
        assert queue.size() == count  # connects before the time is taken
        began = time.perf_counter()
        queue.claims(max_in_flight=in_flight).pipe(settle(nothing, max_concurrent=max_concurrent)).subscribe(receive)
        over.wait()  # one that looks at `done` from time to time would count its last pause
        return count / (time.perf_counter() - began)


def _bare(bench: Bench, count: int, in_flight: int) -> float:
    """Lease and ack so many keys at a time, in two round trips. Returns how many keys in a second."""
    load(bench, count)
    claim, ack = bare.leasing_claimer(bench.client, in_flight), bare.acker(bench.client)
    began = time.perf_counter()
    done = 0
    while done < count:
        done += ack(*claim())
    return count / (time.perf_counter() - began)


def _load_with_data(bench: Bench, count: int) -> None:
    with RunAt(bench.server.url) as queue:
        for first in range(0, count, 1000):
            numbers = range(first, min(first + 1000, count))
            queue.on_next([Job(f"job:{number:06}", (number + 1) / 1000, data=DATA) for number in numbers])
