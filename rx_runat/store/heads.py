"""Reads when the next claim brings something: one or two commands instead of the six of a claim. Takes nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rx_runat.store.client import RedisClient, Sending
from rx_runat.store.keys import QueueKeys
from rx_runat.store.request import Request

_NEVER = 1e15  # ms; to a claim, too, a key with such a score or a higher one is never due


def head(keys: QueueKeys) -> Request[float]:
    """Read the earliest run_at, in whole epoch milliseconds; inf: nothing is scheduled. Redis: `ZRANGE`."""
    return Request(("ZRANGE", keys.schedule, 0, 0, "WITHSCORES"), first_score)


def lease_end(keys: QueueKeys) -> Request[float]:
    """Read the first end of a lease, in whole epoch milliseconds; inf: nothing is leased. Redis: `ZRANGE`."""
    return Request(("ZRANGE", keys.claimed, 0, 0, "WITHSCORES"), first_score)


def has_earlier(client: RedisClient, moments: Sequence[Request[float]], until: float, now: int | None) -> bool:
    """Read whether a claim brings something before a moment, or now.

    The clock of Redis may have been set forward, so that a key is due already for which the source still sleeps. Where
    nothing was scheduled, any head is news, and the clock need not be read.

    Args:
        client: sends the requests, in one round trip.
        moments: what brings something: `head`, and for claims `lease_end`.
        until: epoch milliseconds; inf: nothing was scheduled.
        now: epoch microseconds, in virtual time; None: Redis's own clock, by TIME if it is needed.

    Raises:
        StoreError: not read.
    """
    reads = list(map(Sending, moments))
    clock = Sending(Request(("TIME",), _to_ms))
    if now is not None or math.isinf(until):
        clock.end(-math.inf if now is None else now / 1e3)
    client.send_many([*reads, *([] if clock.is_over else [clock])])
    for each in (*reads, clock):
        if each.error is not None:
            raise each.error
    first = min(each.result for each in reads)
    return first < until or first <= clock.result


def _to_ms(time: list[bytes]) -> float:
    seconds, microseconds = map(int, time)
    return seconds * 1e3 + microseconds / 1e3


def first_score(found: list[Any]) -> float:
    """Returns the score in a reply to ZRANGE WITHSCORES, in whole milliseconds, rounded up; inf if there is none.

    >>> first_score([[b"a", 1700000000000.25]]), first_score([]), first_score([[b"a", 1e16]])
    (1700000000001, inf, inf)
    """
    if not found:
        return math.inf
    first: Any = found[0]
    # RESP3 nests each pair.
    pair: Any = first if isinstance(first, list) else found  # pyright: ignore[reportUnknownVariableType]
    score = float(pair[1])
    if score >= _NEVER:
        return math.inf
    return math.ceil(score) if math.isfinite(score) else score
