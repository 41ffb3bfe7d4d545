"""Cells that may be run again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from reactivex import abc

_D = TypeVar("_D", bound=abc.DisposableBase)
_P = ParamSpec("_P")

_lock = threading.RLock()
_made: dict[str, abc.DisposableBase] = {}


def fresh(name: str, make: Callable[_P, _D], /, *args: _P.args, **kwargs: _P.kwargs) -> _D:
    """Make something disposable in the place of what this name stood for, which is disposed of first.

        run  fresh("printer", queue.subscribe, print)     subscribes
        run  fresh("printer", queue.subscribe, print)     the first one ends, then this one subscribes
        key  --a--                                        is printed once

    Run a cell twice, and there is one subscription, or one queue, not two that fight for keys. What fails to be made
    leaves the name empty: the old one is gone by then.

    Args:
        name: of the place; one for the whole kernel.
        make: makes a disposable: `queue.subscribe`, `RunAt`, or a function of yours.
        args: for `make`.
        kwargs: for `make`.

    Returns:
        What `make` made.

    Example:
        >>> from rx_runat import RunAt
        >>> queue = fresh("queue", RunAt, "memory://")
        >>> again = fresh("queue", RunAt, "memory://")
        >>> queue, again
        (<RunAt 'RunAt~default' on memory://, stopped>, <RunAt 'RunAt~default' on memory://>)
        >>> subscription = fresh("printer", lambda: again.subscribe(print))
        >>> again.stop()
    """
    with _lock:
        old = _made.pop(name, None)
        if old is not None:
            old.dispose()
        made = make(*args, **kwargs)
        _made[name] = made
        return made
