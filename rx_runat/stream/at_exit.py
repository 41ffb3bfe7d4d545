"""The end of the interpreter: the sources of every queue that is still open hand back what they hold.

Where one of them still has subscribers, the log says once that a subscription does not keep a script alive.
"""

from __future__ import annotations

import atexit
import sys
import weakref

from rx_runat.model.forks import in_child
from rx_runat.model.safe_log import warn
from rx_runat.stream.sources import Sources

LONGEST_AT_EXIT = 5.0  # seconds; an on_next that does not return must not keep the interpreter

# Weak: a source that ticks is kept alive by its loop, and so keeps its `Sources` alive; a source that does not tick
# holds nothing to hand back.
_open: weakref.WeakSet[Sources] = weakref.WeakSet()


def stop_at_exit(sources: Sources) -> None:
    """Stop these sources when the interpreter ends: their threads are daemons, and would die with keys in the hold."""
    _open.add(sources)


def forget(sources: Sources) -> None:
    """Do nothing for these sources at the end: they have ended."""
    _open.discard(sources)


def _stop_all() -> None:
    # After an uncaught error (`last_type`), and at a prompt (`ps1`), nobody expects more keys.
    if not hasattr(sys, "last_type") and not hasattr(sys, "ps1") and any(each.are_live for each in list(_open)):
        warn(
            "the interpreter exits, and nobody receives keys any more: subscribe() does not wait. "
            "Wait with run(), or by threading.Event().wait(), and stop() the queue at the end"
        )
    for sources in list(_open):
        sources.stop(LONGEST_AT_EXIT)


atexit.register(_stop_all)
in_child(_open.clear)  # what the parent holds is the parent's to hand back
