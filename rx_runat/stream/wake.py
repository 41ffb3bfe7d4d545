"""What comes next in Redis as a stream, whoever changes it: so that a source that sleeps is woken by anyone."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from datetime import timedelta

import reactivex as rx
from reactivex import Observable, abc
from reactivex.disposable import Disposable, SerialDisposable

from rx_runat.errors import Refused, StoreError
from rx_runat.model.protocols import HeadTracker
from rx_runat.stream.outage import backoff

log = logging.getLogger("rx_runat")

CHECK_SECONDS = 5.0  # a connection may die in silence: so often it has to answer
_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.05  # 20 small reads a second and source, whatever others write


def heads(watch: Callable[[], HeadTracker], scheduler: abc.SchedulerBase) -> Observable[float]:
    """The earliest run_at in Redis, in epoch milliseconds, whenever it may have changed; inf: nothing is scheduled.

    For a source of claims the earliest end of a lease counts as a run_at: a key that is out under the lease of another
    process, which may be killed, comes back then.

        others' writes   ----10-----9-50-60-70-------8-->
        reads            0----r-----r--r---r---------r-->     the more in vain, the longer apart: 1 to 50 ms
        heads           inf---10----9--9---9---------8-->

    A hint: what is lost, late or twice costs a look at Redis or the wait for the heartbeat, never a key. A source hears
    of what it did itself as well, and sleeps on: it knows that moment from its own look.

    Temperature: cold; a connection each.
    Delivery:    the newest head; what changed and changed back between two reads is not seen.
    Clock:       run_at is of Redis's; pauses are of the scheduler's.
    Scheduler:   waits on it, and so keeps it busy: give it one that nothing else uses.
    Errors:      an outage is sat out with backoff, and nobody told: the source looks at the same server, and tells.
                 Where the server refuses to track, what others claim is found by the read every 5 s only. Where it
                 refuses both ways to listen, nothing comes.
    Disposal:    breaks off the wait, from any thread, and closes the connection.
    Redis:       a read per change, of those that bring nothing earlier 20 a second at most, and every 5 s:
                 `ZRANGE Q 0 0`, and where leases count the same of `{Q}:claimed`.

    Args:
        watch: opens an eye on the schedule.
        scheduler: where it waits.
    """

    def subscribe(observer: abc.ObserverBase[float], _: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        eye = watch()
        next_look = SerialDisposable()
        over = Disposable()
        known = math.inf
        pause = 0.0
        failures = 0

        def look(at: abc.SchedulerBase, _: object = None) -> None:
            nonlocal known, pause, failures
            if over.is_disposed:
                return
            looked_at = at.now
            try:
                head = eye.head()
                failures = 0
                observer.on_next(head)
                pause = 0.0 if head < known else min(max(2 * pause, _FIRST_PAUSE), _LONGEST_PAUSE)
                known = head
                eye.wait(CHECK_SECONDS)
                wait = pause - (at.now - looked_at).total_seconds()
            except Refused as error:
                log.info("woken by the heartbeat only: %s", error)
                return
            except StoreError:
                wait = backoff(failures)
                failures += 1
            if not over.is_disposed:
                next_look.disposable = at.schedule_relative(timedelta(seconds=max(wait, 0.0)), look)

        def dispose() -> None:
            over.dispose()
            next_look.dispose()
            eye.close()

        next_look.disposable = scheduler.schedule(look)
        return Disposable(dispose)

    return rx.create(subscribe)
