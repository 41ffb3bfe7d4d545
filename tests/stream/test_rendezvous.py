"""asyncio: the event loop that a subscription names is where its `on_next` runs, one key at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from reactivex import operators as ops
from reactivex.scheduler.eventloop import AsyncIOScheduler

from rx_runat import Job, RunAt
from rx_runat.stream.broadcast import Broadcast
from rx_runat.stream.hot import Hot
from rx_runat.stream.rendezvous import LoopHandler, NotReceived, Offer, Rendezvous
from tests.support.waiting import wait_until

Q = "RunAt~default"


def test_await_receives_what_it_asks_for_and_no_more(queue: RunAt, client: redis.Redis) -> None:
    """With 1,000 keys due, 20 times `take(3)` leaves 940 of them in Redis."""
    queue.on_next([Job(f"k{i:04}", 1) for i in range(1000)])

    async def main() -> list[str]:
        got: list[str] = []
        for _ in range(20):
            got += await asyncio.wait_for(queue.pipe(ops.take(3), ops.to_list()), 10)
        return got

    got = asyncio.run(main())
    queue.stop()
    left = [member.decode() for member in client.zrange(Q, 0, -1)]
    assert len(got) == 60
    assert len(left) == 940
    assert not set(got) & set(left)


def test_on_next_runs_on_the_event_loop_one_at_a_time(queue: RunAt) -> None:
    queue.on_next([Job(f"k{i}", 1) for i in range(20)])

    async def main() -> set[str]:
        names: list[str] = []
        done = asyncio.Event()

        def take(_: str) -> None:
            names.append(threading.current_thread().name)
            if len(names) == 20:
                done.set()

        queue.subscribe(take, scheduler=AsyncIOScheduler(asyncio.get_running_loop()))
        await asyncio.wait_for(done.wait(), 10)
        return set(names)

    assert asyncio.run(main()) == {"MainThread"}


def test_an_exception_on_the_event_loop_ends_that_subscriber(queue: RunAt) -> None:
    queue.schedule("a", 1)

    async def main() -> str:
        failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

        def bad(key: str) -> None:
            raise ZeroDivisionError(key)

        queue.subscribe(bad, failed.set_result, scheduler=AsyncIOScheduler(asyncio.get_running_loop()))
        return str(await asyncio.wait_for(failed, 10))

    assert asyncio.run(main()) == "a"


def test_a_cancelled_await_receives_nothing(queue: RunAt, client: redis.Redis) -> None:
    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(queue.pipe(ops.take(1)), 0.05)

    asyncio.run(main())
    queue.on_next([Job(f"k{i}", 1) for i in range(5)])
    queue.stop()
    assert client.zcard(Q) == 5


def test_a_closed_event_loop_receives_nothing_and_delays_nobody(queue: RunAt, client: redis.Redis) -> None:
    async def main() -> None:
        queue.subscribe(print, scheduler=AsyncIOScheduler(asyncio.get_running_loop()))

    asyncio.run(main())
    queue.on_next([Job(f"k{i}", 1) for i in range(5)])
    queue.stop()
    assert client.zcard(Q) == 5


def test_a_busy_event_loop_may_stop_the_queue(make: Callable[..., RunAt], client: redis.Redis) -> None:
    """The source waits for the event loop, which waits for the source in `stop`: `stop` ends the source's wait."""
    queue = make()
    queue.on_next([Job(f"k{i}", 1) for i in range(50)])

    async def main() -> int:
        got: list[str] = []
        queue.subscribe(got.append, scheduler=AsyncIOScheduler(asyncio.get_running_loop()))
        while len(got) < 3:
            await asyncio.sleep(0)
        queue.stop()
        return len(got)

    assert asyncio.run(main()) + client.zcard(Q) == 50


def test_stop_from_on_next_on_the_event_loop(make: Callable[..., RunAt], client: redis.Redis) -> None:
    queue = make()
    queue.on_next([Job(f"k{i}", 1) for i in range(10)])

    async def main() -> None:
        completed = asyncio.Event()
        queue.subscribe(
            lambda _: queue.stop(),
            on_completed=completed.set,
            scheduler=AsyncIOScheduler(asyncio.get_running_loop()),
        )
        await asyncio.wait_for(completed.wait(), 10)

    asyncio.run(main())
    wait_until(lambda: client.zcard(Q) == 9, "the others are back")


def test_beside_a_plain_subscriber_both_get_every_key(queue: RunAt) -> None:
    plain: list[str] = []
    queue.subscribe(plain.append)

    async def main() -> list[str]:
        scheduler = AsyncIOScheduler(asyncio.get_running_loop())
        future: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        queue.pipe(ops.take(100), ops.to_list()).subscribe(future.set_result, scheduler=scheduler)
        queue.on_next([Job(f"k{i:03}", 1) for i in range(100)])
        return await asyncio.wait_for(future, 10)

    assert asyncio.run(main()) == [f"k{i:03}" for i in range(100)]
    wait_until(lambda: len(plain) == 100, "the plain subscriber has them too")


def test_a_subscriber_that_left_before_its_event_loop_ran_gets_no_notice() -> None:
    received: list[object] = []

    async def main() -> None:
        here = AsyncIOScheduler(asyncio.get_running_loop())
        notices: Broadcast[str] = Broadcast()
        left = Hot(notices).subscribe(lambda _: received.append("left"), scheduler=here)
        Hot(notices).subscribe(received.append, on_completed=lambda: received.append("completed"), scheduler=here)
        publisher = threading.Thread(target=notices.publish, args=("notice",))
        publisher.start()
        publisher.join()
        left.dispose()
        notices.end()
        notices.end()
        await asyncio.sleep(0)

    asyncio.run(main())
    assert received == ["notice", "completed"]


def test_an_event_loop_that_does_not_run_costs_one_claim_a_heartbeat(
    make: Callable[..., RunAt], client: redis.Redis
) -> None:
    """Its keys go back after each claim, and the next claim waits for the heartbeat."""
    queue, loop = make(interval=3600), asyncio.new_event_loop()
    queue.on_next([Job(f"k{n}", 1) for n in range(1000)])
    client.config_resetstat()
    subscription = queue.subscribe(print, scheduler=AsyncIOScheduler(loop))
    threading.Event().wait(0.35)  # keys go back after a tenth of a second
    calls = client.info("commandstats")["cmdstat_evalsha"]["calls"]
    subscription.dispose()
    loop.close()
    wait_until(lambda: client.zcard(Q) == 1000, "all keys are back")
    assert calls <= 4, "a claim and a hand-back, and each once more where the server did not know the script"


# The offer itself.


def test_an_offer_is_resolved_by_one_thread_of_many() -> None:
    with ThreadPoolExecutor(6) as threads:
        for _ in range(50):
            offer = Offer("a")
            resolved = threads.map(offer.resolve, [True, False] * 3)
            assert sorted(resolved) == [False] * 5 + [True]


def test_the_source_waits_for_a_received_value_until_it_is_finished() -> None:
    offer = Offer("a")
    assert offer.resolve(received=True)
    assert not offer.wait(0.001)
    offer.finish()
    assert offer.wait(10)
    assert (offer.is_received, offer.error) == (True, None)


def test_a_value_that_is_not_received_ends_the_wait_and_stays_so() -> None:
    offer = Offer("a")
    assert offer.resolve(received=False)
    assert not offer.resolve(received=True)
    assert offer.wait(10)
    assert not offer.is_received


def test_a_closed_rendezvous_resolves_the_current_offer_and_all_later_ones() -> None:
    loop = asyncio.new_event_loop()
    rendezvous: Rendezvous[str] = Rendezvous(loop)
    current = rendezvous.make_offer("a")
    rendezvous.close()
    for offer in (current, rendezvous.make_offer("b")):
        assert not offer.resolve(received=True)
        assert not offer.is_received
    loop.close()
    assert not rendezvous.post(print), "the event loop is closed"


def test_an_event_loop_that_stops_while_the_source_waits_receives_nothing() -> None:
    loop = asyncio.new_event_loop()
    received: list[str] = []
    handler = LoopHandler(loop, received.append)
    failed: list[bool] = []

    def offer() -> None:
        try:
            handler.on_next("a")
        except NotReceived as error:
            failed.append(error.for_good)

    def stop_when_offered() -> None:  # what is posted meanwhile runs in the next round of the loop, which does not come
        source.start()
        wait_until(lambda: handler.offer is not None, "the value is on offer")
        loop.stop()

    source = threading.Thread(target=offer)
    loop.call_soon(stop_when_offered)
    loop.run_forever()
    source.join(20)
    assert (received, failed) == ([], [False])
    loop.run_until_complete(asyncio.sleep(0))
    assert received == [], "the late call finds the offer resolved"
    loop.close()
