"""The head of the schedule as a stream, so that a source that sleeps is woken by the writes of any process."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta

import reactivex as rx
from reactivex import Observable, abc
from reactivex.disposable import Disposable, SerialDisposable

from rx_runat.errors import Refused, StoreError
from rx_runat.model.protocols import HeadTracker
from rx_runat.model.safe_log import inform
from rx_runat.stream.outage import backoff

CHECK_SECONDS = 5.0  # a connection may die without an error: it must prove itself by a read this often
_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.05  # at most 20 small reads a second by each source, no matter how much others write


def head_changes(new_tracker: Callable[[], HeadTracker], scheduler: abc.SchedulerBase) -> Observable[float]:
    """The earliest run_at in Redis, in epoch milliseconds, whenever it may have changed; inf if nothing is scheduled.

    For a source of claims the earliest end of a lease counts as a run_at: a process that holds a lease may be killed,
    and then its key comes back at that moment.

        others' writes   ----10-----9-50-60-70-------8-->
        reads            0----r-----r--r---r---------r-->     1, 2, 4 .. 50 ms apart, after useless ones
        head_changes    inf---10----9--9---9---------8-->

    A head is a hint: one that is lost, late or repeated costs a look at Redis or a wait until the heartbeat, never a
    key. A source also receives the heads that its own claims cause, and sleeps on: its look has found the same moment.

    Temperature: cold; each subscriber has a connection of its own.
    Delivery:    the newest head; a change that is undone between two reads is not seen.
    Clock:       run_at is on Redis's clock; pauses are on the scheduler's.
    Scheduler:   waits on it, and so keeps it busy: give it one that nothing else uses.
    Errors:      an outage is retried with backoff and not reported: the source looks at the same server and reports it.
                 Where the server refuses `CLIENT TRACKING`, what others claim is found by the read every 5 s only.
                 Where it refuses `SUBSCRIBE` as well, nothing comes.
    Disposal:    ends the wait, from any thread, and closes the connection.
    Redis:       a read per change, and one every 5 s; while changes bring nothing earlier, at most 20 reads a second.
                 A read is `ZRANGE Q 0 0`, and for a source of claims the same of `{Q}:claimed`.

    Args:
        new_tracker: returns a new tracker of the head.
        scheduler: where it waits.
    """

    def subscribe(observer: abc.ObserverBase[float], _: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        tracker = new_tracker()
        next_read = SerialDisposable()
        disposed = Disposable()
        known = math.inf
        pause = 0.0
        failures = 0

        def read(at: abc.SchedulerBase, _: object = None) -> None:
            nonlocal known, pause, failures
            if disposed.is_disposed:
                return
            read_at = at.now
            try:
                head = tracker.head()
                failures = 0
                observer.on_next(head)
                pause = 0.0 if head < known else min(max(2 * pause, _FIRST_PAUSE), _LONGEST_PAUSE)
                known = head
                tracker.wait(CHECK_SECONDS)
                wait = pause - (at.now - read_at).total_seconds()
            except Refused as error:
                inform("only the heartbeat finds what others write: %s", error)
                return
            except StoreError:
                wait = backoff(failures)
                failures += 1
            if not disposed.is_disposed:
                next_read.disposable = at.schedule_relative(timedelta(seconds=max(wait, 0.0)), read)

        def dispose() -> None:
            disposed.dispose()
            next_read.dispose()
            tracker.close()

        next_read.disposable = scheduler.schedule(read)
        return Disposable(dispose)

    return rx.create(subscribe)
