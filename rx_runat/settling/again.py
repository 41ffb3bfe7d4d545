"""`every` and `cron`: when a key comes again, as functions of the run that was claimed.

    slots    |---------|---------|---------|---------|--->
    run      ^ due     ^ claimed here, or later: the next run is at the first slot after that

A slot is a moment at which the key would be due if every run were claimed at once. The moment of the claim is
`run_at + lateness`, on Redis's clock, so no clock of this host matters.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from rx_runat.errors import InvalidSetting
from rx_runat.model.again import Again
from rx_runat.model.checks import show
from rx_runat.model.humanize import span
from rx_runat.model.job import Due
from rx_runat.model.times import EPOCH, to_ms
from rx_runat.stream.ticks import Seconds

# As in Vixie's cron. cronsim refuses names for a whole line.
_NAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


def every(period: Seconds) -> Again:
    """The key comes again after a period, counted from its run_at and not from now: runs do not drift.

        every(10 s)
        slots     0---------10--------20--------30--------40--->
        runs      [work]    [ work on, for 23 s      ][work]
        next run            10                       30   40

    A run that takes longer than a period, or is claimed late, makes no others come in a crowd: slots that were missed
    become one run. If an attempt fails, the next slot is the first one after the moment at which its last attempt was
    claimed. After the year 9999 there is no slot: the function raises OverflowError then, so `settle` hands the claim
    back and ends.

    Args:
        period: seconds, or a timedelta, rounded to the millisecond; at least one millisecond.

    Raises:
        InvalidSetting: no such period.

    Example:
        >>> from rx_runat import settle
        >>> from rx_runat.testing import virtual_queue
        >>> queue, scheduler = virtual_queue()
        >>> outcomes = queue.claims().pipe(settle(lambda claim: None, again=every(10)))
        >>> _ = outcomes.subscribe(lambda outcome: print(scheduler.clock, outcome.next.second))
        >>> _ = queue.schedule("report", 10.0)
        >>> scheduler.advance_to(30)
        10.0 20
        20.0 30
        30.0 40
    """
    return _Every(to_ms(period, "period", 0.001))


def cron(expression: str, tz: str | tzinfo = "UTC") -> Again:
    """The key comes again at the times of a crontab line. Needs the `cron` extra (cronsim).

        cron("0 9 * * 1-5", tz="Europe/Berlin")
        days      Fri       Sat       Sun       Mon       Tue
        runs      9:00------------------------- 9:00------9:00--->

    Slots that were missed become one run, as with `every`. Where the clocks go forward, a time in the gap comes at the
    gap's end: 2:30 at 3:00. Where they go back, 2:30 comes once, at its first time; a line whose minutes or hours begin
    with `*`, or one of six fields, goes through both hours. Where clocks change by half an hour (only on Lord Howe
    Island), such a line may miss a time on the day of the change; a line of fixed times does not.

    Args:
        expression: minute, hour, day of the month, month and day of the week; or six fields, of which the first is the
            second. Or one of `@yearly`, `@annually`, `@monthly`, `@weekly`, `@daily`, `@midnight` and `@hourly`.
        tz: the time zone whose clocks the line means: a name such as "Europe/Berlin", or a tzinfo.

    Raises:
        InvalidSetting: no such line, or no such time zone.
        ImportError: cronsim is missing; the message names the extra.

    Example:
        >>> from datetime import UTC, datetime
        >>> claimed = Due("report", datetime(2026, 3, 27, 8, 0, tzinfo=UTC), lateness=0.002)
        >>> cron("0 9 * * 1-5", tz="Europe/Berlin")(claimed).isoformat()
        '2026-03-30T07:00:00+00:00'
    """
    return _Cron(expression, tz)


class _Every:
    def __init__(self, period_ms: int) -> None:
        self._ms = period_ms

    def __call__(self, due: Due) -> datetime:
        late = max(_lateness(due), timedelta(0))
        period = timedelta(milliseconds=self._ms)
        return due.run_at + (late // period + 1) * period

    def __repr__(self) -> str:
        return f"every({span(self._ms / 1000)})"


class _Cron:
    def __init__(self, expression: object, tz: object) -> None:
        try:
            from cronsim import CronSim, CronSimError
        except ImportError as error:
            raise ImportError("cron needs cronsim; pip install 'rx-runat[cron]'") from error
        right = "it must be a crontab line, such as '0 9 * * 1-5', or a name, such as '@daily'"
        if not isinstance(expression, str):
            raise InvalidSetting(f"expression: got {show(expression)}; {right}")
        self._text = f"cron({expression!r}, tz={str(tz)!r})"
        self._line = _NAMES.get(expression.strip().lower(), expression)
        self._zone = _zone(tz)
        try:
            CronSim(self._line, EPOCH)
        except (CronSimError, ValueError) as error:  # ValueError: a number of more digits than `int` reads
            raise InvalidSetting(f"expression: got {show(expression)} ({error}); {right}") from None
        self._after = CronSim

    def __call__(self, due: Due) -> datetime | None:
        claimed = due.run_at + _lateness(due)
        slots: Iterator[datetime] = self._after(self._line, claimed.astimezone(self._zone))
        # For a line of fixed times cronsim reckons with what the clocks show. In the second pass of a doubled hour it
        # finds a time of the first pass, which is over: the key would be due at once, time after time.
        after = (utc for slot in slots if (utc := slot.astimezone(UTC)) > claimed)
        return next(after, None)  # None: the line has no time in the next fifty years

    def __repr__(self) -> str:
        return self._text


def _lateness(due: Due) -> timedelta:
    return timedelta(microseconds=round(due.lateness * 1e6))


def _zone(tz: object) -> tzinfo:
    try:
        if isinstance(tz, tzinfo):
            name = _pytz_name(tz)
            return tz if name is None else ZoneInfo(name)
        if isinstance(tz, str):
            return ZoneInfo(tz)
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError; a folder's name gives an OSError
        pass
    raise InvalidSetting(f"tz: got {show(tz)}; it must be a time zone, such as 'Europe/Berlin', or a tzinfo")


def _pytz_name(tz: tzinfo) -> str | None:
    """Returns the name of a zone of pytz; None of any other.

    A moment in a zone of pytz has one offset, and cronsim would keep that over a change of the clocks.
    """
    return getattr(tz, "zone", None) if hasattr(tz, "localize") else None
