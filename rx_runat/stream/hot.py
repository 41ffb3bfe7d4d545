"""Hot Observables whose subscribers are guarded: what one of them raises stays with that one.

RxPY's `Subject` lets a subscriber's exception reach whoever calls `on_next`, and hides whether a value was received.
Here each subscriber is called directly, and the caller learns what became of the call.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Generic, Protocol, TypeVar, cast

from reactivex import Observable, abc
from reactivex.disposable import Disposable

from rx_runat.stream.rendezvous import Rendezvous, event_loop

_T = TypeVar("_T")


class Subscriber(Generic[_T]):
    """Who subscribed: what to call, and where.

    Args:
        on_next: the subscriber's own, kept as `handler`. Called as `on_next` it waits until the handler is done,
            raises what that raises, and `NotTaken` if the subscriber left before.
        on_error: for a terminal error; None if the subscriber gave none.
        on_completed: for the end.
        scheduler: of the subscription; an asyncio one says where all three run.
    """

    __slots__ = ("_meet", "_on_completed", "_on_error", "handler", "on_next", "scheduler")

    def __init__(
        self,
        on_next: Callable[[_T], object] | None,
        on_error: Callable[[Exception], object] | None = None,
        on_completed: Callable[[], object] | None = None,
        scheduler: abc.SchedulerBase | None = None,
    ) -> None:
        self.scheduler = scheduler
        self.handler: Callable[[_T], object] = on_next or _ignore
        self.on_next = self.handler
        self._on_error = on_error
        self._on_completed = on_completed
        self._meet: Rendezvous[_T] | None = None
        loop = event_loop(scheduler)
        if loop is not None:
            self._meet = Rendezvous(loop, self.handler)
            self.on_next = self._meet.on_next

    def mark(self, context: Callable[[], AbstractContextManager[None]]) -> None:
        """Enter a context around the subscriber's own code where that runs on another thread than its source."""
        if self._meet is None:
            return
        handler = self._meet.handler

        def marked(value: _T) -> None:
            with context():
                handler(value)

        self._meet.handler = marked

    def fail(self, error: BaseException) -> None:
        """End with an error: the subscriber's own `on_error`, or the interpreter's hook for threads."""
        on_error = self._on_error
        if on_error is None or not isinstance(error, Exception):
            unhandled(error)
        else:
            self._last(lambda: on_error(error))

    def complete(self) -> None:
        """End well."""
        if self._on_completed is not None:
            self._last(self._on_completed)

    def withdraw(self) -> None:
        """Let a source go on that waits for this subscriber's event loop."""
        if self._meet is not None:
            self._meet.withdraw()

    def run(self, action: Callable[[], object]) -> None:
        """Run something where the subscriber's own code runs, without waiting for it."""
        if self._meet is None:
            action()
        else:
            self._meet.post(action)

    def _last(self, action: Callable[[], object]) -> None:
        def guarded() -> None:
            try:
                action()
            except BaseException as error:  # the last call to it: nobody is left to be told but the hook
                unhandled(error)

        self.run(guarded)


class Crowd(Protocol[_T]):
    """Where subscribers join and leave."""

    def join(self, subscriber: Subscriber[_T]) -> None:
        """Let it have what comes from now on."""
        ...

    def leave(self, subscriber: Subscriber[_T]) -> None:
        """Let it have no more; may be repeated."""
        ...


class Hot(Observable[_T]):
    """An Observable whose subscribers join a crowd, each called directly.

    Args:
        crowd: that they join.
    """

    def __init__(self, crowd: Crowd[_T]) -> None:
        super().__init__()
        self._crowd = crowd

    def subscribe(
        self,
        on_next: abc.ObserverBase[_T] | abc.OnNext[_T] | None = None,
        on_error: abc.OnError | None = None,
        on_completed: abc.OnCompleted | None = None,
        *,
        scheduler: abc.SchedulerBase | None = None,
    ) -> abc.DisposableBase:
        """Subscribe an observer, or callbacks, to what comes from now on.

        Args:
            on_next: called with each value, one at a time; or an observer, then the others are ignored.
            on_error: called at most once, with what ended the stream or with what `on_next` raised.
            on_completed: called at most once.
            scheduler: an asyncio one says where these run, the source waiting; others are ignored.

        Returns:
            The subscription; dispose of it to leave.
        """
        if callable(getattr(on_next, "on_next", None)):
            observer = cast("abc.ObserverBase[_T]", on_next)
            on_next, on_error, on_completed = observer.on_next, observer.on_error, observer.on_completed
        subscriber = Subscriber(cast("abc.OnNext[_T] | None", on_next), on_error, on_completed, scheduler)
        self._crowd.join(subscriber)
        return Disposable(lambda: self._crowd.leave(subscriber))


class Notices(Generic[_T]):
    """A crowd that hears what is published: on the publisher's thread, or soon on the event loop that it named."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscribers: tuple[Subscriber[_T], ...] = ()
        self._ended = False

    def join(self, subscriber: Subscriber[_T]) -> None:
        """Hear what is published from now on; after the end, complete at once."""
        with self._lock:
            ended = self._ended
            if not ended:
                self._subscribers += (subscriber,)
        if ended:
            subscriber.complete()

    def leave(self, subscriber: Subscriber[_T]) -> None:
        """Hear no more."""
        with self._lock:
            self._subscribers = tuple(each for each in self._subscribers if each is not subscriber)

    def publish(self, value: _T) -> None:
        """Tell everyone; who raises leaves. An event loop is told when it comes to it: nobody waits for it."""
        for subscriber in self._subscribers:
            subscriber.run(partial(self._tell, subscriber, value))

    def end(self) -> None:
        """Complete everyone; may be repeated."""
        with self._lock:
            ended, self._ended = self._ended, True
        if not ended:
            for subscriber in self._subscribers:
                subscriber.complete()

    def _tell(self, subscriber: Subscriber[_T], value: _T) -> None:
        if subscriber in self._subscribers:  # it may have left before its event loop came to it
            try:
                subscriber.handler(value)
            except BaseException as error:  # its bug stays with it
                self.leave(subscriber)
                subscriber.fail(error)


def unhandled(error: BaseException) -> None:
    """Show an exception that has nobody to go to, as Python shows those that end a thread."""
    hook_args = (type(error), error, error.__traceback__, threading.current_thread())
    try:
        threading.excepthook(threading.ExceptHookArgs(hook_args))
    except Exception:  # a broken hook must not end the loop
        sys.excepthook(*hook_args[:3])


def _ignore(_: object) -> None:
    pass
