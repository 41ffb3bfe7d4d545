"""Each call of the user's function, until its work is over or was written off because it takes too long."""

from __future__ import annotations

import threading
from collections.abc import Callable

from reactivex import abc
from reactivex.disposable import SingleAssignmentDisposable

from rx_runat.settling.assignment import Assignment
from rx_runat.settling.run import Run
from rx_runat.stream.lease_thread import LeaseThread
from rx_runat.stream.taps import WorkMonitor

_LEAST = 1e-6  # seconds; a virtual clock does not advance by less


class Call:
    """One call of the user's function, and what goes on after it.

    Attributes:
        assignment: what the function was called with.
        began: when it was called, in seconds of the leases thread's clock.
        thread: which is in code of the user's for this call; None: none is, the work goes on by itself.
        run: the work that goes on after the call; None: the function has not returned.
        is_late: True once the call was seen to take too long.
        monitor: measures the work; None: nobody does.
        grace: plans the end of the wait for work that was cancelled because it is late.
    """

    __slots__ = ("assignment", "began", "grace", "is_late", "monitor", "run", "thread")

    def __init__(self, assignment: Assignment, began: float, thread: threading.Thread) -> None:
        self.assignment = assignment
        self.began = began
        self.thread: threading.Thread | None = thread
        self.run: Run | None = None
        self.is_late = False
        self.monitor: WorkMonitor | None = None
        self.grace: abc.DisposableBase | None = None


class Calls:
    """The calls whose work is not over, in the order in which they began.

    Whoever removes a call decides what becomes of its claims: the end of the work, or the timeout that gives it up.
    Without a lock, because CPython puts an item in a dict, takes it out, and copies the dict in one step each.

    Attributes:
        open: the calls, each with True: `open.pop(call, False)` removes one, and tells whether it was there.
    """

    def __init__(self) -> None:
        self.open: dict[Call, bool] = {}

    def runs(self) -> list[Run]:
        """Returns the work that goes on after its call."""
        return [call.run for call in list(self.open) if call.run is not None]

    def runs_without_lease(self) -> list[Run]:
        """Returns such work of which no lease is ours any more, as far as this process knows."""
        return [call.run for call in list(self.open) if call.run is not None and not call.assignment.is_ours]


class TimeLimit:
    """Tells of each call that is open for longer than a time, on the leases thread.

        calls    a b     c
        timer    ------->         at the time of the oldest one; it is late
                        >---->    the next is planned then, for c, since b was over

    One timer serves all calls: a call that is over in time costs nothing but a comparison.

    Args:
        seconds: the time.
        calls: those that are open.
        exceeded: called once for each call that takes longer. It must not block.
    """

    def __init__(self, seconds: float, calls: Calls, exceeded: Callable[[Call], None]) -> None:
        self._seconds = seconds
        self._calls = calls
        self._exceeded = exceeded
        self._lock = threading.Lock()  # over the two below
        self._plan: SingleAssignmentDisposable | None = None
        self._is_ended = False

    def watch(self, thread: LeaseThread) -> None:
        """Watch a call that was just added."""
        if self._plan is None:
            with self._lock:
                if self._plan is None and not self._is_ended:
                    self._plan_next(thread, self._seconds)

    def end(self) -> None:
        """Plan nothing more."""
        with self._lock:
            self._is_ended = True
            plan, self._plan = self._plan, None
        if plan is not None:
            plan.dispose()

    def _plan_next(self, thread: LeaseThread, seconds: float) -> None:
        """With the lock held."""
        self._plan = plan = SingleAssignmentDisposable()
        plan.disposable = thread.run_after(seconds, lambda: self._look(thread))

    def _look(self, thread: LeaseThread) -> None:
        late: list[Call] = []
        with self._lock:
            self._plan = None
            now = thread.now()
            for call in list(self._calls.open):  # a call that is added after this sees no plan, and makes one
                left = call.began + self._seconds - now
                if left > _LEAST:
                    if not self._is_ended:
                        self._plan_next(thread, left)
                    break
                if not call.is_late:
                    call.is_late = True
                    late.append(call)
        for call in late:
            self._exceeded(call)
