"""The live picture of a queue: what it shows, and that looking costs little and claims nothing."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest
import redis

import rx_runat.notebook
from rx_runat import InvalidSetting, Job, RunAt
from rx_runat.glance import Glance
from rx_runat.job import Claimed, Entry
from rx_runat.notebook import timeline
from rx_runat.notebook.looking import Attention, Looking
from rx_runat.notebook.scene import LISTED, Frame, Scene
from rx_runat.notebook.still import counts, draw
from rx_runat.notebook.widget import Timeline
from rx_runat.testing import Faults, virtual_queue
from tests.helpers import wait_until

Q = "RunAt~default"


def scene(lane: Callable[[str], object] | None = None) -> Scene:
    return Scene("jobs on memory://", 10_000.0, lane)


def look(now: float, *, due: dict[str, float] | None = None, coming: dict[str, float] | None = None, **more: object):
    due, coming = due or {}, coming or {}
    state = {"scheduled": len(due) + len(coming), "due": len(due), **more}
    return Glance(now, due_keys=list(due.items()), coming=list(coming.items()), **state)  # type: ignore[arg-type]


def claim(now: float, keys: dict[str, float]) -> Claimed:
    return Claimed(list(keys), [str(at).encode() for at in keys.values()], int(now * 1000), None)


def marks(frame: Frame) -> list[tuple[object, ...]]:
    """Kind, lane, keys, label and lateness."""
    return sorted(
        (kind, frame["lanes"][lane], keys, label, late) for kind, lane, _, keys, label, late in frame["marks"]
    )


# What it shows.


def test_a_key_waits_and_fires_with_its_lateness() -> None:
    picture = scene()
    picture.see(look(10_000, coming={"a": 12_000.0}))
    assert picture.frame()["marks"] == [["waiting", 0, 12_000.0, 1, "a", None]]
    picture.see(look(12_050), [(claim(12_003, {"a": 12_000.0}), [])])
    assert picture.frame()["marks"] == [["fired", 0, 12_003.0, 1, "a", 3.0]]
    assert picture.frame()["counts"]["received"] == 1
    picture.see(look(20_000))
    assert picture.frame()["marks"] == []


def test_a_key_that_another_process_took_is_gone_and_how_late_is_unknown() -> None:
    picture = scene()
    picture.see(look(10_000, coming={"a": 10_040.0}))
    picture.see(look(10_050))
    assert marks(picture.frame()) == [("waiting", "", 1, "a", None)]  # it may be in a claim of ours
    picture.see(look(10_500))
    assert marks(picture.frame()) == [("gone", "", 1, "a", None)]


def test_where_this_process_claims_nothing_another_took_it_for_sure() -> None:
    picture = scene()
    picture.see(look(10_000, coming={"a": 10_040.0}), claiming=False)
    picture.see(look(10_050), claiming=False)
    assert marks(picture.frame()) == [("gone", "", 1, "a", None)]


def test_a_claim_of_ours_that_tells_late_is_no_other_process() -> None:
    picture = scene()
    picture.see(look(10_000, coming={"a": 10_040.0}))
    picture.see(look(10_050))
    picture.see(look(10_300), [(claim(10_041, {"a": 10_040.0}), [])])
    picture.see(look(11_000))
    assert marks(picture.frame()) == [("fired", "", 1, "a", 1.0)]


def test_a_key_that_is_cancelled_or_moved_before_its_time_did_not_fire() -> None:
    picture = scene()
    picture.see(look(10_000, coming={"a": 15_000.0, "b": 16_000.0}))
    picture.see(look(10_050, coming={"b": 18_000.0}))
    picture.see(look(11_000, coming={"b": 18_000.0}))
    assert picture.frame()["marks"] == [["waiting", 0, 18_000.0, 1, "b", None]]


def test_what_was_handed_back_did_not_fire() -> None:
    picture = scene()
    picture.see(look(10_000, due={"a": 9_000.0, "b": 9_001.0}))
    back = [(claim(10_010, {"a": 9_000.0, "b": 9_001.0}), [Entry("b", b"9001")])]
    picture.see(look(10_050, due={"b": 9_001.0}), back)
    assert marks(picture.frame()) == [("due", "", 1, "b", None), ("fired", "", 1, "a", 1010.0)]


def test_keys_that_would_cover_each_other_are_counted() -> None:
    picture = scene()
    picture.see(look(10_000, coming={f"k{i:03}": 12_000.0 + i / 10 for i in range(300)}, due={"x": 1.0, "y": 2.0}))
    assert marks(picture.frame()) == [("due", "", 2, "", None), ("waiting", "", 300, "", None)]
    picture.see(look(12_100), [(claim(12_040, {f"k{i:03}": 12_000.0 + i / 10 for i in range(300)}), [])])
    assert ("fired", "", 300, "", 40.0) in marks(picture.frame())


def test_lanes_by_a_function_of_the_key() -> None:
    picture = scene(lambda key: key.split(":")[0])
    picture.see(look(10_000, coming={"mail:1": 11_000.0, "sms:1": 12_000.0, "mail:2": 13_000.0}, due={"sms:0": 1.0}))
    assert picture.frame()["lanes"] == ["mail", "sms"]
    picture.see(look(11_100), [(claim(11_001, {"mail:1": 11_000.0}), [])])
    assert ("fired", "mail", 1, "mail:1", 1.0) in marks(picture.frame())


def test_many_lanes_share_the_last_and_a_lane_function_that_raises_has_its_own() -> None:
    picture = scene(lambda key: 1 / 0 if key == "k0" else key)
    picture.see(look(10_000, coming={f"k{i}": 11_000.0 + i for i in range(40)}))
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
    picture.see(look(10_000, coming=listed, slices=slices, scheduled=5_000))
    shown = [mark for mark in picture.frame()["marks"] if mark[0] == "waiting"]
    assert sum(mark[3] for mark in shown) == 5_000
    assert picture.frame()["lanes"] == ([""] if lane is None else ["all", "…"])


def test_claimed_keys_wait_for_the_end_of_their_lease() -> None:
    picture = scene()
    picture.see(look(10_000, coming={"a": 10_010.0}))
    picture.see(look(10_050, leases=[("a", 15_000.0)], claimed=1, dead=2))
    picture.see(look(11_000, leases=[("a", 15_000.0)], claimed=1, dead=2))
    assert picture.frame()["marks"] == [["claimed", 0, 15_000.0, 1, "a", None]]
    assert counts(picture.frame()) == "0 scheduled · 0 due · 1 claimed · 2 dead · 0 received"


def test_a_frame_of_a_busy_queue_is_small() -> None:
    """A thousand keys a second, in two lanes: some 200 marks, whatever the number of keys."""
    picture = scene(lambda key: int(key[1:]) % 2)
    for second in range(20):
        now = 100_000.0 + second * 1000
        keys = {f"k{second * 1000 + i}": now + i for i in range(1000)}
        picture.see(look(now + 999, coming={f"z{i}": now + 1000 + i for i in range(LISTED)}), [(claim(now, keys), [])])
    frame = picture.frame()
    assert len(frame["marks"]) < 300
    assert len(json.dumps(frame)) < 16_000


def test_a_burst_is_counted_not_sorted_into_lanes() -> None:
    picture = scene(lambda key: key)
    picture.see(look(10_000), [(claim(10_000, {f"k{i}": 1.0 for i in range(20_000)}), [])])
    assert sum(keys for _, _, _, keys, _, _ in picture.frame()["marks"]) == 20_000


# The still.


def test_a_still_is_a_picture_with_all_that_is_there() -> None:
    picture = scene(lambda key: key[0])
    picture.see(look(10_000, coming={"<a>&": 12_000.0, "b": 12_500.0}, due={"late": 1.0}, leases=[("c", 13_000.0)]))
    picture.see(look(10_100, coming={"<a>&": 12_000.0}), [(claim(10_050, {"b": 9_000.0, "x": 10_050.0}), [])])
    svg = draw(picture.frame("nothing answers"))
    words = " ".join(ElementTree.fromstring(svg).itertext())
    for word in ("<a>&", "b", "now", "+2 s", "-2 s", "waiting", "on time", "nothing answers", "jobs on memory://"):
        assert word in words


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
    assert not queue._source._active


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
    assert queue._source.taps == ()
    view.start()
    wait_until(lambda: view.looks > 3, "it looks again")
    assert len(queue._source.taps) == 1


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
    here = Path(rx_runat.notebook.__file__).parent
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
