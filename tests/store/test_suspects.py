"""Which keys a claim under a lease calls suspects: those whose attempt before was not settled."""

from __future__ import annotations

from rx_runat import Job
from rx_runat.model.batch import Counting
from rx_runat.store.redis_store import RedisStore
from tests.support.leases import LEASE, LEASE_S, one, to_settle
from tests.support.stores import Clock, T

FROM_THE_SECOND = Counting(1)


def test_a_key_whose_lease_ended_is_a_suspect_and_one_that_was_nacked_is_not(store: RedisStore, clock: Clock) -> None:
    store.schedule([Job("ended", T - 2), Job("nacked", T - 1)], "last")
    claimer = store.leasing_claimer(LEASE, FROM_THE_SECOND)
    first = claimer.claim(9)
    assert first.counts == ["now", "now"]
    assert one(store, to_settle("nack", first, "nacked", 5000)) == [1]
    clock.advance(LEASE_S)
    again = claimer.claim(9)
    assert (again.keys, again.attempts, again.counts) == (["ended", "nacked"], [2, 2], ["suspect", "later"])


def test_an_attempt_that_was_nacked_clears_a_suspect(store: RedisStore, clock: Clock) -> None:
    store.schedule([Job("a", T - 1)], "last")
    claimer = store.leasing_claimer(LEASE, FROM_THE_SECOND)
    claimer.claim(9)
    clock.advance(LEASE_S)
    suspect = claimer.claim(9)
    assert suspect.counts == ["suspect"]
    assert one(store, to_settle("begin", suspect)) == [1]
    assert one(store, to_settle("nack", suspect, argument=1000)) == [1]
    clock.advance(1)
    again = claimer.claim(9)
    assert (again.attempts, again.counts) == ([3], ["later"])


def test_where_all_attempts_count_at_the_claim_none_is_a_suspect(store: RedisStore, clock: Clock) -> None:
    store.schedule([Job("a", T - 1)], "last")
    claimer = store.leasing_claimer(LEASE)
    claimer.claim(9)
    clock.advance(LEASE_S)
    again = claimer.claim(9)
    assert (again.attempts, again.counts) == ([2], ["now"])


def test_a_key_that_went_back_or_had_not_begun_is_no_suspect(store: RedisStore, clock: Clock) -> None:
    store.schedule([Job("back", T - 2), Job("unbegun", T - 1)], "last")
    claimer = store.leasing_claimer(LEASE, FROM_THE_SECOND)
    first = claimer.claim(9)
    assert one(store, *(to_settle("nack", first, key, 0) for key in first.keys)) == [1, 1]
    clock.advance(1)
    second = claimer.claim(9)
    assert second.counts == ["later", "later"]
    assert one(store, to_settle("back", second, "back")) == [1]
    clock.advance(LEASE_S)
    third = claimer.claim(9)
    assert (third.keys, third.attempts, third.counts) == (["back", "unbegun"], [2, 2], ["later", "later"])
