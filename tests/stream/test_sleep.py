"""When a source looks next: planned by its claim, shortened by its delivery, ended by an earlier write."""

from __future__ import annotations

import math

import pytest

from rx_runat.model.batch import Claimed
from rx_runat.stream.sleep import ContentionDelay, Sleep

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
