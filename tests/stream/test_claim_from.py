"""`claim_from`: each tick of the user's is one claim, of a source that claims for nothing else."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import reactivex as rx
import redis
from reactivex import abc
from reactivex import operators as ops
from reactivex.scheduler import NewThreadScheduler
from reactivex.scheduler.eventloop import AsyncIOScheduler
from reactivex.subject import Subject

from rx_runat import Claim, Due, InvalidSetting, Job, Outcome, Refused, RunAt, Unavailable, claim_from, settle
from rx_runat.queue import inside
from rx_runat.store.client import TRIES
from rx_runat.testing import Faults, virtual_queue
from tests.support.forks import in_child
from tests.support.jobs import overdue_jobs
from tests.support.proxy import Proxy
from tests.support.redis_content import RECEIPTS
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"


class Ticks(Subject[Any]):
    """Ticks by hand."""

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.on_next(None)

    @property
    def is_subscribed(self) -> bool:
        return bool(self.observers)


class Seen(list[Any]):
    """What a stream has called."""

    def subscribe_to(self, stream: rx.Observable[Any], **settings: Any) -> rx.abc.DisposableBase:
        return stream.subscribe(
            self.append, lambda error: self.append(type(error)), lambda: self.append("end"), **settings
        )

    def wait_for(self, *values: Any) -> None:
        wait_until(lambda: list(self) == list(values), f"{values} came; now {self}")


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def faults_queue(faults: Faults) -> tuple[RunAt, Any]:
    return virtual_queue(faults=faults)


def claims_made(client: redis.Redis) -> int:
    """Scripts that ran since the last `CONFIG RESETSTAT`; an EVALSHA of a script that is not known has failed."""
    stats: dict[str, Any] = client.info("commandstats")
    found = [stats[f"cmdstat_{name}"] for name in ("evalsha", "eval") if f"cmdstat_{name}" in stats]
    return sum(each["calls"] - each["failed_calls"] for each in found)


def names(n: int) -> list[str]:
    return [job.key for job in overdue_jobs(n)]


def is_at_rest(queue: RunAt, client: redis.Redis) -> bool:
    """Nobody claims, and the receipts are deleted."""
    return not inside(queue).sources.are_claiming and not client.keys(RECEIPTS)


# A tick is a claim.


def test_each_tick_is_one_claim_of_at_most_limit_keys(
    queue: RunAt, client: redis.Redis, ticks: Ticks, seen: Seen
) -> None:
    queue.on_next(overdue_jobs(5))
    seen.subscribe_to(ticks.pipe(claim_from(queue, limit=2)))
    client.config_resetstat()
    for wanted, calls in ((2, 1), (4, 2), (5, 3)):
        ticks.tick()
        seen.wait_for(*names(wanted))
        assert claims_made(client) == calls
    assert queue.size() == 0


def test_a_tick_asks_for_as_many_keys_as_its_limit_at_once(
    queue: RunAt, client: redis.Redis, ticks: Ticks, seen: Seen
) -> None:
    """Another source begins with one key, and learns how fast its subscribers are."""
    queue.on_next(overdue_jobs(1000))
    seen.subscribe_to(ticks.pipe(claim_from(queue)))
    client.config_resetstat()
    ticks.tick()
    wait_until(lambda: len(seen) == 1000, "all keys came")
    assert claims_made(client) == 1


def test_a_tick_that_comes_during_a_claim_causes_one_claim_more(
    queue: RunAt, client: redis.Redis, ticks: Ticks, seen: Seen, go_on: threading.Event
) -> None:
    queue.on_next(overdue_jobs(10))
    inside_on_next = threading.Event()

    def block(key: str) -> None:
        inside_on_next.set()
        go_on.wait(20)

    seen.subscribe_to(ticks.pipe(claim_from(queue, limit=1), ops.do_action(block)))
    client.config_resetstat()
    ticks.tick()
    assert inside_on_next.wait(20)
    ticks.tick(2)
    go_on.set()
    seen.wait_for(*names(3))
    assert (claims_made(client), queue.size()) == (3, 7)


def test_a_tick_that_finds_nothing_is_over() -> None:
    queue, scheduler = virtual_queue()
    ticks, seen = Ticks(), Seen()
    seen.subscribe_to(ticks.pipe(claim_from(queue)))
    ticks.tick()
    scheduler.advance_by(1)
    queue.schedule("a", 0)
    scheduler.advance_by(60)
    assert (seen, queue.size()) == ([], 1)
    queue.stop()


def test_nothing_is_claimed_without_a_tick() -> None:
    """In a virtual week, with a heartbeat of the queue and keys that fall due."""
    faults = Faults()
    queue, scheduler = virtual_queue(interval=3600, faults=faults)
    ticks, seen = Ticks(), Seen()
    seen.subscribe_to(ticks.pipe(claim_from(queue, limit=1)))
    ticks.tick()
    scheduler.advance_by(1)  # the server knows the script now
    queue.on_next([Job("a", 10.0), Job("b", 20.0)])
    before = len(faults.commands)
    scheduler.advance_by(7 * 86400)
    assert (seen, len(faults.commands)) == ([], before)
    ticks.tick()
    scheduler.advance_by(7 * 86400)
    assert (seen, len(faults.commands)) == (["a"], before + 1)
    queue.stop()


def test_no_connection_listens_for_a_source_of_ticks(
    queue: RunAt, client: redis.Redis, ticks: Ticks, seen: Seen
) -> None:
    seen.subscribe_to(ticks.pipe(claim_from(queue)))
    seen.subscribe_to(ticks.pipe(claim_from(queue.claims())))
    queue.on_next(overdue_jobs(1))
    ticks.tick()
    wait_until(lambda: len(seen) == 1, "it came")
    assert not [each for each in client.client_list() if "t" in each["flags"]]
    assert not [thread for thread in threading.enumerate() if "listener" in thread.name]


def test_17_ticks_in_virtual_time() -> None:
    queue, scheduler = virtual_queue()
    queue.on_next([Job(key, 0.0) for key in "abcde"])
    seen: list[Any] = []
    rx.interval(10, scheduler=scheduler).pipe(claim_from(queue, limit=2)).subscribe(
        lambda key: seen.append((scheduler.clock, key))
    )
    scheduler.advance_to(35)
    assert seen == [(10, "a"), (10, "b"), (20, "c"), (20, "d"), (30, "e")]
    queue.stop()


def test_the_source_decides_what_comes(queue: RunAt) -> None:
    queue.on_next([Job("a", 1, data={"n": 1}), Job("b", 2), Job("c", 3)])
    due: Due = rx.of(1).pipe(claim_from(queue.jobs, limit=1)).run()
    claim: Claim = rx.of(1).pipe(claim_from(queue.claims(lease=7), limit=1)).run()
    key: str = rx.of(1).pipe(claim_from(queue, limit=1)).run()
    assert (due.key, due.data) == ("a", {"n": 1})
    assert (claim.key, claim.lease, claim.attempt) == ("b", 7.0, 1)
    assert claim.ack()
    assert key == "c"


# Each subscription is a source.


def test_1_two_subscriptions_are_two_sources(queue: RunAt, client: redis.Redis, ticks: Ticks) -> None:
    queue.on_next(overdue_jobs(10))
    stream = ticks.pipe(claim_from(queue, limit=2))
    one, two = Seen(), Seen()
    first = one.subscribe_to(stream)
    second = two.subscribe_to(stream)
    ticks.tick()
    wait_until(lambda: len(one) == len(two) == 2, "each has claimed")
    assert sorted(one + two) == names(4)
    assert len(client.keys(RECEIPTS)) == 2
    first.dispose()
    second.dispose()
    wait_until(lambda: is_at_rest(queue, client), "both rest")
    assert not ticks.is_subscribed


def test_a_source_of_ticks_shares_nothing_with_the_queues_own(queue: RunAt, ticks: Ticks, seen: Seen) -> None:
    own: list[str] = []
    seen.subscribe_to(ticks.pipe(claim_from(queue)))
    subscription = queue.subscribe(own.append)
    queue.schedule("a", 1)
    wait_until(lambda: own == ["a"], "the queue's own source took it")
    subscription.dispose()
    queue.schedule("b", 1)
    ticks.tick()
    seen.wait_for("b")
    assert own == ["a"]


def test_26_7_what_was_not_received_goes_back_with_its_data(
    queue: RunAt, client: redis.Redis, ticks: Ticks, seen: Seen
) -> None:
    queue.on_next([Job(key, 1, data={"of": key}) for key in "abcde"])
    seen.subscribe_to(ticks.pipe(claim_from(queue), ops.take(2)))
    ticks.tick()
    seen.wait_for("a", "b", "end")
    wait_until(lambda: is_at_rest(queue, client), "it rests")
    assert [(due.key, due.data) for due in queue.peek()] == [(key, {"of": key}) for key in "cde"]
    assert not ticks.is_subscribed


def test_22_what_waits_behind_an_on_next_that_blocks_goes_back(
    queue: RunAt, ticks: Ticks, go_on: threading.Event
) -> None:
    queue.on_next(overdue_jobs(5))
    received: list[str] = []

    def block(key: str) -> None:
        received.append(key)
        go_on.wait(20)

    ticks.pipe(claim_from(queue)).subscribe(block)
    ticks.tick()
    wait_until(lambda: queue.size() == 4, "all but the one in delivery went back")
    go_on.set()
    ticks.tick()
    wait_until(lambda: received == names(5), "they came again")


def test_9_a_subscriber_that_raises_ends_alone_and_its_key_goes_back(
    queue: RunAt, client: redis.Redis, ticks: Ticks, seen: Seen
) -> None:
    queue.on_next(overdue_jobs(3))
    errors: list[Exception] = []

    def fails(_: str) -> None:
        raise ValueError("x")

    stream = ticks.pipe(claim_from(queue))
    stream.subscribe(fails, errors.append)
    ticks.tick()
    wait_until(lambda: len(errors) == 1, "it ended with its error")
    assert isinstance(errors[0], ValueError)
    assert not ticks.is_subscribed
    wait_until(lambda: is_at_rest(queue, client), "it rests")
    seen.subscribe_to(stream)
    ticks.tick()
    seen.wait_for(*names(3))


# The end of the ticks.


@pytest.mark.parametrize("n", [1, 3])
def test_what_was_asked_for_is_delivered_before_the_end(queue: RunAt, client: redis.Redis, seen: Seen, n: int) -> None:
    """The ticks come, and end, while they are subscribed to."""
    queue.on_next(overdue_jobs(5))
    seen.subscribe_to(rx.of(*range(n)).pipe(claim_from(queue, limit=1)))
    seen.wait_for(*names(n), "end")
    wait_until(lambda: is_at_rest(queue, client), "it rests")
    assert queue.size() == 5 - n


def test_ticks_that_fail_fail_the_stream_after_what_they_asked_for(queue: RunAt, ticks: Ticks, seen: Seen) -> None:
    queue.on_next(overdue_jobs(3))
    seen.subscribe_to(ticks.pipe(claim_from(queue, limit=1)))
    ticks.tick(2)
    ticks.on_error(KeyError("x"))
    seen.wait_for(*names(2), KeyError)


@pytest.mark.parametrize("ticks, end", [(rx.empty(), "end"), (rx.throw(KeyError("x")), KeyError)])
def test_ticks_that_end_at_once_end_the_stream(queue: RunAt, ticks: Any, end: Any, seen: Seen) -> None:
    queue.schedule("a", 1)
    seen.subscribe_to(ticks.pipe(claim_from(queue)))
    seen.wait_for(end)
    assert queue.size() == 1


def test_run_returns_at_the_end_of_the_ticks(queue: RunAt) -> None:
    queue.on_next(overdue_jobs(5))
    assert rx.of(1, 2).pipe(claim_from(queue, limit=2), ops.count()).run() == 4


def test_ticks_that_cannot_be_subscribed_to_leave_no_source(queue: RunAt, client: redis.Redis) -> None:
    class Fails(rx.Observable[Any]):
        def subscribe(self, *_: Any, **__: Any) -> Any:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Fails().pipe(claim_from(queue)).subscribe()
    wait_until(lambda: is_at_rest(queue, client), "it rests")


# The end of the source.


def test_10_what_cannot_heal_reaches_on_error_and_ends_the_ticks(
    faults: Faults, faults_queue: tuple[RunAt, Any], ticks: Ticks, seen: Seen
) -> None:
    queue, scheduler = faults_queue
    seen.subscribe_to(ticks.pipe(claim_from(queue)))
    faults.refusal = "NOPERM no"
    ticks.tick()
    scheduler.advance_by(1)
    assert seen == [Refused]
    assert not ticks.is_subscribed
    queue.stop()


def test_14_stop_completes_the_stream_and_ends_the_ticks(queue: RunAt, ticks: Ticks, seen: Seen) -> None:
    seen.subscribe_to(ticks.pipe(claim_from(queue)))
    seen.subscribe_to(ticks.pipe(claim_from(queue.claims())))
    queue.stop()
    assert seen == ["end", "end"]
    assert not ticks.is_subscribed
    seen.subscribe_to(ticks.pipe(claim_from(queue.jobs)))
    assert seen == ["end"] * 3
    assert not ticks.is_subscribed


def test_14_stop_in_an_on_next_completes_the_stream(queue: RunAt, ticks: Ticks, seen: Seen) -> None:
    queue.on_next(overdue_jobs(3))
    ticks.pipe(claim_from(queue)).subscribe(
        lambda key: (seen.append(key), queue.stop()),
        on_completed=lambda: seen.append("end"),  # type: ignore[arg-type]
    )
    ticks.tick()
    seen.wait_for("k000000", "end")
    assert not ticks.is_subscribed


def test_a_dispose_of_the_ticks_that_raises_is_shown_and_harms_nothing(
    queue: RunAt, client: redis.Redis, ticks: Ticks, seen: Seen, shown: list[Any]
) -> None:
    def fails() -> None:
        raise ZeroDivisionError

    queue.on_next(overdue_jobs(3))
    seen.subscribe_to(ticks.pipe(ops.finally_action(fails), claim_from(queue), ops.take(1)))
    ticks.tick()
    seen.wait_for("k000000", "end")
    wait_until(lambda: is_at_rest(queue, client), "it rests")
    assert shown == [ZeroDivisionError]
    assert queue.size() == 2


def test_21_a_system_exit_ends_the_ticks_too(queue: RunAt, ticks: Ticks, shown: list[Any]) -> None:
    queue.schedule("a", 1)
    errors: list[Any] = []
    ticks.pipe(claim_from(queue)).subscribe(lambda _: sys.exit(3), errors.append)
    ticks.tick()
    wait_until(lambda: errors, "it ended")
    assert shown == [SystemExit]
    assert not ticks.is_subscribed


# Outages and lost replies.


def test_10_what_was_asked_for_in_an_outage_is_claimed_after_it(
    faults: Faults, faults_queue: tuple[RunAt, Any], ticks: Ticks, seen: Seen
) -> None:
    queue, scheduler = faults_queue
    queue.on_next(overdue_jobs(5))
    errors = Seen()
    errors.subscribe_to(queue.errors)
    seen.subscribe_to(ticks.pipe(claim_from(queue, limit=1)))
    faults.away = True
    ticks.tick(3)
    scheduler.advance_by(60)
    assert seen == []
    faults.away = False
    ticks.on_completed()
    scheduler.advance_by(60)
    assert seen == [*names(3), "end"]
    assert Unavailable in [type(each) for each in errors]
    assert queue.size() == 2
    queue.stop()


@pytest.mark.parametrize("limit", [1, 10])
def test_11_a_claim_whose_reply_was_lost_loses_and_doubles_no_key(
    proxy: Proxy, make: Callable[..., RunAt], ticks: Ticks, seen: Seen, limit: int
) -> None:
    queue = make(proxy.url)
    queue.on_next(overdue_jobs(3 * limit))
    seen.subscribe_to(ticks.pipe(claim_from(queue, limit=limit)))
    proxy.of, proxy.cut = b"k0000", 2
    ticks.tick(3)
    wait_until(lambda: len(seen) >= 3 * limit, "all came")
    assert seen == names(3 * limit)


def test_11_who_leaves_after_a_lost_reply_leaves_its_keys_to_others(
    faults: Faults, faults_queue: tuple[RunAt, Any], ticks: Ticks, seen: Seen
) -> None:
    queue, scheduler = faults_queue
    queue.on_next(overdue_jobs(3))
    subscription = seen.subscribe_to(ticks.pipe(claim_from(queue)))
    scheduler.advance_by(1)
    faults.lost = TRIES
    ticks.tick()
    scheduler.advance_by(0.001)
    subscription.dispose()
    scheduler.advance_by(60)
    assert seen == []
    assert [due.key for due in queue.peek()] == names(3)
    queue.stop()


# Claims.


def test_max_in_flight_holds_and_a_tick_is_served_when_a_slot_is_free(
    queue: RunAt, client: redis.Redis, ticks: Ticks
) -> None:
    queue.on_next(overdue_jobs(10))
    claims: list[Claim] = []
    ticks.pipe(claim_from(queue.claims(max_in_flight=3), limit=5)).subscribe(claims.append)
    ticks.tick(2)
    wait_until(lambda: len(claims) == 3, "as many as slots came")
    client.config_resetstat()
    assert claims[0].ack()
    wait_until(lambda: len(claims) == 4, "the second tick was served")
    for claim in claims[1:]:
        assert claim.ack()
    assert (len(claims), queue.size()) == (4, 6)
    ticks.tick()
    wait_until(lambda: len(claims) == 7, "the third tick was served")


def test_settle_works_on_what_ticks_claim() -> None:
    queue, scheduler = virtual_queue()
    queue.on_next([Job(key, 0.0) for key in "abc"])
    outcomes: list[tuple[float, str, str, int]] = []

    def note(outcome: Outcome[Any]) -> None:
        outcomes.append((scheduler.clock, outcome.claim.key, outcome.verdict, outcome.claim.attempt))

    def work(claim: Claim) -> None:
        if claim.key == "b" and claim.attempt == 1:
            raise ValueError("x")

    rx.interval(10, scheduler=scheduler).pipe(
        claim_from(queue.claims(), limit=2), settle(work, backoff=lambda _: 0)
    ).subscribe(note)
    scheduler.advance_to(45)
    assert sorted({key for _, key, verdict, _ in outcomes if verdict == "acked"}) == ["a", "b", "c"]
    assert ("b", 2) in [(key, attempt) for _, key, verdict, attempt in outcomes if verdict == "acked"]
    assert {at % 10 for at, *_ in outcomes} == {0.0}
    assert queue.size() == queue.dead.size() == 0
    queue.stop()


def test_23_the_first_claim_hands_back_what_has_crashed_before_and_the_next_tick_brings_it() -> None:
    """Only after it is it known that `settle` takes the claims, and when their attempts count."""
    queue, scheduler = virtual_queue()
    queue.on_next([Job("a", 0.0), Job("b", 0.0)])
    lost: list[Claim] = []
    rx.of(1).pipe(claim_from(queue.claims(lease=5), limit=1)).subscribe(lost.append)
    scheduler.advance_to(10)
    assert [claim.key for claim in lost] == ["a"]
    worked: list[tuple[float, str, int]] = []

    def work(claim: Claim) -> None:
        worked.append((scheduler.clock, claim.key, claim.attempt))

    ticks = rx.interval(10, scheduler=scheduler).pipe(ops.take(3))
    ended: list[float] = []
    ticks.pipe(claim_from(queue.claims(), limit=5), settle(work)).subscribe(
        on_completed=lambda: ended.append(scheduler.clock)
    )
    scheduler.advance_to(100)
    assert worked == [(20.0, "b", 1), (30.0, "a", 2)]
    assert ended == [40.0]
    assert queue.size() == queue.dead.size() == 0
    queue.stop()


def test_settle_completes_when_the_ticks_have_ended(queue: RunAt) -> None:
    queue.on_next(overdue_jobs(25))
    stream = rx.of(1, 2, 3).pipe(claim_from(queue.claims(), limit=5), settle(lambda _: None), ops.count())
    settled = stream.run()
    assert settled + queue.size() == 25
    assert settled >= 5


def test_18_claims_that_nobody_received_go_back(queue: RunAt, client: redis.Redis, ticks: Ticks, seen: Seen) -> None:
    queue.on_next(overdue_jobs(5))
    keys = ticks.pipe(claim_from(queue.claims()), ops.map(lambda claim: claim.key), ops.take(2))
    seen.subscribe_to(keys)
    ticks.tick()
    seen.wait_for(*names(2), "end")
    wait_until(lambda: is_at_rest(queue, client), "it rests")
    assert queue.size() == 3


# Where it runs.


def test_28_await_runs_on_the_event_loop(queue: RunAt) -> None:
    queue.on_next(overdue_jobs(5))

    async def main() -> list[Any]:
        ticks = rx.interval(0.001).pipe(ops.take(3))
        return await ticks.pipe(
            claim_from(queue, limit=2), ops.map(lambda key: (key, threading.current_thread())), ops.to_list()
        )

    assert asyncio.run(main()) == [(key, threading.current_thread()) for key in names(5)]


def test_28_the_event_loop_is_not_blocked_while_the_server_is_silent(
    own_server: Server, make: Callable[..., RunAt], ticks: Ticks
) -> None:
    queue = make(own_server.url)
    queue.on_next(overdue_jobs(2))

    async def main() -> list[str]:
        claiming = asyncio.ensure_future(ticks.pipe(claim_from(queue), ops.take(2), ops.to_list()))
        await asyncio.sleep(0.01)
        own_server.freeze()
        ticks.tick()
        for _ in range(50):
            await asyncio.sleep(0.001)
        assert not claiming.done()
        own_server.thaw()
        return await claiming

    assert asyncio.run(main()) == names(2)


@pytest.mark.parametrize("end", ["raise", "stop"])
def test_ticks_of_a_subscriber_on_an_event_loop_end_there(queue: RunAt, end: str) -> None:
    """A timer of an event loop must not be cancelled on another thread."""
    queue.on_next(overdue_jobs(3))
    ended: list[threading.Thread] = []

    async def main() -> None:
        ticks = rx.interval(0.001).pipe(ops.finally_action(lambda: ended.append(threading.current_thread())))
        stream = ticks.pipe(claim_from(queue))
        over = asyncio.Event()

        def receive(_: str) -> None:
            if end == "raise":
                raise ValueError("x")
            queue.stop()

        def note_end(_: object = None) -> None:
            over.set()

        stream.subscribe(receive, note_end, note_end, scheduler=AsyncIOScheduler(asyncio.get_running_loop()))
        await over.wait()

    asyncio.run(main())
    assert ended == [threading.current_thread()]


def test_run_in_an_on_next_of_the_queue_works_because_it_is_another_source(queue: RunAt, seen: Seen) -> None:
    queue.on_next(overdue_jobs(3))
    ticks = rx.of(1)
    counted: list[int] = []
    queue.pipe(ops.take(1)).subscribe(
        lambda _: counted.append(ticks.pipe(claim_from(queue, limit=2), ops.count()).run())
    )
    wait_until(lambda: counted, "it returned")
    assert counted == [2]


def test_ticks_may_come_from_any_thread(queue: RunAt, seen: Seen) -> None:
    queue.on_next(overdue_jobs(200))
    ticks = Ticks()
    seen.subscribe_to(ticks.pipe(claim_from(queue, limit=1)))
    threads = [threading.Thread(target=ticks.tick, args=(50,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: len(seen) == 200, "each tick was served")
    assert seen == names(200)


def test_ticks_by_a_scheduler_of_their_own(queue: RunAt, seen: Seen) -> None:
    queue.on_next(overdue_jobs(2))
    seen.subscribe_to(rx.timer(0.001, scheduler=NewThreadScheduler()).pipe(claim_from(queue)))
    seen.wait_for(*names(2), "end")


def test_24_a_forked_child_subscribes_anew(queue: RunAt, ticks: Ticks, seen: Seen) -> None:
    queue.on_next(overdue_jobs(3))
    stream = ticks.pipe(claim_from(queue, limit=1))
    seen.subscribe_to(stream)
    ticks.tick()
    seen.wait_for("k000000")

    def child() -> list[Any]:
        ticks.tick(3)  # the subscription is the parent's
        return rx.of(1).pipe(claim_from(queue, limit=1), ops.to_list()).run()

    assert in_child(child) == ["k000001"]
    ticks.tick()
    seen.wait_for("k000000", "k000002")


def test_a_tick_may_come_in_an_on_next(queue: RunAt, ticks: Ticks, seen: Seen) -> None:
    """A demand: each key asks for the next one."""
    queue.on_next(overdue_jobs(50))
    seen.subscribe_to(ticks.pipe(claim_from(queue, limit=1), ops.do_action(lambda _: ticks.tick())))
    ticks.tick()
    seen.wait_for(*names(50))


def test_retry_subscribes_to_new_ticks_and_a_new_source(faults: Faults, faults_queue: tuple[RunAt, Any]) -> None:
    queue, scheduler = faults_queue
    queue.on_next(overdue_jobs(2))
    seen = Seen()
    faults.refusal = "NOPERM no"
    seen.subscribe_to(rx.interval(10, scheduler=scheduler).pipe(claim_from(queue, limit=1), ops.retry()))
    scheduler.advance_by(100)
    assert seen == []
    faults.refusal = None
    scheduler.advance_by(200)
    assert seen == names(2)
    queue.stop()


@pytest.mark.slow
def test_1_none_is_lost_or_doubled_while_subscribers_come_and_go(make: Callable[..., RunAt]) -> None:
    """Eight threads take three keys at a time, from claims of ten, until all are taken."""
    queue = make()
    queue.on_next(overdue_jobs(1000))
    taken: list[str] = []

    def take() -> None:
        while queue.size():
            ticks = rx.interval(0.001).pipe(ops.take(5))
            taken.extend(ticks.pipe(claim_from(queue, limit=10), ops.take(3), ops.to_list()).run())

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: len(taken) + queue.size() == 1000, "what nobody received went back")
    assert sorted(taken + [due.key for due in queue.peek(1000)]) == names(1000)


@pytest.mark.parametrize("is_driven", [True, False], ids=["claim_from", "the queue"])
def test_1_what_comes_before_subscribe_has_returned_is_not_lost(make: Callable[..., RunAt], is_driven: bool) -> None:
    """Before that, `ops.take` has no subscription to dispose of, and all that comes after its last item is dropped."""
    queue = make()
    queue.on_next(overdue_jobs(50))
    stream = rx.timer(0.0).pipe(claim_from(queue, limit=50)) if is_driven else queue

    def subscribe_slowly(observer: abc.ObserverBase[str], scheduler: abc.SchedulerBase | None = None) -> Any:
        subscription = stream.subscribe(observer, scheduler=scheduler)
        threading.Event().wait(0.05)  # as where another thread has the core
        return subscription

    taken = rx.create(subscribe_slowly).pipe(ops.take(3), ops.to_list()).run()
    wait_until(lambda: len(taken) + queue.size() == 50, "what was not taken went back")


# Refusals.


@pytest.mark.parametrize("limit", [0, -1, 100_001, 1.5, True, "1", None])
def test_a_limit_that_is_no_count_is_refused(queue: RunAt, limit: Any) -> None:
    with pytest.raises(InvalidSetting, match="limit"):
        claim_from(queue, limit=limit)


@pytest.mark.parametrize("source", [None, "RunAt", rx.never(), RunAt])
def test_what_is_no_source_is_refused(source: Any) -> None:
    with pytest.raises(InvalidSetting, match=r"source: got .* a queue, its jobs, or what queue\.claims"):
        claim_from(source)


def test_an_on_next_that_would_run_nothing_is_refused(queue: RunAt, ticks: Ticks) -> None:
    async def receive(_: str) -> None: ...

    with pytest.raises(InvalidSetting, match="async"):
        ticks.pipe(claim_from(queue)).subscribe(receive)  # type: ignore[arg-type]
    assert not ticks.is_subscribed
