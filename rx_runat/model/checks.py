"""Refusing what cannot be used, and showing it in the message."""

from __future__ import annotations

import math
from reprlib import Repr

from rx_runat.errors import InvalidSetting

_repr = Repr()
_repr.maxstring = _repr.maxother = 60


def show(value: object) -> str:
    """A value as an error message shows it: short, with its type, and safe against a broken `repr`.

    >>> show("x" * 1000)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxxxxxxxxxxxxxx' (str)"
    """
    return f"{short(value)} ({type(value).__name__})"


def short(value: object) -> str:
    """A value's `repr`, cut to 200 characters at most, and whatever it does."""
    try:
        text = _repr.repr(value)
    except Exception:  # a repr is anybody's code, and Python will not spell an int of a million digits
        text = "<something that cannot be shown>"
    return text if len(text) <= 200 else text[:200] + "..."


def check_count(value: object, name: str, right: str, least: int = 0, most: float = math.inf) -> None:
    """Refuse what is no count within the bounds.

    >>> check_count(True, "n", "a count of keys, such as 10")
    Traceback (most recent call last):
    rx_runat.errors.InvalidSetting: n: got True (bool); it must be a count of keys, such as 10

    Raises:
        InvalidSetting: what came, and what would be right.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidSetting(f"{name}: got {show(value)}; it must be {right}")
