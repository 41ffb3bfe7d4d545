"""Moments and lengths of time as people write them: on the command line, and on the page.

+0.56  +10s  +1h30m  +2d  +1w    a delay: one number or more, each with its unit, the longest unit first
2026-12-24T18:00:00+01:00        ISO 8601 with an offset, or Z
1700000000000ms                  epoch milliseconds
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from rx_runat.errors import InvalidJob
from rx_runat.model.checks import show
from rx_runat.model.times import RunAtTime, from_milliseconds

FORMS = (
    "a delay (+0.5, +10s, +1h30m, +2d), ISO 8601 with an offset (2026-12-24T18:00:00+01:00), or epoch milliseconds "
    "(1700000000000ms)"
)
_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds", "ms": "milliseconds"}
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_BARE = re.compile(_NUMBER, re.ASCII)
_PARTS = re.compile("".join(f"(?:{_NUMBER}{unit}{'(?!s)' * (unit == 'm')})?" for unit in _UNITS), re.ASCII)
_MILLISECONDS = re.compile(r"(-?\d+)ms", re.ASCII)


def parse_when(when: str) -> RunAtTime:
    """The moment that WHEN names.

    >>> parse_when("+1h30m")
    datetime.timedelta(seconds=5400)

    Raises:
        InvalidJob: the message says what came and what would be right.
    """
    milliseconds = _MILLISECONDS.fullmatch(when)
    try:
        delay = parse_duration(when[1:]) if when.startswith("+") else None
        if delay is not None:
            return delay
        if milliseconds:
            return from_milliseconds(int(milliseconds[1]), "WHEN")
        return datetime.fromisoformat(when)
    except InvalidJob:
        raise
    except (ValueError, OverflowError):
        raise InvalidJob(f"WHEN: got {show(when)}; it must be {FORMS}") from None


def parse_duration(text: str) -> timedelta | None:
    """The length of time that a text names, such as `90`, `1.5h` or `1w2d3h`; None if it names none.

    A number without a unit is seconds, and stands alone. Each unit comes once at most, and the longest comes first.

    >>> parse_duration("1w2d") == timedelta(days=9), parse_duration("30m1h")
    (True, None)

    Raises:
        OverflowError: it is longer than a timedelta can be.
    """
    if _BARE.fullmatch(text):
        return timedelta(seconds=float(text))
    parts = _PARTS.fullmatch(text)
    if not text or not parts:
        return None
    return timedelta(**{unit: float(number or 0) for unit, number in zip(_UNITS.values(), parts.groups(), strict=True)})
