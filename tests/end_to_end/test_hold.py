"""Promise 22: keys in hand go back a tenth of a second after their claim, whoever is blocked, all but one.

Each test uses real threads and a real server. A subscriber is quick, so that its source claims many keys at once, and
then blocks; an idle colleague has to receive the others meanwhile.
"""

from __future__ import annotations

import asyncio
import math
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from reactivex import operators as ops
from reactivex.scheduler.eventloop import AsyncIOScheduler

from rx_runat import NotReturned, Recovered, RunAt, StoreError
from rx_runat.store.connect import Connected, connect
from rx_runat.testing import FailingClient, Faults
from tests.support.blocking import QUICK, Blocker, hand_backs, timers
from tests.support.jobs import overdue_jobs
from tests.support.proxy import Proxy, script_argument
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"
COUNT = 600
KEYS = [job.key for job in overdue_jobs(COUNT)]


def left(client: redis.Redis) -> list[str]:
    return [member.decode() for member in client.zrange(Q, 0, -1)]


@contextmanager
def released(blocker: Blocker) -> Iterator[None]:
    """Release a handler at the end, also if the test fails."""
    try:
        yield
    finally:
        blocker.release.set()


# Who blocks.


def on_next(queue: RunAt, blocker: Blocker) -> None:
    queue.subscribe(blocker)


def on_next_of_jobs(queue: RunAt, blocker: Blocker) -> None:
    queue.jobs.pipe(ops.map(lambda due: due.key)).subscribe(blocker)


def on_next_beside_a_quick_one(queue: RunAt, blocker: Blocker) -> None:
    queue.subscribe(lambda _: None)
    queue.subscribe(blocker)


def body_of_async_for(queue: RunAt, blocker: Blocker) -> None:
    async def main() -> None:
        async for key in queue:
            blocker.got.append(key)
            if len(blocker.got) == QUICK + 1:
                await asyncio.to_thread(blocker.block)

    in_event_loop(queue, main())


def handler_on_an_event_loop(queue: RunAt, blocker: Blocker) -> None:
    async def main() -> None:
        ended = asyncio.get_running_loop().create_future()
        scheduler = AsyncIOScheduler(asyncio.get_running_loop())
        queue.subscribe(blocker, on_completed=lambda: ended.set_result(None), scheduler=scheduler)
        await ended

    in_event_loop(queue, main())


def event_loop_that_is_busy(queue: RunAt, blocker: Blocker) -> None:
    """The key after the quick ones is on offer: the event loop does not come to call the handler."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ended = loop.create_future()

        def take(key: str) -> None:
            blocker.got.append(key)
            if len(blocker.got) == QUICK:
                loop.call_soon(blocker.block)

        queue.subscribe(take, on_completed=lambda: ended.set_result(None), scheduler=AsyncIOScheduler(loop))
        await ended

    in_event_loop(queue, main())


def in_event_loop(queue: RunAt, main: Any) -> None:
    thread = threading.Thread(target=asyncio.run, args=(main,))
    thread.start()
    wait_until(lambda: queue._source.subscribers, "the event loop has subscribed")


WAYS = [
    on_next,
    on_next_of_jobs,
    on_next_beside_a_quick_one,
    body_of_async_for,
    handler_on_an_event_loop,
    event_loop_that_is_busy,
]
WAYS_ALIKE = [on_next_of_jobs, on_next_beside_a_quick_one]  # to `on_next`, which the default run has


@pytest.mark.parametrize(
    "way",
    [pytest.param(each, marks=[pytest.mark.slow] * (each in WAYS_ALIKE)) for each in WAYS],
    ids=lambda way: way.__name__,
)
def test_22_the_hold_is_a_bound(
    way: Callable[[RunAt, Blocker], None], make: Callable[..., RunAt], client: redis.Redis
) -> None:
    """All keys but the one in delivery, and the one that is on offer to an `async for`, come to a colleague."""
    busy, idle = make(), make()
    busy.on_next(overdue_jobs(COUNT))
    blocker = Blocker()
    kept = QUICK + 1 + (way is body_of_async_for)
    with released(blocker):
        way(busy, blocker)
        assert blocker.is_blocked.wait(20)
        other: list[str] = []
        idle.subscribe(other.append)
        wait_until(lambda: len(other) == COUNT - kept, "the colleague received all others")
        assert not blocker.release.is_set()
        assert left(client) == []
    wait_until(lambda: len(blocker.got) == kept, "the key in hand was received")
    assert Counter(blocker.got + other) == Counter(KEYS)
    busy.schedule("one more", 1)
    idle.stop()
    wait_until(lambda: len(blocker.got) + len(other) == COUNT + 1, "the source goes on")


def test_22_a_key_that_was_not_received_goes_back_while_the_next_on_next_blocks(
    make: Callable[..., RunAt], client: redis.Redis
) -> None:
    """A subscriber raises at a key; another one takes its place, and blocks at the following key."""
    busy, idle = make(), make()
    busy.on_next(overdue_jobs(COUNT))
    blocker, got = Blocker(), list[str]()

    def raise_late(key: str) -> None:
        if len(got) == QUICK:
            raise ZeroDivisionError
        got.append(key)

    def block(key: str) -> None:
        got.append(key)
        if not blocker.is_blocked.is_set():
            blocker.block()

    with released(blocker):
        busy.subscribe(raise_late, lambda _: busy.subscribe(block) and None)
        assert blocker.is_blocked.wait(20)
        other: list[str] = []
        idle.subscribe(other.append)
        wait_until(lambda: len(other) == COUNT - QUICK - 1, "the colleague received all others")
        assert Counter(got + other) == Counter(KEYS)


def test_22_what_went_back_counts_as_not_delivered(
    make: Callable[..., RunAt], client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source learns how many keys were given in which time; what went back was given in none."""
    queue = make()
    queue.on_next(overdue_jobs(COUNT))
    blocker = Blocker()
    noted: list[int] = []
    demand = queue._source._demand
    note_delivery = demand.note_delivery
    monkeypatch.setattr(demand, "note_delivery", lambda keys, s: noted.append(keys) or note_delivery(keys, s))
    with released(blocker):
        queue.subscribe(blocker)
        assert blocker.is_blocked.wait(20)
        wait_until(lambda: client.zcard(Q) == COUNT - QUICK - 1, "the others are back")
    wait_until(lambda: sum(noted) >= COUNT, "they came again")
    assert sum(noted) == COUNT
    assert blocker.got == KEYS


def test_22_claims_are_held_as_long_as_their_leases(make: Callable[..., RunAt], client: redis.Redis) -> None:
    """They have no hold: no timer runs while they are delivered."""
    queue = make()
    queue.on_next(overdue_jobs(50))
    running: list[list[threading.Thread]] = []
    queue.claims(max_in_flight=50).subscribe(lambda claim: running.append(timers()) or claim.ack())
    wait_until(lambda: len(running) == 50, "all claims came")
    assert not any(running)


def test_22_a_single_key_goes_back_while_the_on_error_of_who_raised_blocks(make: Callable[..., RunAt]) -> None:
    busy, idle = make(), make()
    busy.schedule("a", 1)
    blocker = Blocker()

    def fail(key: str) -> None:
        raise ZeroDivisionError(key)

    with released(blocker):
        busy.subscribe(fail, lambda _: blocker.block())
        assert blocker.is_blocked.wait(20)
        other: list[str] = []
        idle.subscribe(other.append)
        wait_until(lambda: other == ["a"], "the colleague received it")


def test_22_the_hold_is_a_bound_for_who_blocks_on_errors(make: Callable[..., RunAt]) -> None:
    """The first claim after an outage is held, while a subscriber of `errors` blocks at the notice of its end."""
    client = FailingClient(connect("memory://blocked-errors").client, "memory://")
    target: Any = Connected(client)
    busy, idle = make(target, interval=3600), make("memory://blocked-errors")
    blocker, notices = Blocker(), list[StoreError]()

    def block_at_the_end(notice: StoreError) -> None:
        notices.append(notice)
        if isinstance(notice, Recovered):
            blocker.block()

    with released(blocker):
        busy.errors.subscribe(block_at_the_end)
        idle.on_next(overdue_jobs(QUICK))
        busy.subscribe(blocker.got.append)
        wait_until(lambda: len(blocker.got) == QUICK, "the source claims many keys at once")
        client.away = True
        busy._source.wake_for(-math.inf)
        wait_until(lambda: notices, "the outage has begun")
        idle.on_next(overdue_jobs(COUNT))
        client.away = False
        assert blocker.is_blocked.wait(20)
        other: list[str] = []
        idle.subscribe(other.append)
        # On a slow machine the source may have claimed a single key, which is in delivery.
        wait_until(lambda: len(other) >= COUNT - 1, "the colleague received all of them, but for one in delivery")
    idle.stop()
    busy.schedule("one more", 1)
    wait_until(lambda: blocker.got[-1] == "one more", "the source goes on, before its heartbeat")
    assert Counter(other + blocker.got[QUICK:-1]) == Counter(KEYS)


# Nothing is lost and nothing is doubled.


@pytest.mark.timeout(120)
def test_22_ten_threads_that_take_leave_raise_and_block_lose_nothing(
    make: Callable[..., RunAt], client: redis.Redis
) -> None:
    """Each key came once, or is left."""
    make().on_next(overdue_jobs(20_000))
    got: list[str] = []

    def come_and_go(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(5):
            queue = make(limit=rng.choice([5, 50, 500]))
            ended, last = threading.Event(), rng.randrange(1, 400)
            fate = rng.choice(["take", "dispose", "raise", "block", "block and raise", "stop"])
            seen: list[str] = []

            def take(
                key: str,
                queue: RunAt = queue,
                ended: threading.Event = ended,
                seen: list[str] = seen,
                fate: str = fate,
                last: int = last,
                seconds: float = rng.choice([0.09, 0.1, 0.11, 0.2]),
            ) -> None:
                if len(seen) == last and fate in ("raise", "block and raise"):
                    if fate == "block and raise":
                        threading.Event().wait(seconds)
                    ended.set()
                    raise ZeroDivisionError
                seen.append(key)
                if len(seen) == last + 1:
                    if fate == "block":
                        threading.Event().wait(seconds)
                    if fate == "stop":
                        queue.stop()
                    ended.set()

            stream = queue.pipe(ops.take(last)) if fate == "take" else queue
            subscription = stream.subscribe(take, lambda _: None, ended.set)
            ended.wait(0.1 if fate == "dispose" else 1.0)
            subscription.dispose()
            queue.stop()
            got.extend(seen)

    threads = [threading.Thread(target=come_and_go, args=(seed,)) for seed in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(got + left(client)) == Counter(job.key for job in overdue_jobs(20_000))
    assert client.keys() in ([Q.encode()], [])


@pytest.mark.parametrize("leaves", ["dispose", "stop"])
def test_22_a_subscriber_may_leave_while_the_timer_hands_back(
    leaves: str, make: Callable[..., RunAt], own_server: Server
) -> None:
    """The server is frozen in the middle of the hand-back, and goes on after the subscriber has left."""
    blocker = Blocker(own_server.freeze)
    with released(blocker), own_server.client() as client:
        queue = make(own_server.client(socket_timeout=60))
        queue.on_next(overdue_jobs(COUNT))
        subscription = queue.subscribe(blocker)
        wait_until(hand_backs, "the timer hands back")
        stopper = threading.Thread(target=subscription.dispose if leaves == "dispose" else queue.stop)
        stopper.start()
        wait_until(lambda: not queue._source.subscribers, "the subscriber has left")
        blocker.release.set()
        own_server.thaw()
        stopper.join()
        wait_until(lambda: client.keys() == [Q.encode()], "everything is back")
        assert Counter(blocker.got + left(client)) == Counter(KEYS)


@pytest.mark.parametrize("lost", [3, pytest.param(6, marks=pytest.mark.slow)])
def test_22_a_hand_back_without_a_reply_is_done_once_and_the_key_in_hand_follows_it(lost: int) -> None:
    """The timer's hand-back is done, and its replies are lost; then the key in delivery is not received either."""
    faults = Faults()
    target: Any = Connected(faults)
    blocker = Blocker(lambda: setattr(faults, "lost", lost))
    with RunAt(target) as queue:
        queue.on_next(overdue_jobs(COUNT))

        def take_and_raise(key: str) -> None:
            blocker(key)
            if blocker.is_blocked.is_set():
                raise ZeroDivisionError

        queue.subscribe(take_and_raise, lambda _: None)
        assert blocker.is_blocked.wait(20)
        wait_until(lambda: faults.lost <= lost - 3, "the hand-back was not replied to")
        blocker.release.set()
        wait_until(lambda: not faults.lost, "the server replies again")
        wait_until(lambda: queue.size() == COUNT - QUICK, "all that was not received is back")
        assert [due.key for due in queue.peek(COUNT)] == KEYS[QUICK:]


def test_22_after_an_outage_the_timer_tries_again(make: Callable[..., RunAt], own_server: Server) -> None:
    """The server is away when the timer hands back, and starts again while the `on_next` still blocks."""
    blocker = Blocker(own_server.kill)
    with released(blocker), own_server.client() as client:
        busy = make(own_server.client())
        busy.on_next(overdue_jobs(COUNT))
        busy.subscribe(blocker)
        hold = busy._source._hold
        wait_until(lambda: not hold.is_empty and not hand_backs(), "the timer could not hand back")
        own_server.start()
        wait_until(lambda: client.zcard(Q) == COUNT - QUICK - 1, "the others are back")
        assert not blocker.release.is_set()
        assert Counter(blocker.got + left(client)) == Counter(KEYS)


def test_22_a_cut_reply_of_the_hand_back_doubles_nothing(
    proxy: Proxy, make: Callable[..., RunAt], client: redis.Redis
) -> None:
    def cut() -> None:
        proxy.of, proxy.cut = script_argument(KEYS[-1]), 1

    blocker = Blocker(cut)
    with released(blocker):
        busy = make(proxy.url, limit=10_000)
        busy.on_next(overdue_jobs(COUNT))
        idle = make()
        busy.subscribe(blocker)
        other: list[str] = []
        assert blocker.is_blocked.wait(20)
        idle.subscribe(other.append)
        wait_until(lambda: len(other) == COUNT - QUICK - 1, "the colleague received all others")
        assert Counter(blocker.got + other) == Counter(KEYS)


# A server that does not reply.


def test_22_a_silent_server_delays_no_other_source(
    make: Callable[..., RunAt], own_server: Server, client: redis.Redis
) -> None:
    """One hand-back waits for a frozen server; the hold of a queue on another server is a bound all the same."""
    stuck, blocker = Blocker(own_server.freeze), Blocker()
    with released(stuck), released(blocker):
        silent, busy = make(own_server.client(socket_timeout=60)), make()
        silent.on_next(overdue_jobs(COUNT))
        busy.on_next(overdue_jobs(COUNT))
        silent.subscribe(stuck)
        wait_until(hand_backs, "the timer waits for the frozen server")
        busy.subscribe(blocker)
        assert blocker.is_blocked.wait(20)
        wait_until(lambda: client.zcard(Q) == COUNT - QUICK - 1, "the others are back")
        assert hand_backs()
        own_server.thaw()


@pytest.mark.parametrize("where", [pytest.param("from on_next", marks=pytest.mark.slow), "from another thread"])
def test_22_stop_does_not_wait_for_a_hand_back_that_hangs(
    where: str, own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says which keys it could not return, as it does when its own hand-back hangs."""
    monkeypatch.setattr("rx_runat.stream.hold.SHORTEST_SILENCE", 0.2)
    blocker, notices, completed = Blocker(own_server.freeze), list[StoreError](), threading.Event()
    queue = RunAt(own_server.client(socket_timeout=None), interval=0.1)
    queue.errors.subscribe(notices.append)

    def take(key: str) -> None:
        blocker(key)
        if blocker.is_blocked.is_set() and where == "from on_next":
            queue.stop()

    with released(blocker):
        queue.on_next(overdue_jobs(COUNT))
        queue.subscribe(take, on_completed=completed.set)
        wait_until(hand_backs, "the timer waits for the frozen server")
        blocker.release.set()
        if where == "from another thread":
            queue.stop()
        assert completed.wait(20)
    queue.stop()
    (notice,) = notices
    assert isinstance(notice, NotReturned)
    own_server.thaw()
    with own_server.client() as client:
        assert set(blocker.got) | set(left(client)) | set(notice.keys) == set(KEYS)
    assert not set(blocker.got) & {*left(client), *notice.keys}
