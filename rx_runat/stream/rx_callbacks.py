"""What RxPY's callbacks refer to: a walk from one that subscribes to the end of its pipeline.

    queue.pipe(ops.map(f), ops.filter(g)).run()

    on_next of map --> observer of filter --> on_next of filter --> observer of `run` --> its on_next, on_completed

RxPY keeps the next observer in a closure or in an attribute. Nothing of the user's is looked into: a closure of the
user's may refer to anything. Where RxPY keeps an observer elsewhere, as in the Subject behind `ops.share`, the walk
ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType, MethodType
from typing import Any

from reactivex import abc

_LONGEST_WALK = 500  # objects; the callbacks of an operator refer to about five
_CALLBACKS = {prefix + name: name for prefix in ("_", "_handler_") for name in ("on_next", "on_error", "on_completed")}
_DISCARDED = {"_do": "do_action", "_filter": "filter"}  # operators that never pass on what the user's function returns


def walk(callback: object, longest: int = _LONGEST_WALK) -> Iterator[tuple[str, Any]]:
    """Yields what a callback refers to, and what this refers to, and so on.

    Args:
        callback: given to a `subscribe`, by the user or by an operator.
        longest: how many objects are looked into at most; 1: the callback alone.

    Returns:
        Pairs: a name where the object may be a callback of the user's, otherwise ""; and the object.
    """
    seen: dict[int, object] = {}
    waiting = [callback]
    while waiting and len(seen) < longest:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen[id(each)] = each
        for name, found in _kept(each):
            if isinstance(found, MethodType) or is_of_rx(found):
                waiting.append(found)
            yield name, found


def is_of_rx(value: object) -> bool:
    """True for a function of RxPY's, which may be a closure, and for an observer of RxPY's."""
    if isinstance(value, FunctionType):
        return str(value.__module__).startswith("reactivex.")
    return isinstance(value, abc.ObserverBase) and type(value).__module__.startswith("reactivex.")  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]


def _kept(holder: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(holder, MethodType):
        yield "", holder.__self__
    elif not is_of_rx(holder):
        return
    elif isinstance(holder, FunctionType):
        operator = _DISCARDED.get(holder.__module__.rpartition(".")[2], "")
        for cell in holder.__closure__ or ():
            try:
                yield operator, cell.cell_contents
            except ValueError:  # it is empty yet
                continue
    else:
        attributes: dict[str, Any] = getattr(holder, "__dict__", {})
        for attribute, value in attributes.items():
            yield _CALLBACKS.get(attribute, ""), value
