"""Keys, numbers, moments and spans of time, as people read them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime

from rx_runat.model.times import from_score

_UNITS = (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3))


def readable(key: str, longest: int = 40) -> str:
    r"""A key as a picture or a page may hold it: on one line, short, and with nothing that UTF-8 cannot encode.

    A longer one is cut in the middle: names of one kind often begin alike and differ at their ends.

    Args:
        key: any text.
        longest: the most columns that the result takes; see `columns`.

    >>> readable("tea\n" + "x" * 99 + "42", 12)
    'tea\\nx…xxx42'
    >>> readable("茶" * 99, 12)
    '茶茶茶…茶茶'
    >>> readable(b"\xff".decode(errors="surrogateescape"))
    '\\xff'
    """
    text = _cut(key, longest)
    if not text.isprintable():
        text = _cut("".join(each if each.isprintable() else _escaped(each) for each in text), longest)
    return text


def columns(text: str) -> int:
    """How many columns of a terminal, or of a picture's monospaced font, a text takes.

    >>> columns("tea"), columns("お茶"), columns("e\u0301")
    (3, 4, 1)
    """
    return len(text) if text.isascii() else sum(map(_columns, text))


def span(seconds: float) -> str:
    """A span of time with a unit: whole from 10 on, below that with at most two significant digits.

    >>> [span(each) for each in (0.00042, 0.0032, 3.21, 59.96, 95, 7200, 1e6, 0)]
    ['0.42 ms', '3.2 ms', '3.2 s', '60 s', '1.6 min', '2 h', '12 d', '0 ms']
    >>> span(float("inf"))
    'for ever'
    """
    size = abs(seconds)
    if size == float("inf"):
        return "for ever"
    if size < 5e-6:
        return "0 ms"
    unit, length = next((each for each in _UNITS if size >= each[1]), _UNITS[-1])
    number = seconds / length
    digits = 0 if abs(number) >= 9.95 else 1 if abs(number) >= 0.995 else 2
    text = f"{number:,.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} {unit}"


def until(seconds: float) -> str:
    """How long until something comes; late if its time has passed.

    >>> until(3.21), until(-0.2), until(float("inf"))
    ('in 3.2 s', '200 ms late', 'never')
    """
    if seconds == float("inf"):
        return "never"
    return f"in {span(seconds)}" if seconds > 0 else late(-seconds)


def late(seconds: float) -> str:
    """How late something is or was.

    >>> late(0.2), late(-3), late(0)
    ('200 ms late', '3 s to go', 'on time')
    """
    if abs(seconds) < 5e-6:
        return "on time"
    return f"{span(seconds)} late" if seconds > 0 else f"{span(-seconds)} to go"


def spell(moment: datetime | float) -> str:
    """A moment, given as a datetime or in epoch seconds, to the millisecond.

    >>> spell(1_700_000_000.25)
    '2023-11-14 22:13:20.250 UTC'
    """
    if not isinstance(moment, datetime):
        moment = from_score(moment * 1000)
    try:
        return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "milliseconds") + " UTC"
    except OverflowError:  # in UTC, its year is outside 1 to 9999, which is all that datetime holds
        return moment.isoformat(" ", "milliseconds")


def attempts(number: int) -> str:
    """A number of attempts.

    >>> attempts(1), attempts(5)
    ('1 attempt', '5 attempts')
    """
    return f"{number:,} attempt{'s' * (number != 1)}"


def _cut(text: str, longest: int) -> str:
    if len(text) <= longest and columns(text) <= longest:
        return text
    tail = (longest - 1) // 2
    return f"{_first(text, longest - 1 - tail)}…{_first(reversed(text), tail)[::-1]}"


def _first(text: Iterable[str], room: int) -> str:
    """As much of the beginning of a text as takes no more than this number of columns."""
    taken = ""
    for each in text:
        room -= _columns(each)
        if room < 0:
            break
        taken += each
    return taken


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):  # stands above or below the character before
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
