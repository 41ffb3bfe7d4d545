"""What is in Redis during a test of the store, written and read without the store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from rx_runat.model.batch import Claimed, Entry, Leased, to_entries
from rx_runat.store.client import RedisClient
from rx_runat.store.request import new_token
from tests.support.stores import Q

RECEIPTS = f"{{{Q}}}:receipt:*"


ODD = {
    b"-inf": b"a",
    b"-62135596800001": b"before the year 1",
    b"-1.5": b"\xff\xfe",
    b"0": b"\x00",
    b"0.1": b"b\r\n$3",
    b"1699999999999.25": "🐢".encode(),
    b"1699999999999.9998": b"\xc3\x28",
    b"1700000000000": b"\xed\xa0\x80",
}


def content(store_client: RedisClient) -> list[tuple[bytes, float]]:
    """The whole schedule."""
    flat = RedisClient.call(store_client, "EVAL", "return redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')", 1, Q)
    return [(member, float(score)) for member, score in zip(flat[::2], flat[1::2], strict=True)]


def waiting(store_client: RedisClient) -> list[str]:
    """The keys of the schedule, in order."""
    return [member.decode() for member, _ in content(store_client)]


def keys_of(store_client: RedisClient) -> list[bytes]:
    return sorted(RedisClient.call(store_client, "KEYS", "*"))


def receipts(store_client: RedisClient) -> list[bytes]:
    return sorted(RedisClient.call(store_client, "KEYS", RECEIPTS))


def put(store_client: RedisClient, *pairs: tuple[str | bytes, float | str]) -> None:
    """As an npm runat or a redis-cli would."""
    RedisClient.call(store_client, "ZADD", Q, *(word for member, score in pairs for word in (score, member)))


def entries(claimed: Claimed | Leased) -> list[Entry]:
    return to_entries(claimed)


def keys_taken(reply: list[Any]) -> list[bytes]:
    """The keys and scores, and data if any, in the reply of claim.lua, which has its token before each of them."""
    taken: bytes = reply[2]
    token = taken[: len(new_token())]
    return taken.split(token)[2:] if len(taken) > len(token) else []


def at(milliseconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
