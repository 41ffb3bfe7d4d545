"""The head of the schedule as an Observable, in virtual time: reads, pauses, outages, and sources that share it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from reactivex.testing import TestScheduler

from rx_runat import Refused, Unavailable
from rx_runat.stream.listener import CHECK_SECONDS
from rx_runat.stream.wake import HeadWatch


class ScriptedTracker:
    """A head tracker that reads a given list of heads; each wait takes a given time.

    Args:
        scheduler: whose time the waits take.
        looks: what the reads of the head return or raise, in order; then inf.
        wait: seconds.
        lease_ends: what the reads of the first end of a lease return or raise, in order; then inf.
        meanwhile: called in each read of the head, and in each wait, with the number of the read: other threads.
    """

    def __init__(
        self,
        scheduler: TestScheduler,
        looks: list[float | Exception],
        wait: float,
        lease_ends: list[float | Exception] | None = None,
        meanwhile: Callable[[str, int], None] = lambda _, __: None,
    ) -> None:
        self.scheduler, self.looks, self.seconds = scheduler, looks, wait
        self.lease_ends = lease_ends or []
        self.meanwhile = meanwhile
        self.read_at: list[float] = []
        self.pushes: list[bool] = []
        self.lease_reads = 0
        self.closed = False

    def head(self, pushes: bool = True) -> float:
        self.pushes.append(pushes)
        self.read_at.append(round(self.scheduler.clock, 6))
        look = self.looks.pop(0) if self.looks else math.inf
        self.meanwhile("head", len(self.read_at))
        if isinstance(look, Exception):
            raise look
        return look

    def lease_end(self) -> float:
        self.lease_reads += 1
        end = self.lease_ends.pop(0) if self.lease_ends else math.inf
        if isinstance(end, Exception):
            raise end
        return end

    def wait(self, seconds: float) -> None:
        assert seconds == CHECK_SECONDS
        self.meanwhile("wait", len(self.read_at))
        self.scheduler.sleep(self.seconds)

    def close(self) -> None:
        self.closed = True


def observe(looks: list[float | Exception], wait: float, until: float) -> tuple[ScriptedTracker, list[object]]:
    scheduler = TestScheduler()
    tracker = ScriptedTracker(scheduler, looks, wait)
    observer = scheduler.create_observer()
    subscription = HeadWatch(lambda: tracker, scheduler).heads(has_leases=False).subscribe(observer)
    scheduler.advance_to(until)
    subscription.dispose()
    assert tracker.closed
    looked = len(tracker.read_at)
    scheduler.advance_by(10)
    assert len(tracker.read_at) == looked, "disposal ends it"
    return tracker, [message.value for message in observer.messages]


def test_useless_wake_ups_brake_from_1_to_100_ms() -> None:
    tracker, _ = observe([9.0] * 100, wait=0.0001, until=1)
    pauses = [round(1000 * (b - a)) for a, b in zip(tracker.read_at, tracker.read_at[1:], strict=False)]
    assert pauses[:9] == [0, 1, 2, 4, 8, 16, 32, 64, 100]
    assert set(pauses[9:]) == {100}


def test_a_wake_up_that_brings_something_earlier_resets_the_brake() -> None:
    tracker, _ = observe([9.0, 9.0, 9.0, 9.0, 5.0, 4.0, 3.0, 3.0], wait=0.0001, until=0.02)
    pauses = [round(1000 * (b - a)) for a, b in zip(tracker.read_at, tracker.read_at[1:], strict=False)]
    assert pauses[:8] == [0, 1, 2, 4, 0, 0, 0, 1]


def test_after_a_quiet_time_there_is_no_pause() -> None:
    tracker, _ = observe([9.0] * 5, wait=1, until=4.5)
    assert tracker.read_at == [0, 1, 2, 3, 4]
    assert all(tracker.pushes), "each read needs a push"


def test_an_outage_is_sat_out_with_backoff() -> None:
    tracker, messages = observe([9.0, *[Unavailable("away")] * 4, 8.0], wait=0.5, until=2)
    assert tracker.read_at[:6] == [0, 0.5, 0.55, 0.65, 0.85, 1.25]
    assert [message.value for message in messages] == [9.0, 8.0, math.inf]  # type: ignore[attr-defined]


def test_where_nobody_may_listen_sources_look_once_and_every_5_s_it_is_tried_again() -> None:
    tracker, messages = observe([Refused("NOPERM")] * 4, wait=1, until=11)
    assert tracker.read_at == [0, 5, 10]
    assert [message.value for message in messages] == [-math.inf]  # type: ignore[attr-defined]


# Sources that share it.


class Watched:
    """A watch in virtual time, and what each of its subscribers was told.

    Args:
        looks: of the tracker; each wait takes a second.
        lease_ends: of the tracker.
        meanwhile: of the tracker.
    """

    def __init__(
        self,
        looks: list[float | Exception],
        lease_ends: list[float | Exception] | None = None,
        meanwhile: Callable[[str, int], None] = lambda _, __: None,
    ) -> None:
        self.scheduler = TestScheduler()
        self.trackers: list[ScriptedTracker] = []

        def new_tracker() -> ScriptedTracker:
            self.trackers.append(ScriptedTracker(self.scheduler, looks, 1, lease_ends, meanwhile))
            return self.trackers[-1]

        self.watch = HeadWatch(new_tracker, self.scheduler)

    def subscribe(self, has_leases: bool = False) -> list[float]:
        """Subscribe a source. Returns the heads that it was told of."""
        told: list[float] = []
        self.watch.heads(has_leases).subscribe(told.append)
        return told


def test_one_tracker_serves_all_sources_and_each_kind_is_told_its_own_head() -> None:
    watched = Watched([9.0, 9.0, 6.0], lease_ends=[5.0, 7.0, 7.0])
    watched.watch.note_leasing("a source", True)
    plain, claims, other = watched.subscribe(), watched.subscribe(has_leases=True), watched.subscribe()
    watched.scheduler.advance_to(2.5)
    assert (plain, claims, other) == ([9.0, 9.0, 6.0], [5.0, 7.0, 6.0], plain)
    (tracker,) = watched.trackers
    assert (tracker.read_at, tracker.lease_reads) == ([0, 1, 2], 3)


def test_ends_of_leases_are_read_only_while_a_source_of_claims_ticks() -> None:
    watched = Watched([9.0] * 6)
    watched.subscribe()
    for seconds, ticking in ((1.5, True), (3.5, False), (9.5, False)):
        watched.scheduler.advance_to(seconds)
        watched.watch.note_leasing("a source", ticking)
    (tracker,) = watched.trackers
    assert tracker.read_at[:6] == [0, 1, 2, 3, 4, 5]
    assert tracker.lease_reads == 2


def test_a_source_of_claims_that_begins_during_a_read_learns_the_first_end_of_a_lease_from_that_read() -> None:
    """It looks after it has said so; what others claim between that look and the read causes no other read."""

    def begins(what: str, number: int) -> None:
        if (what, number) == ("head", 2):
            watched.watch.note_leasing("a source", True)
        if (what, number) == ("wait", 2):
            told.append(watched.subscribe(has_leases=True))

    told: list[list[float]] = []
    watched = Watched([9.0, 9.0], lease_ends=[5.0], meanwhile=begins)
    watched.subscribe()
    watched.scheduler.advance_to(1.5)
    assert told == [[5.0]]


def test_who_subscribes_while_the_listener_waits_is_told_the_newest_head_at_once() -> None:
    told: list[list[float]] = []

    def another_comes(what: str, _: int) -> None:
        if what == "wait":
            told.append(watched.subscribe())
            assert told[-1], "while the listener still waits"

    watched = Watched([9.0, 8.0, 8.5], meanwhile=another_comes)
    watched.subscribe()
    watched.scheduler.advance_to(2.5)
    assert told == [[9.0, 8.0, 8.5], [8.0, 8.5], [8.5]]


def test_in_an_outage_nobody_is_told_what_was_known_before() -> None:
    watched = Watched([9.0, Unavailable("away"), 8.0])
    first = watched.subscribe()
    watched.scheduler.advance_to(1.02)
    second = watched.subscribe()
    assert (first, second) == ([9.0], [])
    watched.scheduler.advance_to(1.5)
    assert (first, second) == ([9.0, 8.0], [8.0])


def test_the_last_one_who_leaves_ends_it_and_the_next_one_starts_afresh() -> None:
    watched = Watched([9.0] * 10)
    subscriptions = [watched.watch.heads(has_leases).subscribe() for has_leases in (False, True)]
    watched.scheduler.advance_to(0.5)
    subscriptions[0].dispose()
    subscriptions[0].dispose()
    assert [each.closed for each in watched.trackers] == [False]
    subscriptions[1].dispose()
    assert [each.closed for each in watched.trackers] == [True]
    reads = len(watched.trackers[0].read_at)
    told = watched.subscribe()
    assert told == [], "it has read nothing yet"
    watched.scheduler.advance_by(3)
    assert told
    assert [each.closed for each in watched.trackers] == [True, False]
    assert len(watched.trackers[0].read_at) == reads


def test_each_refusal_makes_the_sources_look_and_is_survived(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    watched = Watched([9.0, Refused("NOPERM"), 8.0, Refused("NOPERM"), Refused("NOPERM"), 7.0])
    first = watched.subscribe()
    watched.scheduler.advance_to(3)
    second = watched.subscribe()
    assert (first, second) == ([9.0, -math.inf], []), "what was known before may be old"
    watched.scheduler.advance_to(18)
    assert second[:3] == [8.0, -math.inf, 7.0]
    assert (first[2:5], len(watched.trackers)) == (second[:3], 1)
    assert caplog.text.count("only the heartbeat finds what others write") == 2


def test_that_leases_may_not_be_read_keeps_no_head_from_a_plain_source() -> None:
    watched = Watched([9.0, 8.0], lease_ends=[Refused("NOPERM"), Refused("NOPERM")])
    watched.watch.note_leasing("a source", True)
    plain = watched.subscribe()
    watched.scheduler.advance_to(1.5)
    assert (plain, watched.trackers[0].lease_reads) == ([9.0, 8.0], 2)


def test_a_source_that_cannot_be_woken_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched([9.0, 8.0])

    def fails(_: float) -> None:
        raise RuntimeError("can't start new thread")

    first = watched.subscribe()
    watched.watch.heads(has_leases=False).subscribe(fails)
    last = watched.subscribe()
    watched.scheduler.advance_to(1.5)
    assert (first, last) == ([9.0, 8.0], [9.0, 8.0])
    assert "could not be woken" in caplog.text


def test_a_bug_of_the_listener_ends_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched([ValueError("a bug"), 8.0])
    watched.subscribe()
    watched.scheduler.advance_to(50)
    assert ("a bug" in caplog.text, watched.trackers[0].closed) == (True, True)
    told = watched.subscribe()
    watched.scheduler.advance_by(0.5)
    assert told == [8.0]


def test_after_stop_nobody_listens_any_more() -> None:
    watched = Watched([9.0] * 10)
    told = watched.subscribe()
    watched.scheduler.advance_to(0.5)
    watched.watch.stop(longest=1)
    assert watched.trackers[0].closed
    late = watched.subscribe()
    watched.scheduler.advance_by(10)
    assert (told, late, len(watched.trackers)) == ([9.0], [], 1)
