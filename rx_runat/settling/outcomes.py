"""Outcomes on their way to the subscriber: one by one, on one thread, and not too many."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from rx_runat.model.outcome import Outcome
from rx_runat.stream.hot import Subscriber
from rx_runat.stream.rendezvous import NotReceived

_MOST = 100  # wait for a slow subscriber; then no work begins: the backlog waits in Redis, not here


class Outbox:
    """Gives a subscriber its outcomes.

    Args:
        subscriber: who gets them.
        run: runs an action after those before, on the one thread for them.
        gave: hears how many were given, or dropped because nobody listens any more.
        failed: hears what the subscriber raised.
    """

    def __init__(
        self,
        subscriber: Subscriber[Outcome[Any]],
        run: Callable[[Callable[[], None]], None],
        gave: Callable[[int], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._subscriber = subscriber
        self._run = run
        self._gave = gave
        self._failed = failed
        self._lock = threading.Lock()  # over the rest
        self._outcomes: deque[Outcome[Any]] = deque()
        self._gives = False
        self._is_silent = False

    @property
    def is_full(self) -> bool:
        """Do so many wait that no more should come?"""
        return len(self._outcomes) >= _MOST

    def put(self, outcome: Outcome[Any]) -> None:
        """Give it when its turn comes."""
        with self._lock:
            self._outcomes.append(outcome)
            begins, self._gives = not self._gives, True
        if begins:
            self._run(self._give)

    def silence(self) -> bool:
        """Give nothing any more; could anything be given before?"""
        with self._lock:
            before, self._is_silent = self._is_silent, True
        return not before

    def _give(self) -> None:
        while True:
            with self._lock:
                outcomes = list(self._outcomes)
                if not outcomes:
                    self._gives = False
                    return
            for outcome in outcomes:
                if not self._is_silent:
                    try:
                        self._subscriber.on_next(outcome)
                    except NotReceived:  # it left, or its event loop ended
                        pass
                    except BaseException as error:
                        self._failed(error)
                self._outcomes.popleft()
            self._gave(len(outcomes))
