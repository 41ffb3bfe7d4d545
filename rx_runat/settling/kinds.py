"""What the user's function is, and what kind of thing it returned.

generator function      refused when `settle` is called: a call of it runs no line of it
generator returned      the same mistake, seen only when the work was called: the stream ends with the error
Observable, Future,     work that goes on after the call
coroutine
anything else           the result
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Generator
from concurrent.futures import Future
from typing import Any

from reactivex import Observable

from rx_runat.errors import InvalidSetting
from rx_runat.model.functions import is_generator_function

_ASYNCHRONOUS = (Observable, Future, Awaitable)
_GENERATORS = (Generator, AsyncGenerator)

_INSTEAD = (
    "write a function that does the work and returns, a coroutine function, or return an Observable "
    "(such as rx.from_iterable(generator))"
)


class NotRun(InvalidSetting):
    """The work returned a generator, so no line of it was run."""


def refuse_generators(work: Any) -> None:
    """Raise if a call of the user's function would only make a generator, of which nothing runs.

    Raises:
        InvalidSetting: it is a generator function, an asynchronous one, or an object whose `__call__` is one.
    """
    if is_generator_function(work):
        raise InvalidSetting(f"work: it is a generator function; {_INSTEAD}")


def generator_error(result: Any) -> NotRun | None:
    """Returns an error if the work returned a generator; None if it returned anything else."""
    if _is_a(result, _GENERATORS):
        return NotRun(f"work: it returned a generator, of which nothing was run; {_INSTEAD}")
    return None


def is_asynchronous(result: Any) -> bool:
    """True for an Observable, a Future of asyncio's or concurrent's, or a coroutine: work that goes on."""
    return _is_a(result, _ASYNCHRONOUS)


def _is_a(value: Any, kinds: tuple[type, ...]) -> bool:
    try:
        return isinstance(value, kinds)
    except BaseException:  # the `__class__` of a user's object is foreign code
        return False
