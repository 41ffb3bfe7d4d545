"""What a picture shows, from snapshots and from claims of this process."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest

from rx_runat.drawing.key_tracker import LISTED
from rx_runat.drawing.static_svg import counts
from rx_runat.model.batch import Entry, Leased
from rx_runat.model.snapshot import Place
from tests.support.scenes import claim, marks, scene, see, snapshot


def test_a_key_waits_and_fires_with_its_lateness() -> None:
    picture = scene()
    see(picture, snapshot(10_000, coming={"a": 12_000.0}))
    assert picture.frame()["marks"] == [["waiting", 0, 12_000.0, 1, "a", None]]
    see(picture, snapshot(12_050), [(claim(12_003, {"a": 12_000.0}), [])])
    assert picture.frame()["marks"] == [["fired", 0, 12_003.0, 1, "a", 3.0]]
    assert picture.frame()["counts"]["received"] == 1
    see(picture, snapshot(20_000))
    assert picture.frame()["marks"] == []


def test_a_key_that_another_process_took_is_gone_and_its_lateness_unknown() -> None:
    picture = scene()
    see(picture, snapshot(10_000, coming={"a": 10_040.0}))
    see(picture, snapshot(10_050))
    assert marks(picture.frame()) == [("waiting", "", 1, "a", None)]  # it may be in a claim of this process
    see(picture, snapshot(10_500))
    assert marks(picture.frame()) == [("gone", "", 1, "a", None)]


def test_if_this_process_claims_nothing_another_took_a_vanished_key() -> None:
    picture = scene()
    see(picture, snapshot(10_000, coming={"a": 10_040.0}), claiming=False)
    see(picture, snapshot(10_050), claiming=False)
    assert marks(picture.frame()) == [("gone", "", 1, "a", None)]


def test_a_claim_of_this_process_that_is_reported_late_is_not_anothers() -> None:
    picture = scene()
    see(picture, snapshot(10_000, coming={"a": 10_040.0}))
    see(picture, snapshot(10_050))
    see(picture, snapshot(10_300), [(claim(10_041, {"a": 10_040.0}), [])])
    see(picture, snapshot(11_000))
    assert marks(picture.frame()) == [("fired", "", 1, "a", 1.0)]


def test_a_key_that_is_cancelled_or_moved_before_its_time_did_not_fire() -> None:
    picture = scene()
    see(picture, snapshot(10_000, coming={"a": 15_000.0, "b": 16_000.0}))
    see(picture, snapshot(10_050, coming={"b": 18_000.0}))
    see(picture, snapshot(11_000, coming={"b": 18_000.0}))
    assert picture.frame()["marks"] == [["waiting", 0, 18_000.0, 1, "b", None]]


def test_a_key_that_was_handed_back_did_not_fire() -> None:
    picture = scene()
    see(picture, snapshot(10_000, due={"a": 9_000.0, "b": 9_001.0}))
    back = [(claim(10_010, {"a": 9_000.0, "b": 9_001.0}), [Entry("b", "9001")])]
    see(picture, snapshot(10_050, due={"b": 9_001.0}), back)
    assert marks(picture.frame()) == [("due", "", 1, "b", None), ("fired", "", 1, "a", 1010.0)]


def test_keys_that_would_cover_each_other_are_counted() -> None:
    picture = scene()
    see(picture, snapshot(10_000, coming={f"k{i:03}": 12_000.0 + i / 10 for i in range(300)}, due={"x": 1.0, "y": 2.0}))
    assert marks(picture.frame()) == [("due", "", 2, "", None), ("waiting", "", 300, "", None)]
    see(picture, snapshot(12_100), [(claim(12_040, {f"k{i:03}": 12_000.0 + i / 10 for i in range(300)}), [])])
    assert ("fired", "", 300, "", 40.0) in marks(picture.frame())


def test_lanes_by_a_function_of_the_key() -> None:
    picture = scene(lambda key: key.split(":")[0])
    see(
        picture,
        snapshot(10_000, coming={"mail:1": 11_000.0, "sms:1": 12_000.0, "mail:2": 13_000.0}, due={"sms:0": 1.0}),
    )
    assert picture.frame()["lanes"] == ["mail", "sms"]
    see(picture, snapshot(11_100), [(claim(11_001, {"mail:1": 11_000.0}), [])])
    assert ("fired", "mail", 1, "mail:1", 1.0) in marks(picture.frame())


def test_many_lanes_share_the_last_and_a_lane_function_that_raises_has_its_own() -> None:
    picture = scene(lambda key: 1 / 0 if key == "k0" else key)
    see(picture, snapshot(10_000, coming={f"k{i}": 11_000.0 + i for i in range(40)}))
    lanes = picture.frame()["lanes"]
    assert len(lanes) == 12
    assert (lanes[0], lanes[-1]) == ("?", "…")
    assert sum(keys for _, _, _, keys, _, _ in picture.frame()["marks"]) == 40


def test_a_lane_whose_keys_are_gone_gives_its_place_to_a_new_one() -> None:
    picture = scene(lambda key: key)
    see(picture, snapshot(10_000, coming={f"k{i:02}": 11_000.0 + i for i in range(11)}))
    see(picture, snapshot(10_100, coming={f"k{i:02}": 11_000.0 + i for i in range(11)} | {"new": 12_000.0}))
    assert picture.frame()["lanes"] == [*(f"k{i:02}" for i in range(11)), "…"]
    left = {f"k{i:02}": 11_000.0 + i for i in range(11) if i != 4}
    see(picture, snapshot(10_200, coming=left))  # one was cancelled, and the new one as well
    assert picture.frame()["lanes"] == [f"k{i:02}" for i in range(11)]  # nothing jumps
    see(picture, snapshot(10_300, coming=left | {"new": 12_000.0}))
    assert picture.frame()["lanes"] == ["k00", "k01", "k02", "k03", "new", *(f"k{i:02}" for i in range(5, 11))]
    assert ("waiting", "new", 1, "new", None) in marks(picture.frame())
    see(picture, snapshot(10_400, coming=left | {"new": 12_000.0, "k04": 13_000.0}))
    assert ("waiting", "…", 1, "k04", None) in marks(picture.frame())


def test_a_lane_is_free_only_after_what_became_of_its_keys_has_left_the_picture() -> None:
    picture = scene(lambda key: key)
    coming = {f"k{i:02}": 30_000.0 for i in range(10)}
    see(picture, snapshot(10_000, coming=coming), [(claim(10_000, {"told": 10_000.0}), [])])
    picture.frame()
    see(picture, snapshot(12_000, coming=coming | {"new": 20_000.0}))
    assert "told" in picture.frame()["lanes"]
    assert picture.frame()["lanes"][-1] == "…"
    see(picture, snapshot(16_000, coming=coming))
    picture.frame()
    see(picture, snapshot(16_100, coming=coming | {"new": 20_000.0}))
    assert "told" not in picture.frame()["lanes"]
    assert ("waiting", "new", 1, "new", None) in marks(picture.frame())


@pytest.mark.parametrize("lane", [None, lambda key: "all"])
def test_a_window_with_more_keys_than_a_snapshot_lists_is_counted_whole(lane: Callable[[str], object] | None) -> None:
    picture = scene(lane)
    wide = picture.bin_ms
    listed = {f"k{i}": 12_000.0 + i for i in range(LISTED)}
    start = 12_000 // wide * wide
    slices = {float(start + i * wide): 1_000 for i in range(5)}
    see(picture, snapshot(10_000, coming=listed, slices=slices, scheduled=5_000))
    shown = [mark for mark in picture.frame()["marks"] if mark[0] == "waiting"]
    assert sum(mark[3] for mark in shown) == 5_000
    assert picture.frame()["lanes"] == ([""] if lane is None else ["all", "…"])


def test_a_claimed_key_is_out_until_its_lease_ends() -> None:
    picture = scene()
    see(picture, snapshot(10_000, coming={"a": 10_010.0}))
    see(picture, snapshot(10_050, leases=[("a", 15_000.0)], claimed=1, dead=2))
    see(picture, snapshot(11_000, leases=[("a", 15_000.0)], claimed=1, dead=2))
    assert picture.frame()["marks"] == [["claimed", 0, 10_050.0, 1, "a", None], ["lease", 0, 15_000.0, 1, "a", None]]
    assert counts(picture.frame()) == "0 scheduled · 0 due · 1 claimed · 2 dead · 0 received"


def test_claims_that_are_older_than_the_picture_are_one_mark_at_its_edge() -> None:
    picture = scene()
    first = {f"a{i}": 40_000.0 + i for i in range(5)}
    see(picture, snapshot(10_000, leases=list(first.items())))
    second = first | {"b": 21_000.0}
    see(picture, snapshot(20_000, leases=list(second.items())))
    assert [mark[:4] for mark in picture.frame()["marks"]] == [
        ["claimed", 0, 20_000.0, 1],
        ["claimed", 0, 10_000.0, 5],
        ["lease", 0, 21_000.0, 1],
        ["lease", 0, 40_000.0, 5],
    ]


def test_each_end_of_a_claim_has_a_mark_of_its_own() -> None:
    picture = scene(lambda key: key)
    places = {"nacked": Place("again"), "buried": Place("gone", died=10_020.0)}
    see(picture, snapshot(10_000, leases=[(key, 15_000.0) for key in ("acked", "buried", "nacked")]))
    see(picture, snapshot(10_050), locate=lambda keys: [places.get(key, Place("gone")) for key in keys])
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
        see(
            picture,
            snapshot(now + 999, coming={f"z{i}": now + 1000 + i for i in range(LISTED)}),
            [(claim(now, keys), [])],
        )
    frame = picture.frame()
    assert len(frame["marks"]) < 300
    assert len(json.dumps(frame)) < 16_000


def test_a_burst_is_counted_not_sorted_into_lanes() -> None:
    picture = scene(lambda key: key)
    see(picture, snapshot(10_000), [(claim(10_000, {f"k{i}": 1.0 for i in range(20_000)}), [])])
    assert sum(keys for _, _, _, keys, _, _ in picture.frame()["marks"]) == 20_000


def test_a_retried_key_is_not_counted_with_others_since_it_would_make_them_late() -> None:
    picture = scene()
    see(picture, snapshot(10_000), [(claim(10_000, {"a": 10_000.0, "b": 10_000.0}), [])])
    picture.tracker.leased(Leased(["c"], ["1000"], [2], ["now"], "fence", 12_000, 10_000_000, None))
    see(picture, snapshot(10_050))
    assert marks(picture.frame()) == [("fired", "", 2, "", 0.0), ("retried", "", 1, "c", 9_000.0)]


def test_20_infinite_scores_are_drawn_and_a_frame_stays_json() -> None:
    """JSON has no infinity, but scores and the deadlines of leases may be infinite, if another client wrote them."""
    picture = scene()
    see(picture, snapshot(10_000, due={"": -math.inf}, coming={"never": math.inf}, leases=[("out", math.inf)]))
    frame = picture.frame()
    assert ("due", "", 1, "", None) in marks(frame)
    see(picture, snapshot(12_050), [(claim(12_003, {"": -math.inf}), [])])
    see(picture, snapshot(12_100), locate=lambda keys: [Place("gone", math.inf, None) for _ in keys])
    for each in (frame, picture.frame()):
        json.dumps(each, allow_nan=False)
