"""Due keys on a real server, and a claimer that takes them, with what a test asks of both."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import redis

from rx_runat.model.batch import Claimed
from rx_runat.store.claimers import PlainClaimer
from rx_runat.store.connect import connect
from rx_runat.store.redis_store import RedisStore
from tests.support.redis_content import entries
from tests.support.stores import Q

PAST = 1_700_000_000_000
COUNT = 1000


@contextmanager
def plain_claimer(url: str) -> Generator[PlainClaimer]:
    """A claimer on a real server; at the end it hands back what it is owed."""
    store = RedisStore(connect(url).client, Q)
    claimer = store.plain_claimer()
    yield claimer
    while back := claimer.close():
        claimer.hand_back(back)
    store.close()


def write(client: redis.Redis, count: int = COUNT, length: int = 0) -> dict[bytes, float]:
    """Write so many due keys of different scores, some of them fractional; returns them in order."""
    wrote = {f"k{n:06}".ljust(length, ".").encode(): PAST + n * 1.25 for n in range(count)}
    client.zadd(Q, wrote)  # type: ignore[arg-type]
    return wrote


def waits(client: redis.Redis) -> dict[bytes, float]:
    """The whole schedule."""
    return dict(client.zrange(Q, 0, -1, withscores=True))  # type: ignore[arg-type]


def taken(*claims: Claimed) -> dict[bytes, float]:
    """What some claims have taken together, in order. No key may come twice."""
    every = [entry for claimed in claims for entry in entries(claimed)]
    found = {entry.key.encode("utf-8", "surrogateescape"): float(entry.score) for entry in every}
    assert len(found) == len(every), "none comes twice"
    return found
