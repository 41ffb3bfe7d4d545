"""The source in detail: which subscriber receives what, what goes back, and where errors are reported."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import reactivex as rx
from reactivex import operators as ops
from reactivex.testing import ReactiveTest

from rx_runat import (
    InvalidSetting,
    Job,
    NotReturned,
    OutcomeUnknown,
    Recovered,
    Refused,
    RunAt,
    StoreError,
    Unavailable,
)
from rx_runat.testing import Faults, virtual_queue
from tests.support.waiting import wait_until

on_next, on_completed, on_error = ReactiveTest.on_next, ReactiveTest.on_completed, ReactiveTest.on_error


# The six cases of every stream, as messages at virtual times.


def observe(jobs: list[Job], until: float = 10, **settings: Any) -> list[Any]:
    queue, scheduler = virtual_queue(**settings)
    queue.on_next(jobs)
    observer = scheduler.create_observer()
    subscription = queue.subscribe(observer)
    scheduler.advance_to(until)
    subscription.dispose()
    scheduler.advance_by(100)
    return observer.messages


def test_never() -> None:
    assert observe([]) == []


def test_values() -> None:
    assert observe([Job("b", 2), Job("a", 1), Job("c", 2)]) == [on_next(1, "a"), on_next(2, "b"), on_next(2, "c")]


def test_early_disposal() -> None:
    assert observe([Job("a", 1), Job("z", 50)]) == [on_next(1, "a")]


def test_empty_is_a_stopped_queue() -> None:
    queue, scheduler = virtual_queue()
    observer = scheduler.create_observer()
    queue.subscribe(observer)
    queue.schedule("a", 1)
    scheduler.advance_to(5)
    queue.stop()
    assert observer.messages == [on_next(1, "a"), on_completed(5)]


def test_an_error_that_cannot_heal_ends_the_stream(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults, interval=1)
    observer = scheduler.create_observer()
    queue.subscribe(observer)
    scheduler.advance_to(1.5)
    faults.refusal = "WRONGTYPE"
    scheduler.advance_to(10)
    (message,) = observer.messages
    assert message.time == 2
    assert message.value.kind == "E"


def test_endless_with_a_heartbeat_only() -> None:
    """A key that another queue wrote causes no alarm here, so it waits for the heartbeat."""
    queue, scheduler = virtual_queue(interval=1)
    twin = RunAt(queue_target(queue), scheduler=scheduler, interval=1)
    observer = scheduler.create_observer()
    queue.subscribe(observer)
    scheduler.advance_to(0.5)
    twin.schedule("a", 1.25)
    scheduler.advance_to(5)
    assert observer.messages == [on_next(1.25, "a")]  # the heartbeat at 1 learned of it, the alarm did the rest


def queue_target(queue: RunAt) -> Any:
    from rx_runat.store.connect import Connected

    return Connected(queue._store._client)  # type: ignore[attr-defined]


# Which subscriber receives what.


def test_queue_and_jobs_share_one_claim(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    queue.on_next([Job("a", 1), Job("b", 1)])
    keys: list[str] = []
    dues: list[Any] = []
    more: list[Any] = []
    queue.subscribe(keys.append)
    queue.jobs.subscribe(dues.append)
    queue.jobs.subscribe(more.append)
    scheduler.advance_by(1)
    assert keys == [due.key for due in dues] == ["a", "b"]
    assert all(one is other for one, other in zip(dues, more, strict=True))


def test_a_backlog_does_not_wait_for_the_next_tick() -> None:
    queue, scheduler = virtual_queue(interval=10, limit=10)
    queue.on_next([Job(f"k{i:02}", 1) for i in range(95)])
    got: list[float] = []
    queue.subscribe(lambda _: got.append(scheduler.clock))
    scheduler.advance_by(1)
    assert got == [1.0] * 95


def test_a_key_that_was_cancelled_makes_the_next_no_later() -> None:
    queue, scheduler = virtual_queue()
    got: list[float] = []
    queue.subscribe(lambda _: got.append(scheduler.clock))
    for second in (1, 2, 3):
        queue.schedule(f"k{second}", second)
    queue.cancel("k2")
    scheduler.advance_to(5)
    assert got == [1, 3]


def test_the_time_that_on_next_takes_is_not_waited_for_again() -> None:
    queue, scheduler = virtual_queue()
    queue.on_next([Job("a", 1), Job("b", 7)])
    got: list[tuple[str, float]] = []

    def slow(key: str) -> None:
        got.append((key, scheduler.clock))
        scheduler.sleep(5)

    queue.subscribe(slow)
    scheduler.advance_to(20)
    assert got == [("a", 1), ("b", 7)]


def test_subscribe_from_inside_on_next_begins_with_the_next_key() -> None:
    queue, scheduler = virtual_queue()
    queue.on_next([Job("a", 1), Job("b", 1)])
    inner: list[str] = []
    queue.pipe(ops.take(1)).subscribe(lambda _: queue.subscribe(inner.append))
    scheduler.advance_by(1)
    assert inner == ["b"]


def test_dispose_from_inside_on_next_returns_the_rest() -> None:
    queue, scheduler = virtual_queue()
    queue.on_next([Job(key, 1) for key in "abc"])
    got: list[str] = []

    def leave(key: str) -> None:
        got.append(key)
        subscription.dispose()

    subscription = queue.subscribe(leave)
    scheduler.advance_by(5)
    assert got == ["a"]
    assert [due.key for due in queue.peek()] == ["b", "c"]


def test_flat_map_of_a_stream_into_the_sink() -> None:
    """Each key schedules two others."""
    queue, scheduler = virtual_queue()
    got: list[str] = []
    queue.subscribe(got.append)
    queue.pipe(
        ops.filter(lambda key: len(key) < 3),
        ops.flat_map(lambda key: rx.of(Job(key + "l", scheduler.clock + 1), Job(key + "r", scheduler.clock + 1))),
    ).subscribe(queue)
    queue.schedule("t", 1)
    scheduler.advance_by(10)
    assert got == ["t", "tl", "tr", "tll", "tlr", "trl", "trr"]


# Subscribers that raise.


def test_the_user_function_raises_and_the_key_that_nobody_received_goes_back() -> None:
    queue, scheduler = virtual_queue()
    queue.on_next([Job("a", 1), Job("b", 1)])
    errors: list[Exception] = []

    def bad(key: str) -> None:
        raise ZeroDivisionError(key)

    queue.subscribe(bad, errors.append)
    scheduler.advance_by(5)
    assert len(errors) == 1
    assert [due.key for due in queue.peek()] == ["a", "b"]


def test_a_key_at_which_every_subscriber_raises_goes_back() -> None:
    queue, scheduler = virtual_queue()
    queue.on_next([Job("a", 1), Job("b", 1)])
    errors: list[Exception] = []

    def bad(key: str) -> None:
        raise ZeroDivisionError(key)

    queue.subscribe(bad, errors.append)
    queue.subscribe(bad, errors.append)
    scheduler.advance_by(5)
    assert [str(error) for error in errors] == ["a", "a"]
    assert [due.key for due in queue.peek()] == ["a", "b"]


def test_without_on_error_the_exception_is_shown_as_that_of_a_thread(shown: list[Any]) -> None:
    queue, scheduler = virtual_queue()
    queue.schedule("a", 1)
    queue.subscribe(lambda key: 1 / 0)
    scheduler.advance_by(1)
    assert shown == [ZeroDivisionError]


@pytest.mark.parametrize("leaving", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_21_system_exit_and_its_like_end_that_subscriber_only(shown: list[Any], leaving: Any) -> None:
    queue, scheduler = virtual_queue()
    queue.on_next([Job("a", 1), Job("b", 2)])
    errors: list[Exception] = []

    def exit_(key: str) -> None:
        raise leaving

    queue.subscribe(exit_, errors.append)
    scheduler.advance_by(1.5)
    assert (shown, [type(error) for error in errors]) == ([leaving], [leaving])
    assert queue.size() == 2
    got: list[str] = []
    queue.subscribe(got.append)
    scheduler.advance_by(1)
    assert got == ["a", "b"]


def test_an_operator_that_raises_and_is_retried_beside_a_plain_subscriber() -> None:
    queue, scheduler = virtual_queue(limit=10)
    queue.on_next([Job(f"k{i:03}", 1) for i in range(100)])
    plain: list[str] = []
    retried: list[str] = []

    def fails_at_tens(key: str) -> str:
        if key.endswith("0"):
            raise ValueError(key)
        return key

    queue.pipe(ops.map(fails_at_tens), ops.retry()).subscribe(retried.append)
    queue.subscribe(plain.append)
    scheduler.advance_by(1)
    assert plain == [f"k{i:03}" for i in range(100)]
    assert retried == [key for key in plain if not key.endswith("0")]


def test_a_retried_operator_alone_goes_on() -> None:
    queue, scheduler = virtual_queue(limit=10)
    queue.on_next([Job(f"k{i:03}", 1) for i in range(100)])
    got: list[str] = []

    def fails_at_tens(key: str) -> str:
        if key.endswith("0"):
            raise ValueError(key)
        return key

    queue.pipe(ops.map(fails_at_tens), ops.retry()).subscribe(got.append)
    scheduler.advance_by(1)
    assert len(got) == 90


def test_an_on_error_that_raises_is_shown(shown: list[Any]) -> None:
    queue, scheduler = virtual_queue()
    queue.schedule("a", 1)

    def bad(_: object) -> None:
        raise ZeroDivisionError

    queue.subscribe(bad, bad)
    scheduler.advance_by(1)
    assert shown == [ZeroDivisionError]


# Outages and refusals.


def test_an_outage_is_reported_once_and_its_end_once(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults, interval=0.1)
    notices: list[tuple[float, type[StoreError]]] = []
    queue.errors.subscribe(lambda error: notices.append((scheduler.clock, type(error))))
    got: list[str] = []
    queue.subscribe(got.append)
    queue.schedule("a", 5)
    scheduler.advance_to(1.05)
    faults.away = True
    scheduler.advance_to(20)
    faults.away = False
    scheduler.advance_to(30)
    assert [kind for _, kind in notices] == [Unavailable, Recovered]
    assert got == ["a"]


def test_looks_back_off_during_an_outage() -> None:
    """A minute of outage causes no more looks than the backoff allows, and none by the heartbeat."""

    class Counting(Faults):
        attempts = 0

        def call(self, *command: Any, **more: Any) -> Any:
            self.attempts += 1
            return super().call(*command, **more)

    faults = Counting()
    faults.away = True
    queue, scheduler = virtual_queue(faults=faults, interval=0.01)
    queue.subscribe()
    scheduler.advance_to(60)
    assert 30 <= faults.attempts <= 40


def test_a_hand_back_that_fails_is_tried_again_and_new_subscribers_come_after_it(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults, interval=1)
    queue.on_next([Job(key, 1) for key in "abc"])

    def fail_and_leave(_: str) -> None:
        faults.away = True
        subscription.dispose()

    subscription = queue.subscribe(fail_and_leave)
    scheduler.advance_to(3)
    got: list[str] = []
    queue.subscribe(got.append)
    faults.away = False
    scheduler.advance_to(9)
    assert got == ["b", "c"]
    assert queue.size() == 0


def test_errors_guards_its_own_subscribers(faults: Faults, shown: list[Any]) -> None:
    queue, scheduler = virtual_queue(faults=faults, interval=1)
    seen: list[StoreError] = []
    queue.errors.subscribe(lambda _: 1 / 0)
    queue.errors.subscribe(seen.append)
    queue.subscribe()
    faults.away = True
    scheduler.advance_to(1)
    assert len(seen) == 1
    assert shown == [ZeroDivisionError]


def test_errors_completes_when_the_queue_stops() -> None:
    queue, _ = virtual_queue()
    ended: list[str] = []
    queue.errors.subscribe(on_completed=lambda: ended.append("then"))
    queue.stop()
    queue.errors.subscribe(on_completed=lambda: ended.append("after"))
    assert ended == ["then", "after"]


def test_refused_is_published_too(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    seen: list[StoreError] = []
    ended: list[Exception] = []
    queue.errors.subscribe(seen.append)
    queue.subscribe(print, ended.append)
    faults.refusal = "NOPERM"
    scheduler.advance_to(1)
    assert seen == ended
    assert isinstance(seen[0], Refused)


def test_a_bug_in_a_look_ends_the_stream_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, scheduler = virtual_queue()
    queue.schedule("a", 1)
    ended: list[Exception] = []
    monkeypatch.setattr(queue._source, "_demand", None)
    queue.subscribe(print, ended.append)
    scheduler.advance_to(2)
    assert [type(error) for error in ended] == [AttributeError]
    monkeypatch.undo()
    got: list[str] = []
    queue.subscribe(got.append)
    scheduler.advance_to(3)
    assert got == ["a"], "a new subscription starts afresh"


# Where it runs.


def test_on_next_runs_on_the_queues_own_thread(make: Callable[..., RunAt]) -> None:
    queue = make()
    queue.schedule("a", 1)
    names = queue.pipe(ops.map(lambda _: threading.current_thread().name), ops.take(1)).run()
    assert names == "rx_runat RunAt~default"


def test_a_scheduler_of_a_subscription_that_is_no_event_loop_is_ignored(make: Callable[..., RunAt]) -> None:
    from reactivex.scheduler import ImmediateScheduler

    queue = make()
    queue.schedule("a", 1)
    got: list[str] = []
    done = threading.Event()

    def take(key: str) -> None:
        got.append(threading.current_thread().name)
        done.set()

    queue.subscribe(take, scheduler=ImmediateScheduler())
    assert done.wait(10)
    assert got == ["rx_runat RunAt~default"]


def test_a_scheduler_of_the_user_serves_as_the_loop(make: Callable[..., RunAt]) -> None:
    from reactivex.scheduler import EventLoopScheduler

    scheduler = EventLoopScheduler()
    queue = make(scheduler=scheduler)
    queue.schedule("a", 1)
    assert queue.pipe(ops.take(1)).run() == "a"
    queue.stop()
    scheduler.dispose()


# What must not grow, hang, or be missed.


def test_alarms_that_are_replaced_are_forgotten(make: Callable[..., RunAt]) -> None:
    """Each look replaces an alarm that may be a day away."""
    queue = make(interval=60)
    queue.subscribe()
    for i in range(300):
        queue.schedule("a", 4_000_000_000 - i)
    wait_until(lambda: len(queue._source._scheduler._queue) <= 4, "only the last alarm is kept")


def test_the_thread_ends_with_the_ticks_though_an_alarm_was_a_day_away(make: Callable[..., RunAt]) -> None:
    queue = make(interval=3600)
    queue.schedule("a", 4_000_000_000)
    subscription = queue.subscribe()
    wait_until(lambda: len(queue._source._scheduler._queue) == 2, "heartbeat and alarm are set")
    subscription.dispose()
    wait_until(lambda: not [t for t in threading.enumerate() if t.name.startswith("rx_runat")], "the thread ended")


def test_many_writes_are_one_look(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    queue.schedule("a", 1)

    def write(key: str) -> None:
        if key == "a":
            for i in range(200):
                queue.schedule(f"b{i}", 1)
            faults.commands.clear()

    got: list[str] = []
    queue.subscribe(write)
    queue.subscribe(got.append)
    scheduler.advance_to(2)
    assert len(got) == 201
    assert len(faults.commands) < 10


def test_the_first_claim_comes_at_once_even_inside_a_trampoline(make: Callable[..., RunAt]) -> None:
    queue = make(interval=60)
    queue.schedule("a", 1)
    got: list[str] = []

    def subscribe_and_wait(_: int) -> None:
        queue.subscribe(got.append)
        wait_until(lambda: got == ["a"], "the key came while we are still in on_next")

    rx.of(1).subscribe(subscribe_and_wait)
    assert got == ["a"]


def test_a_subscriber_that_another_disposes_of_receives_nothing_more() -> None:
    queue, scheduler = virtual_queue()
    queue.on_next([Job("a", 1), Job("b", 2)])
    second: list[str] = []
    subscriptions: list[Any] = []
    queue.subscribe(lambda _: subscriptions[0].dispose())
    subscriptions.append(queue.subscribe(second.append))
    scheduler.advance_to(5)
    assert second == []


def test_a_second_outage_is_reported_though_the_subscribers_of_the_first_left(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults, interval=1)
    notices: list[tuple[int, type[StoreError]]] = []
    queue.errors.subscribe(lambda error: notices.append((int(scheduler.clock), type(error))))
    subscription = queue.subscribe()
    faults.away = True
    scheduler.advance_to(2)
    subscription.dispose()
    faults.away = False
    scheduler.advance_to(100)
    faults.away = True
    queue.subscribe()
    scheduler.advance_to(200)
    assert notices == [(0, Unavailable), (100, Unavailable)]


@pytest.mark.parametrize("kind", ["ImmediateScheduler", "CurrentThreadScheduler"])
def test_a_scheduler_that_cannot_wait_is_refused(kind: str) -> None:
    import reactivex.scheduler

    with pytest.raises(InvalidSetting, match="cannot wait"):
        RunAt("memory://", scheduler=getattr(reactivex.scheduler, kind)())


def test_an_end_that_fails_half_way_still_completes_and_closes(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    completed: list[str] = []
    queue.subscribe(on_completed=lambda: completed.append("completed"))
    scheduler.advance_to(1)

    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(queue._source._hold, "hand_back_everything", broken)
    with pytest.raises(ZeroDivisionError):
        queue.stop()
    assert completed == ["completed"]
    queue.stop()


def test_a_stop_during_an_outage_that_holds_nothing_reports_nothing(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults, interval=0.01)
    notices: list[StoreError] = []
    got: list[str] = []
    queue.schedule("a", 1)
    queue.subscribe(got.append)
    scheduler.advance_to(2)
    queue.errors.subscribe(notices.append)
    faults.away = True
    queue.stop()
    assert (got, notices) == (["a"], [])


def test_a_stop_after_a_claim_without_an_answer_reports_it(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults, interval=0.01)
    notices: list[StoreError] = []
    queue.schedule("a", 1)
    queue.errors.subscribe(notices.append)
    queue.subscribe()
    scheduler.advance_to(0.9)
    faults.lost = 99
    scheduler.advance_to(1)
    queue.stop()
    assert [type(notice) for notice in notices] == [OutcomeUnknown, NotReturned]
