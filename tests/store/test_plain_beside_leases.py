"""A plain source on a queue that has leases: it takes no key that is under a living one."""

from __future__ import annotations

import pytest

from rx_runat.model.batch import Entry
from rx_runat.store.redis_store import RedisStore
from tests.support.leases import (
    LEASE,
    LEASE_S,
    OUT,
    Whole,
    again_while_out,
    lease_a,
    one,
    to_settle,
    whole,
)
from tests.support.redis_content import put
from tests.support.stores import MS, Clock, FlakyClient


def test_a_plain_claim_takes_no_key_whose_lease_lives(store: RedisStore, flaky: FlakyClient, clock: Clock) -> None:
    leased = lease_a(store, flaky)
    put(flaky, ("a", MS), ("b", MS))
    plain_claimer = store.plain_claimer()
    assert plain_claimer.claim(9).keys == ["b"]
    assert whole(flaky).waits == {b"a": MS + LEASE - 0.5}
    assert one(store, to_settle("ack", leased)) == [1]
    got = plain_claimer.claim(9)
    assert (got.keys, list(map(float, got.scores))) == (["a"], [MS])
    plain_claimer.close()
    assert whole(flaky) == Whole(receipts=1)


@pytest.mark.parametrize("parked", [False, True])
def test_a_plain_claim_takes_a_key_whose_lease_has_ended_and_leaves_nothing(
    store: RedisStore, flaky: FlakyClient, clock: Clock, parked: bool
) -> None:
    if parked:
        again_while_out(store, flaky, clock)
    else:
        lease_a(store, flaky)
        put(flaky, ("a", MS + 1000))
    clock.us = (MS + LEASE) * 1000
    plain_claimer = store.plain_claimer()
    got = plain_claimer.claim(9)
    assert (got.keys, list(map(float, got.scores))) == (["a"], [MS + 1000])
    plain_claimer.close()
    assert whole(flaky) == Whole(receipts=1)


def test_a_plain_claim_takes_a_key_between_two_attempts_and_leaves_nothing(
    store: RedisStore, flaky: FlakyClient, clock: Clock
) -> None:
    store.settle([to_settle("nack", lease_a(store, flaky))])
    clock.advance(5)
    plain_claimer = store.plain_claimer()
    flaky.fates = ["lost"]
    got = plain_claimer.claim(9)
    assert (got.keys, list(map(float, got.scores))) == (["a"], [MS - 1]), "its own run_at"
    assert whole(flaky)._replace(receipts=0) == Whole()
    plain_claimer.hand_back([Entry("a", got.scores[0])])
    assert whole(flaky)._replace(receipts=0) == Whole({b"a": MS - 1})


def test_a_plain_source_brings_no_ended_lease_back(store: RedisStore, flaky: FlakyClient, clock: Clock) -> None:
    """Only leasing claims do this: a plain source may lose a key that a lease promised to keep."""
    lease_a(store, flaky)
    clock.advance(LEASE_S)
    assert store.plain_claimer().claim(9).keys == []
    assert whole(flaky) == OUT
