"""`settle` of the store: what each of its verbs does, late, resent, or many at once."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from rx_runat import Job, OutcomeUnknown
from rx_runat.model.batch import SettleReply, Verb
from rx_runat.model.data import NOT_NAMED
from rx_runat.model.dead_letter import DeadLetter
from rx_runat.store.client import TRIES, RedisClient
from rx_runat.store.keys import data_key
from rx_runat.store.redis_store import RedisStore
from rx_runat.store.verbs import LONGEST_REASON
from tests.support.leases import (
    LEASE,
    LEASE_S,
    OUT,
    VERBS,
    Whole,
    lease_a,
    one,
    to_settle,
    whole,
)
from tests.support.redis_content import at, content, entries, put
from tests.support.stores import MS, Clock, FlakyClient, Q, lossy


def test_an_ack_ends_it(store: RedisStore, flaky: FlakyClient) -> None:
    leased = lease_a(store, flaky)
    assert store.settle([to_settle("ack", leased)]) == SettleReply([1], None, None)
    assert whole(flaky) == Whole(receipts=1)


def test_a_nack_lets_it_wait_and_the_next_attempt_counts(store: RedisStore, flaky: FlakyClient, clock: Clock) -> None:
    clock.us += 1
    leased = store.leasing_claimer(LEASE)
    put(flaky, ("a", MS - 1))
    first = leased.claim(1)
    assert store.settle([to_settle("nack", first)]) == SettleReply([1], MS + 5001, None), "rounded up: never early"
    assert whole(flaky) == Whole({b"a": MS + 5001}, {}, {b"a": f"1 {MS - 1} {MS + 5001} -"}, {}, 1)
    clock.us = (MS + 5001) * 1000
    second = leased.claim(1)
    assert (second.keys, list(map(float, second.scores)), second.attempts) == (["a"], [MS - 1], [2])


def test_extend_moves_the_deadline_and_only_that(store: RedisStore, flaky: FlakyClient, clock: Clock) -> None:
    leased = lease_a(store, flaky)
    clock.us += 1
    assert store.settle([to_settle("extend", leased)]) == SettleReply([MS + 1 + 2 * LEASE], None, None)
    assert whole(flaky) == OUT._replace(out={b"a": MS + 1 + 2 * LEASE})
    assert one(store, to_settle("extend", leased, argument=1)) == [MS + 1 + 2 * LEASE], "never back"
    assert one(store, to_settle("ack", leased)) == [1], "the fence is the same"


def test_a_buried_key_is_a_dead_letter(store: RedisStore, flaky: FlakyClient) -> None:
    leased = lease_a(store, flaky)
    assert store.settle([to_settle("bury", leased)]) == SettleReply([1], None, None)
    assert whole(flaky) == Whole(dead={b"a": b"%d 1 %d no such address\x1f" % (MS, MS - 1)}, receipts=1)
    assert store.dead_peek(5) == [DeadLetter("a", at(MS - 1), 1, "no such address", at(MS))]


def test_what_goes_back_is_as_it_was(store: RedisStore, flaky: FlakyClient, clock: Clock) -> None:
    leasing_claimer = store.leasing_claimer(LEASE)
    put(flaky, ("a", MS - 1))
    leasing_claimer.hand_back(entries(leasing_claimer.claim(1)))
    assert whole(flaky) == Whole({b"a": MS - 1}, {}, {}, {}, 1)
    store.settle([to_settle("nack", leasing_claimer.claim(1))])
    clock.advance(5)
    again = leasing_claimer.claim(1)
    assert again.attempts == [2]
    leasing_claimer.hand_back(entries(again))
    assert whole(flaky) == Whole({b"a": MS - 1}, {}, {b"a": f"-1 {MS - 1} {MS - 1} -"}, {}, 1)
    assert leasing_claimer.claim(1).attempts == [2]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("late", ["ended", "came back", "taken by another", "acked", "cancelled", "unknown fence"])
def test_a_late_request_changes_nothing(
    store: RedisStore, flaky: FlakyClient, clock: Clock, verb: Verb, late: str
) -> None:
    leased = lease_a(store, flaky)
    if late in ("ended", "came back", "taken by another"):
        clock.advance(LEASE_S)
    if late in ("came back", "taken by another"):
        store.leasing_claimer(LEASE).claim(int(late == "taken by another"))
    if late == "acked":
        store.settle([to_settle("ack", leased)])
    if late == "cancelled":
        store.cancel("a")
    if late == "unknown fence":
        leased = leased._replace(fence="c0ffee")
    before = whole(flaky)
    assert store.settle([to_settle(verb, leased)]) == SettleReply([0], None, None)
    assert whole(flaky) == before


@pytest.mark.parametrize("verb", VERBS)
def test_the_mark_for_no_fence_settles_nothing(store: RedisStore, flaky: FlakyClient, clock: Clock, verb: Verb) -> None:
    leased = lease_a(store, flaky)
    store.settle([to_settle("nack", leased)])
    before = whole(flaky)
    assert one(store, to_settle(verb, leased._replace(fence="-"))) == [0]
    assert whole(flaky) == before


def test_many_requests_are_one_round_trip(store: RedisStore, flaky: FlakyClient) -> None:
    fifth = 1800 if flaky.where.startswith("unix") else 400  # fakeredis is slow, and the limits are a real server's
    keys = [f"k{number:04}" for number in range(5 * fifth)]
    put(flaky, *((key, MS - 1) for key in keys), ("z", MS))
    leased = store.leasing_claimer(LEASE).claim(5 * fifth)
    flaky.sent.clear()
    requests = [to_settle(verb, leased, key) for verb, key in zip(itertools.cycle(VERBS), keys, strict=False)]
    settled = store.settle([*requests, to_settle("ack", leased, "z"), to_settle("ack", leased, keys[0])])
    assert len(flaky.sent) == 1
    assert settled.answers == [1, 1, MS + 2 * LEASE, 1, 1] * fifth + [0, 0]
    assert settled.earliest == MS - 1
    left = whole(flaky)
    assert [len(each) for each in left[:4]] == [fifth * 2 + 1, fifth, fifth * 2, fifth]


@pytest.mark.parametrize("data", [NOT_NAMED, 1])
@pytest.mark.parametrize("together", [True, False])
def test_each_key_of_a_run_of_acks_has_its_own_answer(
    store: RedisStore, flaky: FlakyClient, together: bool, data: Any
) -> None:
    keys = ["plain", "scheduled again", "parked", "cancelled", "plain too"]
    store.schedule([Job(key, (MS - 1) / 1000, data=data) for key in keys], "last")
    leased = store.leasing_claimer(LEASE).claim(5)
    put(flaky, ("scheduled again", MS + 7), ("parked", MS - 2))
    store.leasing_claimer(LEASE).claim(5)
    store.cancel("cancelled")
    requests = [to_settle("ack", leased, key) for key in (*keys, "plain", "never there")]
    answers = one(store, *requests) if together else [one(store, request)[0] for request in requests]
    assert answers == [1, 1, 1, 0, 1, 0, 0]
    assert content(flaky) == [(b"parked", MS - 2), (b"scheduled again", MS + 7)]
    with_data = set(RedisClient.call(flaky, "HKEYS", data_key(Q)))
    assert with_data == (set() if data is NOT_NAMED else {b"scheduled again", b"parked"})
    RedisClient.call(flaky, "DEL", data_key(Q))
    assert (whole(flaky).out, whole(flaky).known) == ({}, {})


def test_no_request_sends_nothing(store: RedisStore, flaky: FlakyClient) -> None:
    assert store.settle([]) == SettleReply([], None, None)
    assert flaky.sent == []


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
def test_any_reason_is_kept_and_none_is_long(store: RedisStore, flaky: FlakyClient, reason: str, kept: str) -> None:
    leased = lease_a(store, flaky)
    store.settle([to_settle("bury", leased, argument=reason)])
    assert [letter.reason for letter in store.dead_peek(1)] == [kept]


@lossy(TRIES - 1)
@pytest.mark.parametrize("verb", VERBS)
def test_a_request_whose_reply_is_lost_tells_the_truth(
    store: RedisStore, flaky: FlakyClient, clock: Clock, fates: list[str], verb: Verb
) -> None:
    leased = lease_a(store, flaky)
    flaky.fates = list(fates)
    done = MS + 2 * LEASE if verb == "extend" else 1
    assert one(store, to_settle(verb, leased)) == [done]
    before = whole(flaky)
    flaky.arrive()
    assert whole(flaky) == before, "a late copy changes nothing"


@pytest.mark.parametrize("verb", VERBS)
def test_a_late_copy_harms_no_newer_claim(store: RedisStore, flaky: FlakyClient, clock: Clock, verb: Verb) -> None:
    leased = lease_a(store, flaky)
    flaky.fates = ["late"]
    store.settle([to_settle(verb, leased)])
    store.cancel("a")
    put(flaky, ("a", MS))
    newer = store.leasing_claimer(LEASE).claim(1)
    before = whole(flaky)
    flaky.arrive()
    assert whole(flaky) == before
    assert one(store, to_settle("ack", newer)) == [1]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("fate", ["lost", "late"])
@pytest.mark.parametrize("back", [False, True])
def test_resent_after_the_end_it_says_what_can_be_known(
    store: RedisStore, flaky: FlakyClient, clock: Clock, verb: Verb, fate: str, back: bool
) -> None:
    """Only a lease that still has our fence shows something: that the request was not done."""
    leased = lease_a(store, flaky)
    flaky.fates = [fate] * TRIES
    with pytest.raises(OutcomeUnknown):
        store.settle([to_settle(verb, leased)])
    clock.advance(LEASE_S if (verb, fate) != ("extend", "lost") else 2 * LEASE_S)
    if back:
        store.leasing_claimer(LEASE).claim(0)
    (answer,) = one(store, to_settle(verb, leased), resent=True)
    if verb == "extend" or (fate == "late" and not back):
        assert answer == 0, "the lease is not ours any more"
    else:
        assert answer is None


def test_resent_for_another_holders_lease_it_says_no_to_extend(
    store: RedisStore, flaky: FlakyClient, clock: Clock
) -> None:
    leased = lease_a(store, flaky)
    store.settle([to_settle("nack", leased, argument=0)])
    store.leasing_claimer(LEASE).claim(1)
    assert one(store, to_settle("extend", leased), to_settle("nack", leased), resent=True) == [0, 1]
