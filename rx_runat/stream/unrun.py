"""Callbacks of which a call runs no line are refused before a key is claimed for them.

    queue.subscribe(work)                           work is an `async def`: nobody would await it
    queue.pipe(ops.filter(good)).subscribe(work)    RxPY keeps it in the observer that the operator's callback refers to
    queue.pipe(ops.do_action(work))                 RxPY keeps it in the operator's callback

The second and third are found by a walk over what RxPY's callbacks refer to. Where RxPY keeps it elsewhere, as behind
`ops.share`, it is not found, and Python warns that a coroutine was never awaited. `ops.map(work)` is no mistake,
because another operator may await the coroutines.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType, MethodType
from typing import Any

from reactivex import abc

from rx_runat.errors import InvalidSetting
from rx_runat.model.checks import show
from rx_runat.model.functions import is_coroutine_function, is_generator_function

_LONGEST_WALK = 500  # objects; the callbacks of an operator refer to about five
_CALLBACKS = {prefix + name: name for prefix in ("_", "_handler_") for name in ("on_next", "on_error", "on_completed")}
_DISCARDED = {"_do": "do_action", "_filter": "filter"}  # operators that never pass on what the user's function returns


def refuse_unrun(name: str, callback: object) -> None:
    """Raise InvalidSetting if a call of this callback only makes a coroutine or a generator, of which nothing runs.

    Args:
        name: of the callback.
        callback: the user's, or one of RxPY's operators that leads to the user's.
    """
    _refuse(name, callback)
    seen: dict[int, object] = {}
    waiting = [callback]
    while waiting and len(seen) < _LONGEST_WALK:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen[id(each)] = each
        for found_name, found in _kept(each):
            if isinstance(found, MethodType) or _is_of_rx(found):
                waiting.append(found)
            elif found_name and callable(found):
                _refuse(found_name, found)
        if name != "on_next":  # the three callbacks of an operator lead to the same observer: one of them is enough
            return


def _kept(holder: Any) -> Iterator[tuple[str, Any]]:
    """Yields what one of RxPY's own objects refers to, with a name where it may be a callback of the user's.

    Nothing of the user's is looked into: a closure of the user's may well refer to a coroutine function.
    """
    if isinstance(holder, MethodType):
        yield "", holder.__self__
    elif not _is_of_rx(holder):
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


def _is_of_rx(value: object) -> bool:
    """True for a function of RxPY's, which may be a closure, and for an observer of RxPY's."""
    if isinstance(value, FunctionType):
        return str(value.__module__).startswith("reactivex.")
    return isinstance(value, abc.ObserverBase) and type(value).__module__.startswith("reactivex.")  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]


def _refuse(name: str, callback: object) -> None:
    if is_coroutine_function(callback):
        raise InvalidSetting(
            f"{name}: got {show(callback)}, a coroutine function, which nobody would await: give a plain function; "
            f"for keys, take `async for`, or `queue.claims().pipe(settle(work))`, whose work may be one"
        )
    if is_generator_function(callback):
        raise InvalidSetting(f"{name}: got {show(callback)}, a generator function, of which a call runs no line")
