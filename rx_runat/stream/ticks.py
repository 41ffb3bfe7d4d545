"""When to look at Redis: an Observable of ticks. A source's `Ticker` starts them, causes extra ones and ends them."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import reactivex as rx
from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.disposable import CompositeDisposable, Disposable, SerialDisposable
from reactivex.scheduler import ImmediateScheduler
from reactivex.subject import Subject

from rx_runat.model.foreign_values import to_timedelta
from rx_runat.stream.outage import Outage
from rx_runat.stream.sleep import WakeFilter

Seconds = float | timedelta

_LONGEST = 86_400.0  # seconds; a longer wait could pass the last date of Rx's clocks, and a look a day costs little


HEARTBEAT = "heartbeat"
"""A tick of the interval's."""


def to_seconds(interval: Seconds) -> float:
    """Returns an interval in seconds, as Rx's clocks count it."""
    return timedelta.total_seconds(to_timedelta(interval)) if isinstance(interval, timedelta) else float(interval)


def ticks(
    interval: Seconds | None,
    waits: Observable[float | None],
    wake: Observable[Any],
    scheduler: abc.SchedulerBase,
) -> Observable[Any]:
    """A tick at once, at each heartbeat, at the end of the wait that was announced last, and at each wake-up.

        heartbeat   0---------0---------0---------0-->
        waits                 3.2       None           a tick announces the next one: in 3.2
        wake                                w
        ticks       0---------0--0------0---w-----0-->

    Ticks come one at a time on the scheduler; a wake-up from another thread is posted to it.

    Args:
        interval: seconds between heartbeats, the longest time between two ticks; None: no heartbeat.
        waits: seconds from now to the next tick; a new wait replaces the old one, None only cancels it.
        wake: each item causes a tick.
        scheduler: whose time counts, and where ticks come.
    """
    return rx.merge(  # the first tick is subscribed to last: the wait that it announces needs subscribers already
        _alarms(waits, scheduler),
        wake.pipe(ops.observe_on(scheduler)),
        rx.never() if interval is None else _heartbeats(interval, scheduler),
        rx.timer(0.0, scheduler=scheduler),
    )


def _heartbeats(interval: Seconds, scheduler: abc.SchedulerBase) -> Observable[Any]:
    return rx.interval(min(to_seconds(interval), _LONGEST), scheduler=scheduler).pipe(ops.map(lambda _: HEARTBEAT))


def _alarms(waits: Observable[float | None], scheduler: abc.SchedulerBase) -> Observable[Any]:
    """An item at the end of the wait that was announced last.

    It is planned on the scheduler itself. To subscribe to a timer for each wait would pass through RxPY's trampoline,
    which reads the wall clock twice: if that is set back by an hour in between, it stands still for an hour.
    """

    def subscribe(observer: abc.ObserverBase[Any], _: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        alarm = SerialDisposable()

        def fire(_: abc.SchedulerBase, __: object = None) -> None:
            observer.on_next(0)

        def plan(seconds: float | None) -> None:
            if seconds is None:
                alarm.disposable = Disposable()
                return
            # Virtual time does not advance by less than a microsecond.
            delay = min(max(seconds, 1e-6), _LONGEST) if seconds else 0.0
            alarm.disposable = scheduler.schedule_relative(delay, fire)

        return CompositeDisposable(waits.subscribe(plan), alarm)

    return Observable(subscribe)


class Ticker:
    """The ticks of one source: each calls `look`, and `look` announces the wait until the next.

        tick  -->  backoff over?  -->  look  -->  seconds until the next look
          ^                                              |
          '---- alarm, heartbeat, wake-up ---------------'

    Args:
        look: called with each tick, one at a time, HEARTBEAT among them; returns the seconds until the next look, None
            if none is planned before the heartbeat or a wake-up.
        interval: seconds between heartbeats; None: no heartbeat.
        scheduler: where ticks come.
        heads: the head of the schedule whenever others may have changed it; subscribed to with the first sleep.
        wake_filter: decides which run_ats cause a tick.
        outage: while its backoff lasts, ticks are dropped.
        failed: called with what ended the ticks, such as a thread that could not be started.
        ticking: called with True before the first tick, and with False after the last one.
    """

    def __init__(
        self,
        look: Callable[[object], float | None],
        *,
        interval: Seconds | None,
        scheduler: abc.SchedulerBase,
        heads: Observable[float],
        wake_filter: WakeFilter,
        outage: Outage,
        failed: Callable[[Exception], None],
        ticking: Callable[[bool], None],
    ) -> None:
        self._failed = failed
        self._ticking = ticking
        self._waits: Subject[float | None] = Subject()
        self._written: Subject[float] = Subject()
        asleep = self._waits.pipe(ops.filter(lambda wait: wait != 0), ops.take(1))
        # Filtered before they are merged: of a thousand sources that sleep, a head wakes few, and for all others the
        # listener's thread takes one lock and no more.
        woken_by = ops.filter(wake_filter.note_write)
        wake = rx.merge(self._written.pipe(woken_by), asleep.pipe(ops.flat_map(lambda _: heads.pipe(woken_by))))
        self._looks = ticks(interval, self._waits, wake, scheduler).pipe(ops.filter(outage.allows_look), ops.map(look))
        self._subscription = SerialDisposable()

    def start(self) -> None:
        """Tick from now on, the first time at once."""
        self._ticking(True)
        # With this scheduler, because inside a trampoline of RxPY's the first tick would wait for what runs there.
        at_once = ImmediateScheduler.singleton()
        self._subscription.disposable = self._looks.subscribe(self._waits.on_next, self._failed, scheduler=at_once)

    def pause(self) -> None:
        """Tick no more until the next `start`."""
        self._subscription.disposable = None
        self._ticking(False)

    def end(self) -> None:
        """Tick no more for good."""
        self._subscription.dispose()
        self._ticking(False)

    def wake_for(self, run_at: float) -> None:
        """Tick now if a run_at, in epoch milliseconds, is earlier than what the source sleeps for. From any thread."""
        self._written.on_next(run_at)

    def wake(self) -> None:
        """Tick now, no matter what the source sleeps for. From any thread."""
        self.wake_for(-math.inf)
