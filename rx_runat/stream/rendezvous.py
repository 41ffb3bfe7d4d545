"""One value handed from a source's thread to an event loop, while the source waits.

`await` and asyncio pipelines bring an `AsyncIOScheduler`: their observers live on that event loop and must be called
there, one key at a time. Nothing is queued in between, because what a queue holds is lost when it is disposed of: here
a value is either received, or it goes back to Redis.

    source's thread    offer, wait ----------------------------------> next value, or hand this one back
    event loop                  resolve(received=True), finish         the handler begins, or `__anext__` returns
    any thread                  resolve(received=False)                the subscriber left, the event loop is closed

Two users: `LoopHandler` calls a subscriber's `on_next`, and a value is received when that begins; `async_iteration`
feeds an `async for`, and a value is received when `__anext__` returns it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from reactivex import abc
from reactivex.scheduler.eventloop import AsyncIOScheduler

_T = TypeVar("_T")

CHECK_SECONDS = 0.1  # an event loop that is closed notifies nobody, so a waiting source checks it this often


class NotReceived(Exception):
    """A subscriber left before it received the value, or its event loop does not run.

    Attributes:
        for_good: True if the subscriber can receive nothing any more: its event loop is closed, or its iterator was
            left.
    """

    def __init__(self, for_good: bool = False) -> None:
        super().__init__()
        self.for_good = for_good


class Offer(Generic[_T]):
    """One value on its way to an event loop, resolved exactly once: received, or not received.

    It consists of plain locks, without an Event or a Condition, because a finalizer may resolve it at any moment, even
    on the very thread that waits for it.

    Attributes:
        value: what is offered.
        is_received: True once it was resolved as received.
        error: what the handler of a received value raised.
    """

    def __init__(self, value: _T) -> None:
        self.value = value
        self.is_received = False
        self.error: BaseException | None = None
        self._unresolved = threading.Lock()  # acquired once, by the call that resolves the offer
        self._unfinished = threading.Lock()  # held until the source may go on
        self._unfinished.acquire()

    def resolve(self, received: bool) -> bool:
        """Resolve the offer. If it was not received, the source's wait ends at once; if it was, at `finish`.

        Returns:
            True if this call resolved it, False if an earlier one had.
        """
        if not self._unresolved.acquire(blocking=False):
            return False
        self.is_received = received
        if not received:
            self._unfinished.release()
        return True

    def finish(self, error: BaseException | None = None) -> None:
        """End the source's wait for a received value; once, by the call that resolved the offer."""
        self.error = error
        self._unfinished.release()

    def wait(self, seconds: float) -> bool:
        """Wait on the source's thread. Returns True once the wait is over, False if the time ran out first."""
        return self._unfinished.acquire(timeout=seconds)


class Rendezvous(Generic[_T]):
    """What a source offers to one event loop, one value at a time.

    Args:
        loop: the event loop.

    Attributes:
        offer: the offer that the source waits for, None between two values.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.offer: Offer[_T] | None = None
        self._is_closed = False

    def make_offer(self, value: _T) -> Offer[_T]:
        """Returns a new offer; after `close` one that is resolved as not received."""
        offer = self.offer = Offer(value)
        if (
            self._is_closed
        ):  # read after the offer is stored: `close` sets this flag first and looks for an offer second
            offer.resolve(received=False)
        return offer

    def close(self) -> None:
        """Resolve the current offer and all later ones as not received. From any thread, finalizers included."""
        self._is_closed = True
        offer = self.offer
        if offer is not None:
            offer.resolve(received=False)

    def post(self, action: Callable[[], object]) -> bool:
        """Run an action on the event loop, soon and in the order of the posts. Returns False if the loop is closed."""
        try:
            self.loop.call_soon_threadsafe(action)
        except RuntimeError:  # closed
            return False
        return True


class LoopHandler(Rendezvous[_T]):
    """Calls a subscriber's handler on an event loop, while the source waits.

    Args:
        loop: the event loop.
        handler: called with one value at a time.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, handler: Callable[[_T], object]) -> None:
        super().__init__(loop)
        self.handler = handler

    def on_next(self, value: _T) -> None:
        """Call the handler with a value, and wait until it has returned. Raises what the handler raised.

        Raises:
            NotReceived: the subscriber left, or its event loop does not run, before the handler was called.
        """
        if running_loop() is self.loop:  # the source ticks on this very event loop
            error = self._call(value)
            if error is not None:
                raise error
            return
        if not self.loop.is_running():
            raise NotReceived(for_good=self.loop.is_closed())
        offer = self.make_offer(value)
        if not self.post(partial(self._receive, offer)):
            offer.resolve(received=False)
        while not offer.wait(CHECK_SECONDS):
            if not self.loop.is_running():
                offer.resolve(received=False)
        self.offer = None
        if not offer.is_received:
            raise NotReceived(for_good=self.loop.is_closed())
        if offer.error is not None:
            raise offer.error

    def _receive(self, offer: Offer[_T]) -> None:
        if offer.resolve(received=True):
            offer.finish(self._call(offer.value))

    def _call(self, value: _T) -> BaseException | None:
        """Call the handler. Returns what it raised, for the source to decide what follows from it."""
        try:
            self.handler(value)
        except BaseException as error:
            return None if tell_awaiting(error) else error
        return None


def tell_awaiting(error: BaseException) -> bool:
    """End the `await` of a pipeline that raised StopIteration, on its event loop. Returns True if it was one.

    Before Python 3.12.1 a Future refuses a StopIteration with a TypeError, and then nobody would end the wait for it.
    Here it gets a RuntimeError, as from later Pythons. The Future is a local of the call that its TypeError ended.

    Args:
        error: what a callback of the pipeline raised.
    """
    trace = error.__traceback__
    if type(error) is not TypeError or "StopIteration" not in str(error) or trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    for each in trace.tb_frame.f_locals.values():
        if isinstance(each, asyncio.Future) and not each.done():
            instead = RuntimeError(str(error))
            instead.__cause__ = error
            each.set_exception(instead)
            return True
    return False


def event_loop(scheduler: abc.SchedulerBase | None) -> asyncio.AbstractEventLoop | None:
    """Returns the event loop of a subscription's scheduler, None if it has none."""
    return scheduler._loop if isinstance(scheduler, AsyncIOScheduler) else None  # pyright: ignore[reportPrivateUsage]


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Returns the event loop that runs on this thread, None if none does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
