"""Outcomes on their way to the subscriber: one at a time, on one thread, and never too many."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rx_runat.model.outcome import Outcome
from rx_runat.model.safe_log import unhandled
from rx_runat.settling.failures import log_failure
from rx_runat.settling.threads import Inline, Pool
from rx_runat.stream.hot import Subscriber
from rx_runat.stream.rendezvous import NotReceived

MOST = 100  # outcomes that wait for a slow subscriber: no work begins then, so that the backlog waits in Redis


class Outcomes:
    """Gives a subscriber its outcomes.

    Args:
        subscriber: gets them.
        max_attempts: the number of the last attempt that is made; for the log.
        received: called with the number of outcomes that the subscriber received, or that were dropped after `silence`.
        failed: called with what the subscriber raised.

    Attributes:
        waiting: those that the subscriber has not received yet.
        thread: runs the subscriber's `on_next`, and the other callbacks that must not run at the same time.
    """

    def __init__(
        self,
        subscriber: Subscriber[Outcome[Any]],
        max_attempts: int,
        received: Callable[[int], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self.thread: Pool | Inline = Inline()
        self._subscriber = subscriber
        self._max_attempts = max_attempts
        self._received = received
        self._failed = failed
        self.waiting: deque[Outcome[Any]] = deque()
        self._giving: Iterator[Outcome[Any]] = iter(())
        self._lock = threading.Lock()  # over changes of the two below
        self._is_giving = False
        self._is_silent = False

    def put(self, outcomes: Sequence[Outcome[Any]]) -> None:
        """Give the subscriber outcomes, at least one, after those that wait."""
        self.waiting.extend(outcomes)
        if not self._is_giving and self._begins():  # whoever resets `_is_giving` looks at `waiting` after that
            self.thread.run(self._give)

    def _begins(self) -> bool:
        with self._lock:
            begins = not self._is_giving and bool(self.waiting)
            self._is_giving = self._is_giving or begins
        return begins

    def silence(self) -> bool:
        """Drop all outcomes from now on. Returns False if they were dropped before already."""
        with self._lock:
            was_silent, self._is_silent = self._is_silent, True
        return not was_silent

    def leave_to_parent(self) -> None:
        """In a forked child: give nothing more. If the subscriber forked, the outcome in its hands is the last."""
        self._lock = threading.Lock()
        self._is_silent = True
        deque(self._giving, maxlen=0)
        while len(self.waiting) > 1:  # the first one is still to be removed
            self.waiting.pop()
        self.thread.leave_to_parent()

    def _give(self) -> None:
        while True:
            outcomes = self.waiting.copy()  # one step, which no append of another thread disturbs
            if not outcomes:
                self._is_giving = False
                if self._begins():
                    continue
                return
            self._giving = iter(outcomes)
            for outcome in self._giving:
                if outcome.verdict != "acked":
                    log_failure(outcome, self._max_attempts)
                if not self._is_silent:
                    try:
                        self._subscriber.on_next(outcome)
                    except NotReceived:  # the subscriber left, or its event loop ended
                        pass
                    except BaseException as error:
                        if self._is_silent:  # it was disposed of meanwhile, so its `on_error` does not expect a call
                            unhandled(error)
                        else:
                            self._failed(error)
                self.waiting.popleft()
            self._received(len(outcomes))
