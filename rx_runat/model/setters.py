"""Assigns the fields of frozen dataclasses with slots, where their own `__init__` is too slow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

Setter: TypeAlias = Callable[[Any, Any], None]


def setters(kind: type, *fields: str) -> list[Setter]:
    """Returns what assigns each of these fields: called with an object of the class, and the value.

    A frozen dataclass assigns its fields by `object.__setattr__`, which takes twice the time, in an `__init__` that
    takes some more. To users the object is as frozen as before.
    """
    return [getattr(kind, field).__set__ for field in fields]
