"""When to look at Redis: an Observable of ticks, whoever makes them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import reactivex as rx
from reactivex import Observable, abc
from reactivex import operators as ops

Seconds = float | timedelta

_LONGEST = 86_400.0  # a wait that Rx's clocks can add to today's date; the look after it brings the next


def to_seconds(interval: Seconds) -> float:
    """An interval as Rx's clocks count it."""
    return interval.total_seconds() if isinstance(interval, timedelta) else float(interval)


def ticks(
    interval: Seconds | None,
    waits: Observable[float | None],
    wake: Observable[Any],
    scheduler: abc.SchedulerBase,
) -> Observable[Any]:
    """Ticks at once, at the heartbeat, when the wait that was last announced is over, and when woken.

        heartbeat   0---------0---------0---------0-->
        waits          3.2         None
        wake                           w
        ticks       0---------0--0------w-0---------0-->

    Ticks come one at a time on the scheduler; what wakes from another thread is posted to it.

    Args:
        interval: seconds between heartbeats, the longest time between two ticks; None: no heartbeat.
        waits: seconds from now to the next tick; a new wait replaces the old one, None only cancels it.
        wake: each item is a tick.
        scheduler: whose time counts, and where ticks come.
    """

    def alarm(seconds: float | None) -> Observable[Any]:
        if seconds is None:
            return rx.never()
        # Virtual time does not advance by less than a microsecond.
        return rx.timer(min(max(seconds, 1e-6), _LONGEST) if seconds else 0.0, scheduler=scheduler)

    return rx.merge(  # the first tick last: what it announces must find listeners
        waits.pipe(ops.map(alarm), ops.switch_latest()),
        wake.pipe(ops.observe_on(scheduler)),
        rx.never() if interval is None else rx.interval(interval, scheduler=scheduler),
        rx.timer(0.0, scheduler=scheduler),
    )
