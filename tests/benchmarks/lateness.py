"""How late keys come: with the exact alarms of a queue, against plain ticks of 100 ms.

Both take the same keys at random times. Lateness is this host's clock at `on_next` minus `run_at`; Redis runs on this
host, and so has the same clock.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import reactivex as rx
from reactivex.scheduler import EventLoopScheduler

from rx_runat import RunAt
from tests.benchmarks import bare
from tests.benchmarks.bench import Bench, Q, Row, percentile
from tests.support.waiting import wait_until

TICK = 0.1  # seconds; npm runat's default, and ours
HEAD_START_MS = 300  # all keys are scheduled before the first falls due


def lateness(bench: Bench) -> Iterator[Row]:
    """Keys at random moments of ten seconds."""
    count, seconds = bench.pick((2_000, 10.0), (40, 0.3))
    rng = random.Random(0)
    offsets = {f"job:{n:06}": rng.uniform(0, seconds * 1000) for n in range(count)}

    def scheduled() -> dict[str, int]:
        start = time.time() * 1000 + HEAD_START_MS
        return {key: int(start + offset) for key, offset in offsets.items()}

    def ours() -> list[float]:
        got: list[tuple[str, float]] = []
        times = scheduled()
        with RunAt(bench.server.url) as queue:
            queue.on_next([{"key": key, "runAt": ms} for key, ms in times.items()])
            queue.subscribe(lambda key: got.append((key, time.time())))
            wait_until(lambda: len(got) == count, "all keys have come", seconds + 20)
        return _late(got, times)

    def reference() -> list[float]:
        got: list[tuple[str, float]] = []
        times = scheduled()
        bench.client.zadd(Q, times)
        take = bare.taker(bench.client)

        def tick(_: int) -> None:
            for member in take():
                got.append((member.decode(), time.time()))  # noqa: PERF401 (each key has a time of its own)

        loop = EventLoopScheduler()
        ticking = rx.interval(TICK, scheduler=loop).subscribe(tick)
        wait_until(lambda: len(got) == count, "all keys have come", seconds + 20)
        ticking.dispose()
        loop.dispose()
        return _late(got, times)

    pairs = list(bench.pairs(ours, reference, at_most=3))
    for percent, name, target in (
        (50, "p50", "<= 1 ms"),
        (99, "p99", "<= 3 ms, ratio <= 0.05"),
        (100, "the worst", ""),
    ):
        left, right = zip(*([percentile(each, percent) for each in pair] for pair in pairs), strict=True)
        yield Row(f"lateness, {name} of {count:,} keys", "ms", left, right, target=target)
    bench.lateness["exact"] = [late for pair in pairs for late in pair[0]]
    bench.lateness[f"plain ticks of {TICK * 1000:.0f} ms"] = [late for pair in pairs for late in pair[1]]


def _late(got: list[tuple[str, float]], times: dict[str, int]) -> list[float]:
    return [seconds * 1000 - times[key] for key, seconds in got]
