"""The reference: the least that takes due keys from Redis, as anyone would write it with redis-py alone.

It keeps no receipt: what a lost answer took is lost. It guards no subscriber and hands nothing back.
"""

from __future__ import annotations

from collections.abc import Callable

import redis

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
