"""How one source claims: for good, or under a lease. Knows no Rx.

    a plain claim   waits  --claim-->  gone;  hand back --> waits, if it was not delivered

    a leased claim  waits  --claim-->  leased  --ack-->   gone
                      ^                  |---nack-->    waits for its next attempt
                      |                  |---bury-->    dead letters  --revive-->  waits
                      |                  |---cancel-->  gone
                      '-- hand back, or the lease ends

All that is known of a lease is in Redis. A lease ends by a request of `verbs.settle` or `verbs.cancel`, or at its
deadline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

from rx_runat.model.batch import Claimed, Counting, Counts, Entry, Leased, SettleRequest
from rx_runat.model.members import to_member
from rx_runat.model.protocols import Clock
from rx_runat.store import verbs
from rx_runat.store.client import RedisClient
from rx_runat.store.keys import QueueKeys
from rx_runat.store.receipts import CLAIM_BYTES, PIECE_BYTES, RECEIPT_TTL_MS, ReceiptHolder, to_parts
from rx_runat.store.request import Arg, Request, Script, new_token

BROUGHT_BACK = 500  # ended leases that one claim handles: some 3 ms of the server's time; the next claim handles more

CLAIM = Script("claim", "prelude", "record", "read_first")
HAND_BACK = Script("hand_back")
LEASE = Script("lease", "prelude", "record", "read_first")


class _Proof(NamedTuple):
    """What shows that Redis knows a claim.

    Attributes:
        receipt: the receipt key of the claim.
        token: of the claim, which is in that receipt.
        generation: of the primary, before the claim was sent.
        back_token: of the last hand-back under the same receipt key, which took the place of the claim's; "": none.
    """

    receipt: str
    token: str
    generation: int
    back_token: str = ""


class PlainClaimer(ReceiptHolder):
    """A `Claimer[Claimed]` on Redis: takes keys for good. One call at a time."""

    def __init__(self, client: RedisClient, queue_name: str, keys: QueueKeys, clock: Clock | None) -> None:
        super().__init__(client, queue_name, keys, clock)
        self._back_token: str | None = None  # of a hand-back that was not replied to
        self._proof = _Proof("", "", 0)  # of the last claim

    def claim(self, limit: int) -> Claimed:
        """Take due keys, at most `limit` and at most `CLAIM_BYTES`; after a lost reply, the same keys again.

        Redis: one round trip, `claim.lua`; after a lost reply one more for each further piece of the receipt.

        Raises:
            StoreError: Redis did not reply; the next call repeats the same claim.
        """
        assert self._back_token is None, "a hand-back must be replied to before the next claim: they share a receipt"
        token = self._token = self._token or new_token()
        keys = (self._keys.schedule, self._receipt, self._keys.claimed, self._keys.leases, self._keys.data)
        receipt, generation = self._receipt, self._client.generation
        settings = (limit, token, RECEIPT_TTL_MS, 0, CLAIM_BYTES, PIECE_BYTES)
        words: list[Arg] = [len(keys), *keys, *settings, *verbs.virtual(self._now())]
        now, wait, taken = self._send_claim(Request(words, tuple, CLAIM, resent_at=9))
        parts = to_parts(taken, token)
        if not parts:
            return Claimed([], [], now, wait)
        self._proof = _Proof(receipt, token, generation)
        width = int(parts[0])
        return Claimed(parts[1::width], parts[2::width], now, wait, parts[3::width] if width == 3 else ())

    def hand_back(self, entries: Sequence[Entry]) -> None:
        """Return entries to the schedule; a newer schedule of a key stands. After an error, call it with the same ones.

        A primary that took over after the claim may not know of it. Then the keys still wait there, unless somebody has
        claimed or cancelled them since, and so nothing is returned.

        Redis: one round trip, `hand_back.lua`.

        Raises:
            StoreError: Redis did not reply.
        """
        assert self._token is None, "a claim must be replied to before a hand-back: they share a receipt"
        token = self._back_token = self._back_token or new_token()
        width = 3 if any(entry.data for entry in entries) else 2
        items = [each for key, score, data in entries for each in (score, to_member(key), _to_bytes(data))[:width]]
        proof = self._proof
        keys = (self._keys.schedule, self._receipt, proof.receipt, self._keys.data)
        words = (len(keys), *keys, token, RECEIPT_TTL_MS, 0, proof.token, proof.back_token, width, *items)
        self._send(Request(words, int, HAND_BACK, relies_on=proof.generation, moved_at=7))
        if self._receipt == proof.receipt:
            self._proof = proof._replace(back_token=token)
        self._back_token = None
        self._written = True
        self._go_on()


class LeasingClaimer(ReceiptHolder):
    """A `Claimer[Leased]` on Redis: takes keys under a lease. One call at a time.

    Args:
        client: connections that do not retry.
        queue_name: the name of the schedule.
        keys: of the queue.
        clock: epoch microseconds in virtual time; None: Redis's own clock decides.
        lease_ms: how long a lease lasts.
        counting: which attempts count at the claim.
    """

    def __init__(
        self,
        client: RedisClient,
        queue_name: str,
        keys: QueueKeys,
        clock: Clock | None,
        lease_ms: int,
        counting: Counting,
    ) -> None:
        super().__init__(client, queue_name, keys, clock)
        self._lease_ms = lease_ms
        self._counting = counting
        self._last = ("", 0, 0)  # the fence, the deadline and the generation of the last claim

    def claim(self, limit: int) -> Leased:
        """Return keys whose lease has ended to the schedule, then lease due keys, at most `limit` and `CLAIM_BYTES`.

        After a lost reply the same keys come again, whatever the limit is now. If their lease has ended meanwhile, none
        comes: they are due again, as if their process had been killed.

        Redis: one round trip, `lease.lua`; after a lost reply one more for each further piece of the receipt.

        Raises:
            StoreError: Redis did not reply; the next call repeats the same claim.
        """
        token = self._token = self._token or new_token()
        keys = (self._keys.schedule, self._keys.claimed, self._keys.leases, self._receipt, self._keys.data)
        bounds = (BROUGHT_BACK, CLAIM_BYTES, PIECE_BYTES)
        settings = (limit, token, RECEIPT_TTL_MS, 0, self._lease_ms, *bounds, self._counting.up_to)
        words: list[Arg] = [len(keys), *keys, *settings, *verbs.virtual(self._now())]
        generation = self._client.generation
        now, wait, taken = self._send_claim(Request(words, tuple, LEASE, resent_at=9))
        deadline, fields, *items = to_parts(taken, token) or ("0", "4")
        self._last = token, int(deadline), generation
        if int(deadline) * 1000 <= now:
            items = []
        width = int(fields)
        attempts, counts = list(map(int, items[2::width])), cast("list[Counts]", items[3::width])
        data = items[4::width] if width == 5 else ()
        return Leased(
            items[::width], items[1::width], attempts, counts, token, int(deadline), now, wait, generation, data
        )

    def hand_back(self, entries: Sequence[Entry]) -> None:
        """Return entries of the last claim as they were before it, if we still hold their lease.

        They keep their own run_at, and this attempt does not count. After an error, call it with the same entries: the
        fence ensures that each goes back once.

        Redis: one round trip, `settle.lua`.

        Raises:
            StoreError: Redis did not reply.
        """
        if entries:
            fence, deadline, generation = self._last
            requests = [SettleRequest("back", entry.key, fence, "", deadline, generation) for entry in entries]
            _, refused = self._client.send(verbs.settle(self._keys, requests, self._now()))
            if refused:
                raise self._client.error_of(refused)


def _to_bytes(data: str) -> bytes:
    """Returns data as it was in Redis, any bytes that another client may have written there."""
    return data.encode(errors="surrogateescape")
