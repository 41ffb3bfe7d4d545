"""What a job carries: any JSON value. In Redis it is text in UTF-8, so that other languages can read it.

data         None    {"to": "ann"}      not named
text         null    {"to":"ann"}       ''
a schedule   drops   replaces           leaves what is there
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import Enum
from itertools import chain
from typing import Any, cast

from rx_runat.errors import InvalidJob
from rx_runat.model.checks import short, show
from rx_runat.model.safe_log import warn


class Named(Enum):
    """Whether a job names data; an Enum, so that a copy of the member is the member itself."""

    NO = "not named"

    def __repr__(self) -> str:
        return f"<{self.value}>"


NOT_NAMED: Any = Named.NO
"""The data of a job that names none: what the key has already stays. None names "no data"."""

DATA_LIMIT = 65_536  # bytes; longer data makes each claim of few keys slow, and belongs elsewhere
DEEPEST = 200  # lists and objects in each other: Python 3.11 reads fewer than 1,000, less the calls under way
LONGEST_DATA_LIMIT = 1 << 20  # bytes; as much as one claim takes, unless it is one key

_MOST_LOGGED = 1000  # keys: a log with more lines of this kind tells nothing more
_logged: set[str] = set()


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"JSON has no {name}")


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode


def to_text(data: object) -> bytes:
    """Returns data as JSON in UTF-8; b"" if it is not named.

    >>> to_text({"to": "ann"}), to_text(None), to_text(NOT_NAMED)
    (b'{"to":"ann"}', b'null', b'')

    Raises:
        InvalidJob: the value is no JSON: what comes out would not be equal to it.
    """
    if data is NOT_NAMED:
        return b""
    try:
        text = _encode(data)
        if _decode(text) != data:
            why = "what comes out would differ: JSON has no tuples, and its keys are str"
        elif text.count("[") + text.count("{") > DEEPEST and _depth(data) > DEEPEST:
            why = f"it has more than {DEEPEST} lists and objects in each other"
        else:
            return text.encode()
    except Exception as error:  # also what a class of the user's raises when it is compared
        why = str(error)
    raise InvalidJob(f"data: got {show(data)}, which is no JSON value ({why})")


def _depth(data: Any) -> int:
    """Returns how many lists and objects are in each other: 2 for [[1]]. Without recursion, which may be too deep."""
    depth, level = 0, _containers([data])
    while level:
        depth, level = depth + 1, _containers(chain.from_iterable(map(_items, level)))
    return depth


def _containers(values: Iterable[Any]) -> list[Any]:
    return [each for each in values if isinstance(each, list | dict)]


def _items(container: Any) -> Iterable[Any]:
    return cast("dict[str, Any]", container).values() if isinstance(container, dict) else container


def from_text(text: str, key: str) -> Any:
    """Returns the data of a key from its text; None if it has none, or if another client wrote what is no JSON.

    >>> from_text('{"to":"ann"}', "a"), from_text("", "a")
    ({'to': 'ann'}, None)
    """
    if not text:
        return None
    try:
        return _decode(text)
    except (ValueError, RecursionError):
        _say_unreadable(key)
        return None


def _say_unreadable(key: str) -> None:
    """Log it once for each key, because every `peek` reads it again; of further keys than so many, log nothing."""
    if key in _logged or len(_logged) >= _MOST_LOGGED:
        return
    _logged.add(key)
    last = "; of further keys nothing is logged" if len(_logged) == _MOST_LOGGED else ""
    warn("the data of %s is no JSON, because another client wrote it, and counts as none%s", short(key), last)
