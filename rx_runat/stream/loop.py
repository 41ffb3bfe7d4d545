"""The queue's own loop: an Rx scheduler with one thread and a monotonic clock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from reactivex import abc, typing
from reactivex.disposable import Disposable
from reactivex.scheduler import EventLoopScheduler, ImmediateScheduler, TimeoutScheduler
from reactivex.scheduler.scheduleditem import ScheduledItem

from rx_runat.model.forks import in_child
from rx_runat.model.monotonic import monotonic
from rx_runat.model.times import EPOCH

_T = TypeVar("_T")


class Loop(EventLoopScheduler):
    """RxPY's `EventLoopScheduler` on monotonic time. Its thread ends when nothing is planned, and starts when needed.

    RxPY's own scheduler reads the wall clock: if that is set back by an hour, it does not tick for an hour. Here `now`
    counts from an arbitrary moment, so only differences of it mean something.

    Args:
        name: of the thread, as a debugger shows it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._latest: threading.Thread | None = None

        def thread(target: Callable[..., None]) -> threading.Thread:
            # A daemon thread, so that a script ends though it still subscribes. `at_exit.py` hands back before that.
            started = self._latest = threading.Thread(target=target, name=name, daemon=True)
            return started

        super().__init__(thread, exit_if_empty=True)

    @property
    def now(self) -> datetime:
        """Returns monotonic time, as a datetime."""
        return EPOCH + timedelta(seconds=monotonic())

    def schedule_absolute(
        self, duetime: typing.AbsoluteTime, action: typing.ScheduledAction[_T], state: _T | None = None
    ) -> abc.DisposableBase:
        """Plan an action; a loop that has ended drops it. To dispose of the result removes the action at once.

        Where no thread can be started it raises RuntimeError, and nothing is planned.

        RxPY's own scheduler keeps a cancelled action until its time. Here each look replaces an alarm that may be a day
        away, so cancelled alarms would pile up.
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
            try:
                self._ensure_thread()
            except BaseException:  # a limit of threads; RxPY would take this one for a running thread for ever
                self._thread = self._latest = None
                self._queue.clear()
                self._ready_list.clear()
                raise
        return Disposable(cancel)

    def dispose(self) -> None:
        """Drop what is planned; an action under way is the last. May be repeated.

        RxPY's own scheduler notifies its thread, but a thread that is in an action at that moment goes on to wait for
        the next item. Here the queues are empty then, so the thread ends.
        """
        super().dispose()
        with self._condition:
            self._queue.clear()
            self._ready_list.clear()
            self._condition.notify()

    def leave_to_parent(self) -> None:
        """In a forked child: drop what is planned. The thread exists here only if its present action forked."""
        self._condition = threading.Condition(threading.Lock())
        self.dispose()

    @property
    def is_here(self) -> bool:
        """True on the loop's thread."""
        return self._latest is threading.current_thread()

    def end(self, longest: float = -1) -> None:
        """Drop what is planned, and wait for the thread as `join` does."""
        self.dispose()
        self.join(longest)

    def join(self, longest: float = -1) -> None:
        """Wait for the thread to end, unless this is called on it.

        Args:
            longest: seconds to wait; negative: as long as it takes.
        """
        thread = self._latest
        if thread is not None and not self.is_here:
            thread.join(None if longest < 0 else longest)


def _renew_locks() -> None:
    """In a forked child: RxPY takes these two locks for each subscription, and another thread may have held them."""
    ImmediateScheduler._lock = threading.Lock()  # pyright: ignore[reportPrivateUsage]
    TimeoutScheduler._lock = threading.Lock()  # pyright: ignore[reportPrivateUsage]


in_child(_renew_locks)
