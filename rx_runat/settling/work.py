"""Work that goes on after its call: an Observable, a Future or a coroutine, from its beginning to its end."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from reactivex import Observable, abc
from reactivex.disposable import SingleAssignmentDisposable

from rx_runat.errors import InvalidSetting
from rx_runat.stream.hot import unhandled

NO_LOOP = (
    "work: it gives coroutines, and there is no event loop to run them on; `await` the pipeline, or subscribe with "
    "scheduler=AsyncIOScheduler(loop)"
)

GOES_ON = (Observable, concurrent.futures.Future, Awaitable)


class NoLoop(InvalidSetting):
    """A coroutine was given, and there is no event loop to run it on."""


class BrokenOff(Exception):
    """What a run ends with that was not let to its end."""


class Run:
    """What work gave that goes on.

        Observable           ... on_completed  --> over, with its last value
        Future, coroutine    ... done          --> over, with its result
        break_off            --> disposed of, cancelled, and over with BrokenOff

    Args:
        over: called once, with the result and the error; on whatever thread it ends.
        resume: called after that, if it was not over yet when `start` returned.
    """

    def __init__(self, over: Callable[[Any, BaseException | None], None], resume: Callable[[], None]) -> None:
        self._tell = over
        self._resume = resume
        self._lock = threading.Lock()  # over the rest
        self._is_over = False
        self._is_apart = False  # from the thread that started it
        self._is_broken = False
        self._cancel: Callable[[], object] | None = None

    def start(self, given: Any, scheduler: abc.SchedulerBase | None, loop: asyncio.AbstractEventLoop | None) -> bool:
        """Follow what was given; is it over already?

        Args:
            given: one of GOES_ON.
            scheduler: what an Observable is subscribed to with.
            loop: where coroutines run; None: there is none.
        """
        try:
            if isinstance(given, Observable):
                self._subscribe(given, scheduler)  # pyright: ignore[reportUnknownArgumentType]
            elif isinstance(given, concurrent.futures.Future):
                self._await(given)  # pyright: ignore[reportUnknownArgumentType]
            elif asyncio.isfuture(given):
                self._await_there(given.get_loop(), lambda: given)
            else:
                self._await_there(_home(given, loop), lambda: asyncio.ensure_future(given))
        except BaseException as error:
            self._end(None, error)
        with self._lock:
            self._is_apart = not self._is_over
            return self._is_over

    def break_off(self) -> None:
        """Let it go no further, before it has begun too; may be repeated. What cannot be cancelled goes on."""
        with self._lock:
            self._is_broken = True
            cancel = self._cancel
        if cancel is not None:
            cancel()

    def _subscribe(self, work: Observable[Any], scheduler: abc.SchedulerBase | None) -> None:
        result: list[Any] = [None]
        subscription = SingleAssignmentDisposable()

        def cancel() -> None:
            try:
                subscription.dispose()
            except BaseException as error:  # a bug of the work's: it is broken off all the same
                unhandled(error)
            self._end(None, BrokenOff())

        def keep(value: Any) -> None:
            result[0] = value

        if self._goes_on(cancel):
            subscription.disposable = work.subscribe(
                keep, partial(self._end, None), lambda: self._end(result[0], None), scheduler=scheduler
            )

    def _await(self, future: concurrent.futures.Future[Any]) -> None:
        future.add_done_callback(self._done)
        self._goes_on(future.cancel)

    def _await_there(self, loop: asyncio.AbstractEventLoop, begin: Callable[[], asyncio.Future[Any]]) -> None:
        """A Future or a Task of asyncio's is to be touched on its own loop only; it is over when it has cleaned up."""
        future: asyncio.Future[Any] | None = None
        is_cancelled = False

        def follow() -> None:
            nonlocal future
            future = begin()
            future.add_done_callback(self._done)

        def cancel_once() -> None:
            nonlocal is_cancelled
            if future is not None and not is_cancelled:  # a second time it would be the clean-up that is cancelled
                is_cancelled = True
                future.cancel()

        def cancel() -> None:
            try:
                loop.call_soon_threadsafe(cancel_once)
            except RuntimeError:  # it is closed
                pass
            if not loop.is_running():  # it would never tell us
                self._end(None, BrokenOff())

        loop.call_soon_threadsafe(follow)
        self._goes_on(cancel)

    def _done(self, future: concurrent.futures.Future[Any] | asyncio.Future[Any]) -> None:
        if future.cancelled():
            self._end(None, BrokenOff() if self._is_broken else concurrent.futures.CancelledError())
        else:
            error = future.exception()
            self._end(None if error else future.result(), error)

    def _goes_on(self, cancel: Callable[[], object]) -> bool:
        """From now on it can be broken off; was it not, before?"""
        with self._lock:
            self._cancel = cancel
            broken = self._is_broken
        if broken:
            cancel()
        return not broken

    def _end(self, result: Any, error: BaseException | None) -> None:
        with self._lock:
            first, self._is_over = not self._is_over, True
            apart = self._is_apart
        if first:
            self._tell(result, error)
        if first and apart:
            self._resume()


def _home(work: Awaitable[Any], loop: asyncio.AbstractEventLoop | None) -> asyncio.AbstractEventLoop:
    if loop is None or loop.is_closed():
        if inspect.iscoroutine(work):
            work.close()  # else Python warns that nobody awaited it
        raise NoLoop(NO_LOOP)
    return loop
