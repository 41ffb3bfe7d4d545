"""What waits for its turn, and how many may have it at once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Turns(Generic[_T]):
    """At most so many at a time are served, each on a thread that goes on with the next one.

        waiting   a b c d e f
        threads   a.c.f...
                   b...                   b goes on after its call: `resume` when it is over
                     d.e..

    One thread wakes the next, and only one is woken at a time: what is quickly served needs no crowd of threads.

    Args:
        most: how many.
        serve: serves one; False: it goes on, and `resume` will be called.
        may: may any begin now? If not, `begin` is to be called when it may.
        run: runs an action on a thread, soon.
    """

    def __init__(
        self,
        most: int,
        serve: Callable[[_T], bool],
        may: Callable[[], bool],
        run: Callable[[Callable[[], None]], None],
    ) -> None:
        self._most = most
        self._serve = serve
        self._may = may
        self._run = run
        self._lock = threading.Lock()  # over the rest
        self._waiting: deque[_T] = deque()
        self._taken = 0
        self._is_waking = False  # a thread is on its way to what waits
        self._stopped = False

    @property
    def any_waits(self) -> bool:
        """Does any wait for its turn?"""
        return bool(self._waiting)

    def put(self, item: _T) -> bool:
        """Let one wait for its turn; False: there are no more turns."""
        with self._lock:
            if not self._stopped:
                self._waiting.append(item)
            puts, begins = not self._stopped, self._begins()
        if begins:
            self._run(self._arrive)
        return puts

    def begin(self) -> None:
        """Look again whether one may begin."""
        with self._lock:
            begins = self._begins()
        if begins:
            self._run(self._arrive)

    def resume(self) -> None:
        """One that went on is over."""
        with self._lock:
            goes_on = self._may_begin()
            self._taken -= not goes_on
        if goes_on:
            self._run(self._go_on)

    def stop(self) -> list[_T]:
        """No more turns; who has waited in vain?"""
        with self._lock:
            self._stopped = True
            waiting = list(self._waiting)
            self._waiting.clear()
        return waiting

    def _begins(self) -> bool:
        """May one more begin, and is no thread on its way already? Then its place is taken."""
        begins = not self._is_waking and self._taken < self._most and self._may_begin()
        if begins:
            self._taken += 1
            self._is_waking = True
        return begins

    def _may_begin(self) -> bool:
        return bool(self._waiting) and self._may()

    def _arrive(self) -> None:
        with self._lock:
            self._is_waking = False
        self._go_on()

    def _go_on(self) -> None:
        while True:
            with self._lock:
                if not self._may_begin():
                    self._taken -= 1
                    return
                item = self._waiting.popleft()
                begins = self._begins()  # the next one: this one may take its time
            if begins:
                self._run(self._arrive)
            if not self._serve(item):
                return
