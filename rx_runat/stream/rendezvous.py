"""Where a subscriber's `on_next` runs: on the source's thread, or on the event loop that its subscription named.

`await` and asyncio pipelines bring an `AsyncIOScheduler`: their observers live on that event loop and must be called
there, one key at a time, the source waiting. That is a rendezvous, not a queue: what the subscriber did not take is
not delivered, and goes back.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from reactivex import abc
from reactivex.scheduler.eventloop import AsyncIOScheduler

_T = TypeVar("_T")

_CHECK_SECONDS = 0.1  # an event loop that was closed tells nobody: look now and then whether it still runs


class NotTaken(Exception):
    """The subscriber left before it took the value, or its event loop does not run; `for_good` if it is closed."""

    def __init__(self, for_good: bool = False) -> None:
        super().__init__()
        self.for_good = for_good


class Rendezvous(Generic[_T]):
    """RedisClient an observer's handlers on an event loop.

    Args:
        loop: the event loop.
        handler: called with one value at a time, while the source waits.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, handler: Callable[[_T], object]) -> None:
        self._loop = loop
        self.handler = handler
        self._lock = threading.Lock()
        self._gone = False
        self._meeting: _Meeting | None = None

    def on_next(self, value: _T) -> None:
        """Give a value; returns when the handler has, and raises what it raised.

        Raises:
            NotTaken: the subscriber left, or its event loop ended, before the handler was called.
        """
        if running_loop() is self._loop:  # the source ticks on this very event loop
            self.handler(value)
            return
        if not self._loop.is_running():
            raise NotTaken(for_good=self._loop.is_closed())
        meeting = _Meeting()
        with self._lock:
            if self._gone:
                raise NotTaken
            self._meeting = meeting

        def meet() -> None:
            if meeting.begin():
                try:
                    self.handler(value)
                except BaseException as error:  # it is the source's to judge
                    meeting.error = error
                meeting.over.set()

        try:
            self._loop.call_soon_threadsafe(meet)
        except RuntimeError:  # closed
            raise NotTaken(for_good=True) from None
        while not meeting.over.wait(_CHECK_SECONDS):
            if not self._loop.is_running() and meeting.begin():
                raise NotTaken(for_good=self._loop.is_closed())
        if meeting.error is not None:
            raise meeting.error

    def withdraw(self) -> None:
        """Let a source that waits for us go on; what waits is not taken."""
        with self._lock:
            self._gone = True
            meeting = self._meeting
        if meeting is not None and meeting.begin():
            meeting.error = NotTaken()
            meeting.over.set()

    def post(self, action: Callable[[], object]) -> None:
        """Run something on the event loop, soon and after what was posted before; the source does not wait."""
        try:
            self._loop.call_soon_threadsafe(action)
        except RuntimeError:  # closed: nobody is there to hear it
            pass


class _Meeting:
    """One value on its way: either the handler begins with it or somebody calls it off, never both."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.error: BaseException | None = None
        self._begun = threading.Lock()

    def begin(self) -> bool:
        return self._begun.acquire(blocking=False)


def event_loop(scheduler: abc.SchedulerBase | None) -> asyncio.AbstractEventLoop | None:
    """The event loop of a subscription's scheduler, if it has one."""
    return scheduler._loop if isinstance(scheduler, AsyncIOScheduler) else None  # pyright: ignore[reportPrivateUsage]


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs on this thread, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
