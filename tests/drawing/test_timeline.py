"""The live picture of a queue: what it shows, and that looking costs little and claims nothing."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import reactivex as rx
import redis
from reactivex import operators as ops
from reactivex.testing import TestScheduler

import rx_runat.notebook
from rx_runat import Claim, InvalidSetting, Job, RunAt, settle
from rx_runat.drawing.fates import LISTED
from rx_runat.drawing.frame import Frame
from rx_runat.drawing.poller import Attention, Looking
from rx_runat.drawing.scene import Scene
from rx_runat.drawing.static_svg import counts, draw
from rx_runat.model.batch import Claimed, Entry, Leased
from rx_runat.model.snapshot import Place, Snapshot
from rx_runat.notebook import timeline
from rx_runat.notebook.widget import Timeline
from rx_runat.testing import Faults, virtual_queue
from tests.support.helpers import wait_until

Q = "RunAt~default"


def scene(lane: Callable[[str], object] | None = None) -> Scene:
    return Scene("jobs on memory://", 10_000.0, lane)


def look(now: float, *, due: dict[str, float] | None = None, coming: dict[str, float] | None = None, **more: object):
    due, coming = due or {}, coming or {}
    state = {"scheduled": len(due) + len(coming), "due": len(due), **more}
    return Snapshot(now, due_keys=list(due.items()), coming=list(coming.items()), **state)  # type: ignore[arg-type]


def claim(now: float, keys: dict[str, float]) -> Claimed:
    return Claimed(list(keys), list(map(str, keys.values())), int(now * 1000), None)


def see(picture: Scene, seen: Snapshot, taken: Iterable[tuple[Claimed, list[Entry]]] = (), **more: object) -> None:
    for claimed, left in taken:
        picture.fates.delivered(claimed, left)
    picture.see(seen, **more)  # type: ignore[arg-type]


def marks(frame: Frame) -> list[tuple[object, ...]]:
    """Kind, lane, keys, label and lateness."""
    return sorted(
        (kind, frame["lanes"][lane], keys, label, late) for kind, lane, _, keys, label, late in frame["marks"]
    )


# What it shows.


def test_a_key_waits_and_fires_with_its_lateness() -> None:
    picture = scene()
    see(picture, look(10_000, coming={"a": 12_000.0}))
    assert picture.frame()["marks"] == [["waiting", 0, 12_000.0, 1, "a", None]]
    see(picture, look(12_050), [(claim(12_003, {"a": 12_000.0}), [])])
    assert picture.frame()["marks"] == [["fired", 0, 12_003.0, 1, "a", 3.0]]
    assert picture.frame()["counts"]["received"] == 1
    see(picture, look(20_000))
    assert picture.frame()["marks"] == []


def test_a_key_that_another_process_took_is_gone_and_how_late_is_unknown() -> None:
    picture = scene()
    see(picture, look(10_000, coming={"a": 10_040.0}))
    see(picture, look(10_050))
    assert marks(picture.frame()) == [("waiting", "", 1, "a", None)]  # it may be in a claim of ours
    see(picture, look(10_500))
    assert marks(picture.frame()) == [("gone", "", 1, "a", None)]


def test_where_this_process_claims_nothing_another_took_it_for_sure() -> None:
    picture = scene()
    see(picture, look(10_000, coming={"a": 10_040.0}), claiming=False)
    see(picture, look(10_050), claiming=False)
    assert marks(picture.frame()) == [("gone", "", 1, "a", None)]


def test_a_claim_of_ours_that_tells_late_is_no_other_process() -> None:
    picture = scene()
    see(picture, look(10_000, coming={"a": 10_040.0}))
    see(picture, look(10_050))
    see(picture, look(10_300), [(claim(10_041, {"a": 10_040.0}), [])])
    see(picture, look(11_000))
    assert marks(picture.frame()) == [("fired", "", 1, "a", 1.0)]


def test_a_key_that_is_cancelled_or_moved_before_its_time_did_not_fire() -> None:
    picture = scene()
    see(picture, look(10_000, coming={"a": 15_000.0, "b": 16_000.0}))
    see(picture, look(10_050, coming={"b": 18_000.0}))
    see(picture, look(11_000, coming={"b": 18_000.0}))
    assert picture.frame()["marks"] == [["waiting", 0, 18_000.0, 1, "b", None]]


def test_what_was_handed_back_did_not_fire() -> None:
    picture = scene()
    see(picture, look(10_000, due={"a": 9_000.0, "b": 9_001.0}))
    back = [(claim(10_010, {"a": 9_000.0, "b": 9_001.0}), [Entry("b", "9001")])]
    see(picture, look(10_050, due={"b": 9_001.0}), back)
    assert marks(picture.frame()) == [("due", "", 1, "b", None), ("fired", "", 1, "a", 1010.0)]


def test_keys_that_would_cover_each_other_are_counted() -> None:
    picture = scene()
    see(picture, look(10_000, coming={f"k{i:03}": 12_000.0 + i / 10 for i in range(300)}, due={"x": 1.0, "y": 2.0}))
    assert marks(picture.frame()) == [("due", "", 2, "", None), ("waiting", "", 300, "", None)]
    see(picture, look(12_100), [(claim(12_040, {f"k{i:03}": 12_000.0 + i / 10 for i in range(300)}), [])])
    assert ("fired", "", 300, "", 40.0) in marks(picture.frame())


def test_lanes_by_a_function_of_the_key() -> None:
    picture = scene(lambda key: key.split(":")[0])
    see(picture, look(10_000, coming={"mail:1": 11_000.0, "sms:1": 12_000.0, "mail:2": 13_000.0}, due={"sms:0": 1.0}))
    assert picture.frame()["lanes"] == ["mail", "sms"]
    see(picture, look(11_100), [(claim(11_001, {"mail:1": 11_000.0}), [])])
    assert ("fired", "mail", 1, "mail:1", 1.0) in marks(picture.frame())


def test_many_lanes_share_the_last_and_a_lane_function_that_raises_has_its_own() -> None:
    picture = scene(lambda key: 1 / 0 if key == "k0" else key)
    see(picture, look(10_000, coming={f"k{i}": 11_000.0 + i for i in range(40)}))
    lanes = picture.frame()["lanes"]
    assert len(lanes) == 12
    assert (lanes[0], lanes[-1]) == ("?", "…")
    assert sum(keys for _, _, _, keys, _, _ in picture.frame()["marks"]) == 40


@pytest.mark.parametrize("lane", [None, lambda key: "all"])
def test_a_window_that_holds_more_than_a_look_lists_is_counted_whole(lane: Callable[[str], object] | None) -> None:
    picture = scene(lane)
    wide = picture.bin_ms
    listed = {f"k{i}": 12_000.0 + i for i in range(LISTED)}
    start = 12_000 // wide * wide
    slices = {float(start + i * wide): 1_000 for i in range(5)}
    see(picture, look(10_000, coming=listed, slices=slices, scheduled=5_000))
    shown = [mark for mark in picture.frame()["marks"] if mark[0] == "waiting"]
    assert sum(mark[3] for mark in shown) == 5_000
    assert picture.frame()["lanes"] == ([""] if lane is None else ["all", "…"])


def test_a_claimed_key_is_out_until_its_lease_ends() -> None:
    picture = scene()
    see(picture, look(10_000, coming={"a": 10_010.0}))
    see(picture, look(10_050, leases=[("a", 15_000.0)], claimed=1, dead=2))
    see(picture, look(11_000, leases=[("a", 15_000.0)], claimed=1, dead=2))
    assert picture.frame()["marks"] == [["claimed", 0, 10_050.0, 1, "a", None], ["lease", 0, 15_000.0, 1, "a", None]]
    assert counts(picture.frame()) == "0 scheduled · 0 due · 1 claimed · 2 dead · 0 received"


def test_what_is_out_for_longer_than_the_picture_shows_is_one_mark_at_its_edge() -> None:
    picture = scene()
    first = {f"a{i}": 40_000.0 + i for i in range(5)}
    see(picture, look(10_000, leases=list(first.items())))
    second = first | {"b": 21_000.0}
    see(picture, look(20_000, leases=list(second.items())))
    assert [mark[:4] for mark in picture.frame()["marks"]] == [
        ["claimed", 0, 20_000.0, 1],
        ["claimed", 0, 10_000.0, 5],
        ["lease", 0, 21_000.0, 1],
        ["lease", 0, 40_000.0, 5],
    ]


def test_what_became_of_claims_has_marks_of_its_own() -> None:
    picture = scene(lambda key: key)
    places = {"nacked": Place("again"), "buried": Place("gone", died=10_020.0)}
    see(picture, look(10_000, leases=[(key, 15_000.0) for key in ("acked", "buried", "nacked")]))
    see(picture, look(10_050), ask=lambda keys: [places.get(key, Place("gone")) for key in keys])
    assert picture.frame()["marks"] == [
        ["gone", 0, 10_000.0, 1, "acked", None],
        ["dead", 1, 10_020.0, 1, "buried", None],
        ["back", 2, 10_000.0, 1, "nacked", None],
    ]


def test_a_frame_of_a_busy_queue_is_small() -> None:
    """A thousand keys a second, in two lanes: some 200 marks, whatever the number of keys."""
    picture = scene(lambda key: int(key[1:]) % 2)
    for second in range(20):
        now = 100_000.0 + second * 1000
        keys = {f"k{second * 1000 + i}": now + i for i in range(1000)}
        see(picture, look(now + 999, coming={f"z{i}": now + 1000 + i for i in range(LISTED)}), [(claim(now, keys), [])])
    frame = picture.frame()
    assert len(frame["marks"]) < 300
    assert len(json.dumps(frame)) < 16_000


def test_a_burst_is_counted_not_sorted_into_lanes() -> None:
    picture = scene(lambda key: key)
    see(picture, look(10_000), [(claim(10_000, {f"k{i}": 1.0 for i in range(20_000)}), [])])
    assert sum(keys for _, _, _, keys, _, _ in picture.frame()["marks"]) == 20_000


# The still.


def test_a_still_is_a_picture_with_all_that_is_there() -> None:
    picture = scene(lambda key: key[0])
    see(picture, look(10_000, coming={"<a>&": 12_000.0, "b": 12_500.0}, due={"late": 1.0}, leases=[("c", 13_000.0)]))
    see(picture, look(10_100, coming={"<a>&": 12_000.0}), [(claim(10_050, {"b": 9_000.0, "x": 10_050.0}), [])])
    svg = draw(picture.frame("nothing answers"))
    words = " ".join(ElementTree.fromstring(svg).itertext())
    for word in ("<a>&", "b", "now", "+2 s", "-2 s", "waiting", "on time", "nothing answers", "jobs on memory://"):
        assert word in words


def test_a_still_shows_what_is_out_what_came_back_and_what_died() -> None:
    picture = scene(lambda key: key[0])
    see(picture, look(10_000, leases=[("old", 30_000.0)]))
    see(picture, look(19_000, leases=[("back", 30_000.0), ("dead", 30_000.0), ("old", 30_000.0), ("zen", 20_000.0)]))
    places = {"back": Place("again"), "dead": Place("gone", died=19_010.0)}
    see(
        picture, look(19_020, leases=[("old", 30_000.0), ("zen", 20_000.0)]), ask=lambda keys: [places[k] for k in keys]
    )
    svg = draw(picture.frame())
    words = list(ElementTree.fromstring(svg).itertext())
    for word in ("claimed", "lease ends", "came back", "dead", "old", "zen"):
        assert word in words
    assert "over 0.2 s late" not in words  # the legend says what is there
    assert "back" not in words  # where it waits, its key is written


def test_where_it_is_crowded_what_is_rare_is_aside_and_unwritten() -> None:
    picture = scene()
    for n in range(6):
        now = 10_000.0 + 500 * n
        see(picture, look(now), [(claim(now, {f"k{n}{i}": now for i in range(20)}), [])])
    few = scene()
    places = {"nacked": Place("again"), "buried": Place("gone", died=13_010.0)}
    for each in (picture, few):
        see(each, look(13_000, leases=[("nacked", 15_000.0), ("buried", 15_000.0)]))
        see(each, look(13_020), ask=lambda keys: [places[key] for key in keys])
    crowd, calm = draw(picture.frame()), draw(few.frame())
    assert (crowd.count("buried"), calm.count("buried")) == (0, 1)
    cross = re.compile(r'd="M[\d.]+ ([\d.]+)l10 10m0 -10l-10 10"')
    assert float(cross.findall(crowd)[0]) - float(cross.findall(calm)[0]) == 14


def test_a_retried_key_makes_those_that_it_is_counted_with_no_later() -> None:
    picture = scene()
    see(picture, look(10_000), [(claim(10_000, {"a": 10_000.0, "b": 10_000.0}), [])])
    picture.fates.leased(Leased(["c"], ["1000"], [2], "fence", 12_000, 10_000_000, None))
    see(picture, look(10_050))
    assert marks(picture.frame()) == [("fired", "", 2, "", 0.0), ("retried", "", 1, "c", 9_000.0)]


def test_a_key_that_names_its_lane_is_written_once() -> None:
    picture = scene(lambda key: key)
    see(picture, look(10_000, coming={"tea": 12_000.0}))
    assert list(ElementTree.fromstring(draw(picture.frame())).itertext()).count("tea") == 1


def test_a_still_of_nothing() -> None:
    assert "0 scheduled" in " ".join(ElementTree.fromstring(draw(scene(str).frame())).itertext())


# Looking.


@pytest.fixture
def looking() -> Iterator[Callable[..., tuple[Looking, list[Frame]]]]:
    made: list[Looking] = []

    def look_at(queue: RunAt) -> tuple[Looking, list[Frame]]:
        frames: list[Frame] = []
        made.append(Looking(queue, scene(), frames.append))
        made[-1].start()
        return made[-1], frames

    yield look_at
    for each in made:
        each.stop()


def test_looking_claims_nothing(queue: RunAt, client: redis.Redis, looking: Callable[..., tuple[Looking, list[Frame]]]):
    queue.on_next([Job("a", 1), Job("b", 1)])
    view, frames = looking(queue)
    wait_until(lambda: view.looks > 5, "it has looked")
    assert client.zcard(Q) == 2
    assert client.keys() == [Q.encode()]
    assert frames[0]["counts"]["due"] == 2
    assert not queue._source.subscribers
    assert not queue._source.subscribers._is_ticking


def test_what_this_process_receives_is_seen_as_it_comes(
    queue: RunAt, looking: Callable[..., tuple[Looking, list[Frame]]]
) -> None:
    _, frames = looking(queue)
    queue.subscribe(lambda _: None)
    queue.on_next([Job("a", timedelta(seconds=0.1)), Job("b", timedelta(seconds=0.2))])
    wait_until(lambda: frames and frames[-1]["counts"]["received"] == 2, "both were seen")
    fired = [mark for mark in frames[-1]["marks"] if mark[0] == "fired"]
    assert sum(mark[3] for mark in fired) == 2
    assert all(0 <= mark[5] < 1000 for mark in fired)


def test_what_was_taken_by_others_is_seen(
    queue: RunAt, client: redis.Redis, looking: Callable[..., tuple[Looking, list[Frame]]]
) -> None:
    queue.schedule("a", timedelta(seconds=0.1))
    _, frames = looking(queue)
    wait_until(lambda: frames and frames[-1]["counts"]["due"], "it is due")
    client.zpopmin(Q)
    wait_until(lambda: [mark for mark in frames[-1]["marks"] if mark[0] == "gone"], "it is gone")


def test_at_most_twenty_updates_a_second(queue: RunAt, looking: Callable[..., tuple[Looking, list[Frame]]]) -> None:
    view, frames = looking(queue)
    done = threading.Event()
    queue.subscribe(lambda key: done.set() if key == "z" else None)
    queue.on_next(
        [Job(f"k{i:04}", timedelta(seconds=i / 1000)) for i in range(1000)] + [Job("z", timedelta(seconds=1))]
    )
    assert done.wait(20)
    view.stop()
    assert 5 < len(frames) <= 22


def test_a_queue_at_rest_is_looked_at_less_often_and_nothing_is_published(
    queue: RunAt, looking: Callable[..., tuple[Looking, list[Frame]]]
) -> None:
    queue.schedule("a", timedelta(days=1))
    view, frames = looking(queue)
    wait_until(lambda: view.looks > 8, "it has looked")
    assert len(frames) == 1
    assert view._pace > 0.1


def test_it_looks_no_more_when_nobody_does(queue: RunAt, looking: Callable[..., tuple[Looking, list[Frame]]]) -> None:
    view, _ = looking(queue)
    view.attention._silent = 10
    wait_until(lambda: not view.is_running, "it has stopped")
    assert queue._sources.taps == []
    view.start()
    wait_until(lambda: view.looks > 3, "it looks again")
    assert queue._sources.taps == [view]


def test_silence_counts_only_while_the_kernel_could_hear() -> None:
    async def main() -> None:
        attention = Attention()
        for _ in range(20):
            attention.second()  # the event loop is busy: with us
        assert not attention.is_lost
        await asyncio.sleep(0)
        assert attention.is_lost
        attention.here()
        assert not attention.is_lost
        attention.gone()
        attention.gone()
        for _ in range(3):
            attention.second()
        await asyncio.sleep(0)
        assert attention.is_lost

    asyncio.run(main())


def test_a_stopped_queue_is_looked_at_no_more(
    make: Callable[..., RunAt], looking: Callable[..., tuple[Looking, list[Frame]]]
) -> None:
    queue = make()
    view, frames = looking(queue)
    wait_until(lambda: frames, "it has looked")
    queue.stop()
    wait_until(lambda: not view.is_running, "it has stopped")
    assert frames[-1]["note"] == "the queue was stopped"


def test_an_outage_is_written_into_the_picture(looking: Callable[..., tuple[Looking, list[Frame]]]) -> None:
    faults = Faults()
    queue, _ = virtual_queue(faults=faults)
    faults.away = True
    view, frames = looking(queue)
    wait_until(lambda: frames, "it has looked")
    assert "away on demand" in frames[-1]["note"]
    assert view.is_running


# Looking at claims.


@pytest.fixture
def watch() -> Callable[..., tuple[RunAt, TestScheduler, Callable[[], list[tuple[object, ...]]]]]:
    """A queue in virtual time, and a look at it; the picture is told of its claims, and looks only when asked."""

    def watch(faults: Faults | None = None):
        queue, scheduler = virtual_queue(faults=faults)
        view = Looking(queue, scene(lambda key: key), lambda _: None)
        queue._sources.taps.append(view)
        return queue, scheduler, lambda: marks(view.look())

    return watch


def test_a_claim_of_this_process_is_shown_from_claim_to_ack(watch: Callable[..., Any]) -> None:
    queue, scheduler, shows = watch()
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


def test_a_claim_that_is_late_fires_with_its_lateness(watch: Callable[..., Any]) -> None:
    queue, scheduler, shows = watch()
    queue.schedule("a", 1)
    scheduler.advance_to(3)
    queue.claims().subscribe(lambda claim: claim.ack())
    scheduler.advance_to(3.25)
    assert shows() == [("fired", "a", 1, "a", 2000.0)]


def test_a_claim_whose_lease_ended_comes_back_and_is_out_again(watch: Callable[..., Any]) -> None:
    queue, scheduler, shows = watch()
    queue.claims(lease=2).pipe(ops.filter(lambda claim: claim.attempt > 1)).subscribe(lambda claim: claim.ack())
    queue.schedule("a", 1)
    scheduler.advance_to(2)
    assert [kind for kind, *_ in shows()] == ["claimed", "lease"]
    scheduler.advance_to(4)
    assert shows() == [("back", "a", 1, "a", None), ("retried", "a", 1, "a", 2000.0)]


def test_claims_that_nobody_received_wait(watch: Callable[..., Any]) -> None:
    queue, scheduler, shows = watch()
    queue.on_next([Job(key, 1) for key in "abc"])
    queue.claims().pipe(ops.take(1)).subscribe(lambda claim: claim.ack())
    scheduler.advance_to(2)
    assert [mark[:2] for mark in shows()] == [("due", "b"), ("due", "c"), ("fired", "a")]


def test_claims_that_settle_gives_back_wait(watch: Callable[..., Any]) -> None:
    queue, scheduler, shows = watch()
    queue.on_next([Job(key, 1) for key in "ab"])
    outcomes = queue.claims().pipe(settle(lambda claim: rx.never()))
    subscription = outcomes.subscribe()
    scheduler.advance_to(2)
    assert [mark[:2] for mark in shows()] == [("claimed", "a"), ("claimed", "b"), ("lease", "a"), ("lease", "b")]
    subscription.dispose()
    scheduler.advance_to(2.5)
    assert [mark[:2] for mark in shows()] == [("due", "a"), ("due", "b")]


def test_looking_at_claims_changes_nothing_and_asks_little(watch: Callable[..., Any], faults: Faults) -> None:
    queue, scheduler, shows = watch(faults)
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
    assert faults.commands.count("EVALSHA") == 3  # two looks, and one question
    assert [claim.ack() for claim in got] == [False] * 25 + [True] * 25


def test_a_picture_of_claims_in_real_time(queue: RunAt, looking: Callable[..., tuple[Looking, list[Frame]]]) -> None:
    _, frames = looking(queue)
    got: list[Claim] = []
    queue.claims().subscribe(got.append)
    queue.schedule("a", timedelta(seconds=0.05))

    def is_shown(*kinds: str) -> bool:
        return bool(frames) and sorted(mark[0] for mark in frames[-1]["marks"]) == sorted(kinds)

    wait_until(lambda: is_shown("claimed", "lease"), "it is out")
    got[0].bury("poison")
    wait_until(lambda: is_shown("dead"), "it is dead")


# The widget.


@pytest.fixture
def shown(queue: RunAt) -> Iterator[Timeline]:
    queue.on_next([Job("tea", timedelta(seconds=3)), Job("bus", 1)])
    widget = timeline(queue, 5)
    yield widget
    widget.close()


def test_its_output_holds_a_still_beside_the_live_view(shown: Timeline) -> None:
    data, _ = shown._repr_mimebundle_()
    assert {"application/vnd.jupyter.widget-view+json", "image/svg+xml", "text/plain"} <= set(data)
    assert "tea" in " ".join(ElementTree.fromstring(data["image/svg+xml"]).itertext())
    assert data["text/plain"] == repr(shown)
    assert repr(shown).startswith("<Timeline of RunAt~default on unix://")
    assert "2 scheduled · 1 due" in repr(shown)


def test_views_keep_it_looking_and_closing_ends_it(shown: Timeline) -> None:
    shown.looking.stop()
    shown._handle_custom_msg({"view": "here"}, [])
    assert shown.looking.is_running
    shown._handle_custom_msg({"view": "gone"}, [])
    assert shown.looking.attention._silent == 7
    shown.close()
    shown.close()
    assert not shown.looking.is_running


def test_the_front_end_is_plain_and_asks_for_nothing() -> None:
    here = Path(rx_runat.drawing.__file__).parent
    for name in ("timeline.js", "timeline.css"):
        text = (here / name).read_text()
        for word in ("http:", "https:", "//cdn", "import ", "@import", "url(", "fetch(", "eval("):
            assert word not in text


def test_arguments_are_checked(queue: RunAt) -> None:
    with pytest.raises(InvalidSetting, match="queue: got 'q'"):
        timeline("q")  # type: ignore[arg-type]
    with pytest.raises(InvalidSetting, match="window: got 0"):
        timeline(queue, 0)
    with pytest.raises(InvalidSetting, match="lane: got 'x'"):
        timeline(queue, lane="x")  # type: ignore[arg-type]


def test_without_the_extra_it_says_what_to_install(queue: RunAt, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "rx_runat.notebook.widget", None)
    with pytest.raises(InvalidSetting, match=r"pip install 'rx-runat\[notebook\]'"):
        timeline(queue)
