"""The schedule as a cold Observable: what waits, in order of time, read page by page.

Redis    a b c d e f g h
pages    [a b c][d e f][g h][]       the next one is read when all keys of the one before were delivered
stream   -a-b-c--d-e-f--g-h-|
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import Future
from fnmatch import translate
from functools import partial
from typing import cast

from reactivex import Observable, abc
from reactivex.disposable import BooleanDisposable, CompositeDisposable, Disposable
from reactivex.scheduler import CurrentThreadScheduler

from rx_runat.errors import InvalidSetting
from rx_runat.model.batch import Cursor, Page
from rx_runat.model.checks import show
from rx_runat.model.job import Due
from rx_runat.model.protocols import Plan, Plans
from rx_runat.model.safe_log import unhandled
from rx_runat.model.times import RunAtTime, to_time
from rx_runat.stream.access import Access
from rx_runat.stream.rendezvous import event_loop, tell_awaiting


def waiting(access: Callable[[], Access], match: str | None, until: RunAtTime | None) -> Observable[Due]:
    """Returns the keys that wait as a stream; see `RunAt.waiting`.

    Args:
        access: returns how the queue is reached.
        match: which keys are listed, a pattern of `fnmatch`; None: all.
        until: keys that are due later are not listed; None: all are.

    Raises:
        InvalidSetting: `match` is no str.
        InvalidJob: `until` is no moment.
    """
    if match is not None and not isinstance(match, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidSetting(f"match: got {show(match)}; it must be a pattern such as 'mail:*'")
    if until is not None:
        to_time(until, "until")
    matches = None if match is None else re.compile(translate(match)).match

    def subscribe(observer: abc.ObserverBase[Due], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        is_left = BooleanDisposable()
        listing = _Listing(access, matches, until, observer, is_left)
        loop = event_loop(scheduler)
        if loop is not None:
            task = asyncio.run_coroutine_threadsafe(listing.list_on_loop(), loop)
            return CompositeDisposable(is_left, Disposable(partial(_cancel, task)))
        here = scheduler or CurrentThreadScheduler.singleton()
        return CompositeDisposable(is_left, here.schedule(lambda _, __: listing.list_here()))

    return Observable(subscribe)


class _Listing:
    """One subscription.

    Args:
        access: returns how the queue is reached.
        matches: tells whether a key is listed; None: all are.
        until: keys that are due later are not listed.
        observer: receives the Dues.
        is_left: disposed of when the subscriber has left.
    """

    def __init__(
        self,
        access: Callable[[], Access],
        matches: Callable[[str], object] | None,
        until: RunAtTime | None,
        observer: abc.ObserverBase[Due],
        is_left: BooleanDisposable,
    ) -> None:
        self._access = access
        self._matches = matches
        self._until = until
        self._observer = observer
        self._is_left = is_left

    def list_here(self) -> None:
        """List on this thread, which waits for each page."""
        read: _Read | None = partial(_first_page, self._until)
        try:
            while read is not None and not self._is_left.is_disposed:
                access = self._access()
                with access.reading:
                    page = access.store.do(read(access.store.plans))
                read = self._deliver(page)
        except BaseException as error:
            # As in RxPY's own cold streams, what the subscriber's on_next raises reaches its on_error. So does a
            # SystemExit: somebody may wait for the end on another thread, as `run()` does.
            if self._is_left.is_disposed:
                raise
            self._observer.on_error(cast("Exception", error))
            if not isinstance(error, Exception):
                raise

    async def list_on_loop(self) -> None:
        """List on an event loop, which goes on while a page is read."""
        read: _Read | None = partial(_first_page, self._until)
        try:
            while read is not None and not self._is_left.is_disposed:
                access = self._access()
                with access.reading:
                    page = await access.store.batches.do(read(access.store.plans))
                try:
                    read = self._deliver(page)
                except BaseException as error:
                    # As on a thread. Only these two end an event loop, which shows them; it drops others in silence.
                    ends_loop = isinstance(error, (SystemExit, KeyboardInterrupt))
                    self._fail(error, is_shown=not ends_loop and not isinstance(error, Exception))
                    if ends_loop:
                        raise
                    return
        except Exception as error:
            self._fail(error)

    def _fail(self, error: BaseException, is_shown: bool = False) -> None:
        """End the listing with an error: tell the observer of it, and show it if the observer has left."""
        if tell_awaiting(error):
            return
        if is_shown or self._is_left.is_disposed:
            unhandled(error)
        if self._is_left.is_disposed:
            return
        try:
            self._observer.on_error(cast("Exception", error))
        except BaseException as raised:
            if not tell_awaiting(raised):
                unhandled(raised)

    def _deliver(self, page: Page) -> _Read | None:
        """Give the subscriber a page. Returns what reads the next one; None: this was the end."""
        if not page.dues:
            self._observer.on_completed()
            return None
        for due in page.dues:
            if self._is_left.is_disposed:
                return None
            if self._matches is None or self._matches(due.key):
                self._observer.on_next(due)
        return partial(_next_page, page.last)


_Read = Callable[[Plans], Plan[Page]]


def _first_page(until: RunAtTime | None, plans: Plans) -> Plan[Page]:
    until_ms = yield from plans.moment(until)
    return (yield from plans.page(Cursor() if until_ms is None else Cursor(str(until_ms))))


def _next_page(after: Cursor, plans: Plans) -> Plan[Page]:
    return plans.page(after)


def _cancel(task: Future[None]) -> None:
    task.cancel()
