"""A search for a primary, which many threads need at the same moment, and one of them makes."""

from __future__ import annotations

import threading

from rx_runat.errors import StoreError, Unavailable
from rx_runat.model.monotonic import monotonic
from rx_runat.store.connection import OwnPool
from rx_runat.store.meaning import own_copy


class Search:
    """A search for the primary: one thread asks, and all others that need the primary wait for the same result.

    Attributes:
        thread: which asks.
        pool: the connections to what was found; None: nothing was found.
        error: why nothing was found.
        ended_at: monotonic seconds; None: it goes on.
    """

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.pool: OwnPool | None = None
        self.error: StoreError | None = None
        self.ended_at: float | None = None
        self._ended = threading.Event()

    def end(self) -> None:
        """Let those who wait go on. Call it whatever happened."""
        self.ended_at = monotonic()
        self._ended.set()

    def wait(self) -> None:
        """Return after `end`."""
        self._ended.wait()

    def result(self) -> OwnPool:
        """Returns the connections to what was found.

        Raises:
            StoreError: nothing was found.
        """
        if self.pool is not None:
            return self.pool
        if self.error is None:
            raise Unavailable("the search for the primary was interrupted")
        raise own_copy(self.error)
