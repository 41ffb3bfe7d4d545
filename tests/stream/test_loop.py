"""The queue's own loop: one thread, a monotonic clock, an end that does not wait for planned actions."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from reactivex.scheduler import scheduler

from rx_runat import Job, RunAt
from rx_runat.model.times import EPOCH
from rx_runat.stream.loop import Loop
from tests.support.waiting import wait_until


def test_actions_come_in_the_order_of_their_times_on_one_thread() -> None:
    loop = Loop("a loop")
    got: list[tuple[str, str]] = []

    def note(_: Any, state: str | None) -> None:
        got.append((str(state), threading.current_thread().name))

    began = loop.now  # one base for both: a busy host may pause this thread between the two lines
    loop.schedule_absolute(began + timedelta(seconds=0.04), note, "second")
    loop.schedule_absolute(began + timedelta(seconds=0.02), note, "first")
    loop.schedule_absolute(began, note, "at once")
    wait_until(lambda: len(got) == 3, "all ran")
    assert got == [("at once", "a loop"), ("first", "a loop"), ("second", "a loop")]
    loop.end()


def test_the_wall_clock_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop("a loop")
    done = threading.Event()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    loop.schedule_relative(0.01, lambda *_: done.set())
    assert done.wait(10)
    loop.end()


def test_a_wall_clock_that_is_set_back_stalls_no_source(
    make: Callable[..., RunAt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """RxPY reads it in each `subscribe` of an Observable, so no tick may subscribe to one."""
    queue = make()
    got: list[str] = []
    queue.subscribe(got.append)
    queue.schedule("first", timedelta(0))
    wait_until(lambda: got == ["first"], "it ticks")
    hours = itertools.count()
    monkeypatch.setattr(scheduler, "default_now", lambda: EPOCH - timedelta(hours=next(hours)))
    keys = [f"k{n}" for n in range(5)]
    queue.on_next([Job(key, timedelta(seconds=0.02 * n)) for n, key in enumerate(keys)])
    wait_until(lambda: got == ["first", *keys], "the wake-up by a write came, and each alarm")


def test_an_action_that_is_disposed_of_is_removed_and_the_thread_ends() -> None:
    loop = Loop("a loop to end")
    planned = loop.schedule_relative(3600, lambda *_: None)
    planned.dispose()
    wait_until(lambda: "a loop to end" not in [each.name for each in threading.enumerate()], "the thread ended")
    assert len(loop._queue) == 0


def test_the_end_does_not_wait_for_what_was_planned() -> None:
    """The end comes while an action runs, and something is planned for an hour later."""
    loop = Loop("a loop")
    running, go = threading.Event(), threading.Event()

    def block(*_: Any) -> None:
        running.set()
        go.wait(10)

    loop.schedule_relative(3600, lambda *_: None)
    loop.schedule(block)
    assert running.wait(10)
    ending = threading.Thread(target=loop.end)
    ending.start()
    go.set()
    ending.join(20)
    assert not ending.is_alive()


def test_an_action_planned_after_the_end_is_dropped() -> None:
    loop = Loop("a loop")
    loop.end()
    loop.schedule(lambda *_: pytest.fail("it ran")).dispose()
    assert "a loop" not in [each.name for each in threading.enumerate()]


def test_an_action_may_end_its_own_loop() -> None:
    loop = Loop("a loop")
    done = threading.Event()

    def end(*_: Any) -> None:
        loop.end()
        done.set()

    loop.schedule(end)
    assert done.wait(10)
    loop.end()
