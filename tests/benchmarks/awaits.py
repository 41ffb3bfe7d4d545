"""How fast awaits schedule, beside redis.asyncio: many under `gather`, and one after the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

from redis import asyncio as aioredis

from rx_runat import RunAt
from tests.benchmarks.bench import Bench, Q, Row, middle

FAR = 4_000_000_000
CONNECTIONS = 50  # of redis.asyncio
Write = Callable[[str], Awaitable[object]]
Measure = Callable[[Write, int], Awaitable[float]]


def awaits(bench: Bench) -> Iterator[Row]:
    """The reference is `ZADD` on a `BlockingConnectionPool` of 50 connections, which a service of many tasks needs."""
    count = bench.pick(2_000, 50)
    rates = _pairs(bench, count, _rate)
    yield Row(f"await schedule, {count:,} under gather", "keys/s", *rates, target="ratio >= 3")
    medians = _pairs(bench, count, _median)
    yield Row("await schedule one by one, the median", "us", *medians, target="ratio <= 1.3")


def _pairs(bench: Bench, count: int, measure: Measure) -> tuple[list[float], list[float]]:
    async def ours() -> float:
        async with RunAt(bench.server.url) as queue:
            return await measure(lambda key: queue.aio.schedule(key, FAR), count)

    async def reference() -> float:
        pool = aioredis.BlockingConnectionPool.from_url(bench.server.url, max_connections=CONNECTIONS)
        async with aioredis.Redis.from_pool(pool) as client:
            return await measure(lambda key: client.zadd(Q, {key: FAR * 1000}), count)

    left, right = zip(*bench.pairs(lambda: asyncio.run(ours()), lambda: asyncio.run(reference())), strict=True)
    return left, right


async def _rate(write: Write, count: int) -> float:
    """Keys a second, of the second of two rounds: the first one connects."""
    await asyncio.gather(*(write(f"job:{n:06}") for n in range(count)))
    began = time.perf_counter()
    await asyncio.gather(*(write(f"job:{n:06}") for n in range(count)))
    return count / (time.perf_counter() - began)


async def _median(write: Write, count: int) -> float:
    await write("job:000000")
    took: list[float] = []
    for n in range(count):
        began = time.perf_counter()
        await write(f"job:{n:06}")
        took.append(time.perf_counter() - began)
    return middle(took) * 1e6
