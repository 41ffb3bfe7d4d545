"""The schedule as a cold Observable: what waits, in order of time, read page by page.

Redis    a b c d e f g h
pages    [a b c][d e f][g h][]       the next one is read when all keys of the one before were delivered
stream   -a-b-c--d-e-f--g-h-|
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Generator
from concurrent.futures import Future
from fnmatch import translate
from functools import partial
from typing import Any

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
from rx_runat.stream.rendezvous import event_loop


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
        steps = self._steps()
        try:
            plan = next(steps)
            while True:
                access = self._access()
                with access.reading:
                    found = access.store.do(plan(access.store.plans))
                plan = steps.send(found)
        except StopIteration:
            pass
        except Exception as error:
            if self._is_left.is_disposed:  # the subscriber raised it
                raise
            self._observer.on_error(error)

    async def list_on_loop(self) -> None:
        """List on an event loop, which goes on while a page is read."""
        steps = self._steps()
        try:
            plan = next(steps)
            while True:
                access = self._access()
                with access.reading:
                    found = await access.store.batches.do(plan(access.store.plans))
                plan = steps.send(found)
        except StopIteration:
            pass
        except Exception as error:
            if self._is_left.is_disposed:
                unhandled(error)
            else:
                self._observer.on_error(error)

    def _steps(self) -> Generator[Callable[[Plans], Plan[Any]], Any, None]:
        """Gives the subscriber all that waits. Yields each plan that is to be carried out, and is sent its result."""
        until_ms = yield lambda plans: plans.moment(self._until)
        cursor = Cursor() if until_ms is None else Cursor(str(until_ms))
        while not self._is_left.is_disposed:
            page: Page = yield partial(_page, cursor)
            if not page.dues:
                self._observer.on_completed()
                return
            cursor = page.last
            for due in page.dues:
                if self._is_left.is_disposed:
                    return
                if self._matches is None or self._matches(due.key):
                    self._observer.on_next(due)


def _page(cursor: Cursor, plans: Plans) -> Plan[Page]:
    return plans.page(cursor)


def _cancel(task: Future[None]) -> None:
    task.cancel()
