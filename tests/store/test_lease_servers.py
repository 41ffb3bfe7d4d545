"""Leases on servers that are full, demoted or forgetful, or that do not track reads."""

from __future__ import annotations

import pytest

from rx_runat import Job, Refused, Unavailable
from rx_runat.model.batch import Entry, Leased
from rx_runat.store import steps
from rx_runat.store.connect import connect
from rx_runat.store.redis_store import RedisStore
from tests.support.leases import (
    LEASE,
    LEASE_S,
    VERBS,
    Whole,
    one,
    to_settle,
    whole,
)
from tests.support.redis_content import put
from tests.support.servers import Server
from tests.support.stores import MS, Clock, FlakyClient, Q


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
        assert all(one(store, to_settle(verb, leased, key))), verb
    assert store.dead_size() == 1
    assert store.revive("d") == 1
    clock.advance(3 * LEASE_S)
    again = leasing_claimer.claim(9)
    assert dict(zip(again.keys, again.attempts, strict=True)) == {"b": 2, "c": 2} | dict.fromkeys("defgh", 1)
    assert store.cancel("c") is True
    assert one(store, *(to_settle("ack", again, key) for key in again.keys)) == [
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
    unknown = Leased(["a"], ["1"], [1], ["now"], "c0ffee", MS + LEASE, 0, None)
    for verb in VERBS:
        with pytest.raises(Unavailable, match="READONLY"):
            store.settle([to_settle(verb, unknown)])
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
        lambda: one(store, to_settle("bury", leasing_claimer.claim(1))) == [1],
        lambda: store.revive("a") == 1,
        lambda: store.cancel("a"),
        lambda: leasing_claimer.close() == [],
    ):
        store_client.call("SCRIPT", "FLUSH")
        assert verb()
    assert whole(store_client) == Whole()
    store_client.close()


def test_what_comes_into_the_schedule_is_announced_where_the_server_does_not_track(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    flaky = FlakyClient(connect(server.url).client)
    store = RedisStore(flaky, Q)
    monkeypatch.setattr(store, "_tracked", False)
    monkeypatch.setattr(store, "_asked_at", flaky.generation)
    put(flaky, ("a", 1), ("b", 1))
    leased = store.leasing_claimer(LEASE).claim(2)
    for act, announced in [
        (lambda: store.settle([to_settle("extend", leased)]), 0),
        (lambda: store.settle([to_settle("bury", leased)]), 0),
        (lambda: store.settle([to_settle("nack", leased, "b")]), 1),
        (lambda: store.revive("b"), 0),
        (lambda: store.revive("a"), 1),
    ]:
        flaky.sent.clear()
        act()
        assert [command[0] for command in flaky.sent].count("PUBLISH") == announced
    flaky.close()


def test_13_every_step_of_a_long_list_is_announced_where_the_server_does_not_track(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "MOMENTS", 2)
    flaky = FlakyClient(connect(server.url).client)
    store = RedisStore(flaky, Q)
    monkeypatch.setattr(store, "_tracked", False)
    monkeypatch.setattr(store, "_asked_at", flaky.generation)
    store.schedule([Job(f"k{n}", 1) for n in range(4)], "last")
    assert [command[0] for command in flaky.sent] == ["ZADD", "PUBLISH"] * 2
    flaky.sent.clear()
    flaky.fates = [None, None, "refused"]
    with pytest.raises(Refused):
        store.schedule([Job(f"k{n}", 1) for n in range(4)], "last")
    assert [command[0] for command in flaky.sent] == ["ZADD", "PUBLISH"]
    flaky.close()
