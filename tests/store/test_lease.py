"""A claim with a lease: what it takes, what comes back when a lease ends, and what a lost reply does."""

from __future__ import annotations

import pytest
import redis
from redis.crc import key_slot

from rx_runat import Job, OutcomeUnknown
from rx_runat.model.batch import Counting, Leased, Verb
from rx_runat.store import claimers
from rx_runat.store.client import TRIES, RedisClient
from rx_runat.store.connect import connect
from rx_runat.store.keys import leases_key
from rx_runat.store.redis_store import RedisStore
from rx_runat.testing import Faults
from tests.support.leases import (
    LEASE,
    LEASE_S,
    VERBS,
    Whole,
    lease_a,
    one,
    to_settle,
    whole,
)
from tests.support.redis_content import ODD, entries, put
from tests.support.servers import Server
from tests.support.stores import MS, Clock, FlakyClient, Q, T, lossy


def test_a_claim_moves_what_is_due_to_the_claimed_ones(store: RedisStore, flaky: FlakyClient, clock: Clock) -> None:
    put(flaky, ("b", MS - 1), ("a", MS - 1), ("z", MS - 2), ("c", MS), ("later", MS + 1))
    leased = store.leasing_claimer(LEASE).claim(3)
    assert leased.keys == ["z", "a", "b"]
    assert list(map(float, leased.scores)) == [MS - 2, MS - 1, MS - 1]
    assert leased.attempts == [1, 1, 1]
    assert (leased.deadline, leased.now, leased.wait) == (MS + LEASE, clock.us, 0.0)
    assert whole(flaky) == Whole(
        {b"c": MS, b"later": MS + 1},
        {b"z": MS + LEASE, b"a": MS + LEASE, b"b": MS + LEASE},
        {b"z": f"1 {MS - 2} - -", b"a": f"1 {MS - 1} - -", b"b": f"1 {MS - 1} - -"},
        {},
        1,
    )


def test_a_lease_is_never_shorter_than_asked(store: RedisStore, flaky: FlakyClient, clock: Clock) -> None:
    clock.us += 1
    put(flaky, ("a", MS))
    assert store.leasing_claimer(LEASE).claim(1).deadline == MS + 1 + LEASE


def test_a_claim_of_none_writes_nothing_and_waits_for_leases_only(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("due", MS), ("soon", MS + 10))
    leasing_claimer = store.leasing_claimer(LEASE)
    assert leasing_claimer.claim(0) == Leased([], [], [], [], leasing_claimer._last[0], 0, T * 1_000_000, None)
    assert whole(flaky) == Whole({b"due": MS, b"soon": MS + 10})
    assert leasing_claimer.claim(1).wait == 0.01
    assert leasing_claimer.claim(0).wait == LEASE_S


def test_a_claim_tells_how_long_to_wait(store: RedisStore, flaky: FlakyClient, clock: Clock) -> None:
    leasing_claimer = store.leasing_claimer(LEASE)
    assert leasing_claimer.claim(1).wait is None
    put(flaky, ("never", "inf"), ("late", MS + LEASE + 5000))
    assert leasing_claimer.claim(1).wait == LEASE_S + 5
    put(flaky, ("a", MS))
    assert leasing_claimer.claim(1).wait == LEASE_S, "the lease's end comes first"
    put(flaky, ("half", MS + 1.5))
    assert leasing_claimer.claim(1).wait == 0.002
    clock.us += 1
    assert leasing_claimer.claim(1).wait == 0.001999


def test_an_ended_lease_comes_back_in_the_next_claim_with_its_own_run_at(
    store: RedisStore, flaky: FlakyClient, clock: Clock
) -> None:
    lease_a(store, flaky)
    clock.us += LEASE * 1000 - 1
    other = store.leasing_claimer(LEASE)
    assert other.claim(1).keys == [], "not a microsecond early"
    clock.us += 1
    assert other.claim(0).keys == []
    assert whole(flaky) == Whole({b"a": MS - 1}, {}, {b"a": f"1 {MS - 1} {MS - 1} -"}, {}, 1)
    leased = other.claim(1)
    assert (leased.keys, leased.scores, leased.attempts) == (["a"], [str(MS - 1)], [2])
    assert whole(flaky) == Whole({}, {b"a": MS + 2 * LEASE}, {b"a": f"2 {MS - 1} ? -"}, {}, 2)


def test_a_claim_brings_back_and_leases_at_once(store: RedisStore, flaky: FlakyClient, clock: Clock) -> None:
    lease_a(store, flaky)
    clock.advance(LEASE_S)
    assert store.leasing_claimer(LEASE).claim(1).attempts == [2]


def test_a_claim_brings_back_no_more_than_its_bound(
    store: RedisStore, flaky: FlakyClient, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claimers, "BROUGHT_BACK", 2)
    put(flaky, *((key, MS) for key in "abcde"))
    leasing_claimer = store.leasing_claimer(LEASE)
    leasing_claimer.claim(5)
    clock.advance(LEASE_S)
    assert leasing_claimer.claim(0).wait == 0.0, "there is more"
    assert sorted(whole(flaky).waits) == [b"a", b"b"]
    assert sorted(whole(flaky).out) == [b"c", b"d", b"e"]
    leasing_claimer.claim(0)
    assert leasing_claimer.claim(0).wait is None
    assert leasing_claimer.claim(5).keys == list("abcde")


def test_a_lease_that_ended_beyond_the_bound_gives_way_to_a_newer_schedule(
    store: RedisStore, flaky: FlakyClient, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claimers, "BROUGHT_BACK", 0)
    leased = lease_a(store, flaky)
    put(flaky, ("a", MS + 7))
    clock.advance(LEASE_S)
    newer = store.leasing_claimer(LEASE).claim(1)
    assert (newer.keys, list(map(float, newer.scores)), newer.attempts) == (["a"], [MS + 7], [1])
    assert one(store, to_settle("ack", leased)) == [0]
    assert whole(flaky) == Whole({}, {b"a": MS + 2 * LEASE}, {b"a": f"1 {MS + 7} - -"}, {}, 2)


def test_a_record_that_somebody_took_away_loses_no_key(store: RedisStore, flaky: FlakyClient, clock: Clock) -> None:
    lease_a(store, flaky)
    RedisClient.call(flaky, "DEL", leases_key(Q))
    clock.advance(LEASE_S)
    leased = store.leasing_claimer(LEASE).claim(1)
    assert (leased.keys, list(map(float, leased.scores)), leased.attempts) == (["a"], [MS + LEASE], [2])


def test_odd_keys_and_scores_go_out_and_in_byte_for_byte(store: RedisStore, flaky: FlakyClient, clock: Clock) -> None:
    put(flaky, *((member, score.decode()) for score, member in ODD.items()), ("never", "inf"))
    put(flaky, *((bytes([byte]), MS) for byte in range(1, 256) if bytes([byte]) not in ODD.values()), ("", MS))
    before = whole(flaky)
    leasing_claimer = store.leasing_claimer(LEASE)
    flaky.fates = ["lost"]
    leased = leasing_claimer.claim(1000)
    members = [key.encode(errors="surrogateescape") for key in leased.keys]
    assert {m: float(s) for m, s in zip(members, leased.scores, strict=True)} | {b"never": float("inf")} == before.waits
    usual = [entry for entry in entries(leased) if entry.key]  # the empty key cannot be settled: its lease ends
    leasing_claimer.hand_back(usual)
    assert whole(flaky).waits == {m: score for m, score in before.waits.items() if m}
    clock.advance(LEASE_S)
    again = leasing_claimer.claim(1000)
    assert [key for key, attempt in zip(again.keys, again.attempts, strict=True) if attempt == 2] == [""]
    nacks = [to_settle("nack", again, key, 0) for key in again.keys if key]
    assert set(one(store, *nacks)) == {1}
    third = leasing_claimer.claim(1000)
    assert set(one(store, *(to_settle("bury", third, key) for key in third.keys))) == {1}
    assert {(each.key.encode(errors="surrogateescape")) for each in store.dead_peek(1000)} == {m for m in members if m}
    assert store.revive(None) == len(nacks)
    assert whole(flaky).waits == {m: score for m, score in before.waits.items() if m}


@lossy(TRIES - 1)
def test_a_claim_whose_reply_is_lost_gives_the_same_keys(
    store: RedisStore, flaky: FlakyClient, fates: list[str]
) -> None:
    put(flaky, ("a", MS - 2), ("b", MS - 1), ("c", MS))
    leasing_claimer = store.leasing_claimer(LEASE)
    flaky.fates = list(fates)
    leased = leasing_claimer.claim(2)
    assert (leased.keys, leased.attempts, leased.deadline) == (["a", "b"], [1, 1], MS + LEASE)
    assert one(store, to_settle("ack", leased, "a"), to_settle("ack", leased, "b")) == [1, 1]
    before = whole(flaky)
    flaky.arrive()
    assert whole(flaky) == before, "a late copy takes nothing"
    assert leasing_claimer.claim(2).keys == ["c"]


@pytest.mark.parametrize("later", [0, LEASE_S - 0.000001, LEASE_S, 2 * LEASE_S])
def test_a_claim_that_was_lost_for_long_gives_what_is_still_ours(
    store: RedisStore, flaky: FlakyClient, clock: Clock, later: float
) -> None:
    put(flaky, ("a", MS - 2), ("b", MS - 1))
    leasing_claimer = store.leasing_claimer(LEASE)
    flaky.fates = ["lost"] * TRIES
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


def test_the_limit_of_a_lost_claim_is_that_of_the_sending_that_arrived(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("a", MS - 2), ("b", MS - 1))
    leasing_claimer = store.leasing_claimer(LEASE)
    flaky.fates = ["lost"] * TRIES
    with pytest.raises(OutcomeUnknown):
        leasing_claimer.claim(2)
    assert leasing_claimer.claim(0).keys == ["a", "b"]


def test_close_returns_what_a_lost_claim_leased_and_leaves_nothing(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("a", MS - 2), ("b", MS + 1))
    before = whole(flaky)
    leasing_claimer = store.leasing_claimer(LEASE)
    flaky.fates = ["lost"] * TRIES
    with pytest.raises(OutcomeUnknown):
        leasing_claimer.claim(2)
    found = leasing_claimer.close()
    assert [entry.key for entry in found] == ["a"]
    flaky.fates = ["lost"]
    leasing_claimer.hand_back(found)
    assert leasing_claimer.close() == []
    assert whole(flaky)._replace(receipts=0) == before, "the receipt of a lost reply expires"
    leasing_claimer.hand_back(entries(leasing_claimer.claim(2)))
    assert leasing_claimer.close() == leasing_claimer.close() == []
    assert whole(flaky)._replace(receipts=0) == before


def test_closing_leaves_no_receipt(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("a", MS - 2))
    leasing_claimer = store.leasing_claimer(LEASE)
    leased = leasing_claimer.claim(1)
    assert leasing_claimer.close() == []
    assert whole(flaky).receipts == 0
    assert one(store, to_settle("ack", leased)) == [1], "what was delivered stays leased"
    assert whole(flaky) == Whole()


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
    requests = [to_settle("ack", leased), to_settle("nack", leased, "b")]
    faults.lost = times
    if times == TRIES:
        with pytest.raises(OutcomeUnknown):
            store.settle(requests)
    assert store.settle(requests, 0 if times == TRIES else None).answers == [1, 1]
    assert whole(faults).waits == {b"b": MS + 5000}
    faults.close()


@pytest.mark.parametrize("name", [Q, "jobs{eu}", "a{b}c{d}"])
def test_all_names_of_a_queue_lie_in_one_slot(flaky: FlakyClient, clock: Clock, name: str) -> None:
    store = RedisStore(flaky, name, clock)
    store.schedule([Job("a", T - 1), Job("b", T - 1)], "last")
    leasing_claimer = store.leasing_claimer(LEASE)
    store.settle([to_settle("bury", leasing_claimer.claim(2))])
    keys = RedisClient.call(flaky, "KEYS", "*")
    assert len(keys) == 4
    assert {key_slot(key) for key in keys} == {key_slot(name.encode())}
    store.schedule([Job("a", T - 1)], "last")
    assert len(RedisClient.call(flaky, "KEYS", "*")) == 5


def test_two_queues_do_not_meet(flaky: FlakyClient, clock: Clock) -> None:
    one_, other = RedisStore(flaky, "one", clock), RedisStore(flaky, "other", clock)
    one_.schedule([Job("a", T)], "last")
    leased = one_.leasing_claimer(LEASE).claim(1)
    clock.advance(LEASE_S - 1)
    assert other.settle([to_settle("ack", leased)]).answers == [0]
    assert other.cancel("a") is False
    clock.advance(1)
    assert other.leasing_claimer(LEASE).claim(1).keys == []
    assert one_.leasing_claimer(LEASE).claim(1).attempts == [2]


@pytest.mark.parametrize("count, is_table", [(31, False), (32, True)])
def test_redis_keeps_the_records_of_many_keys_as_a_table(
    count: int, is_table: bool, server: Server, client: redis.Redis
) -> None:
    client.zadd(Q, {f"k{n:02}": 1000 for n in range(count)})
    store_client = connect(server.url).client
    leased = RedisStore(store_client, Q).leasing_claimer(LEASE).claim(count)
    assert leased.attempts == [1] * count
    assert (client.object("ENCODING", leases_key(Q)) == b"hashtable") is is_table  # type: ignore[no-untyped-call]
    store_client.close()


@pytest.mark.parametrize("up_to", [0, 1])
@pytest.mark.parametrize("verb", ["begin", *VERBS])
def test_the_record_that_makes_it_a_table_is_as_any_other(
    verb: Verb, up_to: int, store: RedisStore, flaky: FlakyClient, clock: Clock
) -> None:
    """The first two keys of a claim are alike, and so is what becomes of them."""
    keys = [f"k{n:02}" for n in range(40)]
    put(flaky, *((key, MS - 1) for key in keys))
    leasing_claimer = store.leasing_claimer(LEASE, Counting(up_to))
    leased = leasing_claimer.claim(40)
    first, second = (one(store, to_settle(verb, leased, key))[0] for key in keys[:2])
    assert first == second != 0
    clock.advance(2 * LEASE_S)
    leasing_claimer.claim(0)  # leases that have ended come back
    state = whole(flaky)
    for part in (state.waits, state.out, state.known, state.dead):
        assert part.get(b"k00") == part.get(b"k01")
    again = leasing_claimer.claim(40)
    found = {key: attempt for key, attempt in zip(again.keys, again.attempts, strict=True) if key in keys[:2]}
    assert len(set(found.values())) <= 1
