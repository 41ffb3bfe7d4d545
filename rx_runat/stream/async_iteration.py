"""`async for` over a crowd: the loop body has one value in hand, and the source waits with the next.

    source   --a          b         c (not taken: goes back)
    body        a ------- b ------- break

A value is received at the moment at which `__anext__` returns it: not when the source offers it, nor when the event
loop is told. So a wait that is cancelled loses nothing, the value stays offered; and a loop that is left gives it up.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Generic, Self, TypeVar

from rx_runat.stream.hot import Crowd, Subscriber
from rx_runat.stream.rendezvous import NotTaken, running_loop

_T = TypeVar("_T")

_CHECK_SECONDS = 0.1  # an event loop that was closed tells nobody: look now and then whether it still runs


class _Offer(Generic[_T]):
    """A value on its way: either it is taken or it is given up, never both.

    Plain locks, no Event: a finalizer may settle it at any moment, on the very thread that waits.
    """

    def __init__(self, value: _T) -> None:
        self.value = value
        self.is_taken = False
        self._first = threading.Lock()
        self._over = threading.Lock()
        self._over.acquire()

    def settle(self, taken: bool) -> bool:
        """Take it or give it up; was nobody before us?"""
        if not self._first.acquire(blocking=False):
            return False
        self.is_taken = taken
        self._over.release()
        return True

    def wait(self, seconds: float) -> bool:
        """Wait until it is settled; is it?"""
        return self._over.acquire(timeout=seconds)


class _Seat(Subscriber[_T]):
    """Who subscribes for an `async for`: stands between the source's thread and the event loop.

    It knows nothing of its iterator, so that an iterator that nobody holds is finalized at once.
    """

    __slots__ = ("_offer", "_waiter", "_withdrawn", "ended", "error", "gone", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(self._give)
        self.loop = loop
        self.gone = False  # the iterator left
        self.ended = False
        self.error: BaseException | None = None
        self._withdrawn = False  # the source gives nothing more
        self._offer: _Offer[_T] | None = None
        self._waiter: asyncio.Future[None] | None = None

    # On the source's thread.

    def _give(self, value: _T) -> None:
        """Offer a value, and wait until the loop's body has it.

        Raises:
            NotTaken: the loop was left, or its event loop ended.
        """
        if running_loop() is self.loop:
            raise RuntimeError("a queue that ticks on this event loop cannot wait for it: make it without scheduler=")
        offer = self._offer = _Offer(value)
        if self._withdrawn:  # looked at after the offer is made: who withdraws looks for an offer afterwards
            offer.settle(taken=False)
        if not self._post(self._wake):
            offer.settle(taken=False)
        while not offer.wait(_CHECK_SECONDS):
            if self.loop.is_closed():
                offer.settle(taken=False)
        self._offer = None
        if not offer.is_taken:
            raise NotTaken(for_good=self.gone or self.loop.is_closed())

    def withdraw(self) -> None:
        """Let a source go on that waits for the loop's body; what it offers from now on is not taken."""
        self._withdrawn = True
        offer = self._offer
        if offer is not None:
            offer.settle(taken=False)

    def run(self, action: Callable[[], object]) -> None:
        """Run something on the event loop, soon."""
        self._post(action)

    def fail(self, error: BaseException) -> None:
        """End with an error, which the loop raises."""
        self._post(lambda: self._end(error))

    def complete(self) -> None:
        """End well."""
        self._post(lambda: self._end(None))

    def _post(self, action: Callable[[], object]) -> bool:
        try:
            self.loop.call_soon_threadsafe(action)
        except RuntimeError:  # closed
            return False
        return True

    # On the event loop.

    async def take(self) -> _T:
        """The next value.

        Raises:
            StopAsyncIteration: the stream completed, or was left.
        """
        while True:
            offer = self._offer
            if offer is not None and offer.settle(taken=True):
                return offer.value
            if self.error is not None:
                error, self.error = self.error, None
                raise error
            if self.ended or self.gone:
                raise StopAsyncIteration
            if self._waiter is not None:
                raise RuntimeError("another task waits for the next value of this iterator already")
            waiter = self._waiter = self.loop.create_future()
            try:
                await waiter
            finally:
                self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _end(self, error: BaseException | None) -> None:
        self.ended = True
        self.error = error
        self._wake()


class Iteration(AsyncIterator[_T]):
    """The iterator of an `async for` over a hot stream; leaving the loop hands back what was not taken.

    It subscribes with the first step, and leaves when it is left: by `aclose`, or when nobody holds it any more, which
    is at once where a `break`, a `return` or an exception leaves the loop.

    Args:
        crowd: that it joins.
    """

    def __init__(self, crowd: Crowd[_T]) -> None:
        self._crowd = crowd
        self._seat: _Seat[_T] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _T:
        """The next value."""
        seat = self._seat
        if seat is None:
            seat = self._seat = _Seat[_T](asyncio.get_running_loop())
            self._crowd.join(seat)
        return await seat.take()

    async def aclose(self) -> None:
        """Leave, now; may be repeated."""
        seat = self._seat
        if seat is None:
            self._seat = seat = _Seat[_T](asyncio.get_running_loop())
        if not seat.gone:
            seat.gone = True
            self._crowd.leave(seat)

    def __del__(self) -> None:
        """Leave. A finalizer runs anywhere, perhaps with the source's lock held: the leaving itself is posted."""
        seat, crowd = self._seat, self._crowd
        if seat is None or seat.gone:
            return
        seat.gone = True
        seat.withdraw()
        seat.run(lambda: crowd.leave(seat))  # if that event loop is closed, the source learns it with the next key
