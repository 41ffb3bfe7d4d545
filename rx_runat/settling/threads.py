"""Threads that run what may block: a user's work, a user's `on_next`."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

_IDLE_SECONDS = 1.0  # a thread is started in a tenth of a millisecond: worth keeping between keys, not between hours


class Pool:
    """At most so many threads, started when they are needed.

    They are daemons, which those of `concurrent.futures` are not: work that hangs must not keep the interpreter from
    its end. A claim outlives its process.

    Args:
        name: of the threads, as a debugger shows it.
        most: threads; 1 runs one action after the other.
        idle_seconds: that a thread waits for another action; None: until the end.
    """

    def __init__(self, name: str, most: int, idle_seconds: float | None = _IDLE_SECONDS) -> None:
        self._name = name
        self._most = most
        self._idle_seconds = idle_seconds
        self._ready = threading.Condition(threading.Lock())
        self._actions: deque[Callable[[], None]] = deque()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._ended = False

    def run(self, action: Callable[[], None]) -> None:
        """Run an action soon; it must not raise."""
        with self._ready:
            self._actions.append(action)
            if len(self._actions) <= self._idle:
                self._ready.notify()
            elif len(self._threads) < self._most:
                thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
                self._threads.append(thread)
                thread.start()

    @property
    def is_here(self) -> bool:
        """Is this one of its threads?"""
        return threading.current_thread() in self._threads

    def end(self) -> None:
        """Start nothing more when what was asked for is done."""
        with self._ready:
            self._ended = True
            self._ready.notify_all()

    def join(self, longest: float = -1) -> None:
        """Wait for the threads of an ended pool, unless called on one of them; so many seconds at most for each."""
        for thread in tuple(self._threads):
            if thread is not threading.current_thread():
                thread.join(None if longest < 0 else longest)

    def _serve(self) -> None:
        while True:
            with self._ready:
                self._idle += 1
                self._ready.wait_for(lambda: self._actions or self._ended, self._idle_seconds)
                self._idle -= 1
                if not self._actions:
                    self._threads.remove(threading.current_thread())
                    return
                action = self._actions.popleft()
            action()
            del action  # what it holds must not live until the next one comes


class Inline:
    """The pool of virtual time: what it is asked for happens at once, on the thread that moves the clock.

    What is asked for meanwhile comes after it, so that a thousand claims are not a thousand calls deep.
    """

    is_here = False  # nobody waits there

    def __init__(self) -> None:
        self._actions: deque[Callable[[], None]] = deque()

    def run(self, action: Callable[[], None]) -> None:
        """Run it now."""
        self._actions.append(action)
        if len(self._actions) == 1:
            while self._actions:
                self._actions[0]()
                self._actions.popleft()

    def end(self) -> None:
        """Nothing is left to end."""

    def join(self, longest: float = -1) -> None:
        """Nor to wait for."""
