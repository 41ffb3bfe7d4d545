"""How much work is under way at once, and what waits until it may start."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Collection, Sized
from typing import Generic, TypeVar

from rx_runat.model.safe_log import unhandled
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

    Of the items that are put as suspects one at most is served at a time, beside others that are not; `pass_suspect`
    makes an exception.

    Args:
        max_concurrent: the most items that are served at once.
        serve: serves one item. Returns False if its work goes on after the call, or if the thread is not to go on;
            then `release` will be called.
        results: what came of the items, until somebody takes it. While there are too many, no item starts; when there
            are fewer again, call `start`.
        most_results: how many are too many.
        freed: called when a thread has found no further item to serve.

    Attributes:
        threads: run what is served.
        suspect: the suspect under way, or None.
    """

    def __init__(
        self,
        max_concurrent: int,
        serve: Callable[[_T], bool],
        results: Sized,
        most_results: int,
        freed: Callable[[], None],
    ) -> None:
        self.threads: Pool | Inline = Inline()
        self._max_concurrent = max_concurrent
        self._serve = serve
        self._results = results
        self._most_results = most_results
        self._freed = freed
        self._lock = threading.Lock()  # guards the attributes below
        self._waiting: deque[_T] = deque()
        self._suspects: deque[_T] = deque()  # they wait, too
        self.suspect: _T | None = None
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
            (self._max_concurrent - self._under_way if len(self._results) < self._most_results else 0)
            - len(self._waiting)
            - len(self._suspects)
        )

    def put(self, items: Collection[_T], suspects: Collection[_T] = ()) -> bool:
        """Queue items. Returns False after `stop`.

        Args:
            items: in order.
            suspects: those that are not to be served beside each other.

        Raises:
            RuntimeError: there is no thread, and none can be started; these items are not queued.
        """
        with self._lock:
            if self._is_stopped:
                return False
            self._waiting += items
            self._suspects += suspects
            wakes = not self._is_waking and self._wakes()
        if wakes:
            try:
                self._wake()
            except BaseException:
                self.take_back({*items, *suspects}.__contains__)
                raise
        return True

    def start(self) -> None:
        """Start the next item, if one waits and may start."""
        with self._lock:
            wakes = self._wakes()
        if wakes:
            try:
                self._wake()
            except RuntimeError as error:  # no thread can be started: the item waits for the next call
                unhandled(error)

    def pass_suspect(self, suspect: _T) -> None:
        """Let the next suspect start beside this one, if this one is still served."""
        with self._lock:
            if self.suspect is suspect:
                self.suspect = None
        self.start()

    def release(self, item: _T) -> None:
        """Note the end of work that outlasted its call: another item may start."""
        with self._lock:
            if self.suspect is item:
                self.suspect = None
            goes_on = self._may_start()
            self._under_way -= not goes_on
        if goes_on:
            self.threads.run(self._go_on)
        else:
            self._freed()

    def take_back(self, applies: Callable[[_T], bool]) -> list[_T]:
        """Returns the waiting items to which the condition applies; they do not start any more."""
        with self._lock:
            taken = [item for item in (*self._suspects, *self._waiting) if applies(item)]
            if taken:
                self._suspects = deque(item for item in self._suspects if not applies(item))
                self._waiting = deque(item for item in self._waiting if not applies(item))
        return taken

    def stop(self) -> list[_T]:
        """Start nothing any more. Returns the items that waited."""
        with self._lock:
            self._is_stopped = True
            waiting = [*self._suspects, *self._waiting]
            self._suspects.clear()
            self._waiting.clear()
        return waiting

    def leave_to_parent(self) -> None:
        """In a forked child: start nothing any more, and drop what waits."""
        self._lock = threading.Lock()
        self.stop()
        self.threads.leave_to_parent()

    def _wakes(self) -> bool:
        """True if a thread is to be woken for one more item. The item counts as under way from now on."""
        wakes = not self._is_waking and self._under_way < self._max_concurrent and self._may_start()
        if wakes:
            self._under_way += 1
            self._is_waking = True
        return wakes

    def _wake(self) -> None:
        try:
            self.threads.run(self._arrive)
        except BaseException:
            with self._lock:
                self._under_way -= 1
                self._is_waking = False
            raise

    def _may_start(self) -> bool:
        if not self._waiting and (not self._suspects or self.suspect is not None):
            return False
        return len(self._results) < self._most_results

    def _arrive(self) -> None:
        with self._lock:
            self._is_waking = False
        self._go_on()

    def _go_on(self) -> None:
        item: _T | None = None
        while True:
            with self._lock:
                if item is not None and self.suspect is item:
                    self.suspect = None
                if not self._may_start():
                    self._under_way -= 1
                    break
                if self._suspects and self.suspect is None:
                    item = self.suspect = self._suspects.popleft()
                else:
                    item = self._waiting.popleft()
                wakes = not self._is_waking and self._wakes()  # for the next item, because this one may take long
            if wakes:
                self.threads.run(self._arrive)
            if not self._serve(item):
                return
        self._freed()
