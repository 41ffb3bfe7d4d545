"""Promise 20, foreign members pass: what somebody else wrote costs nothing but itself, whatever the verb."""

from __future__ import annotations

import pytest

from rx_runat.model.members import to_key
from tests.support.refusals import NONE, SHARE, Laboratory, share_of
from tests.support.verb import Verb
from tests.support.verb_table import TURNS, VERBS, each_verb
from tests.support.whereabouts import EARLY, ENDED, FENCE, Raw

pytestmark = pytest.mark.no_cover  # it would add half to the time of thousands of calls that are alike

# The first of each list are tried in the default run as well.
MEMBERS = [
    *(b"", b"\xff\xfe", FENCE.encode(), b"x" * 70_000),
    *(b" ", b"\x1f", b"\x00", b"a\r\nb", b"\xc3\x28", b"\xed\xa0\x80", b"-"),
]
SCORES = ["-inf", "inf", "0.1", "-1e300", "1e300", "-62135596800001", "-1.5", "0", "999.9998", "1e15"]
NUMBERS = ["nan", "0x10", "inf", "1e400", "-1", "9" * 40, "x"]
RECORDS = [
    *(None, b"x", f"{FENCE} 1 nan - -".encode(), f"- 2 0x10 {EARLY} -".encode()),
    *(f"{FENCE} 1 {EARLY} - -".encode(), f"- 2 {EARLY} {EARLY} -".encode()),  # as ours, but not where ours lie
    *(b"", b" ", b"\xff\x00\xfe", FENCE.encode(), f"{FENCE} 1 {EARLY}".encode()),
    *(f"{FENCE} {number} {EARLY} - -".encode() for number in NUMBERS),
    *(f"{FENCE} 1 {number} - -".encode() for number in NUMBERS),
    *(f"{FENCE} 1 {EARLY} {number} {number}".encode() for number in NUMBERS),
    *(f"{FENCE} 1 {EARLY} {EARLY} {number}".encode() for number in NUMBERS),
    *(f"- {number} {EARLY} {EARLY} -".encode() for number in NUMBERS),
    *(f"- 2 {number} {EARLY} -".encode() for number in NUMBERS),
]
LETTERS = [
    *(b"", b"x", b"1 2 3", b"nan nan nan nan", f"1 3 0x10 {EARLY}".encode()),
    *(b"\xff\x00", b"1 2", b"   ", b"1 3 1000 \xff\xfe"),
    *(f"{number} 3 {EARLY} reason".encode() for number in NUMBERS),
    *(f"1 {number} {EARLY} reason".encode() for number in NUMBERS),
    *(f"1 3 {number} reason".encode() for number in NUMBERS),
]
LIVING = 2_000_000_000_000  # epoch ms: in the year 2033
BESIDE: dict[str, Raw] = {
    "of an ended lease": Raw(None, ENDED),
    "of a living lease whose key waits": Raw(EARLY, LIVING),
    "of a key that waits": Raw(EARLY),
    "beside nothing": Raw(),
    "of a living lease": Raw(None, LIVING),
    "of an ended lease whose key waits": Raw(EARLY, ENDED),
}

DUE = {name: verb for name, verb in VERBS.items() if verb.place == "due"}
DEAD = {
    name: verb
    for name, verb in VERBS.items()
    if verb.place.startswith("dead") or name in ("stats", "snapshot", "locate")
}
LEASES = {
    name: verb
    for name, verb in VERBS.items()
    if verb.place in ("due", "leased", "ended")
    and not verb.plain
    and name not in ("size", "size, until", "when", "head", "ack, ended")
}


def test_a_server_that_runs_a_share_of_the_cells_meets_all_junk() -> None:
    """Each verb meets its share; all verbs together meet all."""
    for verbs, junk in ((VERBS, MEMBERS), (DUE, SCORES), (LEASES, RECORDS), (LEASES, SCORES), (DEAD, LETTERS)):
        shares = [share_of(junk, SHARE, TURNS[name]) for name in verbs]
        assert all(shares)
        assert [each for each in junk if not any(each in met for met in shares)] == []


@each_verb()
def test_20_a_key_of_any_bytes_is_a_key(laboratory: Laboratory, verb: Verb) -> None:
    """Only scheduling refuses one key: the empty one."""
    members = laboratory.some(MEMBERS, 2, TURNS[verb.name])
    found = [
        laboratory.complaint(verb, NONE, key=to_key(member))
        for member in members
        if member or not verb.name.startswith("schedule")
    ]
    assert list(filter(None, found)) == []


@each_verb(DUE)
def test_20_a_score_that_is_no_time_costs_nothing(laboratory: Laboratory, verb: Verb) -> None:
    found = [
        laboratory.complaint(verb, NONE, Raw(score), label=f"score {score}")
        for score in laboratory.some(SCORES, 2, TURNS[verb.name])
    ]
    assert list(filter(None, found)) == []


@each_verb(LEASES)
def test_20_a_record_that_cannot_be_read_is_none(laboratory: Laboratory, verb: Verb) -> None:
    found = [
        laboratory.complaint(verb, NONE, BESIDE[beside]._replace(record=record), label=f"{record!r} {beside}")
        for turn, record in enumerate(laboratory.some(RECORDS, 3, TURNS[verb.name]))
        for beside in laboratory.some(list(BESIDE), 2, turn)
    ]
    assert list(filter(None, found)) == []


@each_verb(LEASES)
def test_20_a_deadline_that_is_no_time_costs_nothing(laboratory: Laboratory, verb: Verb) -> None:
    record = f"{FENCE} 1 {EARLY} - -"
    found = [
        laboratory.complaint(verb, NONE, Raw(score, deadline, record), label=f"deadline {deadline}, score {score}")
        for deadline in laboratory.some(SCORES, 1, TURNS[verb.name])
        for score in (None, EARLY)
    ]
    assert list(filter(None, found)) == []


@each_verb(DEAD)
def test_20_a_letter_that_cannot_be_read_is_shown_and_dropped(laboratory: Laboratory, verb: Verb) -> None:
    found = [
        laboratory.complaint(verb, NONE, Raw(None, None, None, letter), label=f"letter {letter!r}")
        for letter in laboratory.some(LETTERS, 4, TURNS[verb.name])
    ]
    assert list(filter(None, found)) == []
