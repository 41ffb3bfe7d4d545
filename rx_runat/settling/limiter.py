"""How much work is under way at once, and what waits until it may start."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from rx_runat.settling.threads import Inline, Pool

_T = TypeVar("_T")


class Limiter(Generic[_T]):
    """Serves items in order, at most so many at once, each on a thread that goes on with the next one.

        waiting   a b c d e f
        threads   a.c.f...
                   b...                   b goes on after its call: `release` when it has finished
                     d.e..

    A thread that takes an item wakes the next thread, and only one is woken at a time: items that are served quickly
    need few threads.

    Of the items that are put as suspects one at most is served at a time, beside others that are not.

    Args:
        max_concurrent: the most items that are served at once.
        serve: serves one item. Returns False if its work goes on after the call, or if the thread is not to go on;
            then `release` will be called.
        can_start: returns True if another item may start. When that changes to True, call `start`.
        freed: called when a thread has found no further item to serve.

    Attributes:
        threads: run what is served.
    """

    def __init__(
        self,
        max_concurrent: int,
        serve: Callable[[_T], bool],
        can_start: Callable[[], bool],
        freed: Callable[[], None],
    ) -> None:
        self.threads: Pool | Inline = Inline()
        self._max_concurrent = max_concurrent
        self._serve = serve
        self._can_start = can_start
        self._freed = freed
        self._lock = threading.Lock()  # guards the attributes below
        self._waiting: deque[_T] = deque()
        self._suspects: deque[_T] = deque()  # they wait, too
        self._is_suspect_served = False
        self._under_way = 0
        self._is_waking = False  # a thread is on its way to the next item
        self._is_stopped = False

    @property
    def is_waiting(self) -> bool:
        """True if an item waits."""
        return bool(self._waiting or self._suspects)

    @property
    def spare(self) -> float:
        """How many more items would start at once; negative: so many items wait already. inf after `stop`."""
        if self._is_stopped:
            return math.inf
        return (
            (self._max_concurrent - self._under_way if self._can_start() else 0)
            - len(self._waiting)
            - len(self._suspects)
        )

    def put(self, item: _T, is_suspect: bool = False) -> bool:
        """Queue an item. Returns False after `stop`.

        Args:
            item: the item.
            is_suspect: True if it is not to be served beside another suspect.
        """
        with self._lock:
            if self._is_stopped:
                return False
            (self._suspects if is_suspect else self._waiting).append(item)
            wakes = self._wakes()
        if wakes:
            self.threads.run(self._arrive)
        return True

    def start(self) -> None:
        """Start the next item, if one waits and may start."""
        with self._lock:
            wakes = self._wakes()
        if wakes:
            self.threads.run(self._arrive)

    def release(self, is_suspect: bool = False) -> None:
        """Note the end of work that outlasted its call: another item may start.

        Args:
            is_suspect: as in `put`.
        """
        with self._lock:
            if is_suspect:
                self._is_suspect_served = False
            goes_on = self._may_start()
            self._under_way -= not goes_on
        if goes_on:
            self.threads.run(self._go_on)
        else:
            self._freed()

    def take_back(self, is_overdue: Callable[[_T], bool]) -> list[_T]:
        """Returns the waiting items that are overdue; they do not start any more."""
        with self._lock:
            overdue = [item for item in (*self._suspects, *self._waiting) if is_overdue(item)]
            if overdue:
                self._suspects = deque(item for item in self._suspects if not is_overdue(item))
                self._waiting = deque(item for item in self._waiting if not is_overdue(item))
        return overdue

    def stop(self) -> list[_T]:
        """Start nothing any more. Returns the items that waited."""
        with self._lock:
            self._is_stopped = True
            waiting = [*self._suspects, *self._waiting]
            self._suspects.clear()
            self._waiting.clear()
        return waiting

    def _wakes(self) -> bool:
        """True if a thread is to be woken for one more item. The item counts as under way from now on."""
        wakes = not self._is_waking and self._under_way < self._max_concurrent and self._may_start()
        if wakes:
            self._under_way += 1
            self._is_waking = True
        return wakes

    def _may_start(self) -> bool:
        has_next = self._waiting or (self._suspects and not self._is_suspect_served)
        return bool(has_next) and self._can_start()

    def _arrive(self) -> None:
        with self._lock:
            self._is_waking = False
        self._go_on()

    def _go_on(self) -> None:
        is_suspect = False
        while True:
            with self._lock:
                if is_suspect:
                    self._is_suspect_served = False
                if not self._may_start():
                    self._under_way -= 1
                    break
                if self._suspects and not self._is_suspect_served:
                    self._is_suspect_served = is_suspect = True
                    item = self._suspects.popleft()
                else:
                    is_suspect = False
                    item = self._waiting.popleft()
                wakes = self._wakes()  # for the next item, because this one may take long
            if wakes:
                self.threads.run(self._arrive)
            if not self._serve(item):
                return
        self._freed()
