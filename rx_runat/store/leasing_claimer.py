"""Claims with a lease in Redis: how a key goes out, and how each one ends.

    waits  --claim-->  out  --ack-->   gone
      ^                 |---nack-->    waits for its next attempt
      |                 |---bury-->    dead letters  --revive-->  waits
      |                 |---cancel-->  gone
      '-- back, or the lease ends -----'

What is known of a lease lies in Redis alone; here is how to ask. Knows no Rx.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rx_runat.model.batch import Entry, Leased, SettleReply, SettleRequest
from rx_runat.model.members import to_member
from rx_runat.model.protocols import Clock
from rx_runat.store.client import RedisClient, Script, resend_lost
from rx_runat.store.connection import Arg
from rx_runat.store.keys import claimed_key, dead_key, leases_key
from rx_runat.store.receipts import RECEIPT_TTL_MS, Receipted, new_token, to_parts

BROUGHT_BACK = 500  # keys whose lease has ended, in one claim: some 3 ms of the server's time; the next claim goes on
LONGEST_REASON = 1000  # characters: an error's text is a hint, and a failing day must not fill Redis

_LEASE = Script("lease")
_SETTLE = Script("settle")


class LeasingClaimer(Receipted):
    """A `Claimer[Leased]` on Redis. Not for two threads at once.

    Args:
        client: connections that do not retry.
        queue_name: the schedule's name.
        clock: epoch microseconds in virtual time; None: Redis's own clock rules.
        lease_ms: how long a lease lives.
    """

    def __init__(self, client: RedisClient, queue_name: str, clock: Clock | None, lease_ms: int) -> None:
        super().__init__(client, queue_name, clock)
        self._lease_ms = lease_ms
        self._last = ("", 0)  # the fence and the deadline of the last claim

    def claim(self, limit: int) -> Leased:
        """Bring ended leases back, then lease what is due, at most `limit` keys.

        After a lost answer the same keys again, whatever the limit is now; unless their lease has ended, which then is
        the same as if they had never come.

        Redis: one round trip, `lease.lua`.

        Raises:
            StoreError: Redis did not answer; the next call asks for the same claim again.
        """
        token = self._claim = self._claim or new_token()
        name = self._queue_name
        virtual = () if self._clock is None else (self._clock(),)

        def request() -> tuple[int, int, bytes]:
            keys = (name, claimed_key(name), leases_key(name), self._receipt)
            settings = (limit, token, RECEIPT_TTL_MS, int(self._lost), self._lease_ms, BROUGHT_BACK)
            return self._client.run(_LEASE, 4, *keys, *settings, *virtual)

        now, wait, leased = self._ask(request)
        self._claim = None
        self._written = self._written or bool(leased)
        self._go_on()
        wait_s = None if wait < 0 else wait / 1e6
        deadline, *items = to_parts(leased, token) or ("0",)
        self._last = token, int(deadline)
        if int(deadline) * 1000 <= now:
            items = []
        return Leased(items[::3], items[1::3], list(map(int, items[2::3])), token, int(deadline), now, wait_s)

    def hand_back(self, entries: Sequence[Entry]) -> None:
        """Return entries of the last claim as they were, attempt and run_at; those whose lease is still ours.

        After an error, call it again with the same: the fence lets each go back once.

        Raises:
            StoreError: Redis did not answer.
        """
        fence, deadline = self._last
        verdicts = [SettleRequest("back", entry.key, fence, "", deadline) for entry in entries]
        settle(self._client, self._queue_name, self._clock, verdicts)


def settle(
    client: RedisClient, queue_name: str, clock: Clock | None, verdicts: Sequence[SettleRequest], again: bool = False
) -> SettleReply:
    """Let verdicts act whose leases are still ours, and tell of each whether it was; from any thread.

    A lost answer is asked for again, and tells the truth: a lease that is gone before its deadline was ended by our
    first asking. Once the deadline has passed that cannot be known, and the answer is None.

    Redis: one round trip, `settle.lua`.

    Args:
        client: connections that do not retry.
        queue_name: the schedule's name.
        clock: epoch microseconds in virtual time; None: Redis's own clock rules.
        verdicts: any number, on any keys.
        again: an earlier call with these raised OutcomeUnknown.

    Raises:
        OutcomeUnknown: sent three times and never answered; call it again, with `again`.
        StoreError: not done.
    """
    if not verdicts:
        return SettleReply([], None)
    keys = (queue_name, claimed_key(queue_name), leases_key(queue_name), dead_key(queue_name))
    now = "" if clock is None else clock()
    words = [word for verdict in verdicts for word in _words(verdict)]
    earliest, answers = resend_lost(lambda lost: client.run(_SETTLE, 4, *keys, int(again or lost), now, *words))
    return SettleReply([None if answer < 0 else answer for answer in answers], float(earliest) if earliest else None)


def _words(verdict: SettleRequest) -> Iterator[Arg]:
    yield verdict.verb
    yield to_member(verdict.key)
    yield verdict.fence
    yield _cut(verdict.argument) if isinstance(verdict.argument, str) else verdict.argument
    yield verdict.deadline_ms


def _cut(reason: str) -> bytes:
    """A reason as Redis keeps it; it may hold what UTF-8 cannot, as an error's text about a key does."""
    text = reason if len(reason) <= LONGEST_REASON else reason[: LONGEST_REASON - 1] + "…"
    return text.encode(errors="backslashreplace")
