"""The settings of a queue: which are allowed, and the clock of a virtual-time scheduler."""

from __future__ import annotations

import sys
from typing import NamedTuple

from reactivex import abc
from reactivex.scheduler import ImmediateScheduler, TrampolineScheduler, VirtualTimeScheduler

from rx_runat.errors import InvalidSetting
from rx_runat.model.checks import check_count, show
from rx_runat.model.data import DATA_LIMIT, LONGEST_DATA_LIMIT
from rx_runat.model.foreign_values import hint, to_length
from rx_runat.model.protocols import Clock
from rx_runat.model.times import to_microseconds


def virtual_clock(scheduler: abc.SchedulerBase | None) -> Clock | None:
    """Returns the clock of a virtual-time scheduler; None for any other, because then Redis's clock counts."""
    if not isinstance(scheduler, VirtualTimeScheduler):
        return None
    return lambda: to_microseconds(scheduler.now)


class Settings(NamedTuple):
    """How a queue ticks, and what it takes.

    Attributes:
        interval: seconds; None: no heartbeat.
        limit: the most keys that one claim may take.
        data_limit: bytes; the most that a job may carry.
    """

    interval: float | None
    limit: int
    data_limit: int


def check_settings(interval: object, limit: object, scheduler: object, data_limit: object = DATA_LIMIT) -> Settings:
    """Check how a queue is to tick, and what it takes.

    Raises:
        InvalidSetting: a setting that cannot be used; the message says what was given and what is allowed.
    """
    seconds = None
    if interval is None:
        if not isinstance(scheduler, VirtualTimeScheduler):
            raise InvalidSetting(
                "interval: got None, which goes with a virtual-time scheduler only; give seconds, such as 0.1"
            )
    elif (seconds := to_length(interval)) is None:
        raise InvalidSetting(
            f"interval: got {show(interval)}; it must be seconds, such as 0.1, or a timedelta{hint(interval)}"
        )
    elif not 0.001 <= seconds <= sys.float_info.max:
        raise InvalidSetting(f"interval: got {show(interval)}; it must be finite and at least a millisecond")
    limit = check_count(limit, "limit", "a count of keys between 1 and 100,000", 1, 100_000)
    if scheduler is not None and not isinstance(scheduler, abc.SchedulerBase):
        raise InvalidSetting(f"scheduler: got {show(scheduler)}; it must be an Rx scheduler")
    if isinstance(scheduler, ImmediateScheduler | TrampolineScheduler):
        raise InvalidSetting(
            f"scheduler: got {show(scheduler)}, which cannot wait; take an EventLoopScheduler, or none"
        )
    right = f"a count of bytes between 1 and {LONGEST_DATA_LIMIT:,}"
    data_limit = check_count(data_limit, "data_limit", right, 1, LONGEST_DATA_LIMIT)
    return Settings(None if seconds is None else float(seconds), limit, data_limit)
