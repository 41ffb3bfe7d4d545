"""The clock for waiting, which goes on while a test freezes time.

freezegun replaces `time.monotonic` in every module that holds it, by a clock that stands still. A queue that lives
meanwhile would wait for ever: its alarms would be set on one clock and fall due on another. freezegun finds the clock
by its identity, so this one is a function of a second copy of the module `time`, which nobody else holds. That works
while time is frozen, too, when the package is imported or a queue is made then.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec, module_from_spec


def _own_clock() -> Callable[[], float]:
    spec = find_spec("time")
    assert spec is not None
    assert spec.loader is not None
    copy = module_from_spec(spec)
    spec.loader.exec_module(copy)
    return copy.monotonic


monotonic = _own_clock()
"""Returns seconds since an arbitrary moment, as `time.monotonic` does. No step of the wall clock changes it."""
