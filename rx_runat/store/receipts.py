"""Receipts: what a claim took is written down in Redis, so that a lost reply loses no key.

    claim  --reply-->  claim  --reply-->  hand back  --reply-->  close     all under one receipt key
    claim  --(reply lost)--  claim, resent  --reply-->  go on under a new receipt key
    claim  --reply, ask ahead ....... claim: its reply is there already           still under the same receipt key

After a lost reply the first request may still be on its way. When it arrives it finds, under the receipt key that it
names, a receipt with its own token, and so takes nothing. The claimer never uses that receipt key again, because a
later claim would overwrite the receipt.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from rx_runat.errors import OutcomeUnknown, StoreError
from rx_runat.model.batch import Claimed, Entry, Leased, to_entries
from rx_runat.model.members import to_key
from rx_runat.model.protocols import Clock
from rx_runat.model.safe_log import warn
from rx_runat.store.client import RedisClient
from rx_runat.store.keys import QueueKeys, receipt_key
from rx_runat.store.request import Request

RECEIPT_TTL_MS = 3_600_000  # an hour: longer than any outage through which a process waits for the reply to a claim

# The most that one claim takes, unless it is one key. To read a megabyte, to write the receipt and to send the reply
# takes a server some 5 ms; and a server that limits the output buffers of its clients allows them some megabytes.
CLAIM_BYTES = 1 << 20

# The most that is read at once after a reply was lost. Perhaps it was lost because it did not fit into the output
# buffer for this client: then the server disconnects it. 1,000 keys of 40 bytes fit into one piece.
PIECE_BYTES = 1 << 16

T = TypeVar("T")


class ClaimReply(NamedTuple):
    """What claim.lua and lease.lua return; `taken` is the whole receipt, without the token at its beginning."""

    now: int
    wait: float | None
    taken: bytes


def to_parts(joined: bytes, token: str) -> list[str]:
    """Returns the strings between the tokens, each decoded as `to_key` does it.

    All are decoded in one go, because a large backlog spends its time here. That is safe: a token is ASCII, so the
    bytes of a key cannot combine with those of the next one.

    >>> to_parts(b"a-c0ffee-1700000000000", "-c0ffee-")
    ['a', '1700000000000']
    """
    return joined.decode("utf-8", "surrogateescape").split(token) if joined else []


class ReceiptHolder:
    """The part of a claimer that keeps receipts: one claim at a time, resent until Redis replies. One call at a time.

    Args:
        client: connections that do not retry.
        queue_name: the name of the schedule.
        keys: of the queue.
        clock: epoch microseconds in virtual time; None: Redis's own clock decides.
    """

    _receipt: str  # the receipt key in use
    _sent_at: int | None  # the generation before a request under that key that has no reply; None: all have one
    _written: bool  # whether a receipt may exist under that key

    def __init__(self, client: RedisClient, queue_name: str, keys: QueueKeys, clock: Clock | None) -> None:
        self._client = client
        self._queue_name = queue_name
        self._keys = keys
        self._clock = clock
        self._token: str | None = None  # of a claim that was not replied to
        self._stale: list[str] = []  # receipt keys that are in use no more, and not deleted yet
        self._renew()

    @property
    def is_owed(self) -> bool:
        """True if a claim was not replied to: it may have taken keys."""
        return self._token is not None

    def claim(self, limit: int, ahead: int = 0) -> Claimed | Leased:
        """Take due keys; after a lost reply, the same keys again."""
        raise NotImplementedError

    def close(self) -> list[Entry]:
        """Delete the receipts; or, if a claim was not replied to, return the entries that it took.

        Raises:
            StoreError: Redis did not reply; call it again.
        """
        if self._token is not None and (taken := to_entries(self.claim(0))):
            return taken
        if self._written:  # a new key from now on: a delayed DEL must not delete the receipt of a later claim
            self._stale.append(self._receipt)
            self._renew()
        if self._stale:
            self._client.send(Request(("DEL", *self._stale), int))
            self._stale.clear()
        return []

    def _now(self) -> int | None:
        return None if self._clock is None else self._clock()

    def _send_claim(self, request: Request[Any]) -> ClaimReply:
        """Send a claim that has our token; after an error with a claim that may have been done, the token stays."""
        generation = self._client.generation
        try:
            reply = self._send(request)
        except OutcomeUnknown:
            raise
        except StoreError:
            if self._sent_at is None:
                self._token = None
            raise
        return self._read_claim(reply, generation)

    def _read_claim(self, reply: Sequence[Any], generation: int) -> ClaimReply:
        """Read a reply to a claim; `generation` is that before the claim was sent."""
        assert self._token is not None
        now, wait_us, taken, left, odd = reply
        if left:
            taken = self._rest_of_receipt(taken, left)
            if self._client.generation != generation:  # under this receipt key it may have an earlier claim
                raise OutcomeUnknown(f"{self._client.where} has changed its primary between two pieces of a receipt")
        taken = taken[len(self._token) :]
        if odd:
            warn("the record of a lease on %r cannot be read, and counts as none", to_key(odd))
        self._token = None
        self._written = self._written or bool(taken)
        self._go_on()
        return ClaimReply(now, None if wait_us < 0 else wait_us / 1e6, taken)

    def _rest_of_receipt(self, taken: bytes, left: int) -> bytes:
        """Read the rest of a long receipt, in pieces."""
        pieces, first, end = [taken], len(taken), len(taken) + left
        while first < end:
            piece = self._client.send(Request(("GETRANGE", self._receipt, first, first + PIECE_BYTES - 1), bytes))
            if not piece:
                raise OutcomeUnknown(f"the receipt of the last claim is gone from {self._client.where}")
            pieces.append(piece)
            first += len(piece)
        return b"".join(pieces)

    def _send(self, request: Request[T]) -> T:
        sent_at = self._sent_at
        if sent_at is None:  # noted before it is sent: a signal handler may raise while the request is on its way
            self._sent_at = self._client.generation
        try:
            reply, self._sent_at = self._client.resend_lost(request, sent_at)
        except OutcomeUnknown:
            raise
        except StoreError:  # this sending was not done
            self._sent_at = sent_at
            raise
        return request.read(reply)

    def _go_on(self) -> None:
        """Keep the receipt key, unless a request of ours with this key may still be on its way."""
        if self._sent_at is not None:
            self._renew()

    def _renew(self) -> None:
        self._receipt = receipt_key(self._queue_name, secrets.token_hex(8))
        self._sent_at, self._written = None, False
