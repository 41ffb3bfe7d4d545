"""Claims with a lease, on fakeredis and on a real server: what each verb answers, and the whole of Redis around it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from redis.crc import key_slot

from rx_runat import Job, OutcomeUnknown, Unavailable
from rx_runat.model.batch import Entry, Leased, SettleRequest, Verb
from rx_runat.model.dead_letter import DeadLetter
from rx_runat.model.job import Keep
from rx_runat.store import dead_letter_store
from rx_runat.store import leasing_claimer as module
from rx_runat.store.client import TRIES, RedisClient
from rx_runat.store.connect import connect
from rx_runat.store.keys import claimed_key, dead_key, leases_key
from rx_runat.store.leasing_claimer import LONGEST_REASON
from rx_runat.store.receipts import RECEIPT_TTL_MS
from rx_runat.store.redis_store import RedisStore
from rx_runat.testing import Faults
from tests.store.test_store import LUA, ODD, at, inside, put, runs_of, watched
from tests.support.servers import Server
from tests.support.stores import MS, Clock, Line, T

Q = "RunAt~default"
LEASE_S = 30
LEASE = LEASE_S * 1000
FAR = MS + 10 * LEASE
VERBS: list[Verb] = ["ack", "nack", "extend", "bury", "back"]
FATES = [list(fates) for times in range(TRIES) for fates in itertools.product(["lost", "late"], repeat=times)]


class Whole(NamedTuple):
    """The whole of Redis.

    Attributes:
        waits: key -> score in Q.
        out: key -> deadline.
        known: key -> the record of a lease, without its fence: attempt, run_at, mark, waiting.
        dead: key -> time, attempts, run_at, reason.
        receipts: how many.
    """

    waits: Mapping[bytes, float] = MappingProxyType({})
    out: Mapping[bytes, float] = MappingProxyType({})
    known: Mapping[bytes, str] = MappingProxyType({})
    dead: Mapping[bytes, bytes] = MappingProxyType({})
    receipts: int = 0


def whole(store_client: RedisClient) -> Whole:
    keys = sorted(RedisClient.call(store_client, "KEYS", "*"))
    receipts = [key for key in keys if b":receipt:" in key]
    names = [name.encode() for name in (Q, claimed_key(Q), leases_key(Q), dead_key(Q))]
    assert set(keys) <= {*receipts, *names}
    for receipt in receipts:
        assert 0 < RedisClient.call(store_client, "PTTL", receipt) <= RECEIPT_TTL_MS
    waits, out = (dict(RedisClient.call(store_client, "ZRANGE", name, 0, -1, "WITHSCORES")) for name in names[:2])
    known, letters = (dict(RedisClient.call(store_client, "HGETALL", name)) for name in names[2:])
    records = {key: value.decode() for key, value in known.items()}
    assert {key for key, value in records.items() if value[0] != "-"} == set(out), "a record of each, and of no other"
    return Whole(waits, out, {k: v.partition(" ")[2] for k, v in records.items()}, letters, len(receipts))


def verdict(verb: Verb, leased: Leased, key: str = "a", argument: int | str | None = None) -> SettleRequest:
    usual: dict[str, int | str] = {"nack": 5000, "extend": 2 * LEASE, "bury": "no such address"}
    return SettleRequest(
        verb, key, leased.fence, usual.get(verb, "") if argument is None else argument, leased.deadline
    )


def one(store: RedisStore, *verdicts: SettleRequest, again: bool = False) -> list[int | None]:
    return store.settle(verdicts, again).answers


def entries(leased: Leased) -> list[Entry]:
    return [Entry(*pair) for pair in zip(leased.keys, leased.scores, strict=True)]


OUT = Whole({}, {b"a": MS + LEASE}, {b"a": f"1 {MS - 1} - -"}, {}, 1)


def lease_a(store: RedisStore, line: Line) -> Leased:
    """The key `a`, due a millisecond ago, goes out."""
    put(line, ("a", MS - 1))
    leased = store.leasing_claimer(LEASE).claim(1)
    assert whole(line) == OUT
    return leased


# claim


def test_a_claim_moves_what_is_due_to_the_claimed_ones(store: RedisStore, line: Line, clock: Clock) -> None:
    put(line, ("b", MS - 1), ("a", MS - 1), ("z", MS - 2), ("c", MS), ("later", MS + 1))
    leased = store.leasing_claimer(LEASE).claim(3)
    assert leased.keys == ["z", "a", "b"]
    assert list(map(float, leased.scores)) == [MS - 2, MS - 1, MS - 1]
    assert leased.attempts == [1, 1, 1]
    assert (leased.deadline, leased.now, leased.wait) == (MS + LEASE, clock.us, 0.0)
    assert whole(line) == Whole(
        {b"c": MS, b"later": MS + 1},
        {b"z": MS + LEASE, b"a": MS + LEASE, b"b": MS + LEASE},
        {b"z": f"1 {MS - 2} - -", b"a": f"1 {MS - 1} - -", b"b": f"1 {MS - 1} - -"},
        {},
        1,
    )


def test_a_lease_is_never_shorter_than_asked(store: RedisStore, line: Line, clock: Clock) -> None:
    clock.us += 1
    put(line, ("a", MS))
    assert store.leasing_claimer(LEASE).claim(1).deadline == MS + 1 + LEASE


def test_a_claim_of_none_writes_nothing_and_waits_for_leases_only(store: RedisStore, line: Line) -> None:
    put(line, ("due", MS), ("soon", MS + 10))
    leasing_claimer = store.leasing_claimer(LEASE)
    assert leasing_claimer.claim(0) == Leased([], [], [], leasing_claimer._last[0], 0, T * 1_000_000, None)
    assert whole(line) == Whole({b"due": MS, b"soon": MS + 10})
    assert leasing_claimer.claim(1).wait == 0.01
    assert leasing_claimer.claim(0).wait == LEASE_S


def test_a_claim_tells_how_long_to_wait(store: RedisStore, line: Line, clock: Clock) -> None:
    leasing_claimer = store.leasing_claimer(LEASE)
    assert leasing_claimer.claim(1).wait is None
    put(line, ("never", "inf"), ("late", MS + LEASE + 5000))
    assert leasing_claimer.claim(1).wait == LEASE_S + 5
    put(line, ("a", MS))
    assert leasing_claimer.claim(1).wait == LEASE_S, "the lease's end comes first"
    put(line, ("half", MS + 1.5))
    assert leasing_claimer.claim(1).wait == 0.002
    clock.us += 1
    assert leasing_claimer.claim(1).wait == 0.001999


def test_an_ended_lease_comes_back_in_the_next_claim_with_its_own_run_at(
    store: RedisStore, line: Line, clock: Clock
) -> None:
    lease_a(store, line)
    clock.us += LEASE * 1000 - 1
    other = store.leasing_claimer(LEASE)
    assert other.claim(1).keys == [], "not a microsecond early"
    clock.us += 1
    assert other.claim(0).keys == []
    assert whole(line) == Whole({b"a": MS - 1}, {}, {b"a": f"1 {MS - 1} {MS - 1} -"}, {}, 1)
    leased = other.claim(1)
    assert (leased.keys, leased.scores, leased.attempts) == (["a"], [str(MS - 1)], [2])
    assert whole(line) == Whole({}, {b"a": MS + 2 * LEASE}, {b"a": f"2 {MS - 1} - -"}, {}, 2)


def test_a_claim_brings_back_and_leases_at_once(store: RedisStore, line: Line, clock: Clock) -> None:
    lease_a(store, line)
    clock.advance(LEASE_S)
    assert store.leasing_claimer(LEASE).claim(1).attempts == [2]


def test_a_claim_brings_back_no_more_than_its_bound(
    store: RedisStore, line: Line, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BROUGHT_BACK", 2)
    put(line, *((key, MS) for key in "abcde"))
    leasing_claimer = store.leasing_claimer(LEASE)
    leasing_claimer.claim(5)
    clock.advance(LEASE_S)
    assert leasing_claimer.claim(0).wait == 0.0, "there is more"
    assert sorted(whole(line).waits) == [b"a", b"b"]
    assert sorted(whole(line).out) == [b"c", b"d", b"e"]
    leasing_claimer.claim(0)
    assert leasing_claimer.claim(0).wait is None
    assert leasing_claimer.claim(5).keys == list("abcde")


def test_a_lease_that_ended_beyond_the_bound_gives_way_to_a_newer_schedule(
    store: RedisStore, line: Line, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BROUGHT_BACK", 0)
    leased = lease_a(store, line)
    put(line, ("a", MS + 7))
    clock.advance(LEASE_S)
    newer = store.leasing_claimer(LEASE).claim(1)
    assert (newer.keys, list(map(float, newer.scores)), newer.attempts) == (["a"], [MS + 7], [1])
    assert one(store, verdict("ack", leased)) == [0]
    assert whole(line) == Whole({}, {b"a": MS + 2 * LEASE}, {b"a": f"1 {MS + 7} - -"}, {}, 2)


def test_a_record_that_somebody_took_away_loses_no_key(store: RedisStore, line: Line, clock: Clock) -> None:
    lease_a(store, line)
    RedisClient.call(line, "DEL", leases_key(Q))
    clock.advance(LEASE_S)
    leased = store.leasing_claimer(LEASE).claim(1)
    assert (leased.keys, list(map(float, leased.scores)), leased.attempts) == (["a"], [MS + LEASE], [2])


# A key that falls due again while it is out.


def again_while_out(store: RedisStore, line: Line, clock: Clock) -> Leased:
    """`a` is out, was scheduled again, and fell due: it waits for the lease's end."""
    leased = lease_a(store, line)
    store.schedule([Job("a", T + 1)], "last")
    clock.advance(2)
    looked = store.leasing_claimer(LEASE).claim(9)
    assert (looked.keys, looked.wait) == ([], LEASE_S - 2)
    assert whole(line) == Whole(
        {b"a": MS + LEASE - 0.5}, {b"a": MS + LEASE}, {b"a": f"1 {MS - 1} {MS + LEASE - 0.5:.1f} {MS + 1000}"}, {}, 1
    )
    return leased


def test_it_waits_for_the_end_of_the_lease(store: RedisStore, line: Line, clock: Clock) -> None:
    leased = again_while_out(store, line, clock)
    other = store.leasing_claimer(LEASE)
    clock.us = (MS + LEASE) * 1000 - 1
    assert other.claim(9).keys == []
    clock.us += 1
    newer = other.claim(9)
    assert (newer.keys, list(map(float, newer.scores)), newer.attempts) == (["a"], [MS + 1000], [1])
    assert one(store, verdict("ack", leased)) == [0]


@pytest.mark.parametrize("verb", ["ack", "nack", "bury", "back"])
def test_it_waits_for_its_ack_and_is_free_at_once(store: RedisStore, line: Line, clock: Clock, verb: Verb) -> None:
    leased = again_while_out(store, line, clock)
    settled = store.settle([verdict(verb, leased)])
    assert settled == ([1], MS + 1000)
    assert whole(line)._replace(dead={}) == Whole({b"a": MS + 1000}, {}, {}, {}, 1)
    newer = store.leasing_claimer(LEASE).claim(9)
    assert (newer.keys, list(map(float, newer.scores)), newer.attempts) == (["a"], [MS + 1000], [1])


def test_it_waits_longer_when_the_lease_is_extended(store: RedisStore, line: Line, clock: Clock) -> None:
    leased = again_while_out(store, line, clock)
    assert one(store, verdict("extend", leased)) == [MS + 2000 + 2 * LEASE]
    clock.us = (MS + LEASE) * 1000
    looked = store.leasing_claimer(LEASE).claim(9)
    assert (looked.keys, looked.wait) == ([], LEASE_S + 2)
    assert one(store, verdict("ack", leased)) == [1]
    assert whole(line) == Whole({b"a": MS + 1000}, {}, {}, {}, 1)


def test_it_may_be_scheduled_once_more(store: RedisStore, line: Line, clock: Clock) -> None:
    """To the very end of the lease too: that is no mark of ours, and comes no earlier."""
    for ms in (MS + 5000, MS + LEASE, FAR):
        RedisClient.call(line, "FLUSHALL")
        clock.us = T * 1_000_000
        leased = again_while_out(store, line, clock)
        store.schedule([Job("a", ms / 1000)], "last")
        assert store.settle([verdict("ack", leased)]) == ([1], None)
        assert whole(line) == Whole({b"a": ms}, {}, {}, {}, 1)


@pytest.mark.parametrize(
    "keep, ms, stands",
    [
        ("first", MS + 9000, MS + 1000),
        ("earliest", MS + 9000, MS + 1000),
        ("earliest", MS + 500, MS + 500),
        ("latest", MS + 9000, MS + 9000),
        ("latest", MS + 500, MS + 1000),
        ("last", MS + 500, MS + 500),
    ],
)
def test_a_policy_compares_its_own_run_at(
    store: RedisStore, line: Line, clock: Clock, keep: Keep, ms: int, stands: int
) -> None:
    leased = again_while_out(store, line, clock)
    assert store.schedule([Job("a", ms / 1000)], keep) == stands
    assert one(store, verdict("ack", leased)) == [1]
    assert whole(line) == Whole({b"a": stands}, {}, {}, {}, 1)


# settle


def test_an_ack_ends_it(store: RedisStore, line: Line) -> None:
    leased = lease_a(store, line)
    assert store.settle([verdict("ack", leased)]) == ([1], None)
    assert whole(line) == Whole(receipts=1)


def test_a_nack_lets_it_wait_and_the_next_attempt_counts(store: RedisStore, line: Line, clock: Clock) -> None:
    clock.us += 1
    leased = store.leasing_claimer(LEASE)
    put(line, ("a", MS - 1))
    first = leased.claim(1)
    assert store.settle([verdict("nack", first)]) == ([1], MS + 5001), "rounded up: never early"
    assert whole(line) == Whole({b"a": MS + 5001}, {}, {b"a": f"1 {MS - 1} {MS + 5001} -"}, {}, 1)
    clock.us = (MS + 5001) * 1000
    second = leased.claim(1)
    assert (second.keys, list(map(float, second.scores)), second.attempts) == (["a"], [MS - 1], [2])


def test_extend_moves_the_deadline_and_only_that(store: RedisStore, line: Line, clock: Clock) -> None:
    leased = lease_a(store, line)
    clock.us += 1
    assert store.settle([verdict("extend", leased)]) == ([MS + 1 + 2 * LEASE], None)
    assert whole(line) == OUT._replace(out={b"a": MS + 1 + 2 * LEASE})
    assert one(store, verdict("extend", leased, argument=1)) == [MS + 1 + 2 * LEASE], "never back"
    assert one(store, verdict("ack", leased)) == [1], "the fence is the same"


def test_a_buried_key_is_a_dead_letter(store: RedisStore, line: Line) -> None:
    leased = lease_a(store, line)
    assert store.settle([verdict("bury", leased)]) == ([1], None)
    assert whole(line) == Whole(dead={b"a": b"%d 1 %d no such address" % (MS, MS - 1)}, receipts=1)
    assert store.dead_peek(5) == [DeadLetter("a", at(MS - 1), 1, "no such address", at(MS))]


def test_what_goes_back_is_as_it_was(store: RedisStore, line: Line, clock: Clock) -> None:
    leasing_claimer = store.leasing_claimer(LEASE)
    put(line, ("a", MS - 1))
    leasing_claimer.hand_back(entries(leasing_claimer.claim(1)))
    assert whole(line) == Whole({b"a": MS - 1}, {}, {}, {}, 1)
    store.settle([verdict("nack", leasing_claimer.claim(1))])
    clock.advance(5)
    again = leasing_claimer.claim(1)
    assert again.attempts == [2]
    leasing_claimer.hand_back(entries(again))
    assert whole(line) == Whole({b"a": MS - 1}, {}, {b"a": f"1 {MS - 1} {MS - 1} -"}, {}, 1)
    assert leasing_claimer.claim(1).attempts == [2]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("late", ["ended", "came back", "taken by another", "acked", "cancelled", "unknown fence"])
def test_a_late_verdict_changes_nothing(store: RedisStore, line: Line, clock: Clock, verb: Verb, late: str) -> None:
    leased = lease_a(store, line)
    if late in ("ended", "came back", "taken by another"):
        clock.advance(LEASE_S)
    if late in ("came back", "taken by another"):
        store.leasing_claimer(LEASE).claim(int(late == "taken by another"))
    if late == "acked":
        store.settle([verdict("ack", leased)])
    if late == "cancelled":
        store.cancel("a")
    if late == "unknown fence":
        leased = leased._replace(fence="c0ffee")
    before = whole(line)
    assert store.settle([verdict(verb, leased)]) == ([0], None)
    assert whole(line) == before


@pytest.mark.parametrize("verb", VERBS)
def test_no_fence_is_no_key_to_what_waits(store: RedisStore, line: Line, clock: Clock, verb: Verb) -> None:
    leased = lease_a(store, line)
    store.settle([verdict("nack", leased)])
    before = whole(line)
    assert one(store, verdict(verb, leased._replace(fence="-"))) == [0]
    assert whole(line) == before


@pytest.mark.parametrize("verb", ["ack", "nack", "bury", "back"])
@pytest.mark.parametrize("run_at", [MS - 9, MS - 1, MS + 1, FAR])
def test_a_reschedule_made_while_it_is_out_stands(store: RedisStore, line: Line, verb: Verb, run_at: int) -> None:
    leased = lease_a(store, line)
    put(line, ("a", run_at))
    assert store.settle([verdict(verb, leased)]) == ([1], None)
    assert whole(line)._replace(dead={}) == Whole({b"a": run_at}, {}, {}, {}, 1)


@pytest.mark.parametrize("run_at", [MS - 9, MS + 1])
def test_a_reschedule_stands_when_the_lease_ends_too(store: RedisStore, line: Line, clock: Clock, run_at: int) -> None:
    lease_a(store, line)
    put(line, ("a", run_at))
    clock.advance(LEASE_S)
    store.leasing_claimer(LEASE).claim(0)
    assert whole(line) == Whole({b"a": run_at}, {}, {}, {}, 1)


def test_a_reschedule_between_two_attempts_is_a_new_run(store: RedisStore, line: Line, clock: Clock) -> None:
    leased = lease_a(store, line)
    store.settle([verdict("nack", leased)])
    store.schedule([Job("a", T + 3)], "last")
    clock.advance(3)
    newer = store.leasing_claimer(LEASE).claim(1)
    assert (list(map(float, newer.scores)), newer.attempts) == ([MS + 3000], [1])


def test_many_verdicts_are_one_round_trip(store: RedisStore, line: Line) -> None:
    keys = [f"k{number:04}" for number in range(9000)]
    put(line, *((key, MS - 1) for key in keys), ("z", MS))
    leased = store.leasing_claimer(LEASE).claim(9000)
    line.sent.clear()
    verdicts = [verdict(verb, leased, key) for verb, key in zip(itertools.cycle(VERBS), keys, strict=False)]
    settled = store.settle([*verdicts, verdict("ack", leased, "z"), verdict("ack", leased, keys[0])])
    assert len(line.sent) == 1
    assert settled.answers == [1, 1, MS + 2 * LEASE, 1, 1] * 1800 + [0, 0]
    assert settled.earliest == MS - 1
    left = whole(line)
    assert [len(each) for each in left[:4]] == [1800 * 2 + 1, 1800, 1800 * 2, 1800]


def test_no_verdict_asks_nothing(store: RedisStore, line: Line) -> None:
    assert store.settle([]) == ([], None)
    assert line.sent == []


@pytest.mark.parametrize(
    "reason, kept",
    [
        ("", ""),
        (" a b\n c ", " a b\n c "),
        ("x" * LONGEST_REASON, "x" * LONGEST_REASON),
        ("é" * 5000, "é" * (LONGEST_REASON - 1) + "…"),
        ("key '\udcff' \ud800", "key '\\udcff' \\ud800"),
        ("\x00", "\x00"),
    ],
    ids=["empty", "spaces", "long", "longer", "surrogates", "nul"],
)
def test_any_reason_is_kept_and_none_is_long(store: RedisStore, line: Line, reason: str, kept: str) -> None:
    leased = lease_a(store, line)
    store.settle([verdict("bury", leased, argument=reason)])
    assert [letter.reason for letter in store.dead_peek(1)] == [kept]


def test_odd_keys_and_scores_go_out_and_in_byte_for_byte(store: RedisStore, line: Line, clock: Clock) -> None:
    put(line, *((member, score.decode()) for score, member in ODD.items()), ("never", "inf"))
    put(line, *((bytes([byte]), MS) for byte in range(1, 256) if bytes([byte]) not in ODD.values()), ("", MS))
    before = whole(line)
    leasing_claimer = store.leasing_claimer(LEASE)
    line.fates = ["lost"]
    leased = leasing_claimer.claim(1000)
    members = [key.encode(errors="surrogateescape") for key in leased.keys]
    assert {m: float(s) for m, s in zip(members, leased.scores, strict=True)} | {b"never": float("inf")} == before.waits
    usual = [entry for entry in entries(leased) if entry.key]  # the empty one is nobody's of ours: its lease ends
    leasing_claimer.hand_back(usual)
    assert whole(line).waits == {m: score for m, score in before.waits.items() if m}
    clock.advance(LEASE_S)
    again = leasing_claimer.claim(1000)
    assert [key for key, attempt in zip(again.keys, again.attempts, strict=True) if attempt == 2] == [""]
    nacks = [verdict("nack", again, key, 0) for key in again.keys if key]
    assert set(one(store, *nacks)) == {1}
    third = leasing_claimer.claim(1000)
    assert set(one(store, *(verdict("bury", third, key) for key in third.keys))) == {1}
    assert {(each.key.encode(errors="surrogateescape")) for each in store.dead_peek(1000)} == {m for m in members if m}
    assert store.revive(None) == len(nacks)
    assert whole(line).waits == {m: score for m, score in before.waits.items() if m}


@pytest.mark.parametrize("score", ["-inf", "-1.5", "0.1", "1699999999999.9998"])
@pytest.mark.parametrize("verb", ["ack", "back"])
def test_odd_scores_wait_for_a_lease_and_come_back(store: RedisStore, line: Line, score: str, verb: Verb) -> None:
    leased = lease_a(store, line)
    put(line, ("a", score))
    other = store.leasing_claimer(LEASE)
    assert other.claim(1).keys == []
    assert store.settle([verdict(verb, leased)]) == ([1], float(score))
    newer = other.claim(1)
    assert (list(map(float, newer.scores)), newer.attempts) == ([float(score)], [1])


# Answers that are lost.


def names(fates: object) -> str:
    return "-".join(fates) if isinstance(fates, list) else str(fates)


lossy = pytest.mark.parametrize("fates", FATES, ids=names)


@lossy
def test_a_claim_whose_answer_is_lost_gives_the_same_keys(store: RedisStore, line: Line, fates: list[str]) -> None:
    put(line, ("a", MS - 2), ("b", MS - 1), ("c", MS))
    leasing_claimer = store.leasing_claimer(LEASE)
    line.fates = list(fates)
    leased = leasing_claimer.claim(2)
    assert (leased.keys, leased.attempts, leased.deadline) == (["a", "b"], [1, 1], MS + LEASE)
    assert one(store, verdict("ack", leased, "a"), verdict("ack", leased, "b")) == [1, 1]
    before = whole(line)
    line.arrive()
    assert whole(line) == before, "a late copy takes nothing"
    assert leasing_claimer.claim(2).keys == ["c"]


@pytest.mark.parametrize("later", [0, LEASE_S - 0.000001, LEASE_S, 2 * LEASE_S])
def test_a_claim_that_was_lost_for_long_gives_what_is_still_ours(
    store: RedisStore, line: Line, clock: Clock, later: float
) -> None:
    put(line, ("a", MS - 2), ("b", MS - 1))
    leasing_claimer = store.leasing_claimer(LEASE)
    line.fates = ["lost"] * TRIES
    with pytest.raises(OutcomeUnknown):
        leasing_claimer.claim(1)
    assert leasing_claimer.is_owed
    clock.advance(later)
    leased = leasing_claimer.claim(1)
    assert not leasing_claimer.is_owed
    if later < LEASE_S:
        assert leased.keys == ["a"]
    else:
        assert leased.keys == []
        again = leasing_claimer.claim(1)
        assert (again.keys, again.attempts) == (["a"], [2]), "it has come back"


def test_the_limit_of_a_lost_claim_is_that_of_the_asking_that_arrived(store: RedisStore, line: Line) -> None:
    put(line, ("a", MS - 2), ("b", MS - 1))
    leasing_claimer = store.leasing_claimer(LEASE)
    line.fates = ["lost"] * TRIES
    with pytest.raises(OutcomeUnknown):
        leasing_claimer.claim(2)
    assert leasing_claimer.claim(0).keys == ["a", "b"]


def test_close_answers_what_a_lost_claim_took_and_leaves_nothing(store: RedisStore, line: Line) -> None:
    put(line, ("a", MS - 2), ("b", MS + 1))
    before = whole(line)
    leasing_claimer = store.leasing_claimer(LEASE)
    line.fates = ["lost"] * TRIES
    with pytest.raises(OutcomeUnknown):
        leasing_claimer.claim(2)
    found = leasing_claimer.close()
    assert [entry.key for entry in found] == ["a"]
    line.fates = ["lost"]
    leasing_claimer.hand_back(found)
    assert leasing_claimer.close() == []
    assert whole(line)._replace(receipts=0) == before, "the receipt of a lost answer expires"
    leasing_claimer.hand_back(entries(leasing_claimer.claim(2)))
    assert leasing_claimer.close() == leasing_claimer.close() == []
    assert whole(line)._replace(receipts=0) == before


def test_closing_leaves_no_receipt(store: RedisStore, line: Line) -> None:
    put(line, ("a", MS - 2))
    leasing_claimer = store.leasing_claimer(LEASE)
    leased = leasing_claimer.claim(1)
    assert leasing_claimer.close() == []
    assert whole(line).receipts == 0
    assert one(store, verdict("ack", leased)) == [1], "what was delivered stays leased"
    assert whole(line) == Whole()


@lossy
@pytest.mark.parametrize("verb", VERBS)
def test_a_verdict_whose_answer_is_lost_tells_the_truth(
    store: RedisStore, line: Line, clock: Clock, fates: list[str], verb: Verb
) -> None:
    leased = lease_a(store, line)
    line.fates = list(fates)
    done = MS + 2 * LEASE if verb == "extend" else 1
    assert one(store, verdict(verb, leased)) == [done]
    before = whole(line)
    line.arrive()
    assert whole(line) == before, "a late copy changes nothing"


@pytest.mark.parametrize("verb", VERBS)
def test_a_late_copy_harms_no_newer_claim(store: RedisStore, line: Line, clock: Clock, verb: Verb) -> None:
    leased = lease_a(store, line)
    line.fates = ["late"]
    store.settle([verdict(verb, leased)])
    store.cancel("a")
    put(line, ("a", MS))
    newer = store.leasing_claimer(LEASE).claim(1)
    before = whole(line)
    line.arrive()
    assert whole(line) == before
    assert one(store, verdict("ack", newer)) == [1]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("fate", ["lost", "late"])
@pytest.mark.parametrize("back", [False, True])
def test_asked_again_after_the_end_it_says_what_can_be_known(
    store: RedisStore, line: Line, clock: Clock, verb: Verb, fate: str, back: bool
) -> None:
    """Done or not: only a lease that still bears our fence tells, and that it was not."""
    leased = lease_a(store, line)
    line.fates = [fate] * TRIES
    with pytest.raises(OutcomeUnknown):
        store.settle([verdict(verb, leased)])
    clock.advance(LEASE_S if (verb, fate) != ("extend", "lost") else 2 * LEASE_S)
    if back:
        store.leasing_claimer(LEASE).claim(0)
    (answer,) = one(store, verdict(verb, leased), again=True)
    if verb == "extend" or (fate == "late" and not back):
        assert answer == 0, "the lease is not ours any more"
    else:
        assert answer is None


def test_asked_again_of_another_holders_lease_it_says_no_to_extend(store: RedisStore, line: Line, clock: Clock) -> None:
    leased = lease_a(store, line)
    store.settle([verdict("nack", leased, argument=0)])
    store.leasing_claimer(LEASE).claim(1)
    assert one(store, verdict("extend", leased), verdict("nack", leased), again=True) == [0, 1]


@pytest.mark.parametrize("times", range(TRIES + 1))
def test_the_faults_that_we_ship_lose_no_key(times: int) -> None:
    faults = Faults()
    store = RedisStore(faults, Q, Clock())
    put(faults, ("a", MS), ("b", MS))
    leasing_claimer = store.leasing_claimer(LEASE)
    faults.lost = times
    if times == TRIES:
        with pytest.raises(OutcomeUnknown):
            leasing_claimer.claim(2)
    leased = leasing_claimer.claim(2)
    assert leased.keys == ["a", "b"]
    verdicts = [verdict("ack", leased), verdict("nack", leased, "b")]
    faults.lost = times
    if times == TRIES:
        with pytest.raises(OutcomeUnknown):
            store.settle(verdicts)
    assert store.settle(verdicts, again=times == TRIES).answers == [1, 1]
    assert whole(faults).waits == {b"b": MS + 5000}
    faults.close()


# cancel


@pytest.mark.parametrize(
    "state", ["nowhere", "waits", "out", "both", "ended", "between attempts", "waits for its lease"]
)
def test_cancel_calls_off_whatever_there_is(store: RedisStore, line: Line, clock: Clock, state: str) -> None:
    if state == "waits":
        put(line, ("a", MS))
    elif state == "waits for its lease":
        again_while_out(store, line, clock)
    elif state != "nowhere":
        leased = lease_a(store, line)
        if state == "both":
            put(line, ("a", FAR))
        if state == "ended":
            clock.advance(LEASE_S)
        if state == "between attempts":
            store.settle([verdict("nack", leased)])
    assert store.cancel("a") is (state != "nowhere")
    assert whole(line)._replace(receipts=0) == Whole()
    assert store.cancel("a") is False


@pytest.mark.parametrize("fate", ["lost", "late"])
def test_a_cancel_of_a_lease_whose_answer_is_lost(store: RedisStore, line: Line, fate: str) -> None:
    lease_a(store, line)
    line.fates = [fate]
    if fate == "late":
        assert store.cancel("a") is True
    else:
        with pytest.raises(OutcomeUnknown, match="'a'"):
            store.cancel("a")
    assert whole(line) == Whole(receipts=1)


# A plain source beside.


def test_a_plain_claim_takes_no_key_whose_lease_lives(store: RedisStore, line: Line, clock: Clock) -> None:
    leased = lease_a(store, line)
    put(line, ("a", MS), ("b", MS))
    plain_claimer = store.plain_claimer()
    assert plain_claimer.claim(9).keys == ["b"]
    assert whole(line).waits == {b"a": MS + LEASE - 0.5}
    assert one(store, verdict("ack", leased)) == [1]
    got = plain_claimer.claim(9)
    assert (got.keys, list(map(float, got.scores))) == (["a"], [MS])
    plain_claimer.close()
    assert whole(line) == Whole(receipts=1)


@pytest.mark.parametrize("parked", [False, True])
def test_a_plain_claim_takes_a_key_whose_lease_has_ended_and_leaves_nothing(
    store: RedisStore, line: Line, clock: Clock, parked: bool
) -> None:
    if parked:
        again_while_out(store, line, clock)
    else:
        lease_a(store, line)
        put(line, ("a", MS + 1000))
    clock.us = (MS + LEASE) * 1000
    plain_claimer = store.plain_claimer()
    got = plain_claimer.claim(9)
    assert (got.keys, list(map(float, got.scores))) == (["a"], [MS + 1000])
    plain_claimer.close()
    assert whole(line) == Whole(receipts=1)


def test_a_plain_claim_takes_a_key_between_two_attempts_and_leaves_nothing(
    store: RedisStore, line: Line, clock: Clock
) -> None:
    store.settle([verdict("nack", lease_a(store, line))])
    clock.advance(5)
    plain_claimer = store.plain_claimer()
    line.fates = ["lost"]
    got = plain_claimer.claim(9)
    assert (got.keys, list(map(float, got.scores))) == (["a"], [MS - 1]), "its own run_at"
    assert whole(line)._replace(receipts=0) == Whole()
    plain_claimer.hand_back([Entry("a", got.scores[0])])
    assert whole(line)._replace(receipts=0) == Whole({b"a": MS - 1})


def test_a_plain_source_brings_no_ended_lease_back(store: RedisStore, line: Line, clock: Clock) -> None:
    """That is the work of claims: a plain source may lose what they promised to keep."""
    lease_a(store, line)
    clock.advance(LEASE_S)
    assert store.plain_claimer().claim(9).keys == []
    assert whole(line) == OUT


# Dead letters.


def bury(store: RedisStore, line: Line, clock: Clock, *keys: str) -> None:
    for key in keys:
        put(line, (key, MS - 1))
        leasing_claimer = store.leasing_claimer(LEASE)
        store.settle([verdict("bury", leasing_claimer.claim(1), key)])
        leasing_claimer.close()
        clock.us += 1000


def test_peek_shows_who_lies_there_longest_first(store: RedisStore, line: Line, clock: Clock) -> None:
    assert (store.dead_peek(3), store.dead_size()) == ([], 0)
    bury(store, line, clock, "c", "a", "b", "c")
    before = whole(line)
    assert [letter.key for letter in store.dead_peek(9)] == ["a", "b", "c"], "the last reason counts"
    assert [letter.key for letter in store.dead_peek(2)] == ["a", "b"]
    assert store.dead_peek(0) == []
    assert store.dead_size() == 3
    assert whole(line) == before


@pytest.mark.parametrize("key", ["a", None])
def test_a_revived_key_waits_with_its_own_run_at_and_no_attempts(
    store: RedisStore, line: Line, clock: Clock, key: str | None
) -> None:
    bury(store, line, clock, "a")
    assert store.revive("b") == 0
    assert store.revive(key) == 1
    assert whole(line) == Whole({b"a": MS - 1})
    assert store.revive(key) == 0
    assert store.leasing_claimer(LEASE).claim(1).attempts == [1]


def test_a_schedule_made_meanwhile_stands_over_a_revival(store: RedisStore, line: Line, clock: Clock) -> None:
    bury(store, line, clock, "a")
    put(line, ("a", FAR))
    assert store.revive("a") == 1
    assert whole(line) == Whole({b"a": FAR})


def test_a_key_that_is_out_is_revived_behind_its_lease(store: RedisStore, line: Line, clock: Clock) -> None:
    bury(store, line, clock, "a")
    put(line, ("a", MS))
    leased = store.leasing_claimer(LEASE).claim(1)
    assert store.revive("a") == 1
    other = store.leasing_claimer(LEASE)
    assert other.claim(1).keys == []
    assert one(store, verdict("ack", leased)) == [1]
    newer = other.claim(1)
    assert (newer.keys, newer.attempts) == (["a"], [1])


@pytest.mark.parametrize("key", ["a", None])
def test_a_dropped_letter_is_forgotten(store: RedisStore, line: Line, clock: Clock, key: str | None) -> None:
    bury(store, line, clock, "a")
    assert store.drop("b") == 0
    assert store.drop(key) == 1
    assert whole(line) == Whole()
    assert store.drop(key) == 0


@pytest.mark.parametrize("verb", ["revive", "drop"])
def test_all_of_many_are_done_in_steps(
    store: RedisStore, line: Line, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr(dead_letter_store, "STEP", 50)
    keys = [f"k{number:04}" for number in range(1000)]
    put(line, *((key, MS) for key in keys))
    leasing_claimer = store.leasing_claimer(LEASE)
    leased = leasing_claimer.claim(1000)
    store.settle([verdict("bury", leased, key) for key in keys])
    leasing_claimer.close()
    assert [letter.key for letter in store.dead_peek(3)] == keys[:3]
    line.sent.clear()
    assert getattr(store, verb)(None) == 1000
    assert len(line.sent) >= 2 * 1000 / 100
    assert max(len(command) for command in line.sent) < 200
    assert len(whole(line).waits) == (1000 if verb == "revive" else 0)
    assert whole(line).dead == {}


@pytest.mark.parametrize("verb", ["revive", "drop"])
@pytest.mark.parametrize("fate", ["lost", "late"])
@pytest.mark.parametrize("key", ["a", None])
def test_a_letter_whose_answer_is_lost(
    store: RedisStore, line: Line, clock: Clock, verb: str, fate: str, key: str | None
) -> None:
    """No answer is false: what cannot be known is said to be unknown."""
    bury(store, line, clock, "a")
    line.fates = [fate] if key else [None, fate]
    if fate == "late":
        assert getattr(store, verb)(key) == 1
    else:
        with pytest.raises(OutcomeUnknown, match="dead letters are gone"):
            getattr(store, verb)(key)
    assert whole(line) == Whole({b"a": MS - 1} if verb == "revive" else {})


# Servers that are full, demoted, or forgetful.


def test_a_full_server_lets_keys_out_and_back_and_be_settled(own_server: Server) -> None:
    store_client, clock = connect(own_server.url).client, Clock()
    store = RedisStore(store_client, Q, clock)
    put(store_client, *((key, MS - 1) for key in "abcdefgh"))
    store_client.call("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(Unavailable, match="OOM"):
        put(store_client, ("z", MS))
    leasing_claimer = store.leasing_claimer(LEASE)
    leased = leasing_claimer.claim(5)
    assert leased.keys == list("abcde")
    leasing_claimer.hand_back([Entry("e", leased.scores[4])])
    for verb, key in zip(VERBS, "abcd", strict=False):
        assert all(one(store, verdict(verb, leased, key))), verb
    assert store.dead_size() == 1
    assert store.revive("d") == 1
    clock.advance(3 * LEASE_S)
    again = leasing_claimer.claim(9)
    assert dict(zip(again.keys, again.attempts, strict=True)) == {"b": 2, "c": 2} | dict.fromkeys("defgh", 1)
    assert store.cancel("c") is True
    assert one(store, *(verdict("ack", again, key) for key in again.keys)) == [
        0 if key == "c" else 1 for key in again.keys
    ]
    assert leasing_claimer.close() == []
    assert whole(store_client) == Whole()
    store_client.close()


def test_a_demoted_primary_settles_nothing_and_says_so(own_server: Server) -> None:
    """It may not know of a lease, and must not call it lost."""
    store_client = connect(own_server.url).client
    store = RedisStore(store_client, Q, Clock())
    store_client.call("REPLICAOF", "127.0.0.1", "1")
    store_client.call("CONFIG", "SET", "replica-serve-stale-data", "yes")
    unknown = Leased(["a"], ["1"], [1], "c0ffee", MS + LEASE, 0, None)
    for verb in VERBS:
        with pytest.raises(Unavailable, match="READONLY"):
            store.settle([verdict(verb, unknown)])
    with pytest.raises(Unavailable, match="READONLY"):
        store.leasing_claimer(LEASE).claim(1)
    with pytest.raises(Unavailable, match="READONLY"):
        store.cancel("a")
    store_client.close()


def test_a_server_that_forgot_the_scripts_is_taught_them_again(server: Server) -> None:
    store_client = connect(server.url).client
    store = RedisStore(store_client, Q, Clock())
    put(store_client, ("a", MS))
    leasing_claimer = store.leasing_claimer(LEASE)
    for verb in (
        lambda: one(store, verdict("bury", leasing_claimer.claim(1))) == [1],
        lambda: store.revive("a") == 1,
        lambda: store.cancel("a"),
        lambda: leasing_claimer.close() == [],
    ):
        store_client.call("SCRIPT", "FLUSH")
        assert verb()
    assert whole(store_client) == Whole()
    store_client.close()


# What the scripts do, and by which clock.


@pytest.fixture
def taught(server: Server) -> Server:
    """A server that knows the scripts."""
    with server.client() as client:
        for text in LUA.values():
            client.script_load(text)
    return server


def test_by_rediss_own_clock_nobody_tells_it_the_time(taught: Server) -> None:
    store_client = connect(taught.url).client
    store = RedisStore(store_client, Q)
    found: list[Any] = []

    def act() -> None:
        store.schedule([Job("a", 1.0), Job("b", 2.0), Job("c", timedelta(hours=1))], "last")
        leasing_claimer = store.leasing_claimer(LEASE)
        leased = leasing_claimer.claim(5)
        found.append(leased)
        found.append(one(store, verdict("bury", leased, "a"), verdict("extend", leased, "b")))
        leasing_claimer.hand_back([Entry("b", "")])
        leasing_claimer.close()

    seen = watched(taught, act)
    assert found[0].keys == ["a", "b"]
    assert found[0].deadline - LEASE == -(-found[0].now // 1000)
    assert found[1][0] == 1
    (claim,) = runs_of("lease.lua", seen)
    assert len(claim) == 6
    assert [words[1] for words in runs_of("settle.lua", seen)] == ["", ""]
    (letter,) = store.dead_peek(1)
    assert abs(letter.time - at(found[0].now // 1000)) < timedelta(seconds=20)
    store_client.close()


def test_the_work_of_a_claim_and_of_verdicts_does_not_grow_with_the_queue(taught: Server) -> None:
    store_client = connect(taught.url).client
    store = RedisStore(store_client, Q, Clock())
    works: list[Sequence[Sequence[str]]] = []
    for waiting in (10, 3000):
        put(store_client, *((f"k{number}", MS - 1) for number in range(waiting)))
        store.leasing_claimer(LEASE).claim(waiting // 2)
        leasing_claimer = store.leasing_claimer(LEASE)
        claim = inside(taught, lambda leasing_claimer=leasing_claimer: leasing_claimer.claim(1))  # type: ignore[misc]
        leased = leasing_claimer.claim(1)
        works.append([claim, inside(taught, lambda leased=leased: one(store, verdict("ack", leased, leased.keys[0])))])  # type: ignore[misc]
    assert works[0] == works[1]
    claim, ack = works[0]
    assert len(claim) <= 13
    assert ack == ["PERSIST", "HGET", "ZSCORE", "ZREM", "HDEL"]
    store_client.close()


def test_a_plain_claim_pays_one_command_for_leases_that_are_not_there(taught: Server) -> None:
    store_client = connect(taught.url).client
    put(store_client, ("a", 1), ("b", 1))
    plain_claimer = RedisStore(store_client, Q).plain_claimer()
    work = inside(taught, lambda: plain_claimer.claim(2))
    assert work.count("EXISTS") == 1
    assert not {"HGET", "ZSCORE"} & set(work)
    plain_claimer.close()
    store_client.close()


def test_a_look_that_finds_nothing_writes_nothing(taught: Server) -> None:
    store_client = connect(taught.url).client
    leasing_claimer = RedisStore(store_client, Q).leasing_claimer(LEASE)
    put(store_client, ("later", "inf"))
    assert set(inside(taught, lambda: leasing_claimer.claim(1000))) <= {"TIME", "GETRANGE", "DEL", "ZCOUNT", "ZRANGE"}
    store_client.close()


@pytest.mark.parametrize("name", [Q, "jobs{eu}", "a{b}c{d}"])
def test_all_names_of_a_queue_lie_in_one_slot(line: Line, clock: Clock, name: str) -> None:
    store = RedisStore(line, name, clock)
    store.schedule([Job("a", T - 1), Job("b", T - 1)], "last")
    leasing_claimer = store.leasing_claimer(LEASE)
    store.settle([verdict("bury", leasing_claimer.claim(2))])
    keys = RedisClient.call(line, "KEYS", "*")
    assert len(keys) == 4
    assert {key_slot(key) for key in keys} == {key_slot(name.encode())}
    store.schedule([Job("a", T - 1)], "last")
    assert len(RedisClient.call(line, "KEYS", "*")) == 5


def test_two_queues_do_not_meet(line: Line, clock: Clock) -> None:
    one_, other = RedisStore(line, "one", clock), RedisStore(line, "other", clock)
    one_.schedule([Job("a", T)], "last")
    leased = one_.leasing_claimer(LEASE).claim(1)
    clock.advance(LEASE_S - 1)
    assert other.settle([verdict("ack", leased)]).answers == [0]
    assert other.cancel("a") is False
    clock.advance(1)
    assert other.leasing_claimer(LEASE).claim(1).keys == []
    assert one_.leasing_claimer(LEASE).claim(1).attempts == [2]


def test_what_comes_into_the_schedule_is_announced_where_the_server_does_not_track(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Line(connect(server.url).client)
    store = RedisStore(line, Q)
    monkeypatch.setattr(store, "_tracked", False)
    put(line, ("a", 1), ("b", 1))
    leased = store.leasing_claimer(LEASE).claim(2)
    for act, announced in [
        (lambda: store.settle([verdict("extend", leased)]), 0),
        (lambda: store.settle([verdict("bury", leased)]), 0),
        (lambda: store.settle([verdict("nack", leased, "b")]), 1),
        (lambda: store.revive("b"), 0),
        (lambda: store.revive("a"), 1),
    ]:
        line.sent.clear()
        act()
        assert [command[0] for command in line.sent].count("PUBLISH") == announced
    line.close()
