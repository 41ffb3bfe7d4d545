"""The reference: the least that takes due keys from Redis, as anyone would write it with redis-py alone.

It keeps no receipt: what a lost answer took is lost. It guards no subscriber and hands nothing back.
"""

from __future__ import annotations

from collections.abc import Callable

import redis

from rx_runat.store.claimers import LEASE
from rx_runat.store.verbs import SETTLE
from tests.benchmarks.bench import Q

CLAIM = """
local t = redis.call('TIME')
local due = redis.call('ZCOUNT', KEYS[1], '-inf', t[1] * 1000 + math.floor(t[2] / 1000))
if due == 0 then return {} end
return redis.call('ZPOPMIN', KEYS[1], math.min(due, ARGV[1]))
"""


def claimer(client: redis.Redis, limit: int = 1000) -> Callable[[], list[bytes]]:
    """One claim: what is due, key and score in turn; known to the server by its hash."""
    script = client.register_script(CLAIM)
    client.script_load(CLAIM)
    return lambda: script(keys=[Q], args=[limit])


def drain(claim: Callable[[], list[bytes]], count: int) -> list[str]:
    """Claim until so many keys have come; each is decoded and appended to a list."""
    got: list[str] = []
    while len(got) < count:
        for member in claim()[::2]:
            got.append(member.decode())  # noqa: PERF401 (a consumer has each key in hand for a moment)
    return got


def leasing_claimer(client: redis.Redis, limit: int) -> Callable[[], tuple[str, list[str]]]:
    """One claim with a lease, by the package's own script: its fence and the keys."""
    script = client.register_script(LEASE.body)
    client.script_load(LEASE.body)
    keys = [Q, f"{{{Q}}}:claimed", f"{{{Q}}}:leases", f"{{{Q}}}:receipt:bare"]
    claims = 0

    def claim() -> tuple[str, list[str]]:
        nonlocal claims
        claims += 1
        token = f"\x1f{claims:08}"
        leased = script(keys=keys, args=[limit, token, 3_600_000, 0, 30_000, 500])[2]
        return token, leased.decode().split(token)[1::3]

    return claim


def acker(client: redis.Redis) -> Callable[[str, list[str]], int]:
    """Acks in one call all that one claim brought, by the package's own script; how many were ours?"""
    script = client.register_script(SETTLE.body)
    client.script_load(SETTLE.body)
    keys = [Q, f"{{{Q}}}:claimed", f"{{{Q}}}:leases", f"{{{Q}}}:dead"]

    def ack(fence: str, claimed: list[str]) -> int:
        words = [word for key in claimed for word in ("ack", key, fence, "", 0)]
        return sum(script(keys=keys, args=[0, "", *words])[1])

    return ack
