"""When a source looks next: planned by its claim, shortened by its delivery, ended by an earlier write."""

from __future__ import annotations

import math

import pytest

from rx_runat.model.batch import Claimed
from rx_runat.stream.sleep import ContentionDelay, Sleep, WakeFilter

NOW_MS = 1_700_000_000_000


class Clock:
    """Seconds, set by hand."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sleep(clock: Clock) -> Sleep:
    sleep = Sleep(clock, ContentionDelay())
    sleep.look_begins()
    return sleep


def claimed(wait: float | None, *keys: str) -> Claimed:
    return Claimed(list(keys), ["1"] * len(keys), NOW_MS * 1000, wait)


def test_it_lasts_until_the_next_key_falls_due(sleep: Sleep) -> None:
    sleep.plan_after(claimed(2.5))
    assert sleep.begin() == 2.5


def test_the_delivery_took_some_of_it(sleep: Sleep, clock: Clock) -> None:
    sleep.plan_after(claimed(2.5, "a"))
    clock.seconds = 1
    assert sleep.begin() == 1.5
    sleep.plan_after(claimed(2.5, "a"))
    clock.seconds = 9
    assert sleep.begin() == 0.0


@pytest.mark.parametrize("wait", [0.0, None])
def test_what_is_due_already_or_never_is_not_delayed(sleep: Sleep, clock: Clock, wait: float | None) -> None:
    sleep.plan_after(claimed(wait))
    clock.seconds = 1
    assert sleep.begin() == wait


def test_a_source_that_came_too_late_sleeps_a_little_longer(sleep: Sleep) -> None:
    sleep.plan_after(claimed(0.0))
    sleep.plan_after(claimed(2.5))
    assert sleep.begin() == 2.501


def test_an_earlier_write_during_the_look_ends_it_at_once(sleep: Sleep) -> None:
    sleep.plan_after(claimed(2.5))
    assert not sleep.wake_filter.note_write(NOW_MS + 2499)
    assert sleep.begin() == 0.0


def test_after_a_hand_back_there_is_none(sleep: Sleep) -> None:
    sleep.plan_after(claimed(2.5, "a"))
    sleep.plan_after_hand_back(is_stuck=False)
    assert sleep.begin() == 0.0


def test_stuck_subscribers_make_it_last_until_the_heartbeat_or_a_call(sleep: Sleep) -> None:
    sleep.plan_after(claimed(2.5, "a"))
    sleep.plan_after_hand_back(is_stuck=True)
    assert sleep.begin() is None
    assert not sleep.wake_filter.note_write(0)
    assert sleep.wake_filter.note_write(-math.inf)


def test_without_demand_only_a_call_ends_it(sleep: Sleep) -> None:
    assert sleep.begin_until_woken()
    assert not sleep.wake_filter.note_write(0)
    assert sleep.wake_filter.note_write(-math.inf)
    sleep.look_begins()
    assert not sleep.wake_filter.note_write(-math.inf)
    assert not sleep.begin_until_woken(), "the call came during the look"


def test_nothing_ends_a_backoff(sleep: Sleep) -> None:
    sleep.begin_backoff()
    assert not sleep.wake_filter.note_write(-math.inf)


def test_a_heartbeat_after_a_backoff_claims_though_nothing_comes_earlier(sleep: Sleep) -> None:
    sleep.plan_after(claimed(2.5))
    sleep.begin()
    assert sleep.goes_on(lambda _: False)
    sleep.begin_backoff()
    assert not sleep.goes_on(lambda _: False)


# What is worth waking for.


def test_a_source_that_sleeps_is_woken_once_by_what_is_earlier() -> None:
    sleep = WakeFilter()
    sleep.look_begins()
    assert not sleep.look_ended(9)
    assert [sleep.note_write(at) for at in (9, 10, 8, 7, 1)] == [False, False, True, False, False]


def test_what_is_heard_in_a_look_counts_when_it_has_found_less() -> None:
    sleep = WakeFilter()
    for heard, found, again in ((5, 9, True), (9, 9, False), (10, 9, False), (-math.inf, 9, True)):
        sleep.look_begins()
        assert not sleep.note_write(heard)
        assert sleep.look_ended(found) is again


def test_a_look_forgets_what_was_heard_before_it() -> None:
    sleep = WakeFilter()
    sleep.look_begins()
    sleep.look_ended(9)
    assert sleep.note_write(5)
    sleep.look_begins()
    assert not sleep.look_ended(9)


# Who wakes first.


def test_who_found_a_key_taken_lets_the_others_go_first() -> None:
    delay = ContentionDelay()
    waits = []
    for now, got, next_run_at in (
        (0, False, 9),  # nothing was due yet
        (9, False, 12),  # taken by another
        (12, False, 15),
        (15, False, 18),
        (18, False, 21),
        (20, False, 21),  # a heartbeat: nobody took anything
        (21, True, 24),
    ):
        delay.note_claim(now, got, next_run_at)
        waits.append(delay.seconds)
    assert waits == [0, 0.001, 0.002, 0.004, 0.004, 0.004, 0]


def test_a_source_alone_is_never_courteous() -> None:
    delay = ContentionDelay()
    for now in range(100):
        delay.note_claim(now, True, now + 1)
        assert delay.seconds == 0
