"""What became of keys: reported once, with its moment; a key is located only if the snapshot leaves it open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from rx_runat import Unavailable
from rx_runat.drawing import key_tracker as module
from rx_runat.drawing.key_tracker import LISTED, KeyTracker
from rx_runat.model.batch import Claimed, Entry, Leased
from rx_runat.model.snapshot import Place, Snapshot

OUT, AGAIN, GONE = Place("out"), Place("again"), Place("gone")


class Tracked:
    """A tracker, what it reported, and which keys it located."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, float, dict[str, float | None]]] = []
        self.located: list[list[str]] = []
        self.places: dict[str, Place] = {}
        self.tracker = KeyTracker(5_000.0, self._report)

    def _report(self, kind: str, at: float, lates: Mapping[str, float | None]) -> None:
        self.reports.append((kind, at, dict(lates)))

    def _locate(self, keys: Sequence[str]) -> list[Place]:
        self.located.append(list(keys))
        return [self.places.get(key, GONE) for key in keys]

    def see(self, now: float, *, claiming: bool = True, coming: Sequence[str] = (), **leases: float) -> None:
        seen = Snapshot(now, coming=[(key, now + 1) for key in coming], leases=list(leases.items()))
        self.tracker.see(seen, claiming, self._locate)

    def due(self, now: float, key: str, at: float) -> None:
        self.tracker.see(Snapshot(now, due=1, due_keys=[(key, at)]), True, self._locate)

    def lease(self, now: float, *keys: str, at: float = 1_000.0, attempt: int = 1) -> None:
        n = len(keys)
        leased = Leased(
            list(keys), [str(at)] * n, [attempt] * n, ["now"] * n, "fence", int(now + 9_000), int(now * 1e3), None
        )
        self.tracker.leased(leased)


@pytest.fixture
def tracked() -> Tracked:
    return Tracked()


# What this process claims.


def test_a_claim_is_out_until_its_work_is_done(tracked: Tracked) -> None:
    tracked.lease(1_003, "a")
    tracked.see(1_050, a=10_003)
    assert (tracked.reports, tracked.located, tracked.tracker.received) == ([], [], 1)
    tracked.see(1_100)
    assert tracked.reports == [("fired", 1_003, {"a": 3})]
    assert tracked.located == [["a"]]
    tracked.see(1_150)
    assert len(tracked.located) == 1


@pytest.mark.parametrize("place", [Place("gone", 1_000, 1_070), AGAIN])
def test_a_claim_that_fails_came_back_or_is_dead(tracked: Tracked, place: Place) -> None:
    tracked.lease(1_003, "a")
    tracked.places["a"] = place
    tracked.see(1_100)
    report = {"gone": ("dead", 1_070, {"a": None}), "again": ("back", 1_003, {"a": None})}
    assert tracked.reports == [report[place.kind]]
    assert tracked.tracker.out == {}


def test_an_older_dead_letter_says_nothing_about_this_claim(tracked: Tracked) -> None:
    tracked.lease(1_003.4, "a")
    tracked.places["a"] = Place("gone", died=1_002)
    tracked.see(1_100)
    assert tracked.reports[0][0] == "fired"
    tracked.lease(1_103.4, "a")
    tracked.places["a"] = Place("gone", died=1_103)  # a letter's time is in whole ms
    tracked.see(1_200)
    assert tracked.reports[1][:2] == ("dead", 1_103)


def test_work_that_took_long_is_shown_as_done_when_it_ends(tracked: Tracked) -> None:
    """Its claim has left the picture by then."""
    tracked.lease(1_003, "a")
    tracked.see(9_000, a=10_000)
    tracked.see(9_050)
    assert tracked.reports == [("done", 9_050, {"a": 3})]


def test_a_key_that_is_claimed_again_before_the_next_snapshot_came_back(tracked: Tracked) -> None:
    tracked.lease(1_003, "a", "b")
    tracked.lease(1_020, "a", attempt=2)
    tracked.lease(1_020, "b", attempt=1)  # its work was done, and it was scheduled again
    assert tracked.reports == [("back", 1_003, {"a": None}), ("fired", 1_003, {"b": 3})]
    tracked.see(1_050, a=2_000, b=2_000)
    assert [out.at for out in tracked.tracker.out.values()] == [1_020, 1_020]


def test_a_snapshot_may_show_a_claim_before_its_source_reports_it(tracked: Tracked) -> None:
    tracked.see(1_050, a=10_000)
    tracked.lease(1_040, "a")
    tracked.see(1_100)
    assert tracked.reports == [("fired", 1_040, {"a": 40})]


def test_keys_that_nobody_received_were_not_out(tracked: Tracked) -> None:
    tracked.lease(1_003, "a", "b")
    tracked.tracker.returned([Entry("b", "1000")])
    tracked.tracker.delivered(Claimed(["c", "d"], ["1000", "1000"], 1_004_000, None), [Entry("d", "1000")])
    tracked.see(1_050)
    assert tracked.reports == [("fired", 1_004, {"c": 4}), ("fired", 1_003, {"a": 3})]
    assert tracked.tracker.received == 2


def test_a_claim_that_was_handed_back_later_was_not_received(tracked: Tracked) -> None:
    tracked.lease(1_003.25, "a", "b")
    tracked.places |= {"a": Place("gone", 1_000), "b": Place("gone", 2_000)}  # b is done, and scheduled again
    tracked.see(1_050)
    assert tracked.reports == [("fired", 1_003.25, {"b": 3.25})]
    assert tracked.tracker.received == 1


def test_of_very_many_claims_the_last_are_reported_as_fired_at_once(
    tracked: Tracked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST", 3)
    tracked.lease(1_003, "a", "b")
    tracked.lease(1_004, "c", "d")
    assert tracked.reports == [("fired", 1_004, {"c": 4, "d": 4})]
    assert list(tracked.tracker.out) == ["a", "b"]


# What other processes claim.


def test_keys_that_other_processes_claimed_are_shown_without_their_lateness(tracked: Tracked) -> None:
    tracked.see(1_000, a=9_000, b=9_000, c=9_000)
    assert [out.at for out in tracked.tracker.out.values()] == [1_000] * 3
    tracked.places |= {"b": AGAIN, "c": Place("gone", died=1_020)}
    tracked.see(1_050)
    assert tracked.reports == [("gone", 1_000, {"a": None}), ("back", 1_000, {"b": None}), ("dead", 1_020, {"c": None})]


def test_a_key_of_a_killed_process_comes_back_to_this_one(tracked: Tracked) -> None:
    tracked.see(1_050, a=3_000)
    tracked.lease(3_001, "a", attempt=2)
    tracked.see(3_050, a=9_000)
    assert tracked.reports == [("back", 1_050, {"a": None})]
    tracked.see(3_100)
    assert tracked.reports[1:] == [("retried", 3_001, {"a": 2_001})]


@pytest.mark.parametrize(
    "place, kinds",
    [
        (GONE, ["gone"]),
        (Place("gone", 2_000), ["gone"]),  # taken, and scheduled again
        (Place("gone", 990), []),  # it waits as before
        (AGAIN, ["back"]),
        (Place("gone", died=1_001), ["dead"]),
        (OUT, []),
    ],
)
def test_a_key_that_vanished_between_two_snapshots_is_located(tracked: Tracked, place: Place, kinds: list[str]) -> None:
    tracked.due(1_000, "a", 990)
    tracked.places["a"] = place
    tracked.see(1_050, claiming=False)
    assert [kind for kind, _, _ in tracked.reports] == kinds
    assert tracked.located == [["a"]]
    assert list(tracked.tracker.out) == ["a"] * (place is OUT)


# Locating.


def test_a_key_that_no_snapshot_lists_may_still_be_out(tracked: Tracked) -> None:
    """More keys are out than a snapshot lists: the others are located some at a time."""
    keys = [f"k{i:04}" for i in range(2 * LISTED)]
    tracked.lease(1_003, *keys)
    tracked.places |= dict.fromkeys(keys, OUT)
    tracked.see(1_050)
    tracked.see(1_100)
    assert tracked.located == [keys[:LISTED], keys[LISTED:]]
    assert len(tracked.tracker.out) == 2 * LISTED
    assert tracked.reports == []


def test_in_a_flood_not_every_key_is_located(tracked: Tracked) -> None:
    flood = [(f"k{i:04}", 990.0) for i in range(LISTED - 1)]
    tracked.tracker.see(Snapshot(1_000, due=len(flood), due_keys=flood), True, tracked._locate)
    tracked.lease(1_003, "a")
    tracked.see(1_050, claiming=False)
    assert [len(keys) for keys in tracked.located] == [LISTED // 2 + 1]
    assert len([kind for kind, _, _ in tracked.reports if kind == "gone"]) == LISTED - 1


def test_if_locating_fails_nothing_is_judged_and_nothing_forgotten(tracked: Tracked) -> None:
    def away(keys: Sequence[str]) -> list[Place]:
        raise Unavailable("away")

    tracked.lease(1_003, "a")
    tracked.due(1_010, "b", 1_000)
    for _ in range(2):
        with pytest.raises(Unavailable):
            tracked.tracker.see(Snapshot(1_050), False, away)
    tracked.reports.clear()
    tracked.lease(1_060, "c")
    tracked.see(1_100, claiming=False)
    assert sorted(kind for kind, _, _ in tracked.reports) == ["fired", "gone"]
