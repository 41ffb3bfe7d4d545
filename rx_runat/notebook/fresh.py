"""`fresh`: run a cell twice, and have one subscription."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from reactivex import abc

from rx_runat.model.forks import in_child

_D = TypeVar("_D", bound=abc.DisposableBase)
_P = ParamSpec("_P")

_lock = threading.RLock()
_made: dict[str, abc.DisposableBase] = {}


def fresh(name: str, make: Callable[_P, _D], /, *args: _P.args, **kwargs: _P.kwargs) -> _D:
    """Make a disposable under a name, and first dispose of the one that was made under this name before.

        run  fresh("printer", queue.subscribe, print)     subscribes
        run  fresh("printer", queue.subscribe, print)     the first one ends, then this one subscribes
        key  --a--                                        is printed once

    A cell that is run twice then has one subscription, or one queue, not two that compete for keys. A queue that is
    made anew ends all subscriptions of the old one, also those that nobody can dispose of: a `run()` behind
    `ops.share`, for example, stays subscribed when it is interrupted. If `make` raises, the name stands for nothing:
    the old disposable is gone by then.

    Args:
        name: any text; names are shared by the whole kernel.
        make: returns a disposable: `queue.subscribe`, `RunAt`, or a function of your own.
        args: arguments of `make`.
        kwargs: keyword arguments of `make`.

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


def _renew_lock() -> None:
    """In a forked child: another thread may have held it, and for long, because `make` may be slow."""
    global _lock
    _lock = threading.RLock()


in_child(_renew_lock)
