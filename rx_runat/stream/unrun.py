"""Callbacks of which a call runs no line are refused before a key is claimed for them.

    queue.subscribe(work)                           work is an `async def`: nobody would await it
    queue.pipe(ops.filter(good)).subscribe(work)    RxPY keeps it in the observer that the operator's callback refers to
    queue.pipe(ops.do_action(work))                 RxPY keeps it in the operator's callback

The second and third are found by a walk over what RxPY's callbacks refer to. Where RxPY keeps it elsewhere, as behind
`ops.share`, it is not found, and Python warns that a coroutine was never awaited. `ops.map(work)` is no mistake,
because another operator may await the coroutines.
"""

from __future__ import annotations

from types import MethodType

from rx_runat.errors import InvalidSetting
from rx_runat.model.checks import show
from rx_runat.model.functions import is_coroutine_function, is_generator_function
from rx_runat.stream.rx_callbacks import is_of_rx, walk


def refuse_unrun(name: str, callback: object) -> None:
    """Raise InvalidSetting if a call of this callback only makes a coroutine or a generator, of which nothing runs.

    Args:
        name: of the callback.
        callback: the user's, or one of RxPY's operators that leads to the user's.
    """
    _refuse(name, callback)
    # The three callbacks of an operator lead to the same observer: the walk from one of them is enough.
    for found_name, found in walk(callback) if name == "on_next" else walk(callback, longest=1):
        if found_name and callable(found) and not isinstance(found, MethodType) and not is_of_rx(found):
            _refuse(found_name, found)


def _refuse(name: str, callback: object) -> None:
    if is_coroutine_function(callback):
        raise InvalidSetting(
            f"{name}: got {show(callback)}, a coroutine function, which nobody would await: give a plain function; "
            f"for keys, take `async for`, or `queue.claims().pipe(settle(work))`, whose work may be one"
        )
    if is_generator_function(callback):
        raise InvalidSetting(f"{name}: got {show(callback)}, a generator function, of which a call runs no line")
