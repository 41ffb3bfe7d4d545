"""The hold timer: it calls what is armed at its time, each on a thread of its own, and ends when it is idle."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rx_runat.stream.hold_timer import HoldTimer, renew, timer
from tests.support.blocking import timers
from tests.support.waiting import wait_until

HOLD = 0.02  # seconds, for ours of a tenth of a second


@pytest.fixture
def hold_timer(monkeypatch: pytest.MonkeyPatch) -> Iterator[HoldTimer]:
    monkeypatch.setattr("rx_runat.stream.hold_timer.HOLD_SECONDS", HOLD)
    monkeypatch.setattr(HoldTimer.arm, "__defaults__", (HOLD,))
    hold_timer = HoldTimer()
    yield hold_timer
    wait_until(lambda: not timers(), "the timer has ended, because nothing is armed")


def test_it_calls_an_action_once_and_not_before_its_time(hold_timer: HoldTimer) -> None:
    called: list[float] = []
    began = time.monotonic()
    assert hold_timer.arm(lambda: called.append(time.monotonic()))
    wait_until(lambda: called, "it was called")
    assert called[0] >= began + HOLD
    wait_until(lambda: not timers(), "the timer has ended")
    assert len(called) == 1


def test_what_was_disarmed_is_not_called(hold_timer: HoldTimer) -> None:
    called: list[str] = []

    def first() -> None:
        called.append("first")

    hold_timer.arm(first)
    hold_timer.arm(lambda: called.append("second"))
    hold_timer.disarm(first)
    wait_until(lambda: called, "the other was called")
    assert called == ["second"]


def test_an_action_that_blocks_delays_no_other(hold_timer: HoldTimer) -> None:
    release, called = threading.Event(), threading.Event()
    hold_timer.arm(lambda: release.wait(20))
    hold_timer.arm(called.set)
    try:
        assert called.wait(20)
    finally:
        release.set()


def test_an_action_that_raises_is_shown_and_delays_no_other(
    hold_timer: HoldTimer, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: shown.append(args.exc_type))
    called = threading.Event()
    hold_timer.arm(lambda: 1 / 0)
    hold_timer.arm(called.set)
    assert called.wait(20)
    wait_until(lambda: shown == [ZeroDivisionError], "the error is shown")


def test_it_begins_anew_after_it_has_ended(hold_timer: HoldTimer) -> None:
    for _ in range(2):
        called = threading.Event()
        hold_timer.arm(called.set)
        assert called.wait(20)
        wait_until(lambda: not timers(), "the timer has ended")


def test_end_if_idle_ends_it_at_once_and_what_is_armed_is_called(hold_timer: HoldTimer) -> None:
    def never() -> None:
        raise AssertionError

    hold_timer.end_if_idle()
    hold_timer.arm(never)
    hold_timer.disarm(never)
    hold_timer.end_if_idle()
    assert not timers()
    called = threading.Event()
    hold_timer.arm(called.set)
    hold_timer.end_if_idle()
    assert called.wait(20)


def test_ten_threads_arm_and_disarm_and_end_it(hold_timer: HoldTimer) -> None:
    """What stays armed is called once, whatever ends the thread meanwhile."""
    called: list[int] = []

    def come_and_go(number: int) -> None:
        for turn in range(100):
            kept, dropped = (lambda n=number * 100 + turn: called.append(n)), (lambda: called.append(-1))
            hold_timer.arm(kept)
            hold_timer.arm(dropped)
            hold_timer.disarm(dropped)
            hold_timer.end_if_idle()

    threads = [threading.Thread(target=come_and_go, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: len(called) == 1000, "all were called")
    wait_until(lambda: not timers(), "the timer has ended")
    assert sorted(called) == list(range(1000))


def forbid(monkeypatch: pytest.MonkeyPatch, is_forbidden: Callable[[threading.Thread], bool]) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if is_forbidden(thread):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)


def test_where_no_thread_can_begin_it_says_so(hold_timer: HoldTimer, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    with monkeypatch.context() as patch:
        forbid(patch, lambda _: True)
        assert not hold_timer.arm(lambda: called.append("not armed"))
    assert hold_timer.arm(lambda: called.append("armed"))
    wait_until(lambda: called, "what was armed is called")
    assert called == ["armed"]


def test_actions_that_get_no_threads_run_on_the_timers_own_and_may_raise(
    hold_timer: HoldTimer, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: shown.append(args.exc_type))
    forbid(monkeypatch, lambda thread: thread.name == "rx_runat hold")
    names: list[str] = []
    hold_timer.arm(lambda: 1 / 0)
    hold_timer.arm(lambda: names.append(threading.current_thread().name))
    wait_until(lambda: names, "the second was called")
    assert names == ["rx_runat hold timer"]
    assert shown == [ZeroDivisionError]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # from Python 3.12 on, in a process with threads
def test_24_a_forked_child_has_a_timer_of_its_own() -> None:
    """The parent's timer runs, and its lock is held, while the child begins."""
    parents = timer()
    called = threading.Event()
    parents.arm(called.set)
    with parents._lock:
        child = os.fork()
        if child == 0:
            own = threading.Event()
            arms = timer().arm(own.set)
            os._exit(0 if arms and own.wait(20) and timer() is not parents else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert called.wait(20)
    assert timer() is parents


def test_renewed_it_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rx_runat.stream.hold_timer._timer", before := timer())
    renew()
    assert timer() is not before
