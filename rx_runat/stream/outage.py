"""Outages are survived: said once, looked at again with backoff, and said to be over."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from reactivex import abc

from rx_runat.errors import Recovered, StoreError
from rx_runat.stream.hot import Notices

log = logging.getLogger("rx_runat")

FIRST_BACKOFF = 0.05  # a connection that was cut is back before anyone notices
LONGEST_BACKOFF = 2.0  # the end of an outage is noticed within this; a server coming up is not stormed


def backoff(failures: int) -> float:
    """Seconds until another try, after one that failed and so many failures before it.

    >>> [backoff(n) for n in (0, 1, 5, 6, 10_000)]
    [0.05, 0.1, 1.6, 2.0, 2.0]
    """
    return min(FIRST_BACKOFF * 2 ** min(failures, 16), LONGEST_BACKOFF)


class Outage:
    """Whether Redis is away, since when, and when to look again.

        looks     ok  x   x       x               x  ok
        errors        E                              Recovered
        backoff       50ms 100ms  200ms  ...  2s

    Args:
        where: the server, in messages.
        scheduler: whose clock counts.
        errors: hears of the beginning and the end.
    """

    def __init__(self, where: str, scheduler: abc.SchedulerBase, errors: Notices[StoreError]) -> None:
        self._where = where
        self._scheduler = scheduler
        self._errors = errors
        self._since: datetime | None = None
        self._retry_at: datetime | None = None
        self._failures = 0

    def lets_look(self, _: object = None) -> bool:
        """Is a tick worth a look, or would it come too soon after a failure?"""
        return self._retry_at is None or self._scheduler.now >= self._retry_at

    def survive(self, error: StoreError) -> float:
        """Note a failure; answers the seconds until it is worth another look."""
        now = self._scheduler.now
        if self._since is None:
            self._since = now
            log.warning("%s; looking again", error)
            self._errors.publish(error)
        seconds = backoff(self._failures)
        self._failures += 1
        self._retry_at = now + timedelta(seconds=seconds)
        return seconds

    def recover(self) -> None:
        """Note a success."""
        if self._since is None:
            return
        seconds = (self._scheduler.now - self._since).total_seconds()
        self.forget()
        notice = Recovered(f"{self._where} answers again, after {seconds:.1f} s", seconds)
        log.warning("%s", notice)
        self._errors.publish(notice)

    def forget(self) -> None:
        """Begin afresh."""
        self._since = self._retry_at = None
        self._failures = 0
