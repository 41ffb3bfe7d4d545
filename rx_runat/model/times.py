"""Moments: how `run_at` is written to Redis as a score, and how a score is read. npm runat uses the same scores.

run_at  ->  "1700000000000": epoch milliseconds; or "+500": a delay that Redis adds to its own clock
score   ->  run_at: an aware datetime in UTC, for every score that Redis can hold
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from rx_runat.errors import InvalidJob, InvalidSetting
from rx_runat.model.checks import show
from rx_runat.model.foreign_values import hint, is_no_time, to_datetime, to_length, to_number, to_timedelta

RunAtTime: TypeAlias = datetime | float | timedelta
"""A moment: an aware datetime, epoch seconds (float or int), or a delay from now on Redis's clock."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# A subclass's own operators may differ: pendulum's `//` fails, and its `-` returns an interval. Its fields may, too:
# pendulum's `seconds` of a negative length are negative. The operators of the base class read what the base class
# holds, a little slower than an operator does for an instance of the base class.
_minus = datetime.__sub__
_floordiv = timedelta.__floordiv__
_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
_FIRST_MS = (_FIRST - EPOCH) // timedelta(milliseconds=1)
_LAST_MS = (_LAST - EPOCH) // timedelta(milliseconds=1)
# Most moments are earlier, and their floats are rounded in a third of the time that `round` and `//` take:
# ceil(round(m) / 1000) is ceil((m - 0.5) / 1000) for m microseconds, because `round` rounds a half to the even number,
# which a multiple of 1,000 is. Below 2 ** 52 microseconds the difference is exact. The quotient is rounded, but cannot
# lose what it has above a whole number: that is at least 1/1000 of a unit in the last place of the difference, and half
# a unit in the last place of the quotient is at most 1/1024 of it.
_QUICK_SECONDS = 4.5e9  # in the year 2112
_TIMES = "an aware datetime, epoch seconds, or a timedelta from now"


def to_time(run_at: object, field: str = "run_at") -> str:
    """Returns a moment as a script takes it: the text of `to_sent`.

    >>> to_time(1700000000.0001)
    '1700000000001'

    Raises:
        InvalidJob: as `to_sent`.
    """
    return str(to_sent(run_at, field))


def to_sent(run_at: object, field: str = "run_at") -> int | str:
    """Returns a moment as it is sent: epoch milliseconds, or `+` and a delay in milliseconds; both rounded up.

    A float is first rounded to the microsecond: the floats of epoch seconds are that precise, and no more.

    >>> to_sent(1700000000.0001)
    1700000000001
    >>> to_sent(timedelta(seconds=0.5))
    '+500'

    Raises:
        InvalidJob: `run_at` is no moment: naive, not finite, a bool, outside a datetime's range, or of another type.
    """
    # The usual types first: `Job` calls this for each job. An int costs less than its text, even with what hiredis
    # takes longer to pack it.
    if type(run_at) is float and 0.0 <= run_at < _QUICK_SECONDS:
        return math.ceil((run_at * 1e6 - 0.5) / 1000)
    if type(run_at) is int and 0 <= run_at < _QUICK_SECONDS:
        return run_at * 1000
    if isinstance(run_at, datetime):
        return _from_datetime(run_at, field)
    if isinstance(run_at, timedelta):
        length = run_at // _MICROSECOND if type(run_at) is timedelta else _floordiv(to_timedelta(run_at), _MICROSECOND)
        delay = _round_up(length)
        if delay > _LAST_MS:
            raise InvalidJob(f"{field}: got {show(run_at)}, which ends after the year 9999; take a shorter delay")
        return f"+{max(delay, 0)}"
    seconds = run_at if type(run_at) is float else to_number(run_at)
    if seconds is None:
        raise InvalidJob(f"{field}: got {show(run_at)}; it must be {_TIMES}{hint(run_at)}")
    return int(_from_seconds(seconds, field))  # the operators of a subclass of int may return another kind of it


def from_milliseconds(value: object, field: str = "runAt") -> datetime:
    """Returns the moment of npm runat's `runAt`: epoch milliseconds, rounded up.

    Raises:
        InvalidJob: the value is no finite number, or outside a datetime's range.
    """
    number = to_number(value)
    if number is None:
        raise InvalidJob(f"{field}: got {show(value)}; it must be epoch milliseconds, a number{hint(value)}")
    if isinstance(number, float) and not math.isfinite(number):
        raise InvalidJob(f"{field}: got {show(value)}; it must be finite epoch milliseconds")
    _in_range(number, value, field, "milliseconds")
    return EPOCH + timedelta(milliseconds=math.ceil(number))


def from_score(score: str | bytes | float) -> datetime:
    """Returns the moment of a score. A score outside a datetime's range gives the first or the last moment.

    >>> from_score(b"1700000000000").isoformat()
    '2023-11-14T22:13:20+00:00'
    >>> from_score(b"inf").isoformat()
    '9999-12-31T23:59:59.999999+00:00'
    """
    milliseconds = float(score)
    if milliseconds > _LAST_MS:
        return _LAST
    if milliseconds < _FIRST_MS:
        return _FIRST
    return EPOCH + timedelta(milliseconds=milliseconds)


def lateness(score: str | bytes | float, now: int) -> float:
    """Returns the seconds from a score to `now` (epoch microseconds); negative if the score lies in the future.

    It is finite for every score: one outside a datetime's range counts as the first or the last moment, as in
    `from_score`. JSON has no infinity, and no bar of a picture is infinitely long.

    >>> lateness("1700000000000", 1_700_000_000_250_000)
    0.25
    >>> lateness("-inf", 1_700_000_000_250_000)
    63835596800.25
    """
    milliseconds = float(score)
    if not _FIRST_MS <= milliseconds <= _LAST_MS:
        milliseconds = _LAST_MS if milliseconds > 0 else _FIRST_MS
    return (now - milliseconds * 1e3) / 1e6


def to_microseconds(moment: datetime) -> int:
    """Returns epoch microseconds, the form in which a virtual clock passes the time to the scripts."""
    return (moment - EPOCH if type(moment) is datetime else _minus(moment, EPOCH)) // _MICROSECOND


def _from_datetime(run_at: datetime, field: str) -> int:
    if type(run_at) is datetime:
        try:  # the usual case, kept fast: a naive one cannot be subtracted from an aware one
            return _round_up((run_at - EPOCH) // _MICROSECOND)
        except Exception:  # as below, where the reason is found
            pass
    try:
        if run_at.utcoffset() is None:
            raise InvalidJob(
                f"{field}: got {show(run_at)}; it must be an aware datetime: give it a time zone, "
                "such as datetime.now(timezone.utc)"
            )
        try:
            plain = to_datetime(run_at)
        except ValueError:  # of pandas
            raise InvalidJob(f"{field}: got {show(run_at)}, which is not between the years 1 and 9999") from None
        return _round_up(to_microseconds(plain))
    except InvalidJob:
        raise
    except Exception as error:  # a tzinfo is foreign code, which may raise anything
        if is_no_time(run_at):
            raise InvalidJob(f"{field}: got {show(run_at)}{hint(run_at)}") from None
        raise InvalidJob(f"{field}: got {show(run_at)}, whose time zone raises ({show(error)})") from error


def _from_seconds(run_at: float, field: str) -> int:
    if isinstance(run_at, float) and not math.isfinite(run_at):
        raise InvalidJob(f"{field}: got {show(run_at)}; it must be finite epoch seconds")
    if run_at * 1000 > _LAST_MS >= run_at:
        raise InvalidJob(
            f"{field}: got {show(run_at)}, which can only be milliseconds; numbers are epoch seconds here: divide by "
            'a thousand, or use runat\'s own form {"runAt": <milliseconds>, "key": <str>}'
        )
    _in_range(run_at * 1000, run_at, field, "seconds")
    return run_at * 1000 if isinstance(run_at, int) else _round_up(round(run_at * 1_000_000))


def _in_range(milliseconds: float, value: object, field: str, unit: str) -> None:
    if not _FIRST_MS <= milliseconds <= _LAST_MS:
        raise InvalidJob(f"{field}: got {show(value)}; as epoch {unit} that is not between the years 1 and 9999")


def _round_up(microseconds: int) -> int:
    return -(-microseconds // 1000)


LONGEST_SECONDS = 366 * 86_400.0  # a year: a longer lease or delay is most likely given in a wrong unit


def to_ms(seconds: object, name: str, least: float) -> int:
    """Returns seconds or a timedelta in milliseconds, rounded up.

    >>> to_ms(1.5, "delay", 0), to_ms(timedelta(minutes=1), "delay", 0)
    (1500, 60000)
    >>> to_ms(-1, "delay", 0)
    Traceback (most recent call last):
    rx_runat.errors.InvalidSetting: delay: got -1 (int); it must be between 0 seconds and a year

    Args:
        seconds: the length of time.
        name: of the argument, for the message.
        least: the shortest length allowed, in seconds.

    Raises:
        InvalidSetting: it is no length of time, shorter than `least`, or longer than a year.
    """
    length = to_length(seconds)
    if length is None:
        raise InvalidSetting(
            f"{name}: got {show(seconds)}; it must be seconds, such as 30.0, or a timedelta{hint(seconds)}"
        )
    if not least <= length <= LONGEST_SECONDS:
        raise InvalidSetting(f"{name}: got {show(seconds)}; it must be between {least:g} seconds and a year")
    return math.ceil(round(length * 1000, 3))
