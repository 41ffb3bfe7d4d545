"""Numbers and times of other libraries: read exactly, or refused with what to do.

pendulum   DateTime, Duration, Interval     read as what they are: a datetime, a timedelta
numpy      integers, float64                read as numbers
           float32, datetime64, timedelta64 refused, with how to convert them
pandas     Timestamp, Timedelta             read as what they are; NaT is refused
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from operator import index
from typing import Any, SupportsIndex, cast

_HINTS = {  # by the name of numpy's type
    "datetime64": "pass value.astype('datetime64[us]').item().replace(tzinfo=timezone.utc), if it is UTC",
    "timedelta64": "pass value.astype('timedelta64[us]').item()",
    "float16": "pass float(value)",
    "float32": "pass float(value); it holds epoch seconds in steps of 128 s, so convert earlier",
    "longdouble": "pass float(value)",
}


def to_number(value: object) -> int | float | None:
    """Returns a number as Python's own, exactly; None if the value is no number. A bool is none.

    >>> to_number(1.5), to_number(True), to_number("1")
    (1.5, None, None)
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return value
    try:
        return index(cast("SupportsIndex", value))
    except Exception:  # foreign code
        return None


def to_length(value: object) -> float | None:
    """Returns a length of time in seconds, given as a number or as a timedelta; None if it is neither."""
    if isinstance(value, timedelta):
        return timedelta.total_seconds(to_timedelta(value))  # not a subclass's own
    return to_number(value)


# Pandas must convert its times: in pandas 2 the fields of the base class hold 0 for a Timedelta in seconds or
# milliseconds, and in all versions they hold an arbitrary value for a time that Python cannot express.


def to_timedelta(value: timedelta) -> timedelta:
    """Returns a length of time of pandas as Python's own, the longest there is if it is longer; any other as it is."""
    convert: Callable[[], timedelta] | None = getattr(value, "to_pytimedelta", None)
    try:
        return value if convert is None else convert()
    except OverflowError:
        return timedelta.max


def to_datetime(value: datetime) -> datetime:
    """Returns a moment of pandas as Python's own; any other as it is.

    Raises:
        ValueError: it is not between the years 1 and 9999.
    """
    convert: Callable[[bool], datetime] | None = getattr(value, "to_pydatetime", None)
    return value if convert is None else convert(False)  # False: no warning that nanoseconds are dropped


def hint(value: object) -> str:
    """Returns how to convert a value that is refused, to end a message with; "" if it has no common name.

    >>> hint("tomorrow")
    ''
    """
    if is_no_time(value):
        return "; it is NaT, which is no time: leave it out, or pass the time that it stands for"
    kind: type[Any] = type(value)
    if kind.__module__ == "numpy" and kind.__name__ in _HINTS:
        return f"; {_HINTS[kind.__name__]}"
    return ""


def is_no_time(value: object) -> bool:
    """True for the NaT of numpy and pandas. As a nan, it differs from itself; pandas's is a datetime."""
    try:
        return not isinstance(value, float) and type(value).__module__ != "builtins" and bool(value != value)
    except Exception:  # foreign code
        return False
