"""Coroutines and Futures of asyncio as work: on which event loop they run, and what becomes of them when it ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import redis
from reactivex import operators as ops
from reactivex.scheduler.eventloop import AsyncIOThreadSafeScheduler

from rx_runat import Claim, Outcome, RunAt, settle
from tests.support.settling import CLAIMED, Q, deadline, jobs, verdicts
from tests.support.waiting import wait_until


def test_coroutines_run_on_the_event_loop_that_awaits(make: Callable[..., RunAt]) -> None:
    queue = make()
    loops: set[asyncio.AbstractEventLoop] = set()
    most = running = 0

    async def work(claim: Claim) -> str:
        nonlocal most, running
        running += 1
        most = max(most, running)
        loops.add(asyncio.get_running_loop())
        await asyncio.sleep(0.01)
        running -= 1
        return claim.key

    async def main() -> list[Outcome[str]]:
        mine = asyncio.get_running_loop()
        got = await queue.claims().pipe(settle(work, max_concurrent=5), ops.take(20), ops.to_list())
        assert loops == {mine}
        return got

    queue.on_next(jobs(20))
    got = asyncio.run(main())
    assert verdicts(got) == [(job.key, 1, "acked") for job in jobs(20)]
    assert most == 5


def test_coroutines_are_cancelled_on_disposal_and_their_keys_go_back(
    make: Callable[..., RunAt], client: redis.Redis
) -> None:
    queue = make()
    begun: list[str] = []
    cancelled: list[str] = []

    async def work(claim: Claim) -> None:
        begun.append(claim.key)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(claim.key)
            raise

    async def until(condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0.005)

    async def main() -> None:
        scheduler = AsyncIOThreadSafeScheduler(asyncio.get_running_loop())
        subscription = queue.claims().pipe(settle(work, max_concurrent=2)).subscribe(scheduler=scheduler)
        await until(lambda: client.zcard(CLAIMED) == 3 and len(begun) == 2)
        subscription.dispose()
        await until(lambda: len(cancelled) == 2 and client.zcard(Q) == 3)

    queue.on_next(jobs(3))
    asyncio.run(main())


def test_a_coroutine_that_is_cancelled_is_over_when_it_has_cleaned_up(
    make: Callable[..., RunAt], client: redis.Redis
) -> None:
    """One that was cancelled and returns all the same has done its work, and is acked."""
    queue = make()
    cleaning: list[str] = []

    async def until(condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0.005)

    async def main() -> None:
        go_on = asyncio.Event()
        begun: list[str] = []

        async def work(claim: Claim) -> None:
            begun.append(claim.key)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cleaning.append(claim.key)
                await go_on.wait()
                if claim.key == "k000":
                    raise

        scheduler = AsyncIOThreadSafeScheduler(asyncio.get_running_loop())
        subscription = queue.claims(lease=0.3).pipe(settle(work)).subscribe(scheduler=scheduler)
        await until(lambda: len(begun) == 2)
        subscription.dispose()
        await until(lambda: len(cleaning) == 2)
        queue.stop()  # it cancels no clean-up
        first = min(deadline(client, key) for key in begun)
        await until(lambda: min(deadline(client, key) for key in begun) > first + 150)  # their leases are renewed
        go_on.set()
        await until(lambda: client.keys() == [Q.encode()])

    queue.on_next(jobs(2))
    asyncio.run(main())
    assert client.zrange(Q, 0, -1) == [b"k000"]


def test_stop_from_a_coroutine_at_work_waits_for_nothing(make: Callable[..., RunAt], client: redis.Redis) -> None:
    queue = make()
    ended = threading.Event()

    async def work(claim: Claim) -> None:
        queue.stop()

    async def main() -> None:
        scheduler = AsyncIOThreadSafeScheduler(asyncio.get_running_loop())
        queue.claims().pipe(settle(work)).subscribe(on_completed=ended.set, scheduler=scheduler)
        while not ended.is_set():
            await asyncio.sleep(0.005)

    queue.on_next(jobs(1))
    asyncio.run(main())


def test_stop_ends_though_the_event_loop_was_closed_before(make: Callable[..., RunAt], client: redis.Redis) -> None:
    queue = make()
    got: list[Outcome[None]] = []

    async def main() -> None:
        scheduler = AsyncIOThreadSafeScheduler(asyncio.get_running_loop())
        queue.claims().pipe(settle(lambda _: None)).subscribe(got.append, scheduler=scheduler)
        while not got:
            await asyncio.sleep(0.005)

    queue.on_next(jobs(1))
    asyncio.run(main())
    stopping = threading.Thread(target=queue.stop, daemon=True)
    stopping.start()
    stopping.join(20)
    assert not stopping.is_alive()
    assert client.keys() == []


def test_a_coroutine_whose_event_loop_was_closed_is_no_failed_attempt(
    make: Callable[..., RunAt], client: redis.Redis, go_on: threading.Event
) -> None:
    queue = make()
    begun = threading.Event()

    async def later() -> None: ...

    def work(_: Claim) -> Any:
        begun.set()
        go_on.wait(20)  # until the loop is closed
        return later()

    async def main() -> None:
        scheduler = AsyncIOThreadSafeScheduler(asyncio.get_running_loop())
        queue.claims().pipe(settle(work, max_concurrent=1)).subscribe(on_error=print, scheduler=scheduler)
        while client.zcard(CLAIMED) < 3 or not begun.is_set():
            await asyncio.sleep(0.005)

    queue.on_next(jobs(3))
    asyncio.run(main())
    go_on.set()
    wait_until(lambda: client.zcard(Q) == 3, "all are back")
    assert client.zrange(Q, 0, -1, withscores=True) == [(job.key.encode(), 1000.0) for job in jobs(3)]
    wait_until(lambda: client.keys() == [Q.encode()], "no attempt is counted")


def test_stop_ends_though_a_future_s_event_loop_does_not_run_any_more(
    make: Callable[..., RunAt], client: redis.Redis
) -> None:
    queue = make()
    loop = asyncio.new_event_loop()
    begun: list[asyncio.Future[None]] = []

    def work(_: Claim) -> asyncio.Future[None]:
        begun.append(loop.create_future())
        return begun[-1]

    async def main() -> None:
        queue.claims().pipe(settle(work)).subscribe(scheduler=AsyncIOThreadSafeScheduler(loop))
        while not begun:
            await asyncio.sleep(0.005)

    queue.on_next(jobs(1))
    loop.run_until_complete(main())
    stopping = threading.Thread(target=queue.stop, daemon=True)
    stopping.start()
    stopping.join(20)
    assert not stopping.is_alive()
    assert client.keys() == [Q.encode()]
    loop.close()
