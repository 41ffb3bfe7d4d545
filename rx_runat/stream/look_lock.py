"""Lets one look run at a time, on any thread; `stop` takes the same lock, to end the source after the current look."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from rx_runat.model.monotonic import monotonic
from rx_runat.stream.hold import Hold
from rx_runat.stream.rendezvous import running_loop


class LookLock:
    """A lock that is held during a look, and that knows whether the current thread is inside one.

    A subscriber's `on_next` may stop its own queue: that call is inside the look, and so must not wait for its end.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread = threading.local()

    @property
    def is_inside(self) -> bool:
        """True if the current thread is in a look, or in a handler that a look waits for."""
        return getattr(self._thread, "is_inside", False)

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that ran on this thread when it came inside; None if none did."""
        return getattr(self._thread, "loop", None)

    @contextmanager
    def inside(self) -> Generator[None]:
        """Count this thread as inside a look: an event loop's thread, while a look waits for a handler on it."""
        before = self.is_inside
        self._come_in()
        try:
            yield
        finally:
            self._thread.is_inside = before

    def acquire(self, timeout: float = -1) -> bool:
        """Acquire the lock, within so many seconds if that is not negative. Returns True if it was acquired."""
        acquired = self._lock.acquire(timeout=timeout)
        if acquired:
            self._come_in()
        return acquired

    def acquire_after_look(self, hold: Hold[Any], longest: float) -> bool:
        """Acquire the lock when the look in progress is over. Its call to Redis is broken off if that hangs.

        Args:
            hold: makes the calls to Redis.
            longest: seconds to wait for an `on_next`; negative: as long as it takes.

        Returns:
            True if the lock was acquired, False if an `on_next` took too long.
        """
        began = monotonic()
        while not self.acquire(timeout=0.02):
            if hold.hangs(began):
                hold.break_off()
            elif not hold.is_calling and 0 <= longest < monotonic() - began:
                return False
        return True

    def release(self) -> None:
        """Release the lock."""
        self._thread.is_inside = False
        self._lock.release()

    def _come_in(self) -> None:
        self._thread.is_inside = True
        self._thread.loop = running_loop()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()
