"""Work that goes on after its call: an Observable, a Future or a coroutine, from its beginning to its end."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import Any, cast

from reactivex import Observable, abc
from reactivex.disposable import SingleAssignmentDisposable

from rx_runat.errors import InvalidSetting
from rx_runat.model.checks import show
from rx_runat.model.safe_log import unhandled

NO_LOOP = (
    "work: it returns coroutines, and there is no event loop to run them on; `await` the pipeline, subscribe inside a "
    "running event loop, or with scheduler=AsyncIOScheduler(loop)"
)


class NoLoop(InvalidSetting):
    """The work returned a coroutine, and there is no event loop to run it on."""


class Cancelled(Exception):
    """The error of a run that `cancel` ended."""


class Run:
    """One piece of asynchronous work: what the user's function returned, until it has finished.

        Observable           ... on_completed  --> finished, with its last value
        Future, coroutine    ... done          --> finished, with its result
        cancel(reason)       --> disposed of or cancelled, and finished with the reason

    Args:
        finished: called once, with the result, the error, and whether `start` has returned False before, on whatever
            thread the work finishes.

    Attributes:
        loop: the event loop that the work needs; None: none, as far as is known.
    """

    def __init__(self, finished: Callable[[Any, BaseException | None, bool], None]) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._finished = finished
        self._lock = threading.Lock()  # guards the attributes below
        self._is_over = False
        self._is_detached = False  # `start` has returned, and its thread serves other work
        self._reason: Exception | None = None  # why it was cancelled
        self._cancel: Callable[[], bool] | None = None

    def start(self, work: Any, scheduler: abc.SchedulerBase | None, loop: asyncio.AbstractEventLoop | None) -> bool:
        """Begin, and follow the work to its end. Returns True if it has finished already.

        Args:
            work: what `is_asynchronous` (in kinds.py).
            scheduler: passed to an Observable's `subscribe`.
            loop: where coroutines run; None: there is none.
        """
        try:
            if isinstance(work, Observable):
                self._subscribe(work, scheduler)  # pyright: ignore[reportUnknownArgumentType]
            elif isinstance(work, concurrent.futures.Future):
                self._follow(work)  # pyright: ignore[reportUnknownArgumentType]
            elif asyncio.isfuture(work):
                self._follow_on(work.get_loop(), lambda: work)
            else:
                self._follow_on(_loop_for(work, loop), lambda: asyncio.ensure_future(work))
        except BaseException as error:
            self._finish(None, error)
        with self._lock:
            self._is_detached = not self._is_over
            return self._is_over

    def cancel(self, reason: Exception) -> bool:
        """Cancel the work, or prevent it if it has not begun; may be repeated. What cannot be cancelled goes on.

        Args:
            reason: the error to finish with. After `Cancelled`, a result counts that the work had all the same. Any
                other reason replaces what a coroutine returns or raises after it was cancelled.

        Returns:
            False if the work goes on.
        """
        with self._lock:
            self._reason = self._reason or reason
            cancel = self._cancel
        return cancel is None or cancel()

    def _subscribe(self, work: Observable[Any], scheduler: abc.SchedulerBase | None) -> None:
        result: list[Any] = [None]
        subscription = SingleAssignmentDisposable()

        def cancel() -> bool:
            _guarded(subscription.dispose)
            self._finish(None, self._reason)
            return True

        def keep(value: Any) -> None:
            result[0] = value

        if self._cancel_with(cancel):
            subscription.disposable = work.subscribe(
                keep, self._fail, lambda: self._finish(result[0], None), scheduler=scheduler
            )

    def _follow(self, future: concurrent.futures.Future[Any]) -> None:
        future.add_done_callback(self._done)
        self._cancel_with(lambda: bool(_guarded(future.cancel)))

    def _follow_on(self, loop: asyncio.AbstractEventLoop, begin: Callable[[], asyncio.Future[Any]]) -> None:
        """Follow a Future or a Task of asyncio's, on its own loop: no other thread may touch it.

        A cancelled Task counts as finished only when its clean-up is over.
        """
        self.loop = loop
        future: asyncio.Future[Any] | None = None
        is_cancelled = False

        def follow() -> None:
            nonlocal future
            try:
                future = begin()
                future.add_done_callback(self._done)
            except BaseException as error:  # a Future of the user's own kind
                self._finish(None, error)

        def cancel_once() -> None:
            nonlocal is_cancelled
            if future is not None and not is_cancelled:  # a second `cancel` would cancel the clean-up
                is_cancelled = True
                _guarded(future.cancel)

        def cancel() -> bool:
            try:
                loop.call_soon_threadsafe(cancel_once)
            except RuntimeError:  # the loop is closed
                pass
            if not loop.is_running():  # it would never call `_done`
                self._finish(None, self._reason)
            return True

        loop.call_soon_threadsafe(follow)
        self._cancel_with(cancel)

    def _done(self, future: concurrent.futures.Future[Any] | asyncio.Future[Any]) -> None:
        result: Any = None
        error: BaseException | None
        try:
            if future.cancelled():
                error = self._reason or concurrent.futures.CancelledError()
            else:
                error = future.exception()
                if error is None:  # an error may be false: it may have a length of 0
                    result = future.result()
        except BaseException as bug:  # a Future of the user's own kind
            error = bug
        is_broken_off = self._reason is not None and not isinstance(self._reason, Cancelled)
        self._finish(result, self._reason if is_broken_off else error)

    def _fail(self, error: object) -> None:
        """An Observable ended with an error, which may be anything, since nobody checks what `on_error` is given."""
        is_error = issubclass(type(error), BaseException)
        self._finish(None, cast("BaseException", error) if is_error else TypeError(f"on_error got {show(error)}"))

    def _cancel_with(self, cancel: Callable[[], bool]) -> bool:
        """Say how the work is cancelled. Returns False if `cancel` was called before: then it is cancelled now."""
        with self._lock:
            self._cancel = cancel
            is_cancelled = self._reason is not None
        if is_cancelled:
            cancel()
        return not is_cancelled

    def _finish(self, result: Any, error: BaseException | None) -> None:
        with self._lock:
            first, self._is_over = not self._is_over, True
            detached = self._is_detached
        if first:
            self._finished(result, error, detached)


def _guarded(cancel: Callable[[], object]) -> object:
    """Cancel the user's work, and return what that returns. What it raises is a bug of the work's, and is shown."""
    try:
        return cancel()
    except BaseException as error:
        unhandled(error)
        return None


def _loop_for(work: Awaitable[Any], loop: asyncio.AbstractEventLoop | None) -> asyncio.AbstractEventLoop:
    if loop is None or loop.is_closed():
        if inspect.iscoroutine(work):
            work.close()  # else Python warns that nobody awaited it
        raise NoLoop(NO_LOOP)
    return loop
