"""The references: the shortest loops that take due keys from Redis, as one writes them with redis-py alone.

They keep no receipt, so the keys of a lost reply are lost. They survive no error of a consumer, and hand nothing back.
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
    """Returns a function that makes one claim: due keys and their scores, in turn. It calls the script by its hash."""
    script = client.register_script(CLAIM)
    client.script_load(CLAIM)
    return lambda: script(keys=[Q], args=[limit])


def drain(claim: Callable[[], list[bytes]], count: int) -> list[str]:
    """Claim until `count` keys have come. Each key is decoded and appended to a list."""
    got: list[str] = []
    while len(got) < count:
        for member in claim()[::2]:
            got.append(member.decode())  # noqa: PERF401 (a loop, as a consumer handles key by key)
    return got


def leasing_claimer(client: redis.Redis, limit: int) -> Callable[[], tuple[str, list[str]]]:
    """Returns a function that makes one claim with a lease, by the package's own script: the fence and the keys."""
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
    """Returns a function that acks the keys of a claim in one call, by the package's own script, and counts them."""
    script = client.register_script(SETTLE.body)
    client.script_load(SETTLE.body)
    keys = [Q, f"{{{Q}}}:claimed", f"{{{Q}}}:leases", f"{{{Q}}}:dead"]

    def ack(fence: str, claimed: list[str]) -> int:
        words = [word for key in claimed for word in ("ack", key, fence, "", 0)]
        return sum(script(keys=keys, args=[0, "", *words])[1])

    return ack
