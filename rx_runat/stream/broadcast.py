"""Values for all subscribers of the moment, published from any thread: the stream of `queue.errors`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from rx_runat.stream.hot import Subscriber

_T = TypeVar("_T")


class Broadcast(Generic[_T]):
    """A publisher that calls its subscribers on the thread that publishes, or soon on the event loop that they named.

    A source waits for its subscribers, one key at a time; a broadcast waits for no event loop.

    Args:
        is_inside: returns True in a callback of a source, before whose return that thread publishes nothing.
    """

    def __init__(self, is_inside: Callable[[], bool] = lambda: False) -> None:
        self._is_inside = is_inside
        self._lock = threading.Lock()  # guards both below
        self._subscribers: tuple[Subscriber[_T], ...] = ()
        self._has_ended = False

    def join(self, subscriber: Subscriber[_T]) -> None:
        """Give a subscriber what is published from now on; after the end it completes at once."""
        if not self._has_ended and self._is_inside():
            subscriber.refuse_to_wait()
        with self._lock:
            has_ended = self._has_ended
            if not has_ended:
                self._subscribers += (subscriber,)
        if has_ended:
            subscriber.complete()

    def leave(self, subscriber: Subscriber[_T]) -> None:
        """Give a subscriber nothing more; may be repeated."""
        with self._lock:
            self._subscribers = tuple(each for each in self._subscribers if each is not subscriber)

    def publish(self, value: _T) -> None:
        """Call every subscriber with a value, without waiting for event loops. A subscriber that raises is removed."""
        for subscriber in self._subscribers:
            subscriber.run(partial(self._call, subscriber, value))

    def end(self) -> None:
        """Complete every subscriber; may be repeated."""
        with self._lock:
            had_ended, self._has_ended = self._has_ended, True
        if not had_ended:
            for subscriber in self._subscribers:
                subscriber.complete()

    def _call(self, subscriber: Subscriber[_T], value: _T) -> None:
        if subscriber in self._subscribers:  # it may have left before its event loop ran this
            try:
                subscriber.handler(value)
            except BaseException as error:  # a bug of one subscriber does not reach the others
                has_left = subscriber not in self._subscribers
                self.leave(subscriber)
                subscriber.fail(error, has_left)
