"""The references: the shortest loops that take due keys from Redis, as one writes them with redis-py alone.

They keep no receipt and no score, so the keys of a lost reply are lost, and no key can be handed back. They survive no
error of a consumer.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import redis

from rx_runat.store.claimers import BROUGHT_BACK, LEASE
from rx_runat.store.receipts import CLAIM_BYTES, PIECE_BYTES, RECEIPT_TTL_MS
from rx_runat.store.verbs import SETTLE
from tests.benchmarks.bench import Q

DATA = f"{{{Q}}}:data"


def taker(client: redis.Redis, limit: int = 1000) -> Callable[[], list[bytes]]:
    """Returns a function that takes due keys, by the leanest way that we know: two plain commands in one round trip.

    `ZREMRANGEBYRANK` must know how many keys `ZRANGEBYSCORE` has found, so it is sent with the next read. Sent by
    itself it costs a second round trip, which makes the loop slower by a sixth. A script needs one round trip too, but
    its server copies each key from Lua to the reply. MULTI would not join a read with its own removal, and another
    taker beside this one, or a write of an earlier key, would make it lose keys: it is a reference, not a queue.
    """
    due: list[bytes] = []

    def take() -> list[bytes]:
        nonlocal due
        pipe = client.pipeline(transaction=False)
        if due:
            pipe.zremrangebyrank(Q, 0, len(due) - 1)
        pipe.zrangebyscore(Q, "-inf", time.time() * 1000, 0, limit)
        due = pipe.execute()[-1]
        return due

    return take


def drain(take: Callable[[], list[bytes]]) -> list[str]:
    """Take keys until none is due. Each key is decoded and appended to a list."""
    got: list[str] = []
    while members := take():
        for member in members:
            got.append(member.decode())  # noqa: PERF401 (a loop, as a consumer handles key by key)
    return got


def leasing_claimer(client: redis.Redis, limit: int) -> Callable[[], tuple[str, list[str]]]:
    """Returns a function that makes one claim with a lease, by the package's own script: the fence and the keys."""
    script = client.register_script(LEASE.body)
    client.script_load(LEASE.body)
    keys = [Q, f"{{{Q}}}:claimed", f"{{{Q}}}:leases", f"{{{Q}}}:receipt:bare", DATA]
    # A lease of 30 s; as with `settle`, the first attempt counts at the claim.
    settings = [RECEIPT_TTL_MS, 0, 30_000, BROUGHT_BACK, CLAIM_BYTES, PIECE_BYTES, 1]
    claims = 0

    def claim() -> tuple[str, list[str]]:
        nonlocal claims
        claims += 1
        token = f"\x1f{claims:08}"
        leased = script(keys=keys, args=[limit, token, *settings])[2]
        parts = leased.decode().split(token)  # "", deadline, width, key, run_at, attempt, counts, key, ...
        return token, parts[3 :: int(parts[2])] if len(parts) > 3 else []

    return claim


def acker(client: redis.Redis) -> Callable[[str, list[str]], int]:
    """Returns a function that acks the keys of a claim in one call, by the package's own script, and counts them."""
    script = client.register_script(SETTLE.body)
    client.script_load(SETTLE.body)
    keys = [Q, f"{{{Q}}}:claimed", f"{{{Q}}}:leases", f"{{{Q}}}:dead", DATA]

    def ack(fence: str, claimed: list[str]) -> int:
        answers = script(keys=keys, args=[0, "", fence, "ack", fence, "", 0, len(claimed), *claimed])[1]
        assert set(answers) == {1}, "a claim was not read as its script writes it"
        return len(answers)

    return ack
