"""A claim that is asked for ahead: while one claim is delivered, the server works on the next one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from rx_runat import Refused, Unavailable
from rx_runat.model.members import to_member
from rx_runat.store.claimers import CLAIM, HAND_BACK, PlainClaimer
from rx_runat.store.connect import connect
from rx_runat.store.connection import DedicatedConnection
from rx_runat.store.keys import data_key, leases_key, receipt_key
from rx_runat.store.receipts import RECEIPT_TTL_MS
from rx_runat.store.redis_store import RedisStore
from rx_runat.store.request import new_token
from tests.support.backlog import COUNT, PAST, plain_claimer, taken, waits, write
from tests.support.permissions import WORKER, worker_url
from tests.support.proxy import Proxy
from tests.support.redis_content import ODD, entries
from tests.support.servers import Server
from tests.support.stores import Q


@pytest.fixture
def claimer(server: Server) -> Iterator[PlainClaimer]:
    with plain_claimer(server.url) as claimer:
        yield claimer


def ask_too_late(claimer: PlainClaimer, client: redis.Redis) -> None:
    """Let another source take all keys just before the claimer asks for a claim ahead."""
    ask = claimer._ask_ahead

    def take_and_ask(limit: int) -> None:
        client.zremrangebyrank(Q, 0, -1)
        ask(limit)

    claimer._ask_ahead = take_and_ask  # type: ignore[method-assign]


# What comes.


@pytest.mark.parametrize("ahead", [10, 300])
def test_the_next_claim_has_the_next_keys(claimer: PlainClaimer, client: redis.Redis, ahead: int) -> None:
    wrote = write(client)
    first = claimer.claim(100, ahead)
    assert claimer.is_ahead
    second = claimer.claim(1)
    assert not claimer.is_ahead
    third = claimer.claim(COUNT)
    assert [len(each.keys) for each in (first, second, third)] == [100, ahead, COUNT - 100 - ahead]
    assert list(taken(first, second, third).items()) == list(wrote.items())
    assert [each.wait for each in (first, second, third)] == [0.0, 0.0, None]


def test_keys_that_were_asked_for_ahead_are_taken(claimer: PlainClaimer, client: redis.Redis, server: Server) -> None:
    wrote = write(client)
    claimer.claim(10, 500)
    other = RedisStore(connect(server.url).client, Q)
    # It comes after the request that was sent before it, on another connection: the server may still wait for that one.
    while client.zcard(Q) == COUNT - 10:
        pass
    theirs = other.plain_claimer().claim(COUNT)
    other.close()
    assert list(taken(theirs)) == list(wrote)[510:]
    assert list(taken(claimer.claim(1))) == list(wrote)[10:510]


def test_none_is_asked_for_if_no_more_is_due(claimer: PlainClaimer, client: redis.Redis) -> None:
    write(client, 10)
    assert len(claimer.claim(10, 10).keys) == 10
    assert not claimer.is_ahead
    assert claimer.claim(10, 10).keys == []
    assert not claimer.is_ahead


def test_an_ahead_claim_that_finds_nothing_leaves_a_receipt(claimer: PlainClaimer, client: redis.Redis) -> None:
    """Another source was quicker. It replaced the receipt of the claim before, whose keys may have to go back yet."""
    write(client, 20)
    ask_too_late(claimer, client)
    first = claimer.claim(10, 10)
    assert claimer.is_ahead
    assert claimer.claim(1).keys == []
    (receipt,) = client.keys("*:receipt:*")  # type: ignore[misc]
    assert client.type(receipt) == b"string"
    claimer.hand_back(entries(first))
    assert waits(client) == taken(first)


def test_20_any_bytes_and_scores_come_as_they_are(claimer: PlainClaimer, client: redis.Redis) -> None:
    wrote = {member: float(score) for score, member in ODD.items()}
    client.zadd(Q, wrote)  # type: ignore[arg-type]
    write(client, 200)
    order = client.zrange(Q, 0, -1, withscores=True)
    first = claimer.claim(1, 300)
    second = claimer.claim(1)
    found = [(to_member(key), float(score)) for key, score, _ in entries(first) + entries(second)]
    assert found == [tuple(each) for each in order]  # type: ignore[union-attr]
    claimer.hand_back(entries(second))
    assert client.zrange(Q, 0, -1, withscores=True) == order[1:]  # type: ignore[index]


def test_large_keys_are_bounded_in_bytes(claimer: PlainClaimer, client: redis.Redis) -> None:
    wrote = write(client, 300, length=10_000)
    first, second = claimer.claim(1, 300), claimer.claim(1)
    assert 50 < len(second.keys) < 106, "a megabyte"
    assert list(taken(first, second)) == list(wrote)[: len(second.keys) + 1]


@pytest.mark.parametrize("what", ["leases", "data"])
def test_a_queue_with_leases_or_data_is_read_key_by_key(claimer: PlainClaimer, client: redis.Redis, what: str) -> None:
    wrote = write(client)
    name, value = (leases_key(Q), "junk") if what == "leases" else (data_key(Q), "[1]")
    client.hset(name, "k000020", value)
    first = claimer.claim(10, 500)
    second = claimer.claim(1)
    assert list(taken(first, second)) == list(wrote)[:510]
    assert [data for data in second.data if data] == ([] if what == "leases" else ["[1]"])


# What goes back.


def test_both_claims_go_back_and_a_newer_schedule_stands(claimer: PlainClaimer, client: redis.Redis) -> None:
    wrote = write(client)
    first = claimer.claim(100, 300)
    while client.zcard(Q) == COUNT - 100:
        pass
    client.zadd(Q, {"k000000": 7e12, "k000200": 8e12})
    claimer.hand_back(entries(first)[1:])
    assert not claimer.is_ahead
    claimer.hand_back(entries(first)[:1])
    assert waits(client) == wrote | {b"k000000": 7e12, b"k000200": 8e12}
    assert claimer.close() == []
    assert client.keys("*:receipt:*") == []


def test_closing_returns_what_was_asked_for_ahead(claimer: PlainClaimer, client: redis.Redis) -> None:
    wrote = write(client)
    first = claimer.claim(100, 300)
    back = claimer.close()
    assert [entry.key.encode() for entry in back] == list(wrote)[100:400]
    claimer.hand_back(back)
    assert claimer.close() == []
    assert waits(client) == {key: score for key, score in wrote.items() if key not in taken(first)}
    assert client.keys("*:receipt:*") == []


def test_closing_leaves_no_receipt_where_another_source_was_quicker(claimer: PlainClaimer, client: redis.Redis) -> None:
    write(client, 20)
    ask_too_late(claimer, client)
    claimer.claim(10, 10)
    assert claimer.is_owed
    assert claimer.close() == []
    assert client.keys("*:receipt:*") == []


def test_receipts_expire(claimer: PlainClaimer, client: redis.Redis) -> None:
    write(client)
    for _ in range(5):  # by the script, and by a transaction
        claimer.claim(100, 100)
        (receipt,) = client.keys("*:receipt:*")  # type: ignore[misc]
        assert 0 < client.pttl(receipt) <= RECEIPT_TTL_MS  # type: ignore[operator]


# Lost replies, and refusals.


@pytest.mark.parametrize("ahead", [10, 300])
@pytest.mark.parametrize("cuts", [1, 2])
def test_11_a_lost_reply_brings_the_same_keys(client: redis.Redis, proxy: Proxy, ahead: int, cuts: int) -> None:
    wrote = write(client)
    store = RedisStore(connect(proxy.url).client, Q)
    claimer = store.plain_claimer()
    claims = [claimer.claim(1)]
    proxy.of, proxy.spared, proxy.cut = b":receipt:", [1], cuts
    claims.append(claimer.claim(100, ahead))
    claims += [claimer.claim(50, ahead), claimer.claim(50), claimer.claim(COUNT)]
    assert proxy.cuts == cuts
    assert list(taken(*claims).items()) == list(wrote.items())
    assert sum(len(each.keys) for each in claims) == COUNT
    assert claimer.close() == []
    store.close()


def test_11_a_late_copy_of_the_request_takes_nothing(claimer: PlainClaimer, client: redis.Redis) -> None:
    write(client)
    words: list[Any] = []
    claimer._ahead.ask, ask = (lambda each, *more: words.extend(each) or ask(each, *more)), claimer._ahead.ask  # type: ignore[method-assign]
    claimer.claim(100, 300)
    claimer.claim(1)
    before = waits(client)
    client.evalsha(CLAIM.sha, *words)
    assert waits(client) == before


def test_a_claim_that_was_not_sent_is_made_later(
    claimer: PlainClaimer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was claimed comes all the same, and the next claim asks as usual."""

    def refuse(protocol: int) -> DedicatedConnection:
        raise Unavailable(f"no connection of RESP {protocol} can be made")

    wrote = write(client)
    monkeypatch.setattr(claimer._client, "open", refuse)
    first = claimer.claim(1, 100)
    assert not claimer.is_ahead
    assert not claimer.is_owed
    assert list(taken(first, claimer.claim(5))) == list(wrote)[:6]


def test_a_connection_that_was_closed_meanwhile_is_made_anew(claimer: PlainClaimer, client: redis.Redis) -> None:
    wrote = write(client)
    claims = [claimer.claim(1, 100)]
    assert claimer._ahead._connection is not None
    claimer._ahead._connection.close()
    claims += [claimer.claim(1), claimer.claim(100, 100), claimer.claim(1)]
    assert [len(each.keys) for each in claims][2:] == [100, 100]
    assert list(taken(*claims)) == list(wrote)[: len(taken(*claims))]
    assert len(taken(*claims)) == COUNT - client.zcard(Q), "none is lost"  # type: ignore[operator]


def test_a_server_that_forgot_the_script_is_asked_again(claimer: PlainClaimer, client: redis.Redis) -> None:
    wrote = write(client)
    claims = [claimer.claim(1)]
    claimer._ahead.ask, ask = (lambda *each: client.script_flush() and ask(*each)), claimer._ahead.ask  # type: ignore[method-assign]
    claims += [claimer.claim(100, 100), claimer.claim(50)]
    assert [len(each.keys) for each in claims] == [1, 100, 50]
    assert list(taken(*claims)) == list(wrote)[:151]


def test_19_a_permission_that_is_taken_away_costs_no_key(own_server: Server) -> None:
    """ZRANGE is refused in the middle of a script, which has written by then."""
    with own_server.client() as client:
        wrote = write(client)
        store = RedisStore(connect(worker_url(own_server)).client, Q)
        claimer = store.plain_claimer()
        claims = [claimer.claim(10, 100), claimer.claim(10)]
        ask = claimer._ahead.ask
        claimer._ahead.ask = lambda *each: client.acl_setuser(WORKER, commands=["-zrange"]) and ask(*each)  # type: ignore[method-assign]
        claims.append(claimer.claim(10, 300))
        with pytest.raises(Refused):
            claimer.claim(10)
        client.acl_setuser(WORKER, commands=["+zrange"])
        claims.append(claimer.claim(COUNT))
        assert list(taken(*claims)) == list(wrote)
        store.close()


def test_3_a_key_that_has_fallen_due_by_the_clock_of_redis_is_worth_a_claim_now(
    claimer: PlainClaimer, client: redis.Redis
) -> None:
    """That clock may be set forward while a source sleeps; its own alarm does not know."""
    client.zadd(Q, {"later": 7e12})
    assert not claimer.has_earlier(7e12)
    assert claimer.has_earlier(7e12 + 1)
    client.zadd(Q, {"due": PAST})
    assert claimer.has_earlier(PAST), "it is due by now"
    assert claimer.has_earlier(math.inf)


# Another primary.


@pytest.mark.parametrize("left", ["claim", "newer", "back", "nothing"])
def test_25_a_primary_that_knows_the_claim_takes_its_keys_back(client: redis.Redis, left: str) -> None:
    """It may lack what was done under the same receipt key later: the next claim, or that one's hand-back."""
    tokens = {name: new_token() for name in ("claim", "newer", "back")}
    receipt = receipt_key(Q, "me")
    if left in tokens:
        client.set(receipt, tokens[left] + "whatever follows")
    keys = (Q, receipt, receipt, data_key(Q))
    back = client.eval(
        HAND_BACK.body.decode(),
        4,
        *keys,
        new_token(),
        1000,
        1,
        "".join(tokens.values()),
        2,
        "5",
        "a",  # type: ignore[arg-type]
    )
    assert back == (left in tokens)
    assert waits(client) == ({b"a": 5.0} if left in tokens else {})
