"""How long a failed key waits for its next attempt."""

from __future__ import annotations

from collections.abc import Callable
from secrets import SystemRandom
from typing import TypeAlias

from rx_runat.errors import InvalidSetting
from rx_runat.model.checks import show
from rx_runat.model.foreign_values import hint, to_number
from rx_runat.model.times import to_ms
from rx_runat.stream.ticks import Seconds

_RANDOM = SystemRandom().random

Backoff: TypeAlias = Callable[[int], Seconds]
"""From the number of the attempt that failed, from 1, to the time until the next one."""


def exponential(
    first: Seconds = 1.0, longest: Seconds = 3600.0, jitter: float = 0.5, random: Callable[[], float] = _RANDOM
) -> Callable[[int], float]:
    """A backoff that doubles: a function of the attempt that failed, to the seconds until the next one.

        attempt     1      2      3      4    ..   13 ..
        seconds  0.5..1   1..2   2..4   4..8     1800..3600

    Jitter spreads the retries of keys that failed at the same moment, such as when a service that all need was away.

    Args:
        first: the longest wait after the first attempt, in seconds or as a timedelta.
        longest: the longest wait after any attempt, likewise.
        jitter: the part of the wait that is random, from 0 to 1.
        random: returns numbers from 0 to 1.

    Raises:
        InvalidSetting: an argument that cannot be used.

    Example:
        >>> [exponential(jitter=0)(attempt) for attempt in (1, 2, 3, 12, 13, 1_000_000)]
        [1.0, 2.0, 4.0, 2048.0, 3600.0, 3600.0]
        >>> exponential(random=lambda: 0.5)(3)
        3.0
    """
    unit, ceiling = to_ms(first, "first", 0) / 1000, to_ms(longest, "longest", 0) / 1000
    part = to_number(jitter)
    if part is None or not 0 <= part <= 1:
        raise InvalidSetting(f"jitter: got {show(jitter)}; it must be between 0 and 1{hint(jitter)}")

    def backoff(attempt: int) -> float:
        return min(unit * 2.0 ** min(attempt - 1, 64), ceiling) * (1 - part * random())

    return backoff
