"""Threads for the user's code, which may block: work, and the subscriber's `on_next`."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from rx_runat.model.safe_log import unhandled

_IDLE_SECONDS = 1.0  # starting a thread takes 0.1 ms: an idle one is kept for the next key, but not for hours


class Pool:
    """At most so many threads, started when they are needed.

    They are daemons, and those of `concurrent.futures` are not: work that never returns must not keep the interpreter
    from exiting. Nothing is lost by that, because the leases of such work end in Redis.

    Args:
        name: of the threads, as a debugger shows it.
        max_threads: the most threads; with 1, actions run one after the other.
    """

    def __init__(self, name: str, max_threads: int) -> None:
        self._name = name
        self._max_threads = max_threads
        self._idle_seconds: float | None = _IDLE_SECONDS
        self._ready = threading.Condition(threading.Lock())  # guards the attributes below
        self._actions: deque[Callable[[], None]] = deque()
        self._threads: list[threading.Thread] = []
        self._written_off: set[threading.Thread] = set()  # they end with their present action
        self._idle = 0
        self._is_ended = False

    def run(self, action: Callable[[], None]) -> None:
        """Run an action soon. What it raises is shown, and its thread goes on.

        Raises:
            RuntimeError: there is no thread, and none can be started: the action is dropped.
        """
        with self._ready:
            self._actions.append(action)
            if len(self._actions) <= self._idle:
                self._ready.notify()
            elif len(self._threads) < self._max_threads:
                thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
                self._threads.append(thread)
                try:
                    thread.start()
                except BaseException:  # a limit of threads
                    self._threads.remove(thread)
                    if not self._threads:  # else one of the others runs the action later
                        self._actions.pop()
                        raise

    def keep_one_thread(self) -> None:
        """Start a thread now, and keep all threads until `end`.

        Since Python 3.12 no thread can be started while the interpreter exits.
        """
        self._idle_seconds = None
        self.run(lambda: None)

    @property
    def is_here(self) -> bool:
        """True on one of the threads."""
        thread = threading.current_thread()
        return thread in self._threads or thread in self._written_off

    def write_off(self, thread: threading.Thread) -> None:
        """Replace a thread whose present action hangs: it ends with that action, and `join` does not wait for it."""
        with self._ready:
            self._threads.remove(thread)
            self._written_off.add(thread)

    def end(self) -> None:
        """End the threads when all actions have run."""
        with self._ready:
            self._is_ended = True
            self._ready.notify_all()

    def leave_to_parent(self) -> None:
        """In a forked child: run nothing any more. A thread exists there only if its present action forked."""
        self._ready = threading.Condition(threading.Lock())
        self._actions.clear()
        self._is_ended = True

    def join(self, longest: float = -1) -> None:
        """Wait, after `end`, for all threads but the calling one.

        Args:
            longest: seconds to wait for each at most; negative: as long as it takes.
        """
        for thread in tuple(self._threads):
            if thread is not threading.current_thread():
                thread.join(None if longest < 0 else longest)

    def _serve(self) -> None:
        while True:
            with self._ready:
                self._idle += 1
                self._ready.wait_for(lambda: self._actions or self._is_ended, self._idle_seconds)
                self._idle -= 1
                if not self._actions:
                    self._threads.remove(threading.current_thread())
                    return
                action = self._actions.popleft()
            _run(action)
            del action  # what it refers to must not live until the next action comes
            if self._written_off:
                with self._ready:
                    if threading.current_thread() in self._written_off:
                        self._written_off.remove(threading.current_thread())
                        return


class Inline:
    """The `Pool` of virtual time: an action runs at once, on the thread that moves the clock.

    An action that is asked for during another one runs after it: so a thousand claims are not a thousand calls deep.
    """

    is_here = False  # only `stop` asks, to avoid waiting for itself, and in virtual time it never waits

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the attributes below
        self._actions: deque[Callable[[], None]] = deque()
        self._is_running = False

    def run(self, action: Callable[[], None]) -> None:
        """Run an action now. What it raises is shown."""
        with self._lock:
            self._actions.append(action)
            if self._is_running:
                return
            self._is_running = True
        while True:
            with self._lock:
                if not self._actions:
                    self._is_running = False
                    return
                action = self._actions.popleft()
            _run(action)

    def keep_one_thread(self) -> None:
        """Nothing: there is no thread to keep."""

    def write_off(self, thread: threading.Thread) -> None:
        """Nothing: in virtual time no function takes any time."""

    def leave_to_parent(self) -> None:
        """In a forked child: run nothing more after the present action, if that one forked."""
        self._lock = threading.Lock()
        self._actions.clear()

    def end(self) -> None:
        """Nothing: there is no thread to end."""

    def join(self, longest: float = -1) -> None:
        """Nothing: there is no thread to wait for."""


def _run(action: Callable[[], None]) -> None:
    try:
        action()
    except BaseException as error:  # a bug of ours, since the user's code is called under guard: the thread must live
        unhandled(error)
