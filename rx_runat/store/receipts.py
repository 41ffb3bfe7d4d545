"""One source's hand in Redis: what it takes is written down, so that a lost answer loses no key.

The life of a hand, and the two names under which it writes:

    claim  --answer-->  claim  --answer-->  hand back  --answer-->  close        all under one name
    claim  --(answer lost)--  claim again  --answer-->  go on under a new name   the old request may still be on its way

A request that was held up on the wire and arrives late finds, under the name it was sent with, the receipt that says
"done": it takes nothing and returns nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TypeVar

from rx_runat.errors import OutcomeUnknown
from rx_runat.model.batch import Claimed, Entry, Leased
from rx_runat.model.protocols import Clock
from rx_runat.store.client import RedisClient, resend_lost
from rx_runat.store.keys import receipt_key

RECEIPT_TTL_MS = 3_600_000  # longer than any outage that a process would sit out with a claim unanswered

_T = TypeVar("_T")


def new_token() -> str:
    """A mark that no key holds: a control character, and 48 bits made up after the key was written.

    Short, because it stands between any two of 2,000 strings: twice as long, it takes twice as long to split at.
    """
    return f"\x1f{secrets.token_urlsafe(6)}"


def to_parts(joined: bytes, token: str) -> list[str]:
    """Keys, and what goes with them, of one string with a token between any two; as `to_key` of each would be.

    Decoded in one go, the hot path of a drain: the token is ASCII, so no key's bytes run into the next one's.

    >>> to_parts(b"a-c0ffee-1700000000000", "-c0ffee-")
    ['a', '1700000000000']
    """
    return joined.decode("utf-8", "surrogateescape").split(token) if joined else []


class Receipted:
    """What every hand has: one claim at a time, asked for until it is answered, and a name to write receipts under.

    Not for two threads at once.
    """

    _receipt: str  # the name that we write under
    _lost: bool  # was an answer to the request under way lost?
    _written: bool  # does a receipt lie under our name?

    def __init__(self, client: RedisClient, queue_name: str, clock: Clock | None) -> None:
        self._client = client
        self._queue_name = queue_name
        self._clock = clock
        self._claim: str | None = None  # the token of a claim that is not answered yet
        self._stale: list[str] = []  # receipts that we are done with
        self._go_on_as(self._new_name())

    @property
    def is_owed(self) -> bool:
        """Is the answer to a claim still out?"""
        return self._claim is not None

    def claim(self, limit: int) -> Claimed | Leased:
        """Take what is due; after a lost answer, the same keys again."""
        raise NotImplementedError

    def close(self) -> list[Entry]:
        """Leave no receipt behind; answers what a claim took whose answer had been lost until now.

        Raises:
            StoreError: Redis did not answer; call it again.
        """
        if self._claim is not None:
            found = self.claim(0)
            return list(map(Entry, found.keys, found.scores))
        if self._written:  # under a new name from now on: a DEL that comes late must not meet a later claim's receipt
            self._stale.append(self._receipt)
            self._go_on_as(self._new_name())
        if self._stale:
            resend_lost(lambda _: self._client.call("DEL", *self._stale))
            self._stale.clear()
        return []

    def _ask(self, request: Callable[[], _T]) -> _T:
        def ask(again: bool) -> _T:
            self._lost = self._lost or again
            return request()

        try:
            return resend_lost(ask)
        except OutcomeUnknown:
            self._lost = True
            raise

    def _go_on(self) -> None:
        """Under the same name, unless a request of ours may still be on its way under it."""
        if self._lost:
            self._go_on_as(self._new_name())

    def _go_on_as(self, name: str) -> None:
        self._receipt = name
        self._lost = self._written = False

    def _new_name(self) -> str:
        return receipt_key(self._queue_name, secrets.token_hex(8))
