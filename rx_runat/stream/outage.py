"""An outage of Redis is survived: reported once, retried with backoff, and its end reported once."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta

from reactivex import abc

from rx_runat.errors import Recovered, StoreError
from rx_runat.model.safe_log import warn
from rx_runat.stream.broadcast import Broadcast

FIRST_BACKOFF = 0.05  # a connection that was cut is back before a user notices
LONGEST_BACKOFF = 2.0  # so the end of an outage is noticed within 2 s, and a server that starts is not flooded


def backoff(failures: int) -> float:
    """Returns the seconds until the next try, after a failure that had so many failures before it.

    >>> [backoff(n) for n in (0, 1, 5, 6, 10_000)]
    [0.05, 0.1, 1.6, 2.0, 2.0]
    """
    return min(FIRST_BACKOFF * 2 ** min(failures, 16), LONGEST_BACKOFF)


class Refusals:
    """The pause after a refusal, for all sources of a queue that claim in the same way.

    A refusal ends the stream, and a new subscription starts afresh. Where it is refused again, it is told so no faster
    than an outage is retried:

        subscribed  s   s    s         s                           by `ops.retry()`, for instance
        refused     x   ---x ----x     ---------x     ...  2 s     after what is left of the pause

    A pause of each source alone would not be enough, because a new subscription may be to a new source, as in
    `rx.defer(lambda _: queue.claims())`. Without a lock, because it does not matter which of two refusals at the same
    moment begins the pause.

    Args:
        now: monotonic seconds; virtual seconds in virtual time.

    Attributes:
        until: the moment at which the pause ends, or has ended.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.until = -math.inf
        self._now = now
        self._count = 0

    def add(self) -> None:
        """Begin a pause: each time a longer one, until `clear`. During a pause this does nothing."""
        if not self.seconds_to(self.until):
            self.until = self._now() + backoff(self._count)
            self._count += 1

    def clear(self) -> None:
        """End the pause; the next one is short again."""
        self._count, self.until = 0, -math.inf

    def seconds_to(self, moment: float) -> float:
        """The seconds that are left until a moment; 0.0 after it."""
        # Rounded to the microsecond, because a virtual clock counts in them.
        return max(0.0, round(moment - self._now(), 6))


class Outage:
    """Whether Redis is away, since when, and when the next look is allowed.

        looks     ok  x   x       x               x  ok
        errors        E                              Recovered
        backoff       50ms 100ms  200ms  ...  2s

    Args:
        where: the server, in messages.
        scheduler: whose clock counts.
        errors: publishes the beginning and the end.
        refusals: those of the queue.
    """

    def __init__(
        self, where: str, scheduler: abc.SchedulerBase, errors: Broadcast[StoreError], refusals: Refusals
    ) -> None:
        self._where = where
        self._scheduler = scheduler
        self._errors = errors
        self._refusals = refusals
        self._since: datetime | None = None
        self._retry_at: datetime | None = None
        self._failures = 0
        self._has_succeeded = False  # since somebody subscribes
        self._first_look_at: float | None = None

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
            warn("%s; retrying until it answers", error)
            self._errors.publish(error)
        seconds = backoff(self._failures)
        self._failures += 1
        self._retry_at = now + timedelta(seconds=seconds)
        return seconds

    def note_refusal(self) -> None:
        """Begin a pause, in which a new subscription is not refused again: each time longer, until one succeeds."""
        self.reset()
        self._refusals.add()

    @property
    def pause_after_refusal(self) -> float:
        """The seconds until the first look of a subscription; 0.0: it is allowed. A source that works never pauses."""
        if self._has_succeeded:
            return 0.0
        if self._first_look_at is None:  # of further pauses it waits for none: else many would wait for each other
            self._first_look_at = self._refusals.until
        return self._refusals.seconds_to(self._first_look_at)

    def note_success(self) -> None:
        """Report the end of the outage, if there was one."""
        if not self._has_succeeded:  # only the first time: a source that works says nothing about one that is refused
            self._has_succeeded = True
            self._refusals.clear()
        if self._since is None:
            return
        seconds = (self._scheduler.now - self._since).total_seconds()
        self._end()
        notice = Recovered(f"{self._where} answers again, after {seconds:.1f} s", seconds)
        warn("%s", notice)
        self._errors.publish(notice)

    def reset(self) -> None:
        """Forget the outage without a report: nobody subscribes any more, or the stream has failed."""
        self._has_succeeded = False
        self._first_look_at = None
        self._end()

    def _end(self) -> None:
        self._since = self._retry_at = None
        self._failures = 0
