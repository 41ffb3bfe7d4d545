"""Values that misbehave: what user code may pass, and what a message must be able to show."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo


class RaisingZone(tzinfo):
    """A time zone whose methods raise."""

    def utcoffset(self, when: datetime | None) -> timedelta:
        raise ZeroDivisionError("no offset today")

    dst = tzname = utcoffset  # type: ignore[assignment]


class NoOffsetZone(tzinfo):
    """A time zone without an offset: a datetime that has it is naive all the same."""

    def utcoffset(self, when: datetime | None) -> None:
        return None

    dst = tzname = utcoffset


class RaisingRepr:
    """A value whose `repr` raises."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def name_of(value: object) -> str:
    """The name of a parameter of a test; pytest's own name fails with an int of 5,000 digits."""
    return value[0] if isinstance(value, list) and isinstance(value[0], str) else type(value).__name__
