"""A `run()` that is interrupted, as by Ctrl-C, ends its subscriptions: no more keys are taken for it.

    run  --  subscribe  -->  ... operators ...  -->  Hot.subscribe
    run  --  latch.wait()  ...  KeyboardInterrupt    the subscriptions end, then it is raised on

RxPY's `run` has nothing to dispose of, because it drops what `subscribe` returned. It waits for an Event of its own,
one for each call. A subscription finds that Event at the end of its pipeline, and replaces the `wait` of that one
object.

The limit: only subscriptions of ours end. Behind `ops.share`, and behind an observer that is not RxPY's own, no `run`
is found. An interrupt in the microseconds before `run` waits ends nothing.
"""

from __future__ import annotations

import threading
from types import CellType, CodeType, FunctionType
from typing import Any

from reactivex import abc
from reactivex.disposable import CompositeDisposable, Disposable
from reactivex.run import run

from rx_runat.stream.rx_callbacks import walk

_CALLBACKS_OF_RUN = {constant for constant in run.__code__.co_consts if isinstance(constant, CodeType)}


def end_if_interrupted(subscription: abc.DisposableBase, on_next: object, on_completed: object) -> abc.DisposableBase:
    """Dispose of a subscription if it belongs to a `run()` whose wait is interrupted.

    Args:
        subscription: made for a `run`, or for anybody else.
        on_next: what it calls with values.
        on_completed: what it calls at the end.

    Returns:
        The subscription, for whoever asked for it.
    """
    kept = _kept_by_run(on_next, on_completed)
    if "done" not in kept or "latch" not in kept:
        return subscription
    latch: threading.Event = kept["latch"].cell_contents
    wait: Any = latch.wait
    if not isinstance(wait, _Wait):
        latch.wait = wait = _Wait(latch, kept["done"])  # type: ignore[method-assign]
        latch.set()  # it may wait already, because `rx.merge` subscribes on another thread: now it waits anew
    subscriptions = wait.subscriptions
    subscriptions.add(subscription)

    def leave() -> None:
        subscriptions.remove(subscription)  # and dispose of it

    return Disposable(leave)


def _kept_by_run(on_next: object, on_completed: object) -> dict[str, CellType]:
    """Returns what a callback of the `run()` at the end of this pipeline refers to; empty if there is no `run()`."""
    for _, found in (("", on_completed), *walk(on_next)):  # without an operator, `on_completed` itself is of `run`
        if isinstance(found, FunctionType) and found.__code__ in _CALLBACKS_OF_RUN:
            kept = dict(zip(found.__code__.co_freevars, found.__closure__ or (), strict=True))
            if "latch" in kept:
                return kept
    return {}


class _Wait:
    """The wait of a `run()`.

    Args:
        latch: what `run` waits for. Its callbacks set `done` first and `latch` second.
        done: True when the stream has ended.

    Attributes:
        subscriptions: end if the wait raises.
    """

    def __init__(self, latch: threading.Event, done: CellType) -> None:
        self._latch = latch
        self._wait = latch.wait
        self._done = done
        self.subscriptions = CompositeDisposable()

    def __call__(self, timeout: float | None = None) -> bool:
        try:
            self._latch.clear()
            # The end sets `done` first. Read before `clear`, it could be set unseen, and `clear` would undo the notice.
            return bool(self._done.cell_contents) or self._wait(timeout)
        except BaseException:  # a KeyboardInterrupt, or what the handler of another signal raises
            self.subscriptions.dispose()
            raise
