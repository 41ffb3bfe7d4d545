"""A forked child: whatever holds a lock, a thread or a connection is made anew there, behind the same handles.

    parent    threads, locks, connections, subscribers, claims --------------------------->
       | fork
    child     the same queue, with a store and sources of its own; nobody subscribes yet -->

Only the thread that forks exists in the child. A lock that another thread held at that moment stays locked for ever,
and a source's thread ticks no more. So the child uses nothing that it inherited: the owner makes everything anew. What
was there before is kept until the child ends; else finalizers would run, which hand back keys of the parent's, or write
on its connections. If the thread that forks is in a callback of the user's, it returns to inherited code, which then
has nothing left to do: see the methods `leave_to_parent`.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")

_generation = 0  # how many forks lead from the first process to this one
_renewals: list[Callable[[], object]] = []
_owners: weakref.WeakKeyDictionary[Any, Callable[[Any], object]] = weakref.WeakKeyDictionary()
_inherited: list[object] = []


def in_child(renew: Callable[[], object]) -> None:
    """Call a function in each forked child. What it returns is kept until that child ends."""
    _renewals.append(renew)


def renew_in_child(owner: _T, renew: Callable[[_T], object]) -> None:
    """Call a function with an object in each forked child, as long as the object lives, after those of `in_child`.

    What it returns is kept until that child ends.
    """
    _owners[owner] = renew


def generation() -> int:
    """Returns a number by which a forked child differs from its parent."""
    return _generation


def only_here(action: Callable[[], None]) -> Callable[[], None]:
    """Returns an action that does nothing in a forked child."""
    born = _generation

    def unless_forked() -> None:
        if born == _generation:
            action()

    return unless_forked


def _after_fork() -> None:
    global _generation
    _generation += 1
    _inherited.extend([renew() for renew in _renewals])
    _inherited.extend([renew(owner) for owner, renew in tuple(_owners.items())])


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
