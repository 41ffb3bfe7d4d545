"""One source's hand in Redis: takes what is due for good, and returns what nobody received. Knows no Rx."""

from __future__ import annotations

from collections.abc import Sequence

from rx_runat.model.batch import Claimed, Entry
from rx_runat.model.members import to_member
from rx_runat.model.protocols import Clock
from rx_runat.store.client import RedisClient, Script
from rx_runat.store.keys import claimed_key, leases_key
from rx_runat.store.receipts import RECEIPT_TTL_MS, Receipted, new_token, to_parts

_CLAIM = Script("claim")
_HAND_BACK = Script("hand_back")


class PlainClaimer(Receipted):
    """A `Claimer[Claimed]` on Redis. Not for two threads at once."""

    def __init__(self, client: RedisClient, queue_name: str, clock: Clock | None) -> None:
        super().__init__(client, queue_name, clock)
        self._back: str | None = None  # the token of a hand-back that is not answered yet

    def claim(self, limit: int) -> Claimed:
        """Take what is due, at most `limit` keys; after a lost answer, the same keys again.

        Raises:
            StoreError: Redis did not answer; the next call asks for the same claim again.
        """
        assert self._back is None, "a hand-back comes before the next claim: they share a receipt"
        token = self._claim = self._claim or new_token()
        virtual = () if self._clock is None else (self._clock(),)
        leased = (claimed_key(self._queue_name), leases_key(self._queue_name))

        def request() -> tuple[int, int, bytes]:
            lost = int(self._lost)
            return self._client.run(
                _CLAIM, 4, self._queue_name, self._receipt, *leased, limit, token, RECEIPT_TTL_MS, lost, *virtual
            )

        now, wait, taken = self._ask(request)
        self._claim = None
        self._written = self._written or bool(taken)
        self._go_on()
        parts = to_parts(taken, token)
        return Claimed(parts[::2], parts[1::2], now, None if wait < 0 else wait / 1e6)

    def hand_back(self, entries: Sequence[Entry]) -> None:
        """Return entries, unless they were scheduled anew meanwhile. After an error, call it again with the same.

        Raises:
            StoreError: Redis did not answer.
        """
        assert self._claim is None, "a claim is answered before anything is handed back: they share a receipt"
        token = self._back = self._back or new_token()
        pairs = [each for key, score in entries for each in (score, to_member(key))]

        def request() -> int:
            return self._client.run(_HAND_BACK, 2, self._queue_name, self._receipt, token, RECEIPT_TTL_MS, *pairs)

        self._ask(request)
        self._back = None
        self._written = True
        self._go_on()
