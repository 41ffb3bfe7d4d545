"""Requests that read when the next claim brings something. They change nothing, and one costs a fifth of a claim."""

from __future__ import annotations

import math
from typing import Any

from rx_runat.store.keys import QueueKeys
from rx_runat.store.request import Request

_NEVER = 1e15  # ms; claim.lua takes a score from here on for no moment, too


def head(keys: QueueKeys) -> Request[float]:
    """Read the earliest run_at, in whole epoch milliseconds; inf: nothing is scheduled. Redis: `ZRANGE`."""
    return Request(("ZRANGE", keys.schedule, 0, 0, "WITHSCORES"), first_score)


def lease_end(keys: QueueKeys) -> Request[float]:
    """Read the first end of a lease, in whole epoch milliseconds; inf: nothing is leased. Redis: `ZRANGE`."""
    return Request(("ZRANGE", keys.claimed, 0, 0, "WITHSCORES"), first_score)


def clock() -> Request[float]:
    """Read the clock of Redis, in epoch milliseconds. Redis: `TIME`."""
    return Request(("TIME",), _to_ms)


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
