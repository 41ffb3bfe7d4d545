"""How fast a backlog is received: one subscriber against the leanest loop, plain and behind three operators."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from reactivex import Observable
from reactivex import operators as ops

from rx_runat import RunAt
from tests.benchmarks import bare
from tests.benchmarks.bench import Bench, Q, Row


def drain(bench: Bench) -> Iterator[Row]:
    """Receive all keys into a list."""
    yield _row(bench, "drain", lambda queue: queue, "ratio >= 0.6; Valkey 0.75")


def operators(bench: Bench) -> Iterator[Row]:
    """The same behind `filter`, `map` and `scan`, against the same loop."""

    def pipeline(queue: Observable[str]) -> Observable[int]:
        return queue.pipe(
            ops.filter(lambda key: key.startswith("job:")),
            ops.map(lambda key: len(key)),
            ops.scan(lambda total, length: total + length, 0),
        )

    yield _row(bench, "drain through filter, map, scan", pipeline, "ratio >= 0.5; Valkey 0.65")


def _row(bench: Bench, name: str, pipeline: Callable[[RunAt], Observable[Any]], target: str) -> Row:
    count = bench.pick(300_000, 3_000)

    def ours() -> float:
        load(bench, count)
        got: list[Any] = []
        with RunAt(bench.server.url) as queue:
            assert queue.size() == count  # connects before the time is taken
            began = time.perf_counter()
            pipeline(queue).subscribe(got.append)
            pause = threading.Event()
            while (left := count - len(got)) > 0:  # look rarely at first: each look takes the GIL from the source
                pause.wait(0.1 * left / count + 0.0005)
            return count / (time.perf_counter() - began)

    def reference() -> float:
        load(bench, count)
        take = bare.taker(bench.client, limit=1000)
        began = time.perf_counter()
        got = bare.drain(take)
        rate = count / (time.perf_counter() - began)
        assert len(got) == count
        return rate

    both = list(bench.pairs(ours, reference))
    return Row(f"{name} of {count:,} keys", "keys/s", *zip(*both, strict=True), target=target)


def load(bench: Bench, count: int) -> None:
    """Write `count` keys that have been due for long."""
    with bench.client.pipeline(transaction=False) as pipe:
        for first in range(0, count, 1000):
            pipe.zadd(Q, {f"job:{n:06}": n + 1 for n in range(first, min(first + 1000, count))})
        pipe.execute()
