"""Refuse invalid arguments, and show them in the message."""

from __future__ import annotations

import math
from reprlib import Repr

from rx_runat.errors import InvalidSetting
from rx_runat.model.foreign_values import hint, to_number

_repr = Repr()
_repr.maxstring = _repr.maxother = 60


def show(value: object) -> str:
    """Returns a value as an error message shows it: short, with its type, even if its `repr` raises.

    >>> show("x" * 1000)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxxxxxxxxxxxxxx' (str)"
    """
    return f"{short(value)} ({type(value).__name__})"


def short(value: object) -> str:
    """Returns the `repr` of a value, cut to 200 characters, or a substitute if the `repr` raises."""
    try:
        text = _repr.repr(value)
    except Exception:  # a repr is foreign code, and Python refuses the repr of an int with 5,000 digits
        text = "<something that cannot be shown>"
    return text if len(text) <= 200 else text[:200] + "..."


def check_count(value: object, name: str, right: str, least: int = 0, most: float = math.inf) -> int:
    """Returns a count as an int. Raises unless it is a whole number (no bool) between `least` and `most`.

    >>> check_count(True, "n", "a count of keys, such as 10")
    Traceback (most recent call last):
    rx_runat.errors.InvalidSetting: n: got True (bool); it must be a count of keys, such as 10

    Args:
        value: the argument.
        name: of the argument, for the message.
        right: what would be right, for the message.
        least: the smallest count allowed.
        most: the largest count allowed.

    Raises:
        InvalidSetting: the value is no such count.
    """
    count = to_number(value)
    if not isinstance(count, int) or not least <= count <= most:
        raise InvalidSetting(f"{name}: got {show(value)}; it must be {right}{hint(value)}")
    return count
