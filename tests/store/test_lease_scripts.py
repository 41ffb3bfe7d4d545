"""The scripts of leases: the commands that they use, and the clock that they read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from rx_runat import Job
from rx_runat.model.batch import Entry
from rx_runat.model.data import NOT_NAMED
from rx_runat.store.connect import connect
from rx_runat.store.redis_store import RedisStore
from tests.support.leases import (
    LEASE,
    one,
    to_settle,
)
from tests.support.redis_content import at, put
from tests.support.scripts import inside, runs_of, watched
from tests.support.servers import Server
from tests.support.stores import MS, Clock, Q


def test_by_rediss_own_clock_nobody_tells_it_the_time(taught: Server) -> None:
    store_client = connect(taught.url).client
    store = RedisStore(store_client, Q)
    found: list[Any] = []

    def act() -> None:
        store.schedule([Job("a", 1.0), Job("b", 2.0), Job("c", timedelta(hours=1))], "last")
        leasing_claimer = store.leasing_claimer(LEASE)
        leased = leasing_claimer.claim(5)
        found.append(leased)
        found.append(one(store, to_settle("bury", leased, "a"), to_settle("extend", leased, "b")))
        leasing_claimer.hand_back([Entry("b", "")])
        leasing_claimer.close()

    seen = watched(taught, act)
    assert found[0].keys == ["a", "b"]
    assert found[0].deadline - LEASE == -(-found[0].now // 1000)
    assert found[1][0] == 1
    (claim,) = runs_of("lease", seen)
    assert len(claim) == 9
    assert [words[1] for words in runs_of("settle", seen)] == ["", ""]
    (letter,) = store.dead_peek(1)
    assert abs(letter.time - at(found[0].now // 1000)) < timedelta(seconds=20)
    store_client.close()


def test_the_work_of_a_claim_and_of_an_ack_does_not_grow_with_the_queue(taught: Server) -> None:
    store_client = connect(taught.url).client
    store = RedisStore(store_client, Q, Clock())
    works: list[Sequence[Sequence[str]]] = []
    for waiting in (10, 3000):
        put(store_client, *((f"k{number}", MS - 1) for number in range(waiting)))
        store.leasing_claimer(LEASE).claim(waiting // 2)
        leasing_claimer = store.leasing_claimer(LEASE)
        claim = inside(taught, lambda leasing_claimer=leasing_claimer: leasing_claimer.claim(1))  # type: ignore[misc]
        leased = leasing_claimer.claim(1)
        ack = inside(taught, lambda leased=leased: one(store, to_settle("ack", leased, leased.keys[0])))  # type: ignore[misc]
        works.append([claim, ack])
    assert works[0] == works[1]
    claim, ack = works[0]
    assert len(claim) <= 16
    assert ack == ["EXISTS", "ZREM", "HDEL", "HMGET", "ZMSCORE", "HDEL", "ZREM"]
    store_client.close()


@pytest.mark.parametrize("data", [NOT_NAMED, 1])
def test_a_thousand_acks_of_one_claim_share_their_commands(taught: Server, data: Any) -> None:
    store_client = connect(taught.url).client
    store = RedisStore(store_client, Q, Clock())
    store.schedule([Job(f"k{number}", 1, data=data) for number in range(1500)], "last")
    leased = store.leasing_claimer(LEASE).claim(1500)
    requests = [to_settle("ack", leased, key) for key in leased.keys]
    commands = inside(taught, lambda: one(store, *requests))
    assert len(commands) < 20
    assert (store.size(None), store_client.call("DBSIZE")) == (0, 1), "the claim's receipt is left"
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
