"""The queue's own loop: an Rx scheduler with one thread and a clock that nobody can set."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from reactivex import abc, typing
from reactivex.disposable import Disposable
from reactivex.scheduler import EventLoopScheduler
from reactivex.scheduler.scheduleditem import ScheduledItem

from rx_runat.model.times import EPOCH

_T = TypeVar("_T")


class Loop(EventLoopScheduler):
    """RxPY's `EventLoopScheduler` on monotonic time; its thread lives while there is something to do.

    RxPY's own reads the wall clock: set back by an hour, it would not tick for an hour. `now` counts from an
    arbitrary moment and is good for differences only.

    Args:
        name: of the thread, as a debugger shows it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._last: threading.Thread | None = None

        def thread(target: Callable[..., None]) -> threading.Thread:
            # A daemon: a script that subscribes and ends must end. `queue.py` hands back before the interpreter goes.
            started = self._last = threading.Thread(target=target, name=name, daemon=True)
            return started

        super().__init__(thread, exit_if_empty=True)

    @property
    def now(self) -> datetime:
        """Monotonic time, as a datetime."""
        return EPOCH + timedelta(seconds=time.monotonic())

    def schedule_absolute(
        self, duetime: typing.AbsoluteTime, action: typing.ScheduledAction[_T], state: _T | None = None
    ) -> abc.DisposableBase:
        """Plan an action. Disposed of, it is forgotten at once; on a loop that has ended, it is dropped.

        RxPY's own keeps what was cancelled until its time: each look replaces an alarm that may be a day away.
        """
        item: ScheduledItem = ScheduledItem(self, state, action, self.to_datetime(duetime))

        def cancel() -> None:
            item.cancel()
            with self._condition:
                if self._queue.remove(item):
                    self._condition.notify()

        with self._condition:
            if self._is_disposed:
                return Disposable()
            if item.duetime <= self.now:
                self._ready_list.append(item)
            else:
                self._queue.enqueue(item)
            self._condition.notify()
            self._ensure_thread()
        return Disposable(cancel)

    def dispose(self) -> None:
        """Drop what is planned; an action under way is the last. May be repeated.

        RxPY's own notifies a thread that may be in an action, and then sleeps until the next item: it finds none here.
        """
        super().dispose()
        with self._condition:
            self._queue.clear()
            self._ready_list.clear()
            self._condition.notify()

    def end(self, longest: float = -1) -> None:
        """Drop what is planned, and wait for the thread, unless called on it; so many seconds at most."""
        self.dispose()
        self.join(longest)

    def join(self, longest: float = -1) -> None:
        """Wait for the thread, unless called on it; so many seconds at most."""
        thread = self._last
        if thread is not None and thread is not threading.current_thread():
            thread.join(None if longest < 0 else longest)
