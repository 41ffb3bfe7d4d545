"""Who subscribes to a source at the moment. The source ticks while it has subscribers."""

from __future__ import annotations

import threading
from typing import Any

from rx_runat.stream.hot import Subscriber
from rx_runat.stream.ticks import Ticker


class Subscribers:
    """The subscribers of one source. They join and leave on any thread, also while a key is being delivered.

        subscribers    0 --- 1 --- 2 --- 1 --- 0 ----- 1 -->
        ticks                [=================|       [===>      | a look that finds no subscriber ends the ticks

    Args:
        ticker: started by the first subscriber, woken when the last one has left.

    Attributes:
        present: all of them; a new tuple whenever one joins or leaves, so that a delivery notices it by one comparison
            per key, without a lock.
        is_stopped: True after `stop`; a subscriber that joins then completes at once.
    """

    def __init__(self, ticker: Ticker) -> None:
        self._ticker = ticker
        self._lock = threading.Lock()  # guards the four below; no subscriber is called under it
        self.present: tuple[Subscriber[Any], ...] = ()
        self.is_stopped = False
        self._to_complete: tuple[Subscriber[Any], ...] = ()
        self._is_ticking = False

    def __len__(self) -> int:
        return len(self.present)

    def join(self, subscriber: Subscriber[Any]) -> None:
        """Give a subscriber the next key; the first one starts the ticks. After `stop` it completes at once."""
        with self._lock:
            stopped = self.is_stopped
            starts = not stopped and not self._is_ticking
            if not stopped:
                self.present += (subscriber,)
                self._is_ticking = True
        if starts:
            self._ticker.start()
        if stopped:
            subscriber.unblock_source()
            subscriber.complete()

    def leave(self, subscriber: Subscriber[Any]) -> bool:
        """Give a subscriber no more keys; may be repeated. Returns False if it had left before.

        When the last one has left, one more look hands back what is held and ends the ticks.
        """
        with self._lock:
            was_there = subscriber in self.present or subscriber in self._to_complete
            self.present = tuple(each for each in self.present if each is not subscriber)
            self._to_complete = tuple(each for each in self._to_complete if each is not subscriber)
            is_last = not self.present
        subscriber.unblock_source()
        if is_last:
            self._ticker.wake()
        return was_there

    def pause_ticks_without_any(self) -> bool:
        """End the ticks if nobody subscribes; the next one to join starts them again. Returns True if they ended."""
        with self._lock:
            if self.present:
                return False
            self._pause_ticks()
            return True

    def remove_all(self) -> tuple[Subscriber[Any], ...]:
        """End the ticks and remove all subscribers. Returns them, for the caller to end them with an error."""
        with self._lock:
            removed, self.present = self.present, ()
            self._pause_ticks()
            return removed

    def stop(self) -> None:
        """Remove all subscribers for good, and end every wait for an event loop. May be repeated."""
        with self._lock:
            self.is_stopped = True
            stopped, self.present = self.present, ()
            self._to_complete += stopped
        for subscriber in stopped:
            subscriber.unblock_source()

    def leave_to_parent(self) -> None:
        """In a forked child: nobody subscribes, and nobody will."""
        self._lock = threading.Lock()
        self.is_stopped = True
        self.present = ()

    def end_ticks(self) -> None:
        """End the ticks for good, after `stop`."""
        self._is_ticking = False
        self._ticker.end()

    def complete(self) -> None:
        """Complete the subscribers that `stop` removed and that have not left since."""
        for subscriber in self._to_complete:
            subscriber.complete()

    def _pause_ticks(self) -> None:
        self._is_ticking = False
        self._ticker.pause()
