"""Promise 20, foreign members pass: what somebody else wrote costs nothing but itself, whatever the verb."""

from __future__ import annotations

import pytest

from rx_runat.model.members import to_key
from tests.support.refusals import NONE, Laboratory
from tests.support.verb_table import VERBS, Verb
from tests.support.whereabouts import EARLY, ENDED, FENCE, Raw

MEMBERS = [
    b"",
    b" ",
    b"\x1f",
    FENCE.encode(),
    b"\x00",
    b"a\r\nb",
    b"\xff\xfe",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"-",
    b"x" * 70_000,
]
SCORES = ["-inf", "-1e300", "-62135596800001", "-1.5", "0", "0.1", "999.9998", "1e15", "1e300", "inf"]
NUMBERS = ["nan", "inf", "1e400", "0x10", "-1", "9" * 40, "x"]
RECORDS = [
    *(
        None,
        f"{FENCE} 1 {EARLY} - -".encode(),
        f"- 2 {EARLY} {EARLY} -".encode(),
    ),  # as ours, but not where ours would lie
    *(b"", b"x", b" ", b"\xff\x00\xfe", FENCE.encode(), f"{FENCE} 1 {EARLY}".encode()),
    *(f"{FENCE} {number} {EARLY} - -".encode() for number in NUMBERS),
    *(f"{FENCE} 1 {number} - -".encode() for number in NUMBERS),
    *(f"{FENCE} 1 {EARLY} {number} {number}".encode() for number in NUMBERS),
    *(f"{FENCE} 1 {EARLY} {EARLY} {number}".encode() for number in NUMBERS),
    *(f"- {number} {EARLY} {EARLY} -".encode() for number in NUMBERS),
    *(f"- 2 {number} {EARLY} -".encode() for number in NUMBERS),
]
WORST = [
    b"x",
    *(f"{words}".encode() for words in (f"{FENCE} nan {EARLY} - -", f"{FENCE} 1 nan - -", f"- 2 0x10 {EARLY} -")),
]
LETTERS = [
    *(b"", b"x", b"\xff\x00", b"1 2", b"1 2 3", b"   ", b"nan nan nan nan"),
    *(f"{number} 3 {EARLY} reason".encode() for number in NUMBERS),
    *(f"1 {number} {EARLY} reason".encode() for number in NUMBERS),
    *(f"1 3 {number} reason".encode() for number in NUMBERS),
    b"1 3 1000 \xff\xfe",
]


def lies(record: bytes | None) -> dict[str, Raw]:
    """A record with and without what should lie beside it."""
    return {
        "beside nothing": Raw(None, None, record),
        "of a key that waits": Raw(EARLY, None, record),
        "of a living lease": Raw(None, LIVING, record),
        "of a living lease whose key waits": Raw(EARLY, LIVING, record),
        "of an ended lease": Raw(None, ENDED, record),
        "of an ended lease whose key waits": Raw(EARLY, ENDED, record),
    }


LIVING = 2_000_000_000_000  # epoch ms: in the year 2033
DEAD = {name: verb for name, verb in VERBS.items() if verb.place.startswith("dead") or name in ("snapshot", "locate")}
LEASES = {
    name: verb
    for name, verb in VERBS.items()
    if verb.place in ("due", "leased", "ended") and name not in ("size", "size, until", "when", "head", "ack, ended")
}


def each(verbs: dict[str, Verb]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("verb", verbs.values(), ids=list(verbs))


@each(VERBS)
def test_20_a_key_of_any_bytes_is_a_key(laboratory: Laboratory, verb: Verb) -> None:
    """Only scheduling refuses one key: the empty one."""
    members = [member for member in MEMBERS if member or not verb.name.startswith("schedule")]
    found = [laboratory.complaint(verb, NONE, key=to_key(member)) for member in members]
    assert list(filter(None, found)) == []


@each({name: verb for name, verb in VERBS.items() if verb.place == "due"})
def test_20_a_score_that_is_no_time_costs_nothing(laboratory: Laboratory, verb: Verb) -> None:
    found = [laboratory.complaint(verb, NONE, Raw(score), label=f"score {score}") for score in SCORES]
    assert list(filter(None, found)) == []


@each(LEASES)
def test_20_a_record_that_cannot_be_read_is_none(laboratory: Laboratory, verb: Verb) -> None:
    found = [
        laboratory.complaint(verb, NONE, raw, label=f"{record!r} {beside}")
        for record in (RECORDS if laboratory.thorough else WORST)
        for beside, raw in lies(record).items()
    ]
    assert list(filter(None, found)) == []


@each(LEASES)
def test_20_a_deadline_that_is_no_time_costs_nothing(laboratory: Laboratory, verb: Verb) -> None:
    record = f"{FENCE} 1 {EARLY} - -"
    found = [
        laboratory.complaint(verb, NONE, Raw(score, deadline, record), label=f"deadline {deadline}, score {score}")
        for deadline in SCORES
        for score in (None, EARLY)
    ]
    assert list(filter(None, found)) == []


@each(DEAD)
def test_20_a_letter_that_cannot_be_read_is_shown_and_dropped(laboratory: Laboratory, verb: Verb) -> None:
    found = [
        laboratory.complaint(verb, NONE, Raw(None, None, None, letter), label=f"letter {letter!r}")
        for letter in LETTERS
    ]
    assert list(filter(None, found)) == []
