"""One connection that listens to what others write: when it reads the head of the schedule, and how often."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

from reactivex import abc
from reactivex.disposable import SerialDisposable

from rx_runat.errors import Refused, StoreError
from rx_runat.model.protocols import HeadTracker
from rx_runat.model.safe_log import fault, inform
from rx_runat.stream.outage import backoff

CHECK_SECONDS = 5.0  # a connection may die without an error: it must prove itself by a read this often
_FIRST_PAUSE = 0.001
# At most 10 small reads a second for a queue, as many as heartbeats at the default interval, no matter how much others
# write: those of a hundred queues cost a server 3 % of a core. An earlier write among so many others is noticed after
# 50 ms on average.
_LONGEST_PAUSE = 0.1
_MANY = 10  # pushes in a row within the longest pause: with each useless read the pause doubles, and 8 lead to it
_POLLS = 9  # reads without a push, then one with it. More would save little: a tenth of the pushes is left


class Heads(NamedTuple):
    """The earliest moment at which a claim brings something, in epoch milliseconds; inf: none.

    Attributes:
        plain: for a source of bare keys: the earliest run_at.
        claims: for a source of claims: the earliest run_at or the first end of a lease.
    """

    plain: float
    claims: float


_NONE = Heads(math.inf, math.inf)
_LOOK = Heads(-math.inf, -math.inf)  # each source is to look at once


class HeadListener:
    """Reads the head of the schedule at once, and then whenever it may have changed, until `close`.

        others' writes   ----10-----9-50-60-70-------8-->
        reads            0----r-----r--r---r---------r-->     1, 2, 4 .. 100 ms apart, after useless ones
        heard           inf---10----9--9---9---------8-->

    A read is useless if nothing in it is earlier than in the read before: then no source has to wake.
    The pauses depend on the reads alone, and so are the same for one source and for a thousand.

    Under many writes a push is worth nothing: it comes long before the pause is over, and then the head is read anyway.
    So most reads cause none then, which saves the server a third of what a listener costs it:

        writes   ------w-w-w-w-w-w-w-w-w-w-w-w-w-w-w-w-w-w------------------w--->
        reads    t-----t-t--t---t---t---r---r---r---r---t---r---r---r---r---t---t     t causes a push, r does not
        pushes   ------p-p--p---p---p--------------------p-------------------p-->

    An outage is retried with backoff and not reported: the sources look at the same server and report it. After a
    refusal the sources look as well, because what is refused to them, too, is to end their streams at once; and the
    head is read again every 5 s, because a refusal may be over soon.

    Args:
        tracker: reads and waits; ours to close.
        scheduler: waits on it, and so keeps it busy: give it one that nothing else uses.
        leases_matter: returns True while ends of leases must be read as well.
        heard: called with each read, on the scheduler.

    Attributes:
        newest: the last read; None before the first one, and while reads fail, when it may be old.
        is_over: True after `close`, and after an error of ours: it reads no more.
    """

    def __init__(
        self,
        tracker: HeadTracker,
        scheduler: abc.SchedulerBase,
        leases_matter: Callable[[], bool],
        heard: Callable[[HeadListener, Heads], None],
    ) -> None:
        self.newest: Heads | None = None
        self.is_over = False
        self._tracker = tracker
        self._scheduler = scheduler
        self._leases_matter = leases_matter
        self._heard = heard
        self._next_read = SerialDisposable()
        self._known = _NONE
        self._pause = 0.0
        self._soon = 0  # how many pushes in a row came within the longest pause
        self._polls = 0  # how many of the next reads need no push
        self._failures = 0
        self._is_refused = False

    def start(self) -> None:
        """Begin to read. Where no thread can be started for the scheduler this raises RuntimeError."""
        self._next_read.disposable = self._scheduler.schedule(self._read)

    def close(self) -> None:
        """End the wait and close the connection. Any thread may call it, and repeat it."""
        self.is_over = True
        self._next_read.dispose()
        self._tracker.close()

    def _read(self, at: abc.SchedulerBase, _: object = None) -> None:
        if self.is_over:
            return
        read_at = at.now
        try:
            pushes = self._polls == 0
            heads = self._heads(pushes)
            self._failures, self._is_refused = 0, False
            self._heard(self, heads)
            is_useless = heads.plain >= self._known.plain and heads.claims >= self._known.claims
            self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE) if is_useless else 0.0
            self._known = heads
            if not is_useless:  # no pause follows, and so the next read needs a push
                self._soon = self._polls = 0
            elif not pushes:
                self._polls -= 1
            if pushes:
                self._tracker.wait(CHECK_SECONDS)
                self._count_push((at.now - read_at).total_seconds())
            wait = self._pause - (at.now - read_at).total_seconds()
        except Refused as error:
            if not self._is_refused:
                inform("only the heartbeat finds what others write, until this is permitted: %s", error)
                self._heard(self, _LOOK)
            self._is_refused, self.newest = True, None
            wait = CHECK_SECONDS
        except StoreError:
            self.newest = None
            wait = backoff(self._failures)
            self._failures += 1
        except Exception as error:  # a bug of ours: it must not end the thread, which later listeners need as well
            fault("only the heartbeat finds what others write", error=error)
            self.close()
            return
        if not self.is_over:
            self._next_read.disposable = at.schedule_relative(timedelta(seconds=max(wait, 0.0)), self._read)

    def _count_push(self, seconds: float) -> None:
        """Count a push, or the end of a wait, that came so many seconds after the read."""
        self._soon = self._soon + 1 if seconds < _LONGEST_PAUSE else 0
        if self._soon >= _MANY:
            self._polls = _POLLS

    def _heads(self, pushes: bool) -> Heads:
        plain = self._tracker.head(pushes)
        # Asked after the head was read. A source of claims says that leases matter before it first looks, and needs to
        # know what others claim after that look. If they claim before the head is read, leases matter already; if they
        # claim after it, the server pushes, and the next read finds the lease.
        ends = math.inf
        if self._leases_matter():
            try:
                ends = self._tracker.lease_end()
            except Refused:  # to sources of claims alone: their own looks are refused as well, and end them
                pass
        return Heads(plain, min(plain, ends))
