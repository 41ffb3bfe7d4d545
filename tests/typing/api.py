"""Code as a user writes it, for the type checkers alone: nothing runs this file."""

import signal
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import assert_type

import reactivex as rx
import redis
import redis.asyncio
import valkey
import valkey.asyncio
from reactivex import Observable
from reactivex import operators as ops
from reactivex.abc import DisposableBase
from reactivex.testing import TestScheduler

from rx_runat import (
    Claim,
    DeadLetter,
    Due,
    Job,
    Outcome,
    RunAt,
    Stats,
    StoreError,
    claim_from,
    exponential,
    settle,
    signals,
)
from rx_runat.notebook import Lateness, Marbles, fresh, lateness, marbles, timeline
from rx_runat.testing import virtual_queue

now = datetime.now(UTC)

with RunAt("redis://localhost", queue_name="jobs", interval=timedelta(seconds=1), limit=10) as queue:
    assert_type(queue, RunAt)
    queue.subscribe(print)
    queue.subscribe(lambda key: print(key.upper()))
    lengths: Observable[int] = queue.pipe(ops.filter(lambda key: key != ""), ops.map(len))
    lengths.subscribe(print)

    def late(due: Due) -> float:
        return due.lateness

    lates: Observable[float] = queue.jobs.pipe(ops.map(late))
    lates.subscribe(print)
    queue.jobs.subscribe(lambda due: print(due.run_at.isoformat()))
    queue.errors.subscribe(lambda error: print(str(error)))
    claims: Observable[Claim] = queue.claims(lease=timedelta(seconds=30), max_in_flight=10)
    claims.subscribe(lambda claim: print(claim.ack(), claim.nack(1.5), claim.attempt, claim.deadline.isoformat()))

    rx.of(Job("a", now), Job("b", 1.5)).subscribe(queue)
    rx.of({"runAt": 1_700_000_000_000, "key": "a"}).subscribe(queue)
    queue.on_next(Job("a", timedelta(seconds=1)))
    queue.on_next([Job("a", 1), {"runAt": 1, "key": "b"}])
    ticks = rx.interval(5)
    assert_type(ticks.pipe(claim_from(queue)), Observable[str])
    assert_type(ticks.pipe(claim_from(queue.jobs, limit=10)), Observable[Due])
    assert_type(ticks.pipe(claim_from(queue.claims(lease=30))), Observable[Claim])
    driven: Observable[Outcome[int]] = ticks.pipe(claim_from(queue.claims()), settle(lambda claim: len(claim.key)))
    driven.subscribe(lambda outcome: print(outcome.result))
    assert_type(queue.waiting(match="mail:*", until=now), Observable[Due])

    def moved(due: Due) -> Job:
        return Job(due.key, now)

    moves = queue.waiting().pipe(ops.map(moved), ops.buffer_with_count(1000))
    moves.subscribe(queue.sink(keep="earliest", only_waiting=True))
    rx.of(Job("a", now)).subscribe(queue.sink("first"))
    assert_type(queue.reschedule("a", now), datetime | None)
    assert_type(queue.schedule("a", now, keep="first"), datetime)
    assert_type(queue.cancel("a"), bool)
    assert_type(queue.when("a"), datetime | None)
    assert_type(queue.peek(10), list[Due])
    assert_type(queue.size(), int)
    assert_type(queue.size(until=now), int)
    assert_type(queue.stats(), Stats)
    assert_type(queue.stats().lateness, float)
    for due in queue.peek():
        assert_type(due.key, str)
        assert_type(due.run_at, datetime)
        queue.on_next(due)

    def log(error: StoreError) -> None:
        print(error)

    queue.errors.subscribe(log)

RunAt(redis.Redis())
RunAt({"host": "localhost", "port": 6379})
RunAt({"host": "localhost", "credential_provider": redis.UsernamePasswordCredentialProvider("me", "password")})
RunAt()
RunAt(redis.RedisCluster("localhost"))
RunAt(redis.asyncio.Redis())
RunAt(redis.asyncio.RedisCluster("localhost"))
RunAt(valkey.Valkey())
RunAt(valkey.asyncio.Valkey())
RunAt(valkey.ValkeyCluster())

queue, scheduler = virtual_queue()
assert_type(scheduler, TestScheduler)
scheduler.advance_by(1.0)


async def steps() -> None:
    async for key in queue:
        assert_type(key, str)
    async for due in queue.jobs:
        assert_type(due, Due)
    async for claim in queue.claims(lease=10):
        assert_type(claim, Claim)
        assert_type(await claim.aio.ack(), bool)
        assert_type(await claim.aio.nack(1.5), bool)
        assert_type(await claim.aio.extend(timedelta(seconds=1)), bool)
        assert_type(await claim.aio.bury("no such address"), bool)


async def verbs() -> None:
    async with RunAt("redis://localhost") as queue:
        assert_type(queue, RunAt)
        aio = queue.aio
        assert_type(await aio.schedule("a", now, keep="first"), datetime)
        await aio.on_next(Job("a", timedelta(seconds=1)))
        await aio.on_next([Job("a", 1), {"runAt": 1, "key": "b"}])
        assert_type(await aio.reschedule("a", now), datetime | None)
        assert_type(await aio.cancel("a"), bool)
        assert_type(await aio.when("a"), datetime | None)
        assert_type(await aio.peek(10), list[Due])
        assert_type(await aio.size(until=now), int)
        assert_type(await aio.stats(), Stats)
        assert_type(await aio.dead.peek(), list[DeadLetter])
        assert_type(await aio.dead.size(), int)
        assert_type(await aio.dead.revive("a"), int)
        assert_type(await aio.dead.drop(None), int)
        assert_type(await queue.pipe(ops.take(2), ops.to_list()), list[str])
        assert_type(await queue.claims().pipe(settle(fetch, until=signals())).pipe(ops.count()), int)
        await aio.stop()


async def fetch(claim: Claim) -> bytes:
    return claim.key.encode()


def follow(claim: Claim) -> Observable[float]:
    return rx.just(claim.lateness)


def submit(claim: Claim) -> Future[int]:
    return ThreadPoolExecutor().submit(len, claim.key)


def compute(claim: Claim) -> int:
    return claim.attempt


assert_type(queue.claims().pipe(settle(fetch)), Observable[Outcome[bytes]])
assert_type(queue.claims().pipe(settle(follow, max_concurrent=2)), Observable[Outcome[float]])
assert_type(queue.claims().pipe(settle(submit)), Observable[Outcome[int]])
assert_type(queue.claims().pipe(settle(compute, max_attempts=3)), Observable[Outcome[int]])
queue.claims().pipe(settle(lambda claim: claim.key)).subscribe(lambda outcome: print(outcome.claim.key))
assert_type(signals(), Observable[signal.Signals])
assert_type(queue.claims().pipe(settle(fetch, until=signals())), Observable[Outcome[bytes]])
queue.claims().pipe(settle(compute, until=rx.timer(60.0)))
queue.claims().pipe(settle(compute, timeout=60))
queue.claims().pipe(settle(fetch, timeout=timedelta(minutes=1)))
queue.claims().pipe(settle(compute, backoff=exponential(first=0.5)))
queue.claims().pipe(settle(compute, backoff=lambda attempt: timedelta(minutes=attempt)))
# A lambda is one for single claims. mypy knows no more of its result than Any.
upper: Observable[Outcome[str]] = queue.claims().pipe(settle(lambda claim: claim.key.upper(), timeout=60))
just: Observable[Outcome[int]] = queue.claims().pipe(settle(lambda claim: rx.just(claim.attempt)))


async def fetch_all(claims: list[Claim]) -> bytes:
    return claims[0].key.encode()


def follow_all(claims: list[Claim]) -> Observable[float]:
    return rx.just(claims[0].lateness)


def submit_all(claims: list[Claim]) -> Future[int]:
    return ThreadPoolExecutor().submit(len, claims)


def compute_all(claims: list[Claim]) -> int:
    claims[0].bury("no such address")
    return sum(claim.attempt for claim in claims)


lists = queue.claims().pipe(ops.buffer_with_time_or_count(0.05, 100))
assert_type(lists.pipe(settle(fetch_all)), Observable[Outcome[bytes]])
assert_type(lists.pipe(settle(follow_all, max_concurrent=2)), Observable[Outcome[float]])
assert_type(lists.pipe(settle(submit_all, until=signals())), Observable[Outcome[int]])
assert_type(lists.pipe(settle(compute_all, max_attempts=3, timeout=60)), Observable[Outcome[int]])
assert_type(queue.claims().pipe(ops.buffer_with_count(100), settle(fetch_all)), Observable[Outcome[bytes]])
assert_type(queue.claims().pipe(ops.buffer_with_count(100), settle(compute_all)), Observable[Outcome[int]])
assert_type(queue.claims().pipe(ops.buffer_with_time(0.05), settle(follow_all)), Observable[Outcome[float]])

assert_type(rx.interval(5).pipe(claim_from(queue)), Observable[str])
assert_type(rx.interval(5).pipe(claim_from(queue, limit=10)), Observable[str])
assert_type(rx.interval(5).pipe(claim_from(queue.jobs)), Observable[Due])
assert_type(rx.interval(5).pipe(claim_from(queue.claims(lease=30), limit=10)), Observable[Claim])
own_ticks = rx.timer(0.0).pipe(claim_from(queue.claims()))
assert_type(own_ticks.pipe(settle(compute)), Observable[Outcome[int]])
assert_type(rx.timer(0.0).pipe(claim_from(queue.claims()), settle(fetch)), Observable[Outcome[bytes]])
upper = own_ticks.pipe(settle(lambda claim: claim.key.upper()))
assert_type(own_ticks.pipe(ops.buffer_with_count(10), settle(compute_all)), Observable[Outcome[int]])

subscription: DisposableBase = fresh("printer", queue.subscribe, print)
assert_type(fresh("queue", RunAt, "memory://"), RunAt)
assert_type(marbles(3, due=queue, jobs=queue.jobs), Marbles)
assert_type(marbles(timedelta(hours=1), {"a b": queue}, scheduler=scheduler).run(), Marbles)
assert_type(lateness(queue.jobs, 3), Lateness)
timeline(queue, window=3, lane=lambda key: key[0])
