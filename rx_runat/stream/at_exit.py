"""The end of the process: the sources of every queue that is still open hand back what they hold.

Where one of them still has subscribers, the log says once that a subscription does not keep a script alive.
"""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from collections.abc import Callable
from typing import Any

from rx_runat.model.forks import generation, in_child
from rx_runat.model.safe_log import warn
from rx_runat.stream.sources import Sources

LONGEST_AT_EXIT = 5.0  # seconds; an on_next that does not return must not keep the interpreter

# Weak: a source that ticks is kept alive by its loop, and so keeps its `Sources` alive; a source that does not tick
# holds nothing to hand back.
_open: weakref.WeakSet[Sources] = weakref.WeakSet()


def stop_at_exit(sources: Sources) -> None:
    """Stop these sources when the interpreter ends: their threads are daemons, and would die with keys in the hold."""
    _open.add(sources)
    _stop_at_end_of_process()


def forget(sources: Sources) -> None:
    """Do nothing for these sources at the end: they have ended."""
    _open.discard(sources)


def _stop_all() -> None:
    # Nobody expects more keys after an uncaught error (`last_type`), at a prompt (`ps1`), and in a forked process, such
    # as a server's worker, whose end is the parent's business.
    is_expected = hasattr(sys, "last_type") or hasattr(sys, "ps1") or generation() > 0
    if not is_expected and any(each.are_live for each in list(_open)):
        warn(
            "the interpreter exits, and nobody receives keys any more: subscribe() does not wait. "
            "Wait with run(), or by threading.Event().wait(), and stop() the queue at the end"
        )
    for sources in list(_open):
        sources.stop(LONGEST_AT_EXIT)


def _stop_at_end_of_process() -> None:
    """Stop all at the end of a child of `multiprocessing` as well: that skips `atexit`, and has finalizers instead.

    A child drops the finalizers that were there before it began, and then calls what `register_after_fork` was given.
    """
    global _registered, _finalized_in
    util: Any = sys.modules.get("multiprocessing.util")
    if util is None:
        return  # this is no such child, and none can begin before somebody imports it
    if not _registered:
        _registered = True
        util.register_after_fork(_stop_all, _finalize)
    if _finalized_in != os.getpid() and sys.modules["multiprocessing.process"].parent_process() is not None:
        _finalized_in = os.getpid()
        _finalize(_stop_all)


def _finalize(stop: Callable[[], None]) -> None:
    # Before the finalizers of its queues and pipes, which have 10 at most: an `on_next` may use one.
    sys.modules["multiprocessing.util"].Finalize(None, stop, exitpriority=100)


_registered = False
_finalized_in = 0  # the id of the process; children inherit this
atexit.register(_stop_all)
in_child(_open.clear)  # what the parent holds is the parent's to hand back
