"""A key that is scheduled again, or falls due again, while it is under a lease."""

from __future__ import annotations

import pytest

from rx_runat import Job
from rx_runat.model.batch import SUPERSEDED, SettleReply, Verb
from rx_runat.model.job import Keep
from rx_runat.store.client import RedisClient
from rx_runat.store.redis_store import RedisStore
from tests.support.leases import (
    FAR,
    LEASE,
    LEASE_S,
    Whole,
    again_while_out,
    lease_a,
    one,
    to_settle,
    whole,
)
from tests.support.redis_content import put
from tests.support.stores import MS, Clock, FlakyClient, T


def test_it_waits_for_the_end_of_the_lease(store: RedisStore, flaky: FlakyClient, clock: Clock) -> None:
    leased = again_while_out(store, flaky, clock)
    other = store.leasing_claimer(LEASE)
    clock.us = (MS + LEASE) * 1000 - 1
    assert other.claim(9).keys == []
    clock.us += 1
    newer = other.claim(9)
    assert (newer.keys, list(map(float, newer.scores)), newer.attempts) == (["a"], [MS + 1000], [1])
    assert one(store, to_settle("ack", leased)) == [0]


@pytest.mark.parametrize("verb", ["ack", "nack", "bury", "back"])
def test_it_waits_for_its_ack_and_is_free_at_once(
    store: RedisStore, flaky: FlakyClient, clock: Clock, verb: Verb
) -> None:
    leased = again_while_out(store, flaky, clock)
    settled = store.settle([to_settle(verb, leased)])
    assert settled == SettleReply([SUPERSEDED if verb == "nack" else 1], MS + 1000, None)
    assert whole(flaky)._replace(dead={}) == Whole({b"a": MS + 1000}, {}, {}, {}, 1)
    newer = store.leasing_claimer(LEASE).claim(9)
    assert (newer.keys, list(map(float, newer.scores)), newer.attempts) == (["a"], [MS + 1000], [1])


def test_it_waits_longer_when_the_lease_is_extended(store: RedisStore, flaky: FlakyClient, clock: Clock) -> None:
    leased = again_while_out(store, flaky, clock)
    assert one(store, to_settle("extend", leased)) == [MS + 2000 + 2 * LEASE]
    clock.us = (MS + LEASE) * 1000
    looked = store.leasing_claimer(LEASE).claim(9)
    assert (looked.keys, looked.wait) == ([], LEASE_S + 2)
    assert one(store, to_settle("ack", leased)) == [1]
    assert whole(flaky) == Whole({b"a": MS + 1000}, {}, {}, {}, 1)


def test_it_may_be_scheduled_once_more(store: RedisStore, flaky: FlakyClient, clock: Clock) -> None:
    """At the very end of the lease too: a whole millisecond is not taken for the mark of a parked key."""
    for ms in (MS + 5000, MS + LEASE, FAR):
        RedisClient.call(flaky, "FLUSHALL")
        clock.us = T * 1_000_000
        leased = again_while_out(store, flaky, clock)
        store.schedule([Job("a", ms / 1000)], "last")
        assert store.settle([to_settle("ack", leased)]) == SettleReply([1], None, None)
        assert whole(flaky) == Whole({b"a": ms}, {}, {}, {}, 1)


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
    store: RedisStore, flaky: FlakyClient, clock: Clock, keep: Keep, ms: int, stands: int
) -> None:
    leased = again_while_out(store, flaky, clock)
    assert store.schedule([Job("a", ms / 1000)], keep) == stands
    assert one(store, to_settle("ack", leased)) == [1]
    assert whole(flaky) == Whole({b"a": stands}, {}, {}, {}, 1)


@pytest.mark.parametrize("verb", ["ack", "nack", "bury", "back"])
@pytest.mark.parametrize("run_at", [MS - 9, MS - 1, MS + 1, FAR])
def test_a_reschedule_made_while_it_is_out_stands(
    store: RedisStore, flaky: FlakyClient, verb: Verb, run_at: int
) -> None:
    leased = lease_a(store, flaky)
    put(flaky, ("a", run_at))
    assert store.settle([to_settle(verb, leased)]) == SettleReply([SUPERSEDED if verb == "nack" else 1], None, None)
    assert whole(flaky)._replace(dead={}) == Whole({b"a": run_at}, {}, {}, {}, 1)


@pytest.mark.parametrize("run_at", [MS - 9, MS + 1])
def test_a_reschedule_stands_when_the_lease_ends_too(
    store: RedisStore, flaky: FlakyClient, clock: Clock, run_at: int
) -> None:
    lease_a(store, flaky)
    put(flaky, ("a", run_at))
    clock.advance(LEASE_S)
    store.leasing_claimer(LEASE).claim(0)
    assert whole(flaky) == Whole({b"a": run_at}, {}, {}, {}, 1)


def test_a_reschedule_between_two_attempts_is_a_new_run(store: RedisStore, flaky: FlakyClient, clock: Clock) -> None:
    leased = lease_a(store, flaky)
    store.settle([to_settle("nack", leased)])
    store.schedule([Job("a", T + 3)], "last")
    clock.advance(3)
    newer = store.leasing_claimer(LEASE).claim(1)
    assert (list(map(float, newer.scores)), newer.attempts) == ([MS + 3000], [1])


@pytest.mark.parametrize("score", ["-inf", "-1.5", "0.1", "1699999999999.9998"])
@pytest.mark.parametrize("verb", ["ack", "back"])
def test_odd_scores_wait_for_a_lease_and_come_back(
    store: RedisStore, flaky: FlakyClient, score: str, verb: Verb
) -> None:
    leased = lease_a(store, flaky)
    put(flaky, ("a", score))
    other = store.leasing_claimer(LEASE)
    assert other.claim(1).keys == []
    assert store.settle([to_settle(verb, leased)]) == SettleReply([1], float(score), None)
    newer = other.claim(1)
    assert (list(map(float, newer.scores)), newer.attempts) == ([float(score)], [1])
