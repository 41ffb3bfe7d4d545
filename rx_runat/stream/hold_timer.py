"""The clock of the holds: one thread a process that hands back what a blocked `on_next` keeps from other sources.

    source a   claim  k k k k k k k end                      ended in time: nothing happens
    source b   claim  k k . . . . . . . . . . . . k end      the second `on_next` takes long
    timer      ------------------- hand back the rest of b   on a thread of its own, a tenth of a second after the claim

While claims follow each other the thread looks ten times a second, so that a claim costs it nothing; it ends when no
claim was in delivery for a tenth of a second. No code of the user's runs on it, nor on the threads that hand back. An
`on_next` that keeps the interpreter's lock, as a C extension may do, keeps the timer waiting, too.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

from rx_runat.model.forks import in_child
from rx_runat.model.monotonic import monotonic
from rx_runat.model.safe_log import unhandled
from rx_runat.stream.demand import HOLD_SECONDS

_JOIN_SECONDS = 1.0  # a thread that is woken to end does so at once, unless the machine is very busy


class HoldTimer:
    """Calls actions at their time, each on a thread of its own, unless they are disarmed before.

    A call to a server that does not reply may take long: with one thread for all, it would delay other queues.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the four below
        self._armed: dict[Callable[[], None], float] = {}  # when each is to be called, monotonic seconds
        self._was_used = False  # since the thread looked last
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()  # one for each thread

    def arm(self, action: Callable[[], None], seconds: float = HOLD_SECONDS) -> bool:
        """Call an action after so many seconds, at least HOLD_SECONDS: so long the thread sleeps, and nobody wakes it.

        Returns:
            False if the system permits no further thread; then the action is not called.
        """
        with self._lock:
            if self._thread is None and not self._start():
                return False
            self._armed[action] = monotonic() + max(seconds, HOLD_SECONDS)
            self._was_used = True
            return True

    def disarm(self, action: Callable[[], None]) -> None:
        """Do not call an action, unless its time has come already."""
        with self._lock:
            self._armed.pop(action, None)

    def end_if_idle(self) -> None:
        """Wait for the thread to end, if nothing is armed. It ends by itself, but later."""
        with self._lock:
            thread = self._thread
            if thread is None or self._armed:
                return
            self._thread = None  # what is armed from now on gets a new thread
            self._wake.set()
        thread.join(_JOIN_SECONDS)

    def _start(self) -> bool:
        wake = threading.Event()
        thread = threading.Thread(target=self._run, args=(wake,), name="rx_runat hold timer", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        self._thread, self._wake = thread, wake
        return True

    def _run(self, wake: threading.Event) -> None:
        while (over := self._look()) is not None:
            for action in over:
                self._begin(action)
            with self._lock:
                first = min(self._armed.values(), default=math.inf)
            wake.wait(max(0.0, min(first - monotonic(), HOLD_SECONDS)))

    def _look(self) -> list[Callable[[], None]] | None:
        """Returns the actions whose time has come; None if the thread is to end."""
        with self._lock:
            if self._thread is not threading.current_thread():
                return None
            if not self._armed and not self._was_used:
                self._thread = None
                return None
            self._was_used = False
            now = monotonic()
            over = [action for action, at in self._armed.items() if at <= now]
            for action in over:
                del self._armed[action]
            return over

    def _begin(self, action: Callable[[], None]) -> None:
        try:
            threading.Thread(target=action, name="rx_runat hold", daemon=True).start()
        except RuntimeError:  # the system's limit, or from Python 3.12 on the end of the interpreter
            try:
                action()  # better late for others than not at all
            except BaseException as error:
                unhandled(error)


_timer = HoldTimer()


def timer() -> HoldTimer:
    """Returns the timer of this process."""
    return _timer


def renew() -> object:
    """Make a new timer, in a forked child. Returns the old one: it has no thread, and its lock may be held for ever."""
    global _timer
    old, _timer = _timer, HoldTimer()
    return old


in_child(renew)
