"""What a source has taken and nobody has received, and how it goes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Generic, TypeAlias, TypeVar

from rx_runat.errors import NotReturned, Refused, StoreError
from rx_runat.model.batch import Claimed, Entry, Leased
from rx_runat.model.protocols import Claimer

LONGEST_PATIENCE = 5.0  # seconds; stop() gives up on an absent Redis after one interval, or this where that is long
SHORTEST_SILENCE = 1.0  # seconds; a busy server or host is silent for longer than a short interval, and not gone
_PAUSE = 0.02  # seconds between two tries: a server that restarts is back within some 50 ms

_C = TypeVar("_C", bound=Claimed | Leased)

Opens: TypeAlias = Callable[[], Claimer[_C]]


class Hold(Generic[_C]):
    """Between a source and the store: takes, holds what was not received, and gives it back. One look at a time.

    Args:
        opens: the store's side of it, for as long as somebody listens.
        shorten_timeout: gives up on the answer to any call after so many seconds.
        close: breaks off a call that is under way.
        interval: seconds; the patience with an absent Redis when all must go back.
    """

    def __init__(
        self, opens: Opens[_C], shorten_timeout: Callable[[float], None], close: Callable[[], None], interval: float
    ) -> None:
        self.left: list[Entry] = []
        self._opens = opens
        self._hurry = shorten_timeout
        self.break_off = close
        self._claimer: Claimer[_C] | None = None
        self._asked_at: float | None = None
        self._patience = min(interval, LONGEST_PATIENCE)
        self._silence = max(self._patience, SHORTEST_SILENCE)

    def claim(self, limit: int) -> _C:
        """Take what is due, at most `limit` keys. Raises StoreError; the next call asks for the same claim again."""
        if self._claimer is None:
            self._claimer = self._opens()
        with self._asking():
            return self._claimer.claim(limit)

    def settle(self, resting: bool) -> bool:
        """Return what is left; was there anything?

        Args:
            resting: nobody listens: ask for a claim whose answer was lost, return that too, and leave no receipt.

        Raises:
            StoreError: Redis did not answer; call it again.
        """
        plain_claimer, returned = self._claimer, False
        while plain_claimer is not None:
            with self._asking():
                if self.left:
                    plain_claimer.hand_back(self.left)
                    returned = True
                self.left = plain_claimer.close() if resting else []
            if not self.left:
                if resting:
                    self._claimer = None
                break
        return returned

    def give_all_back(self) -> NotReturned | None:
        """Return everything while there is patience; answers what could not be returned."""
        self._hurry(self._silence)
        deadline = time.monotonic() + self._patience
        while True:
            try:
                self.settle(resting=True)
                return None
            except StoreError as error:
                if isinstance(error, Refused) or time.monotonic() >= deadline:
                    return self._not_returned(error)
            threading.Event().wait(_PAUSE)

    def hangs(self, since: float) -> bool:
        """Has Redis been silent for too long, in a call of ours, since a moment of the monotonic clock?"""
        asked_at = self._asked_at
        return asked_at is not None and time.monotonic() - max(asked_at, since) > self._silence

    @property
    def is_asking(self) -> bool:
        """Is a call of ours to Redis under way?"""
        return self._asked_at is not None

    def _not_returned(self, error: StoreError) -> NotReturned | None:
        keys = [entry.key for entry in self.left]
        if keys:
            return NotReturned(f"stopped, and could not hand back {keys}: {error}", keys)
        if self._claimer is not None and self._claimer.is_owed:
            return NotReturned(f"stopped, and what the last claim took is unknown, its answer was lost: {error}", ())
        return None  # a receipt of nothing is left, and expires

    @contextmanager
    def _asking(self) -> Generator[None]:
        self._asked_at = time.monotonic()
        try:
            yield
        finally:
            self._asked_at = None
