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

import redis

from rx_runat.errors import OutcomeUnknown, StoreError
from rx_runat.model.batch import Claimed, Counting, Counts, Entry, Leased, SettleRequest, to_entries
from rx_runat.model.members import to_member
from rx_runat.model.protocols import Clock
from rx_runat.store import heads, verbs
from rx_runat.store.ahead import AheadLine
from rx_runat.store.candidates import MARK
from rx_runat.store.client import RedisClient
from rx_runat.store.keys import QueueKeys
from rx_runat.store.receipts import CLAIM_BYTES, PIECE_BYTES, RECEIPT_TTL_MS, ClaimReply, ReceiptHolder, to_parts
from rx_runat.store.request import Arg, Request, Script, new_token
from rx_runat.store.wire import HAS_HIREDIS

BROUGHT_BACK = 500  # ended leases that one claim handles: some 3 ms of the server's time; the next claim handles more

# Keys. Larger claims are no faster, and the server looks at twice as many keys beforehand, to know how large they are.
_LARGEST_AHEAD = 2000

CLAIM = Script("claim", "prelude", "record", "read_first")
HAND_BACK = Script("hand_back")
LEASE = Script("lease", "prelude", "record", "read_first")


class _Proof(NamedTuple):
    """What shows that Redis knows a claim.

    Attributes:
        receipt: the receipt key of the claim.
        tokens: of the claim, and of what was done later under that receipt key. The receipt holds the latest of them
            that the primary knows.
        generation: of the primary, before the claim was sent.
    """

    receipt: str
    tokens: str
    generation: int

    def later(self, receipt: str, token: str) -> _Proof:
        """Returns the proof after something else was done, with this token, under a receipt key."""
        return self._replace(tokens=self.tokens + token) if receipt == self.receipt else self


class PlainClaimer(ReceiptHolder):
    """A `Claimer[Claimed]` on Redis: takes keys for good. One call at a time."""

    def __init__(self, client: RedisClient, queue_name: str, keys: QueueKeys, clock: Clock | None) -> None:
        super().__init__(client, queue_name, keys, clock)
        self._ahead = AheadLine(client, keys, CLAIM)
        self._can_ask_ahead = HAS_HIREDIS and client.has_sockets and clock is None
        self._proof = _Proof("", "", 0)  # of the last claim
        self._newer: list[Entry] = []  # of a claim that was asked for ahead, on their way back
        self._newer_proof = self._proof
        self._back_token: str | None = None  # of a hand-back that was not replied to

    @property
    def is_ahead(self) -> bool:
        """True if the next claim is asked for already."""
        return self._ahead.is_asked

    @property
    def newer(self) -> Sequence[Entry]:
        """What a claim that was asked for ahead took, and `hand_back` could not return yet."""
        return self._newer

    def has_earlier(self, until: float) -> bool:
        """Read whether a claim brings something before `until`, or now; see `heads.has_earlier`."""
        return heads.has_earlier(self._client, [heads.head(self._keys)], until, self._now())

    def claim(self, limit: int, ahead: int = 0) -> Claimed:
        """Take due keys, at most `limit` and at most `CLAIM_BYTES`; after a lost reply, the same keys again.

        A claim that was asked for ahead comes as it was asked for, whatever its limit is now.

        Args:
            limit: keys.
            ahead: keys, for the claim after this one: if more are due, it is asked for before this returns, for so many
                at most. So the server works on it while the caller delivers this one. 0: it is not asked for.

        Redis: one round trip, `claim.lua` or the transaction of `candidates`; one more where that failed; after a lost
        reply one more for each further piece of the receipt.

        Raises:
            StoreError: Redis did not reply; the next call repeats the same claim.
        """
        assert self._back_token is None, "a hand-back must be replied to before the next claim: they share a receipt"
        ahead = min(ahead, _LARGEST_AHEAD) if self._can_ask_ahead else 0
        if self._token is None and 0 < self._ahead.count <= ahead:
            self._ask_ahead(ahead)
        token, receipt, generation = self._token, self._receipt, self._ahead.generation
        candidates = self._ahead.to_take
        reply = self._receive_ahead() if self._ahead.is_asked else None
        if reply is None:
            if self._token is None and not limit:  # the transaction took nothing, and this call is not to claim anew
                return Claimed([], [], 0, None)
            token = self._token = self._token or new_token()
            generation = self._client.generation
            self._ahead.forget_candidates()
            reply = self._send_claim(Request(self._words(limit, token), tuple, CLAIM, resent_at=9))
        if ahead and reply.wait == 0 and reply.taken:
            self._ask_ahead(ahead)
        if not reply.taken:
            return Claimed([], [], reply.now, reply.wait)
        assert token is not None
        self._proof = _Proof(receipt, token, generation)
        if reply.taken == MARK and candidates is not None:
            items = candidates.items
            return Claimed(items[::2], items[1::2], reply.now, reply.wait)
        parts = to_parts(reply.taken, token)
        width = int(parts[0])
        return Claimed(parts[1::width], parts[2::width], reply.now, reply.wait, parts[3::width] if width == 3 else ())

    def _words(self, limit: int, token: str, is_ahead: bool = False) -> list[Arg]:
        keys = self._keys.schedule, self._receipt, self._keys.claimed, self._keys.leases, self._keys.data
        settings = limit, token, RECEIPT_TTL_MS, 3 if is_ahead else 0, CLAIM_BYTES, PIECE_BYTES
        return [len(keys), *keys, *settings, *verbs.virtual(self._now())]

    def _ask_ahead(self, limit: int) -> None:
        """Ask for the next claim. Errors are not raised here: the next `claim` asks again, and raises."""
        token = self._token = new_token()
        self._sent_at, self._written = self._client.generation, True
        try:
            self._ahead.ask(self._words(limit, token, is_ahead=True), self._receipt, token, limit)
        except OutcomeUnknown:
            pass
        except StoreError:
            self._token = self._sent_at = None

    def _receive_ahead(self) -> ClaimReply | None:
        """Returns the reply to a claim that was asked for ahead. None: a claim is to be asked for now."""
        try:
            reply = self._ahead.receive()
        except OutcomeUnknown as error:
            if isinstance(error.__cause__, redis.TimeoutError):  # see `RedisClient.resend_lost`
                raise
            return None
        self._sent_at = None
        if reply is None:
            self._token = None
            return None
        return self._read_claim(reply, self._ahead.generation)

    def hand_back(self, entries: Sequence[Entry]) -> None:
        """Return entries of the last claim to the schedule; a newer schedule of a key stands.

        What a claim that was asked for ahead took goes back first. After an error, call it with the same entries.

        A primary that took over after the claim may not know of it. Then the keys still wait there, unless somebody has
        claimed or cancelled them since, and so nothing is returned.

        Redis: one round trip, `hand_back.lua`; one more if a claim was asked for ahead.

        Raises:
            StoreError: Redis did not reply.
        """
        if self._token is not None:
            proof, receipt, token = self._proof, self._receipt, self._token
            self._newer = to_entries(self.claim(0))
            self._newer_proof, self._proof = self._proof, proof.later(receipt, token)
        if self._newer:
            self._return(self._newer, self._newer_proof)
            self._newer = []
        if entries:
            self._return(entries, self._proof)

    def _return(self, entries: Sequence[Entry], proof: _Proof) -> None:
        token = self._back_token = self._back_token or new_token()
        width = 3 if any(entry.data for entry in entries) else 2
        items = [each for key, score, data in entries for each in (score, to_member(key), _to_bytes(data))[:width]]
        receipt = self._receipt
        self._ahead.forget_candidates()
        keys = (self._keys.schedule, receipt, proof.receipt, self._keys.data)
        words = (len(keys), *keys, token, RECEIPT_TTL_MS, 0, proof.tokens, width, *items)
        self._send(Request(words, int, HAND_BACK, relies_on=proof.generation, moved_at=7))
        self._proof = self._proof.later(receipt, token)
        self._back_token = None
        self._written = True
        self._go_on()

    def close(self) -> list[Entry]:
        """Delete the receipts; or, if a claim was not replied to, return the entries that it took.

        Raises:
            StoreError: Redis did not reply; call it again.
        """
        taken = super().close()
        if not taken:
            self._ahead.close()
        return taken


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

    @property
    def is_ahead(self) -> bool:
        """False: a lease begins at its claim, so none is asked for ahead."""
        return False

    @property
    def newer(self) -> Sequence[Entry]:
        """Empty, for the same reason."""
        return ()

    def has_earlier(self, until: float) -> bool:
        """Read whether a claim brings something before `until`, or now; see `heads.has_earlier`."""
        moments = heads.head(self._keys), heads.lease_end(self._keys)
        return heads.has_earlier(self._client, moments, until, self._now())

    def claim(self, limit: int, ahead: int = 0) -> Leased:
        """Return keys whose lease has ended to the schedule, then lease due keys, at most `limit` and `CLAIM_BYTES`.

        After a lost reply the same keys come again, whatever the limit is now. If their lease has ended meanwhile, none
        comes: they are due again, as if their process had been killed.

        Redis: one round trip, `lease.lua`; after a lost reply one more for each further piece of the receipt.

        Raises:
            StoreError: Redis did not reply; the next call repeats the same claim.
        """
        assert not ahead, "see `is_ahead`"
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
