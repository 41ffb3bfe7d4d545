"""`async for` over a hot stream: while the loop's body works on one value, the source waits with the next.

    source   --a          b         c (not received: goes back)
    body        a ------- b ------- break

A value is received at the moment at which `__anext__` returns it: not when the source offers it, nor when the event
loop is notified. So a cancelled wait loses nothing, because the value stays on offer, and when the `async for` is left
the value on offer goes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Self, TypeVar

from rx_runat.model.forks import generation
from rx_runat.stream.hot import Publisher, Subscriber
from rx_runat.stream.rendezvous import CHECK_SECONDS, NotReceived, Rendezvous, running_loop

_T = TypeVar("_T")


class _IteratorSubscriber(Subscriber[_T]):
    """Subscribes on behalf of one iterator, and stands between the source's thread and the event loop.

    It has no reference to its iterator, so that an iterator is finalized as soon as nobody else refers to it.

    Attributes:
        has_left: True once the iterator was left.
    """

    __slots__ = ("_error", "_has_ended", "_rendezvous", "_waiter", "has_left")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(self._offer)
        self.has_left = False
        self._has_ended = False
        self._error: BaseException | None = None
        self._rendezvous: Rendezvous[_T] = Rendezvous(loop)
        self._waiter: asyncio.Future[None] | None = None  # what `__anext__` waits for

    # On the source's thread.

    def _offer(self, value: _T) -> None:
        """Offer a value, and wait until `__anext__` returns it.

        Raises:
            NotReceived: the iterator was left, or its event loop was closed.
        """
        rendezvous = self._rendezvous
        loop = rendezvous.loop
        if running_loop() is loop:
            raise RuntimeError(
                "this queue ticks on this event loop, which cannot wait for itself: make the queue without scheduler="
            )
        offer = rendezvous.make_offer(value)
        if not rendezvous.post(self._wake):
            offer.resolve(received=False)
        while not offer.wait(CHECK_SECONDS):
            if loop.is_closed():
                offer.resolve(received=False)
        rendezvous.offer = None
        if not offer.is_received:
            raise NotReceived(for_good=self.has_left or loop.is_closed())

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that the source waits for; None once the iterator was left."""
        return None if self.has_left else self._rendezvous.loop

    def unblock_source(self) -> None:
        """Resolve the value on offer, and all later ones, as not received."""
        self._rendezvous.close()

    def run(self, action: Callable[[], object]) -> None:
        """Run an action on the event loop, soon."""
        self._rendezvous.post(action)

    def fail(self, error: BaseException, has_left: bool = False) -> None:
        """End the iteration with an error, which `__anext__` raises; after the iterator was left nobody calls it."""
        if not has_left:
            self.run(lambda: self._end(error))

    def complete(self) -> None:
        """End the iteration."""
        self.run(lambda: self._end(None))

    # On the event loop.

    async def receive(self) -> _T:
        """Returns the next value.

        Raises:
            StopAsyncIteration: the stream completed, or the iterator was left.
        """
        while True:
            offer = self._rendezvous.offer
            if offer is not None and offer.resolve(received=True):
                offer.finish()
                return offer.value
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            if self._has_ended or self.has_left:
                raise StopAsyncIteration
            if self._waiter is not None:
                raise RuntimeError("another task waits for the next value of this iterator already")
            waiter = self._waiter = self._rendezvous.loop.create_future()
            try:
                await waiter
            finally:
                self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _end(self, error: BaseException | None) -> None:
        self._has_ended = True
        self._error = error
        self._wake()


class Iteration(AsyncIterator[_T]):
    """The iterator of an `async for` over a hot stream; the value on offer goes back when the loop is left.

    It subscribes at its first step. It leaves by `aclose`, or when nobody refers to it any more: at once where a
    `break`, a `return` or an exception leaves the loop.

    Args:
        publisher: of the stream.
    """

    def __init__(self, publisher: Publisher[_T]) -> None:
        self._generation = generation()
        self._publisher = publisher
        self._subscriber: _IteratorSubscriber[_T] | None = None

    def __aiter__(self) -> Self:
        return self

    @property
    def _is_inherited(self) -> bool:
        return self._generation != generation()

    async def __anext__(self) -> _T:
        """Returns the next value. In a forked child the iteration is over, because it is the parent's."""
        if self._is_inherited:
            raise StopAsyncIteration
        subscriber = self._subscriber
        if subscriber is None:
            subscriber = _IteratorSubscriber[_T](asyncio.get_running_loop())
            self._publisher.join(subscriber)
            self._subscriber = subscriber  # not before: whoever was refused would wait for ever at its next step
        return await subscriber.receive()

    async def aclose(self) -> None:
        """Leave the stream now; may be repeated."""
        if self._is_inherited:
            return
        subscriber = self._subscriber
        if subscriber is None:
            self._subscriber = subscriber = _IteratorSubscriber[_T](asyncio.get_running_loop())
        if not subscriber.has_left:
            subscriber.has_left = True
            self._publisher.leave(subscriber)
            subscriber.complete()  # another task may wait in `__anext__`

    def __del__(self) -> None:
        """Leave the stream. A finalizer runs anywhere, perhaps under the source's lock, so it posts its `leave`."""
        subscriber, publisher = self._subscriber, self._publisher
        if subscriber is None or subscriber.has_left or self._is_inherited:
            return
        subscriber.has_left = True
        subscriber.unblock_source()
        # If that event loop is closed, the source finds out when it offers the next key.
        subscriber.run(lambda: publisher.leave(subscriber))
