"""Polling a queue for a picture: it costs little, claims nothing, and ends when nobody looks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, TypeAlias

import pytest
import reactivex as rx
import redis
from reactivex import operators as ops
from reactivex.testing import TestScheduler

from rx_runat import Claim, Job, RunAt, settle
from rx_runat.drawing.frame import Frame
from rx_runat.drawing.poller import Poller
from rx_runat.testing import Faults, virtual_queue
from tests.support.scenes import marks, scene
from tests.support.waiting import wait_until

Q = "RunAt~default"

StartPoller: TypeAlias = Callable[[RunAt], tuple[Poller, list[Frame]]]
"""Starts a poller of a queue, and returns it with the frames that it publishes."""


@pytest.fixture
def start_poller() -> Iterator[StartPoller]:
    made: list[Poller] = []

    def start_poller(queue: RunAt) -> tuple[Poller, list[Frame]]:
        frames: list[Frame] = []
        made.append(Poller(queue, scene(), frames.append))
        made[-1].start()
        return made[-1], frames

    yield start_poller
    for each in made:
        each.stop()


def test_polling_claims_nothing(queue: RunAt, client: redis.Redis, start_poller: StartPoller):
    queue.on_next([Job("a", 1), Job("b", 1)])
    poller, frames = start_poller(queue)
    wait_until(lambda: poller.polls > 2, "it has polled")
    assert client.zcard(Q) == 2
    assert client.keys() == [Q.encode()]
    assert frames[0]["counts"]["due"] == 2
    assert not queue._source.subscribers
    assert not queue._source.subscribers._is_ticking


def test_keys_that_this_process_receives_are_shown_as_they_come(queue: RunAt, start_poller: StartPoller) -> None:
    _, frames = start_poller(queue)
    queue.subscribe(lambda _: None)
    queue.on_next([Job("a", timedelta(seconds=0.1)), Job("b", timedelta(seconds=0.2))])
    wait_until(lambda: frames and frames[-1]["counts"]["received"] == 2, "both are shown")
    fired = [mark for mark in frames[-1]["marks"] if mark[0] == "fired"]
    assert sum(mark[3] for mark in fired) == 2
    assert all(0 <= mark[5] < 1000 for mark in fired)


def test_keys_that_other_processes_took_are_shown(queue: RunAt, client: redis.Redis, start_poller: StartPoller) -> None:
    queue.schedule("a", timedelta(seconds=0.1))
    _, frames = start_poller(queue)
    wait_until(lambda: frames and frames[-1]["counts"]["due"], "it is due")
    client.zpopmin(Q)
    wait_until(lambda: [mark for mark in frames[-1]["marks"] if mark[0] == "gone"], "it is gone")


def test_at_most_twenty_updates_a_second(queue: RunAt, start_poller: StartPoller) -> None:
    poller, frames = start_poller(queue)
    done = threading.Event()
    queue.subscribe(lambda key: done.set() if key == "z" else None)
    queue.on_next(
        [Job(f"k{i:04}", timedelta(seconds=i / 1000)) for i in range(250)] + [Job("z", timedelta(seconds=0.25))]
    )
    assert done.wait(20)
    poller.stop()
    assert 2 < len(frames) <= 7


def test_a_queue_at_rest_is_polled_less_often_and_nothing_is_published(queue: RunAt, start_poller: StartPoller) -> None:
    queue.schedule("a", timedelta(days=1))
    poller, frames = start_poller(queue)
    wait_until(lambda: poller.polls > 3, "it has polled")
    assert len(frames) == 1
    assert poller._pace > 0.1


def test_it_stops_polling_when_no_view_is_left(queue: RunAt, start_poller: StartPoller) -> None:
    poller, _ = start_poller(queue)
    poller.viewers._silent = 70
    wait_until(lambda: not poller.is_running, "it has stopped")
    assert queue._sources.taps == []
    poller.start()
    wait_until(lambda: poller.polls > 3, "it polls again")
    assert queue._sources.taps == [poller]


def test_a_stopped_queue_is_polled_no_more(make: Callable[..., RunAt], start_poller: StartPoller) -> None:
    queue = make()
    poller, frames = start_poller(queue)
    wait_until(lambda: frames, "it has polled")
    queue.stop()
    wait_until(lambda: not poller.is_running, "it has stopped")
    assert frames[-1]["note"] == "the queue was stopped"


def test_a_stopped_queue_keeps_the_picture_that_last_showed_something_new() -> None:
    queue, scheduler = virtual_queue()
    poller = Poller(queue, scene(), lambda _: None)
    queue._sources.taps.append(poller)
    queue.subscribe(lambda _: None)
    queue.on_next([Job("a", 1), Job("b", 2)])
    poller.poll()
    scheduler.advance_to(2)
    told = poller.poll()
    assert ("fired", "", 1, "b", 0.0) in marks(told)
    scheduler.advance_to(6.5)  # the first key has left the picture
    assert [mark[3] for mark in marks(poller.poll())] == ["b"]
    scheduler.advance_to(60)
    assert marks(poller.poll()) == []
    queue.stop()
    end = poller.poll()
    assert (end["now"], end["marks"]) == (told["now"], told["marks"])
    assert (end["state"], end["note"]) == ("stopped", "the queue was stopped")
    assert end["counts"]["received"] == 2


def test_a_stopped_queue_shows_no_keys_that_wait_no_more() -> None:
    queue, scheduler = virtual_queue()
    poller = Poller(queue, scene(), lambda _: None)
    queue._sources.taps.append(poller)
    queue.subscribe(lambda _: None)
    queue.on_next([Job("a", 1), Job("b", 9)])
    scheduler.advance_to(1)
    assert [mark[0] for mark in marks(poller.poll())] == ["fired", "waiting"]
    queue.cancel("b")
    poller.poll()
    queue.stop()
    assert [mark[0] for mark in marks(poller.poll())] == ["fired"]


def test_a_picture_in_which_nothing_changes_is_published_every_five_seconds(queue: RunAt) -> None:
    frames: list[Frame] = []
    poller = Poller(queue, scene(), frames.append)
    poller.start()
    wait_until(lambda: frames, "it has polled")
    poller._quiet = 5.0
    wait_until(lambda: len(frames) == 2, "it is published again")
    poller.stop()
    assert frames[0]["now"] < frames[1]["now"]


def test_a_stop_between_two_polls_is_told_in_a_last_frame(make: Callable[..., RunAt]) -> None:
    queue = make()
    frames: list[Frame] = []

    def publish(frame: Frame) -> None:
        frames.append(frame)
        queue.stop()

    poller = Poller(queue, scene(), publish)
    poller.start()
    wait_until(lambda: not poller.is_running, "it has stopped")
    assert [each["note"] for each in frames] == ["", "the queue was stopped"]


def test_an_outage_is_shown_in_the_picture(start_poller: StartPoller) -> None:
    faults = Faults()
    queue, _ = virtual_queue(faults=faults)
    faults.away = True
    poller, frames = start_poller(queue)
    wait_until(lambda: frames, "it has polled")
    assert "away on demand" in frames[-1]["note"]
    assert frames[-1]["state"] == "away"
    assert poller.is_running


# Claims.


@pytest.fixture
def watch_queue() -> Callable[..., tuple[RunAt, TestScheduler, Callable[[], list[tuple[object, ...]]]]]:
    """A queue in virtual time, and a function that polls it once and returns the marks; sources report their claims."""

    def watch(faults: Faults | None = None):
        queue, scheduler = virtual_queue(faults=faults)
        poller = Poller(queue, scene(lambda key: key), lambda _: None)
        queue._sources.taps.append(poller)
        return queue, scheduler, lambda: marks(poller.poll())

    return watch


def test_a_claim_of_this_process_is_shown_from_claim_to_ack(watch_queue: Callable[..., Any]) -> None:
    queue, scheduler, shows = watch_queue()
    got: list[Claim] = []
    queue.claims(lease=4).subscribe(got.append)  # a source that was opened after the picture
    queue.on_next([Job(key, 1) for key in ("acked", "buried", "held", "nacked")])
    scheduler.advance_to(1.5)
    out = [(claim.key, got.index(claim)) for claim in got]
    assert shows() == [
        *(("claimed", key, 1, key, None) for key, _ in out),
        *(("lease", key, 1, key, None) for key, _ in out),
    ]
    acked, buried, _, nacked = got
    acked.ack(), buried.bury("poison"), nacked.nack(2)
    assert shows() == [
        ("back", "nacked", 1, "nacked", None),
        ("claimed", "held", 1, "held", None),
        ("dead", "buried", 1, "buried", None),
        ("fired", "acked", 1, "acked", 0.0),
        ("lease", "held", 1, "held", None),
        ("waiting", "nacked", 1, "nacked", None),
    ]


def test_a_claim_that_is_late_fires_with_its_lateness(watch_queue: Callable[..., Any]) -> None:
    queue, scheduler, shows = watch_queue()
    queue.schedule("a", 1)
    scheduler.advance_to(3)
    queue.claims().subscribe(lambda claim: claim.ack())
    scheduler.advance_to(3.25)
    assert shows() == [("fired", "a", 1, "a", 2000.0)]


def test_a_claim_whose_lease_ended_comes_back_and_is_out_again(watch_queue: Callable[..., Any]) -> None:
    queue, scheduler, shows = watch_queue()
    queue.claims(lease=2).pipe(ops.filter(lambda claim: claim.attempt > 1)).subscribe(lambda claim: claim.ack())
    queue.schedule("a", 1)
    scheduler.advance_to(2)
    assert [kind for kind, *_ in shows()] == ["claimed", "lease"]
    scheduler.advance_to(4)
    assert shows() == [("back", "a", 1, "a", None), ("retried", "a", 1, "a", 2000.0)]


def test_claims_that_nobody_received_wait(watch_queue: Callable[..., Any]) -> None:
    queue, scheduler, shows = watch_queue()
    queue.on_next([Job(key, 1) for key in "abc"])
    queue.claims().pipe(ops.take(1)).subscribe(lambda claim: claim.ack())
    scheduler.advance_to(2)
    assert [mark[:2] for mark in shows()] == [("due", "b"), ("due", "c"), ("fired", "a")]


def test_claims_that_settle_hands_back_wait(watch_queue: Callable[..., Any]) -> None:
    queue, scheduler, shows = watch_queue()
    queue.on_next([Job(key, 1) for key in "ab"])
    outcomes = queue.claims().pipe(settle(lambda claim: rx.never()))
    subscription = outcomes.subscribe()
    scheduler.advance_to(2)
    assert [mark[:2] for mark in shows()] == [("claimed", "a"), ("claimed", "b"), ("lease", "a"), ("lease", "b")]
    subscription.dispose()
    scheduler.advance_to(2.5)
    assert [mark[:2] for mark in shows()] == [("due", "a"), ("due", "b")]


def test_polling_claims_changes_nothing_and_costs_few_calls(watch_queue: Callable[..., Any], faults: Faults) -> None:
    queue, scheduler, shows = watch_queue(faults)
    got: list[Claim] = []
    queue.claims(lease=10).subscribe(got.append)
    queue.on_next([Job(f"k{i}", 1) for i in range(50)])
    scheduler.advance_to(2)
    faults.commands.clear()
    shows()
    assert faults.commands.count("EVALSHA") == 1
    for claim in got[:25]:
        claim.ack()
    faults.commands.clear()
    shows(), shows()
    assert faults.commands.count("EVALSHA") == 3  # two snapshots, and one call that locates keys
    assert [claim.ack() for claim in got] == [False] * 25 + [True] * 25


def test_a_picture_of_claims_in_real_time(queue: RunAt, start_poller: StartPoller) -> None:
    _, frames = start_poller(queue)
    got: list[Claim] = []
    queue.claims().subscribe(got.append)
    queue.schedule("a", timedelta(seconds=0.05))

    def is_shown(*kinds: str) -> bool:
        return bool(frames) and sorted(mark[0] for mark in frames[-1]["marks"]) == sorted(kinds)

    wait_until(lambda: is_shown("claimed", "lease"), "it is out")
    got[0].bury("poison")
    wait_until(lambda: is_shown("dead"), "it is dead")
