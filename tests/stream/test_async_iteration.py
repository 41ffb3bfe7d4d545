"""`async for key in queue`: the body has one key, and the others stay in Redis."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from contextlib import aclosing
from datetime import timedelta
from itertools import pairwise

import pytest
import redis
from reactivex import operators as ops
from reactivex.scheduler.eventloop import AsyncIOScheduler

from rx_runat import InvalidSetting, Job, Refused, RunAt
from rx_runat.testing import Faults
from tests.support.waiting import wait_until

Q = "RunAt~default"


async def take(queue: RunAt, n: int) -> list[str]:
    got: list[str] = []
    async for key in queue:
        got.append(key)
        if len(got) == n:
            break
    return got


def left(client: redis.Redis) -> list[str]:
    return [member.decode() for member in client.zrange(Q, 0, -1)]


def test_leaving_the_loop_hands_back_what_was_not_received(queue: RunAt, client: redis.Redis) -> None:
    """With 1,000 keys due, 20 times three by `async for` and `break` leaves 940 of them in Redis."""
    everything = [f"k{i:04}" for i in range(1000)]
    queue.on_next([Job(key, 1) for key in everything])

    async def main() -> list[str]:
        got: list[str] = []
        for _ in range(20):
            got += await asyncio.wait_for(take(queue, 3), 10)
        return got

    got = asyncio.run(main())
    queue.stop()
    assert len(got) == 60
    assert sorted(got + left(client)) == everything


def test_nothing_is_subscribed_before_the_first_step_and_after_the_last(queue: RunAt) -> None:
    queue.schedule("a", 1)

    async def main() -> None:
        steps = aiter(queue)
        assert not queue._source.subscribers
        assert await anext(steps) == "a"
        assert len(queue._source.subscribers) == 1
        del steps
        await asyncio.sleep(0)
        assert not queue._source.subscribers

    asyncio.run(main())


def test_keys_come_in_order_and_wait_for_the_body(queue: RunAt) -> None:
    """The source waits: while the body works, the following keys are not received."""
    queue.on_next([Job(f"k{i}", 1) for i in range(10)])

    async def main() -> list[str]:
        got: list[str] = []
        async for key in queue:
            got.append(key)
            await asyncio.sleep(0.001)
            if len(got) == 10:
                break
        return got

    assert asyncio.run(main()) == [f"k{i}" for i in range(10)]


@pytest.mark.parametrize("way", ["return", "raise", "cancel", "aclose"])
def test_every_way_out_hands_back(way: str, queue: RunAt, client: redis.Redis) -> None:
    queue.on_next([Job(f"k{i:02}", 1) for i in range(20)])
    got: list[str] = []

    async def leave() -> None:
        async with aclosing(aiter(queue)) as steps:
            async for key in steps if way == "aclose" else queue:
                got.append(key)
                if len(got) < 3:
                    continue
                if way == "return":
                    return
                if way == "raise":
                    raise ZeroDivisionError
                if way == "cancel":
                    await asyncio.sleep(60)
                if way == "aclose":
                    break

    async def main() -> None:
        task = asyncio.ensure_future(leave())
        while len(got) < 3:
            await asyncio.sleep(0)
        if way == "cancel":
            task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0)
        assert not queue._source.subscribers

    asyncio.run(main())
    wait_until(lambda: client.zcard(Q) == 17, "the others are back")
    assert sorted(got + left(client)) == [f"k{i:02}" for i in range(20)]


def test_a_cancelled_wait_loses_nothing(queue: RunAt, client: redis.Redis) -> None:
    """Waits that are cancelled at the very moment at which a key comes: it stays offered."""
    everything = [f"k{i:03}" for i in range(100)]
    queue.on_next([Job(key, timedelta(milliseconds=2 * i)) for i, key in enumerate(everything)])

    async def main() -> list[str]:
        got: list[str] = []
        steps = aiter(queue)
        while len(got) < 90:
            step = asyncio.ensure_future(anext(steps))
            await asyncio.sleep(0.001)
            step.cancel()
            await asyncio.wait([step])
            if not step.cancelled():
                got.append(step.result())
        return got

    got = asyncio.run(asyncio.wait_for(main(), 20))
    queue.stop()
    assert all(one < other for one, other in pairwise(got))
    assert sorted(got + left(client)) == everything


def test_an_iterator_can_go_on_after_a_cancelled_wait(queue: RunAt) -> None:
    async def main() -> str:
        steps = aiter(queue)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(steps), 0.02)
        queue.schedule("a", 1)
        return await asyncio.wait_for(anext(steps), 10)

    assert asyncio.run(main()) == "a"


def test_stop_from_the_body_ends_the_loop(queue: RunAt, client: redis.Redis) -> None:
    queue.on_next([Job(f"k{i}", 1) for i in range(5)])

    async def main() -> list[str]:
        got: list[str] = []
        async for key in queue:
            got.append(key)
            if len(got) == 2:
                queue.stop()
        return got

    assert asyncio.run(asyncio.wait_for(main(), 20)) == ["k0", "k1"]
    assert left(client) == ["k2", "k3", "k4"]


def test_a_stopped_queue_is_an_empty_loop(queue: RunAt) -> None:
    queue.stop()
    assert asyncio.run(asyncio.wait_for(take(queue, 1), 10)) == []


def test_what_cannot_heal_is_raised_by_the_loop(server: object, client: redis.Redis, queue: RunAt) -> None:
    client.set(Q, "not a zset")
    with pytest.raises(Refused, match="WRONGTYPE"):
        asyncio.run(asyncio.wait_for(take(queue, 1), 10))


def test_an_outage_is_survived(faults: Faults) -> None:
    from rx_runat.store.connect import Connected

    queue = RunAt(Connected(faults), interval=0.02)
    queue.schedule("a", 1)
    faults.lost = 2
    assert asyncio.run(asyncio.wait_for(take(queue, 1), 10)) == ["a"]
    queue.stop()


def test_beside_a_subscriber_both_see_every_key(queue: RunAt) -> None:
    plain: list[str] = []
    queue.subscribe(plain.append)

    async def main() -> list[str]:
        steps = take(queue, 20)
        task = asyncio.ensure_future(steps)
        await asyncio.sleep(0)
        queue.on_next([Job(f"k{i:02}", 1) for i in range(20)])
        return await asyncio.wait_for(task, 10)

    assert asyncio.run(main()) == [f"k{i:02}" for i in range(20)]
    wait_until(lambda: len(plain) == 20, "the subscriber has them too")


def test_two_loops_on_one_queue_see_every_key(queue: RunAt) -> None:
    async def main() -> tuple[list[str], list[str]]:
        both = asyncio.gather(take(queue, 10), take(queue, 10))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        queue.on_next([Job(f"k{i}", 1) for i in range(10)])
        return await asyncio.wait_for(both, 10)  # type: ignore[return-value]

    one, other = asyncio.run(main())
    assert one == other == [f"k{i}" for i in range(10)]


def test_two_tasks_cannot_wait_for_one_step(queue: RunAt) -> None:
    async def main() -> None:
        steps = aiter(queue)
        first = asyncio.ensure_future(anext(steps))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task"):
            await anext(steps)
        first.cancel()

    asyncio.run(main())


def test_aclose_ends_the_loop_of_another_task(queue: RunAt) -> None:
    async def main() -> None:
        steps = aiter(queue)

        async def consume() -> list[str]:
            return [key async for key in steps]

        consuming = asyncio.create_task(consume())
        queue.schedule("a", 1)
        while not queue._source.subscribers:
            await asyncio.sleep(0.001)
        await steps.aclose()
        assert await asyncio.wait_for(consuming, 20) in ([], ["a"])

    asyncio.run(main())


def test_jobs_can_be_iterated_over_too(queue: RunAt) -> None:
    queue.schedule("a", 1)

    async def main() -> None:
        async for due in queue.jobs:
            assert (due.key, due.run_at.timestamp()) == ("a", 1.0)
            break

    asyncio.run(asyncio.wait_for(main(), 10))


def test_an_event_loop_that_ended_in_the_middle_receives_nothing(queue: RunAt, client: redis.Redis) -> None:
    kept: list[object] = []

    async def main() -> None:
        kept.append(aiter(queue))
        queue.schedule("a", 1)
        await anext(kept[0])  # type: ignore[call-overload]
        queue.on_next([Job(f"k{i}", 1) for i in range(5)])

    asyncio.run(main())
    wait_until(lambda: not queue._source.subscribers, "the source has noticed")
    wait_until(lambda: client.zcard(Q) == 5, "the others are back")
    kept.clear()
    gc.collect()


def test_a_queue_that_ticks_on_the_event_loop_refuses_async_for(make: Callable[..., RunAt]) -> None:
    async def main() -> None:
        queue = make(scheduler=AsyncIOScheduler(asyncio.get_running_loop()))
        queue.schedule("a", 1)
        with pytest.raises(RuntimeError, match="cannot wait"):
            await asyncio.wait_for(take(queue, 1), 10)
        queue.stop()

    asyncio.run(main())


def test_21_each_step_of_an_iterator_that_is_refused_says_so(queue: RunAt) -> None:
    refusals: list[str] = []

    async def main() -> None:
        steps = aiter(queue)
        for _ in range(2):
            with pytest.raises(InvalidSetting) as refused:
                await asyncio.wait_for(anext(steps), 10)
            refusals.append(str(refused.value))

    queue.subscribe(lambda _: asyncio.run(main()))
    queue.schedule("a", 1)
    wait_until(lambda: len(refusals) == 2, "both are refused")


def test_await_works_on_every_stream_of_a_queue(queue: RunAt, faults: Faults) -> None:
    from rx_runat.store.connect import Connected

    shaky = RunAt(Connected(faults), interval=0.02)

    async def main() -> None:
        queue.on_next([Job("a", 1), Job("b", 1)])
        assert await queue.pipe(ops.take(2), ops.to_list()) == ["a", "b"]
        queue.schedule("c", 1)
        assert (await queue.jobs.pipe(ops.first())).key == "c"
        shaky.subscribe(print)
        faults.away = True
        assert "away" in str(await shaky.errors.pipe(ops.first()))

    asyncio.run(asyncio.wait_for(main(), 20))
    faults.away = False
    shaky.stop()
