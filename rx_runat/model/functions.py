"""What kind of function a user gave: of a coroutine function or a generator function, a call alone runs no line."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any, cast


def is_coroutine_function(function: Any) -> bool:
    """True for an `async def`, a partial of one, and an object whose `__call__` is one."""
    return any(inspect.iscoroutinefunction(each) for each in _called(function))


def is_generator_function(function: Any) -> bool:
    """The same for a function with `yield`, be it asynchronous or not."""
    return any(inspect.isgeneratorfunction(each) or inspect.isasyncgenfunction(each) for each in _called(function))


def _called(function: Any) -> tuple[Any, Any]:
    while isinstance(function, partial):
        function = cast("Any", function.func)  # pyright: ignore[reportUnknownMemberType]
    return function, type(function).__call__
