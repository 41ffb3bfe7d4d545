"""The head of the schedule as an Observable, in virtual time: reads, pauses between them, outages, the end."""

from __future__ import annotations

import math

from reactivex.testing import TestScheduler

from rx_runat import Refused, Unavailable
from rx_runat.stream.wake import CHECK_SECONDS, head_changes


class ScriptedTracker:
    """A head tracker that reads a given list of heads; each wait takes a given time."""

    def __init__(self, scheduler: TestScheduler, looks: list[float | Exception], wait: float) -> None:
        self.scheduler, self.looks, self.seconds = scheduler, looks, wait
        self.read_at: list[float] = []
        self.closed = False

    def head(self) -> float:
        self.read_at.append(round(self.scheduler.clock, 6))
        look = self.looks.pop(0) if self.looks else math.inf
        if isinstance(look, Exception):
            raise look
        return look

    def wait(self, seconds: float) -> None:
        assert seconds == CHECK_SECONDS
        self.scheduler.sleep(self.seconds)

    def close(self) -> None:
        self.closed = True


def observe(looks: list[float | Exception], wait: float, until: float) -> tuple[ScriptedTracker, list[object]]:
    scheduler = TestScheduler()
    tracker = ScriptedTracker(scheduler, looks, wait)
    observer = scheduler.create_observer()
    subscription = head_changes(lambda: tracker, scheduler).subscribe(observer)
    scheduler.advance_to(until)
    subscription.dispose()
    assert tracker.closed
    looked = len(tracker.read_at)
    scheduler.advance_by(10)
    assert len(tracker.read_at) == looked, "disposal ends it"
    return tracker, [message.value for message in observer.messages]


def test_useless_wake_ups_brake_from_1_to_50_ms() -> None:
    tracker, _ = observe([9.0] * 100, wait=0.0001, until=1)
    pauses = [round(1000 * (b - a)) for a, b in zip(tracker.read_at, tracker.read_at[1:], strict=False)]
    assert pauses[:8] == [0, 1, 2, 4, 8, 16, 32, 50]
    assert set(pauses[8:]) == {50}


def test_a_wake_up_that_brings_something_earlier_resets_the_brake() -> None:
    tracker, _ = observe([9.0, 9.0, 9.0, 9.0, 5.0, 4.0, 3.0, 3.0], wait=0.0001, until=0.02)
    pauses = [round(1000 * (b - a)) for a, b in zip(tracker.read_at, tracker.read_at[1:], strict=False)]
    assert pauses[:8] == [0, 1, 2, 4, 0, 0, 0, 1]


def test_after_a_quiet_time_there_is_no_pause() -> None:
    tracker, _ = observe([9.0] * 5, wait=1, until=4.5)
    assert tracker.read_at == [0, 1, 2, 3, 4]


def test_an_outage_is_sat_out_with_backoff() -> None:
    tracker, messages = observe([9.0, *[Unavailable("away")] * 4, 8.0], wait=0.5, until=2)
    assert tracker.read_at[:6] == [0, 0.5, 0.55, 0.65, 0.85, 1.25]
    assert [message.value for message in messages] == [9.0, 8.0, math.inf]  # type: ignore[attr-defined]


def test_where_nobody_may_listen_nothing_comes() -> None:
    tracker, messages = observe([Refused("NOPERM")], wait=1, until=100)
    assert (tracker.read_at, messages) == ([0], [])
