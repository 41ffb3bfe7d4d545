"""Read this first: what a scheduled queue does, one idea a test.

`virtual_queue()` returns a queue and its scheduler, whose clock moves by `advance_by(seconds)` only.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import reactivex as rx
from reactivex import operators as ops

from rx_runat import Job
from rx_runat.testing import virtual_queue


def test_a_key_comes_when_it_falls_due() -> None:
    queue, scheduler = virtual_queue()
    got: list[str] = []
    queue.subscribe(got.append)
    queue.on_next(Job("tea", timedelta(minutes=4)))

    scheduler.advance_by(239.999)
    assert got == []
    scheduler.advance_by(0.001)
    assert got == ["tea"]


def test_keys_come_in_the_order_of_their_times() -> None:
    queue, scheduler = virtual_queue()
    got: list[str] = []
    queue.subscribe(got.append)
    queue.on_next([Job("last", 0.56), Job("middle", 0.409), Job("first", 0.333)])
    scheduler.advance_by(1)
    assert got == ["first", "middle", "last"]


def test_scheduling_a_key_again_moves_it() -> None:
    queue, scheduler = virtual_queue()
    got: list[str] = []
    queue.subscribe(got.append)
    queue.schedule("a", 1)
    queue.schedule("a", 3)
    scheduler.advance_by(2)
    assert got == []
    scheduler.advance_by(1)
    assert got == ["a"]


def test_the_sink_is_an_observer_and_the_source_an_observable() -> None:
    queue, scheduler = virtual_queue()
    got: list[str] = []
    queue.pipe(ops.filter(lambda key: key != "b"), ops.map(str.upper)).subscribe(got.append)
    rx.of(Job("a", 1), Job("b", 2), Job("c", 3)).subscribe(queue)
    scheduler.advance_by(3)
    assert got == ["A", "C"]


def test_a_key_can_schedule_itself_again() -> None:
    queue, scheduler = virtual_queue()
    times: list[float] = []

    def beat(key: str) -> None:
        times.append(scheduler.clock)
        queue.schedule(key, timedelta(seconds=10))

    queue.subscribe(beat)
    queue.schedule("heart", 0)
    scheduler.advance_by(30)
    assert times == [0, 10, 20, 30]


def test_jobs_tell_when_a_key_was_due_and_how_late_it_came() -> None:
    queue, scheduler = virtual_queue()
    queue.schedule("a", 1)
    scheduler.advance_by(3)
    got = []
    queue.jobs.subscribe(got.append)
    scheduler.advance_by(1)
    (due,) = got
    assert (due.key, due.run_at, due.lateness) == ("a", datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), 2.0)


def test_keys_that_wait_can_be_seen_and_cancelled() -> None:
    queue, _ = virtual_queue()
    queue.on_next([Job("a", 1), Job("b", 2)])
    assert [due.key for due in queue.peek()] == ["a", "b"]
    assert queue.size() == 2
    assert queue.size(until=1) == 1
    assert queue.cancel("a")
    assert not queue.cancel("a")
    assert queue.when("a") is None


def test_without_a_subscriber_nothing_is_claimed() -> None:
    queue, scheduler = virtual_queue()
    queue.schedule("a", 1)
    scheduler.advance_by(10)
    assert queue.size() == 1


def test_claimed_keys_that_were_not_received_go_back() -> None:
    queue, scheduler = virtual_queue()
    queue.on_next([Job(key, 1) for key in "abcde"])
    got: list[str] = []
    queue.pipe(ops.take(2)).subscribe(got.append)
    scheduler.advance_by(5)
    assert got == ["a", "b"]
    assert [due.key for due in queue.peek()] == ["c", "d", "e"]
