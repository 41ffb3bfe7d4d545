"""The store as a whole: every verb without a server, with a full or forgetful one, and beside another queue."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from redis.crc import key_slot

from rx_runat import Job, OutcomeUnknown, Refused, Unavailable
from rx_runat.model.batch import Entry
from rx_runat.store.claimers import PlainClaimer
from rx_runat.store.client import TRIES, RedisClient
from rx_runat.store.connect import connect
from rx_runat.store.keys import queue_keys
from rx_runat.store.redis_store import RedisStore
from rx_runat.testing import Faults
from tests.support.redis_content import content, entries, keys_of, put
from tests.support.servers import Server
from tests.support.stores import MS, Clock, FlakyClient, Q, T


@pytest.mark.parametrize("times", [0, 1, 2, 3])
def test_the_faults_that_we_ship_lose_no_key(times: int) -> None:
    faults = Faults()
    plain_claimer = PlainClaimer(faults, Q, queue_keys(Q), None)
    put(faults, ("a", 1), ("b", 2))
    faults.lost = times
    if times == TRIES:
        with pytest.raises(OutcomeUnknown):
            plain_claimer.claim(2)
    claimed = plain_claimer.claim(2)
    assert claimed.keys == ["a", "b"]
    faults.lost = times
    if times == TRIES:
        with pytest.raises(OutcomeUnknown):
            plain_claimer.hand_back(entries(claimed))
    plain_claimer.hand_back(entries(claimed))
    assert content(faults) == [(b"a", 1), (b"b", 2)]
    faults.close()


def verbs_of(store: RedisStore) -> list[Callable[[], object]]:
    return [
        lambda: store.schedule([Job("a", T)], "last"),
        lambda: store.schedule([Job("a", timedelta(0))], "last"),
        lambda: store.schedule([Job("a", T)], "latest"),
        lambda: store.cancel("a"),
        lambda: store.when("a"),
        lambda: store.peek(1),
        lambda: store.size(None),
        lambda: store.size(T),
        lambda: store.plain_claimer().claim(1),
        lambda: store.plain_claimer().hand_back([Entry("b", b"1")]),
    ]


@pytest.mark.parametrize("number", range(10))
def test_a_verb_that_was_not_done_says_so(store: RedisStore, flaky: FlakyClient, number: int) -> None:
    put(flaky, ("a", MS + 1))
    flaky.fates = ["away"]
    with pytest.raises(Unavailable) as caught:
        verbs_of(store)[number]()
    assert not isinstance(caught.value, OutcomeUnknown)
    flaky.fates = ["refused"]
    with pytest.raises(Refused):
        verbs_of(store)[number]()
    assert content(flaky) == [(b"a", MS + 1)]
    assert flaky.fates == [], "and it was sent once"


@pytest.mark.parametrize("number", [0, 1, 2, 3, 8, 9])
@pytest.mark.parametrize("then", ["away", "refused"])
def test_a_write_that_may_have_been_done_never_says_that_it_was_not(
    store: RedisStore, flaky: FlakyClient, number: int, then: str
) -> None:
    """The first reply is lost, then the server is away or refuses: the outcome stays unknown."""
    put(flaky, ("a", MS))
    flaky.fates = ["lost", then, then]
    with pytest.raises(OutcomeUnknown):
        verbs_of(store)[number]()


def test_a_server_that_forgot_the_scripts_is_taught_them_again(server: Server) -> None:
    store_client = connect(server.url).client
    store = RedisStore(store_client, Q)
    plain_claimer = store.plain_claimer()
    for verb in (
        lambda: store.schedule([Job("a", 1)], "first"),
        lambda: store.peek(1),
        lambda: plain_claimer.hand_back(entries(plain_claimer.claim(1))),
        lambda: plain_claimer.claim(1),
    ):
        store_client.call("SCRIPT", "FLUSH")
        verb()
    plain_claimer.close()
    store_client.close()


def test_a_queue_with_a_hash_tag_keeps_its_keys_in_one_slot(real_flaky: FlakyClient) -> None:
    for name in (Q, "jobs{eu}", "a{b}c{d}"):
        plain_claimer = RedisStore(real_flaky, name).plain_claimer()
        RedisClient.call(real_flaky, "ZADD", name, 1, "a")
        plain_claimer.claim(1)
        (receipt,) = keys_of(real_flaky)
        assert key_slot(name.encode()) == key_slot(receipt)
        plain_claimer.close()
        assert keys_of(real_flaky) == []


def test_two_queues_do_not_meet(flaky: FlakyClient, clock: Clock) -> None:
    one, other = RedisStore(flaky, "one", clock), RedisStore(flaky, "other", clock)
    one.schedule([Job("a", T)], "last")
    assert other.plain_claimer().claim(10).keys == []
    assert other.size(None) == 0
    assert one.plain_claimer().claim(10).keys == ["a"]


def test_a_closed_store_says_so(store: RedisStore) -> None:
    store.close()
    store.close()
    with pytest.raises(Unavailable, match="closed"):
        store.size(None)


def test_an_npm_runats_schedule_is_ours(store: RedisStore, server: Server) -> None:
    with server.client() as npm:
        npm.zadd(Q, {"a": 1})
        store_client = connect(server.url).client
        assert RedisStore(store_client, Q).plain_claimer().claim(1).keys == ["a"]
        RedisStore(store_client, Q).schedule([Job("b", T + 1)], "last")
        assert npm.zrangebyscore(Q, 0, MS + 1000) == [b"b"]
        store_client.close()
