"""An outage of Redis is survived: reported once, retried with backoff, and its end reported once."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from reactivex import abc

from rx_runat.errors import Recovered, StoreError
from rx_runat.stream.broadcast import Broadcast

log = logging.getLogger("rx_runat")

FIRST_BACKOFF = 0.05  # a connection that was cut is back before a user notices
LONGEST_BACKOFF = 2.0  # so the end of an outage is noticed within 2 s, and a server that starts is not flooded


def backoff(failures: int) -> float:
    """Returns the seconds until the next try, after a failure that had so many failures before it.

    >>> [backoff(n) for n in (0, 1, 5, 6, 10_000)]
    [0.05, 0.1, 1.6, 2.0, 2.0]
    """
    return min(FIRST_BACKOFF * 2 ** min(failures, 16), LONGEST_BACKOFF)


class Outage:
    """Whether Redis is away, since when, and when the next look is allowed.

        looks     ok  x   x       x               x  ok
        errors        E                              Recovered
        backoff       50ms 100ms  200ms  ...  2s

    A refusal ends the stream, and a new subscription starts afresh. Where it is refused again, it is told so no faster
    than an outage is retried:

        subscribed  s   s    s         s                           by `ops.retry()`, for instance
        refused     x   ---x ----x     ---------x     ...  2 s     after what is left of the pause

    Args:
        where: the server, in messages.
        scheduler: whose clock counts.
        errors: publishes the beginning and the end.
    """

    def __init__(self, where: str, scheduler: abc.SchedulerBase, errors: Broadcast[StoreError]) -> None:
        self._where = where
        self._scheduler = scheduler
        self._errors = errors
        self._since: datetime | None = None
        self._retry_at: datetime | None = None
        self._failures = 0
        self._refusals = 0
        self._refused_until: datetime | None = None

    def allows_look(self, _: object = None) -> bool:
        """True if a tick may look at Redis, False while the backoff after a failure lasts."""
        return self._retry_at is None or self._scheduler.now >= self._retry_at

    def note_failure(self, error: StoreError, seconds_waited: float) -> float:
        """Report the outage if it has just begun. Returns the seconds until the next look.

        Args:
            error: what the call to Redis raised.
            seconds_waited: how long the call took. The outage began when the call did, at the latest.
        """
        now = self._scheduler.now
        if self._since is None:
            self._since = now - timedelta(seconds=seconds_waited)
            log.warning("%s; retrying until it answers", error)
            self._errors.publish(error)
        seconds = backoff(self._failures)
        self._failures += 1
        self._retry_at = now + timedelta(seconds=seconds)
        return seconds

    def note_refusal(self) -> None:
        """Begin a pause, in which a new subscription is not refused again: each time longer, until a look succeeds."""
        self.reset()
        self._refused_until = self._scheduler.now + timedelta(seconds=backoff(self._refusals))
        self._refusals += 1

    @property
    def pause_after_refusal(self) -> float:
        """The seconds that are left of the pause after a refusal; 0.0: a look is allowed."""
        if self._refused_until is None:
            return 0.0
        return max(0.0, (self._refused_until - self._scheduler.now).total_seconds())

    def note_success(self) -> None:
        """Report the end of the outage, if there was one."""
        if self._refusals:
            self._refusals, self._refused_until = 0, None
        if self._since is None:
            return
        seconds = (self._scheduler.now - self._since).total_seconds()
        self.reset()
        notice = Recovered(f"{self._where} answers again, after {seconds:.1f} s", seconds)
        log.warning("%s", notice)
        self._errors.publish(notice)

    def reset(self) -> None:
        """Forget the outage without a report: nobody subscribes any more, or the stream has failed."""
        self._since = self._retry_at = None
        self._failures = 0
