"""What a source has claimed and no subscriber has received, and how it goes back to Redis."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Generic

from rx_runat.errors import NotReturned, Refused, StoreError
from rx_runat.model.batch import Entry
from rx_runat.model.monotonic import monotonic
from rx_runat.model.protocols import Claimer, Store
from rx_runat.stream.claiming import C, Claiming

LONGEST_PATIENCE = 5.0  # seconds; stop() gives up on a Redis that is away after one interval, and after this at most
SHORTEST_SILENCE = 1.0  # seconds; a server or host that is only busy may be silent for longer than a short interval
_PAUSE = 0.02  # seconds between two tries: a server that restarts is back within some 50 ms


class Hold(Generic[C]):
    """Claims keys for a source, holds those that nobody received, and hands them back. Not for two threads at once.

    Args:
        store: where keys are claimed.
        claiming: makes the claimer: a new one when somebody subscribes after all had left.
        interval: seconds; how long to retry while Redis is away, when everything must go back.

    Attributes:
        undelivered: the keys to hand back.
        break_off: makes a call to Redis that is under way fail, from another thread.
    """

    def __init__(self, store: Store, claiming: Claiming[C], interval: float) -> None:
        self.undelivered: list[Entry] = []
        self.break_off = store.close
        self._claiming = claiming
        self._store = store
        self._claimer: Claimer[C] | None = None
        self._called_at: float | None = None  # when the call to Redis began that is under way
        self._patience = min(interval, LONGEST_PATIENCE)
        self._longest_silence = max(self._patience, SHORTEST_SILENCE)

    def claim(self, limit: int) -> C:
        """Claim what is due, at most `limit` keys.

        Raises:
            StoreError: Redis did not answer; the next call asks for the same claim again.
        """
        if self._claimer is None:
            self._claimer = self._claiming.claimer()
        with self._calling():
            return self._claimer.claim(limit)

    def hand_back(self, closes: bool) -> bool:
        """Return what is undelivered to Redis.

        Args:
            closes: True if nobody subscribes any more. Then the claimer is closed: a claim whose answer was lost is
                asked for again, and its keys go back too. The receipt, which is the record of the last claim that Redis
                keeps in case it is asked for again, is deleted.

        Returns:
            True if there was something to hand back.

        Raises:
            StoreError: Redis did not answer; call it again.
        """
        claimer, handed_back = self._claimer, False
        while claimer is not None:
            with self._calling():
                if self.undelivered:
                    claimer.hand_back(self.undelivered)
                    handed_back = True
                self.undelivered = claimer.close() if closes else []
            if not self.undelivered:
                if closes:
                    self._claimer = None
                break
        return handed_back

    def hand_back_everything(self) -> NotReturned | None:
        """Hand back and close, and retry during an outage for as long as an interval.

        Returns:
            None, or a notice of what could not be handed back.
        """
        self._store.shorten_timeout(self._longest_silence)
        deadline = monotonic() + self._patience
        while True:
            try:
                self.hand_back(closes=True)
                return None
            except StoreError as error:
                if isinstance(error, Refused) or monotonic() >= deadline:
                    return self._not_returned(error)
            threading.Event().wait(_PAUSE)

    def hangs(self, since: float) -> bool:
        """True if Redis has not replied to a call for too long, counted from `since` (monotonic) at the earliest."""
        called_at = self._called_at
        return called_at is not None and monotonic() - max(called_at, since) > self._longest_silence

    @property
    def is_calling(self) -> bool:
        """True while a call to Redis is under way."""
        return self._called_at is not None

    def _not_returned(self, error: StoreError) -> NotReturned | None:
        keys = [entry.key for entry in self.undelivered]
        if keys:
            return NotReturned(f"stopped, and could not hand back {keys}: {error}", keys)
        if self._claimer is not None and self._claimer.is_owed:
            return NotReturned(f"stopped, and what the last claim took is unknown, its answer was lost: {error}", ())
        return None  # only the receipt is left, of keys that were delivered, and it expires

    @contextmanager
    def _calling(self) -> Generator[None]:
        self._called_at = monotonic()
        try:
            yield
        finally:
            self._called_at = None
