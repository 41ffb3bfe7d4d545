"""What a source has taken and nobody has received, and how it goes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Generic

from rx_runat.errors import NotReturned, Refused, StoreError
from rx_runat.model.batch import Entry
from rx_runat.model.protocols import Claimer, Store
from rx_runat.stream.claiming import C, Claiming

LONGEST_PATIENCE = 5.0  # seconds; stop() gives up on an absent Redis after one interval, or this where that is long
SHORTEST_SILENCE = 1.0  # seconds; a busy server or host is silent for longer than a short interval, and not gone
_PAUSE = 0.02  # seconds between two tries: a server that restarts is back within some 50 ms


class Hold(Generic[C]):
    """Between a source and the store: takes, holds what was not received, and gives it back. One look at a time.

    Args:
        store: where keys are claimed.
        claiming: makes the claimer, for as long as somebody subscribes.
        interval: seconds; the patience with an absent Redis when all must go back.
    """

    def __init__(self, store: Store, claiming: Claiming[C], interval: float) -> None:
        self.left: list[Entry] = []
        self._claiming = claiming
        self._store = store
        self.break_off = store.close
        self._claimer: Claimer[C] | None = None
        self._asked_at: float | None = None
        self._patience = min(interval, LONGEST_PATIENCE)
        self._silence = max(self._patience, SHORTEST_SILENCE)

    def claim(self, limit: int) -> C:
        """Take what is due, at most `limit` keys. Raises StoreError; the next call asks for the same claim again."""
        if self._claimer is None:
            self._claimer = self._claiming.claimer()
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
        self._store.shorten_timeout(self._silence)
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
