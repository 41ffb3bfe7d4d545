"""What becomes of keys: told once, at its moment, and asked about only where a look leaves it open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from rx_runat import Unavailable
from rx_runat.drawing import fates as module
from rx_runat.drawing.fates import LISTED, Fates
from rx_runat.model.batch import Claimed, Entry, Leased
from rx_runat.model.snapshot import Place, Snapshot

OUT, AGAIN, GONE = Place("out"), Place("again"), Place("gone")


class Watched:
    """Fates, what they told, and what they asked."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float, dict[str, float | None]]] = []
        self.asked: list[list[str]] = []
        self.places: dict[str, Place] = {}
        self.fates = Fates(5_000.0, self._tell)

    def _tell(self, kind: str, at: float, lates: Mapping[str, float | None]) -> None:
        self.told.append((kind, at, dict(lates)))

    def _ask(self, keys: Sequence[str]) -> list[Place]:
        self.asked.append(list(keys))
        return [self.places.get(key, GONE) for key in keys]

    def look(self, now: float, *, claiming: bool = True, coming: Sequence[str] = (), **leases: float) -> None:
        seen = Snapshot(now, coming=[(key, now + 1) for key in coming], leases=list(leases.items()))
        self.fates.see(seen, claiming, self._ask)

    def due(self, now: float, key: str, at: float) -> None:
        self.fates.see(Snapshot(now, due=1, due_keys=[(key, at)]), True, self._ask)

    def lease(self, now: float, *keys: str, at: float = 1_000.0, attempt: int = 1) -> None:
        n = len(keys)
        leased = Leased(list(keys), [str(at)] * n, [attempt] * n, "fence", int(now + 9_000), int(now * 1e3), None)
        self.fates.leased(leased)


@pytest.fixture
def watched() -> Watched:
    return Watched()


# What this process claims.


def test_a_claim_is_out_until_its_work_is_done(watched: Watched) -> None:
    watched.lease(1_003, "a")
    watched.look(1_050, a=10_003)
    assert (watched.told, watched.asked, watched.fates.received) == ([], [], 1)
    watched.look(1_100)
    assert watched.told == [("fired", 1_003, {"a": 3})]
    assert watched.asked == [["a"]]
    watched.look(1_150)
    assert len(watched.asked) == 1


@pytest.mark.parametrize("place", [Place("gone", 1_000, 1_070), AGAIN])
def test_a_claim_that_fails_came_back_or_is_dead(watched: Watched, place: Place) -> None:
    watched.lease(1_003, "a")
    watched.places["a"] = place
    watched.look(1_100)
    told = {"gone": ("dead", 1_070, {"a": None}), "again": ("back", 1_003, {"a": None})}
    assert watched.told == [told[place.kind]]
    assert watched.fates.out == {}


def test_an_older_letter_says_nothing_about_this_claim(watched: Watched) -> None:
    watched.lease(1_003.4, "a")
    watched.places["a"] = Place("gone", died=1_002)
    watched.look(1_100)
    assert watched.told[0][0] == "fired"
    watched.lease(1_103.4, "a")
    watched.places["a"] = Place("gone", died=1_103)  # a letter's time is in whole ms
    watched.look(1_200)
    assert watched.told[1][:2] == ("dead", 1_103)


def test_work_that_took_long_is_done_when_it_ends(watched: Watched) -> None:
    """Where it went out is out of the picture by then."""
    watched.lease(1_003, "a")
    watched.look(9_000, a=10_000)
    watched.look(9_050)
    assert watched.told == [("done", 9_050, {"a": 3})]


def test_a_key_that_is_claimed_again_before_a_look_came_back(watched: Watched) -> None:
    watched.lease(1_003, "a", "b")
    watched.lease(1_020, "a", attempt=2)
    watched.lease(1_020, "b", attempt=1)  # its work was done, and it was scheduled anew
    assert watched.told == [("back", 1_003, {"a": None}), ("fired", 1_003, {"b": 3})]
    watched.look(1_050, a=2_000, b=2_000)
    assert [out.at for out in watched.fates.out.values()] == [1_020, 1_020]


def test_a_look_may_see_a_claim_before_its_source_tells(watched: Watched) -> None:
    watched.look(1_050, a=10_000)
    watched.lease(1_040, "a")
    watched.look(1_100)
    assert watched.told == [("fired", 1_040, {"a": 40})]


def test_what_nobody_received_was_not_out(watched: Watched) -> None:
    watched.lease(1_003, "a", "b")
    watched.fates.returned([Entry("b", "1000")])
    watched.fates.delivered(Claimed(["c", "d"], ["1000", "1000"], 1_004_000, None), [Entry("d", "1000")])
    watched.look(1_050)
    assert watched.told == [("fired", 1_004, {"c": 4}), ("fired", 1_003, {"a": 3})]
    assert watched.fates.received == 2


def test_what_was_given_back_later_was_not_received(watched: Watched) -> None:
    watched.lease(1_003.25, "a", "b")
    watched.places |= {"a": Place("gone", 1_000), "b": Place("gone", 2_000)}  # the other is done, and scheduled anew
    watched.look(1_050)
    assert watched.told == [("fired", 1_003.25, {"b": 3.25})]
    assert watched.fates.received == 1


def test_very_many_claims_are_shown_at_once(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 3)
    watched.lease(1_003, "a", "b")
    watched.lease(1_004, "c", "d")
    assert watched.told == [("fired", 1_004, {"c": 4, "d": 4})]
    assert list(watched.fates.out) == ["a", "b"]


# What others claim.


def test_what_others_have_is_seen_and_how_late_is_unknown(watched: Watched) -> None:
    watched.look(1_000, a=9_000, b=9_000, c=9_000)
    assert [out.at for out in watched.fates.out.values()] == [1_000] * 3
    watched.places |= {"b": AGAIN, "c": Place("gone", died=1_020)}
    watched.look(1_050)
    assert watched.told == [("gone", 1_000, {"a": None}), ("back", 1_000, {"b": None}), ("dead", 1_020, {"c": None})]


def test_the_work_of_a_killed_process_comes_back_to_this_one(watched: Watched) -> None:
    watched.look(1_050, a=3_000)
    watched.lease(3_001, "a", attempt=2)
    watched.look(3_050, a=9_000)
    assert watched.told == [("back", 1_050, {"a": None})]
    watched.look(3_100)
    assert watched.told[1:] == [("retried", 3_001, {"a": 2_001})]


@pytest.mark.parametrize(
    "place, kinds",
    [
        (GONE, ["gone"]),
        (Place("gone", 2_000), ["gone"]),  # taken, and scheduled anew
        (Place("gone", 990), []),  # it waits as it did
        (AGAIN, ["back"]),
        (Place("gone", died=1_001), ["dead"]),
        (OUT, []),
    ],
)
def test_what_others_do_between_two_looks_is_asked_about(watched: Watched, place: Place, kinds: list[str]) -> None:
    watched.due(1_000, "a", 990)
    watched.places["a"] = place
    watched.look(1_050, claiming=False)
    assert [kind for kind, _, _ in watched.told] == kinds
    assert watched.asked == [["a"]]
    assert list(watched.fates.out) == ["a"] * (place is OUT)


# Asking.


def test_what_a_look_does_not_list_may_be_out_all_the_same(watched: Watched) -> None:
    """More are out than a look lists: those are asked about in turn, so many in a look."""
    keys = [f"k{i:04}" for i in range(2 * LISTED)]
    watched.lease(1_003, *keys)
    watched.places |= dict.fromkeys(keys, OUT)
    watched.look(1_050)
    watched.look(1_100)
    assert watched.asked == [keys[:LISTED], keys[LISTED:]]
    assert len(watched.fates.out) == 2 * LISTED
    assert watched.told == []


def test_in_a_flood_not_every_key_is_asked_about(watched: Watched) -> None:
    flood = [(f"k{i:04}", 990.0) for i in range(LISTED - 1)]
    watched.fates.see(Snapshot(1_000, due=len(flood), due_keys=flood), True, watched._ask)
    watched.lease(1_003, "a")
    watched.look(1_050, claiming=False)
    assert [len(asked) for asked in watched.asked] == [LISTED // 2 + 1]
    assert len([kind for kind, _, _ in watched.told if kind == "gone"]) == LISTED - 1


def test_an_answer_that_does_not_come_leaves_all_as_it_was(watched: Watched) -> None:
    def away(keys: Sequence[str]) -> list[Place]:
        raise Unavailable("away")

    watched.lease(1_003, "a")
    watched.due(1_010, "b", 1_000)
    for _ in range(2):
        with pytest.raises(Unavailable):
            watched.fates.see(Snapshot(1_050), False, away)
    watched.told.clear()
    watched.lease(1_060, "c")
    watched.look(1_100, claiming=False)
    assert sorted(kind for kind, _, _ in watched.told) == ["fired", "gone"]
