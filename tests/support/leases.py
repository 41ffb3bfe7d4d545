"""Leases in a test: the whole of Redis as a value, and the states that tests begin with."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from rx_runat import Job
from rx_runat.model.batch import Leased, SettleRequest, Verb
from rx_runat.store.client import RedisClient
from rx_runat.store.keys import claimed_key, dead_key, leases_key
from rx_runat.store.receipts import RECEIPT_TTL_MS
from rx_runat.store.redis_store import RedisStore
from tests.support.redis_content import put
from tests.support.stores import MS, Clock, FlakyClient, Q, T

LEASE_S = 30
LEASE = LEASE_S * 1000
FAR = MS + 10 * LEASE
VERBS: list[Verb] = ["ack", "nack", "extend", "bury", "back"]


class Whole(NamedTuple):
    """The whole of Redis.

    Attributes:
        waits: key -> score in Q.
        out: key -> deadline.
        known: key -> the record of a lease without its fence: attempt, run_at, mark, waiting. `record.lua` explains
            these fields.
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
    fenced = {key for key, value in records.items() if value[0] != "-"}
    assert fenced == set(out), "the keys with a fenced record are exactly the keys that are out"
    return Whole(waits, out, {k: v.partition(" ")[2] for k, v in records.items()}, letters, len(receipts))


def to_settle(verb: Verb, leased: Leased, key: str = "a", argument: int | str | None = None) -> SettleRequest:
    usual: dict[str, int | str] = {"nack": 5000, "extend": 2 * LEASE, "bury": "no such address"}
    return SettleRequest(
        verb, key, leased.fence, usual.get(verb, "") if argument is None else argument, leased.deadline
    )


def one(store: RedisStore, *requests: SettleRequest, resent: bool = False) -> list[int | None]:
    return store.settle(requests, 0 if resent else None).answers


OUT = Whole({}, {b"a": MS + LEASE}, {b"a": f"1 {MS - 1} - -"}, {}, 1)


def lease_a(store: RedisStore, flaky: FlakyClient) -> Leased:
    """The key `a`, due a millisecond ago, goes out."""
    put(flaky, ("a", MS - 1))
    leased = store.leasing_claimer(LEASE).claim(1)
    assert whole(flaky) == OUT
    return leased


def again_while_out(store: RedisStore, flaky: FlakyClient, clock: Clock) -> Leased:
    """`a` is out, was scheduled again, and fell due: it waits for the lease's end."""
    leased = lease_a(store, flaky)
    store.schedule([Job("a", T + 1)], "last")
    clock.advance(2)
    looked = store.leasing_claimer(LEASE).claim(9)
    assert (looked.keys, looked.wait) == ([], LEASE_S - 2)
    assert whole(flaky) == Whole(
        {b"a": MS + LEASE - 0.5}, {b"a": MS + LEASE}, {b"a": f"1 {MS - 1} {MS + LEASE - 0.5:.1f} {MS + 1000}"}, {}, 1
    )
    return leased


def bury(store: RedisStore, flaky: FlakyClient, clock: Clock, *keys: str) -> None:
    for key in keys:
        put(flaky, (key, MS - 1))
        leasing_claimer = store.leasing_claimer(LEASE)
        store.settle([to_settle("bury", leasing_claimer.claim(1), key)])
        leasing_claimer.close()
        clock.us += 1000
