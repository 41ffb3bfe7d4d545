"""Hot Observables that call each subscriber directly: an exception of one subscriber ends that one alone.

    Hot.subscribe(...)  -->  Publisher.join(Subscriber)      the publisher calls `Subscriber.on_next` for each value

RxPY's `Subject` raises a subscriber's exception at the caller of `on_next`, and hides whether a value was received.
Here the publisher calls each subscriber itself, and so knows whether it received the value, left, or raised.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, Protocol, TypeVar, cast

from reactivex import Observable, abc
from reactivex.disposable import Disposable
from reactivex.run import run
from reactivex.scheduler import CurrentThreadScheduler

from rx_runat.errors import InvalidSetting
from rx_runat.model.forks import only_here
from rx_runat.model.safe_log import unhandled
from rx_runat.stream.interrupted_run import end_if_interrupted
from rx_runat.stream.rendezvous import LoopHandler, event_loop, running_loop, tell_awaiting
from rx_runat.stream.unrun import refuse_unrun

_T = TypeVar("_T")

_LONGEST_SUBSCRIBE = 0.1  # seconds; most take microseconds, but a busy machine may stop the thread in between


class Subscriber(Generic[_T]):
    """One subscription: the user's three callbacks, and the thread that they run on.

    Args:
        on_next: the user's callback, kept as `handler`. The attribute `on_next` is what a publisher calls: it returns
            when the handler has, raises what the handler raised, and `NotReceived` if the subscriber left before.
        on_error: for the error that ends the stream; None if the user gave none.
        on_completed: for the end of the stream.
        scheduler: of the subscription; if it is an asyncio one, all three run on its event loop.
        on_all: as in `subscribe_in_bulk`; None: values come one by one.

    Attributes:
        on_all: as above; None, too, if an event loop takes the values.
        left: called, from any thread, when a source gives it no more values; perhaps more than once.
    """

    __slots__ = (
        *("_joiner", "_loop_handler", "_on_completed", "_on_error", "_subscribed"),
        *("handler", "left", "on_all", "on_next", "scheduler"),
    )

    def __init__(
        self,
        on_next: Callable[[_T], object] | None,
        on_error: Callable[[Exception], object] | None = None,
        on_completed: Callable[[], object] | None = None,
        scheduler: abc.SchedulerBase | None = None,
        on_all: Callable[[list[_T]], object] | None = None,
    ) -> None:
        self.scheduler = scheduler
        self.left: Callable[[], object] = _nothing
        self._subscribed: threading.Event | None = None
        self._joiner = 0
        self.handler: Callable[[_T], object] = on_next or _ignore
        self.on_next = self.handler
        self._on_error = on_error
        self._on_completed = on_completed
        self._loop_handler: LoopHandler[_T] | None = None
        loop = event_loop(scheduler)
        self.on_all = on_all if loop is None else None
        if loop is not None:
            self._loop_handler = LoopHandler(loop, self.handler)
            self.on_next = self._loop_handler.on_next

    def note_join(self) -> None:
        """Note that this thread is inside the `subscribe` of this subscriber; see `wait_until_subscribed`."""
        self._joiner = threading.get_ident()
        subscribed = self._subscribed = threading.Event()

        def note_return(_: abc.SchedulerBase, __: object = None) -> None:
            subscribed.set()

        # A chain of operators is subscribed to inside RxPY's trampoline, which runs this when the outermost `subscribe`
        # has returned. Without a chain it runs at once.
        CurrentThreadScheduler.singleton().schedule(note_return)

    def wait_until_subscribed(self) -> None:
        """Wait, on a source's thread, until the outermost `subscribe` of a chain of operators has returned.

        An operator that has enough, such as `ops.take`, cannot leave before that, because it has no subscription yet to
        dispose of; so what came after its last item would be lost. An event loop needs no wait: it calls the subscriber
        when the `subscribe` that it runs has returned.

        The wait ends after a tenth of a second, because something else may keep the trampoline: an `on_next` that it
        runs may call `run()`, which returns only when keys have come.
        """
        subscribed = self._subscribed
        if subscribed is None:
            return
        if self._joiner != threading.get_ident() and self._loop_handler is None:
            subscribed.wait(_LONGEST_SUBSCRIBE)
        self._subscribed = None

    def wrap_handler(self, context: Callable[[], AbstractContextManager[None]]) -> None:
        """Run the handler inside a context, if it runs on an event loop. The source's thread is inside it already."""
        if self._loop_handler is None:
            return
        handler = self._loop_handler.handler

        def wrapped(value: _T) -> None:
            with context():
                handler(value)

        self._loop_handler.handler = wrapped

    def fail(self, error: BaseException, has_left: bool = False) -> None:
        """End with an error, given to the user's `on_error`, whatever its kind: somebody may wait for the end.

        It is shown as well where nobody may handle it: without an `on_error`, or if the observer has ended already (an
        operator's `on_error` raised), and for `SystemExit` and its like, which an `on_error` does not expect.

        Args:
            error: what ends the stream.
            has_left: True if the subscription was disposed of before, as operators do when they have ended.
        """
        if tell_awaiting(error):
            return
        on_error = self._on_error
        # RxPY's own `on_error` passes nothing on after its observer has ended; the user's is called all the same.
        is_lost = has_left and str(getattr(on_error, "__module__", "")).startswith("reactivex.")
        is_shown = is_lost or on_error is None or not isinstance(error, Exception) or _has_ended(on_error)
        if is_shown:
            unhandled(error)
        if on_error is not None:
            self._run_last(lambda: on_error(cast("Exception", error)), error if is_shown else None)

    def complete(self) -> None:
        """End without an error."""
        if self._on_completed is not None:
            self._run_last(self._on_completed)

    def unblock_source(self) -> None:
        """Note that it has left its source. What its event loop has not taken yet goes back, without a wait for it."""
        self.left()
        if self._loop_handler is not None:
            self._loop_handler.close()

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that the publisher waits for with each value; None if it waits for none."""
        return None if self._loop_handler is None else self._loop_handler.loop

    @property
    def is_waited_for(self) -> bool:
        """True if `run()` subscribes: it blocks this thread until the stream ends. To be asked while it subscribes.

        A `run()` on this thread's stack has passed its scheduler on. The scheduler alone proves nothing, because an
        operator such as `ops.flat_map` uses it again later, on the publisher's thread, which then waits for nobody.
        """
        frame = inspect.currentframe()
        while frame is not None:
            if frame.f_code is run.__code__ and frame.f_locals.get("scheduler") is self.scheduler:
                return True
            frame = frame.f_back
        return False

    def refuse_to_wait(self) -> None:
        """Raise InvalidSetting if `run()` subscribes: the publisher waits for this thread to return from a callback."""
        if self.is_waited_for:
            raise InvalidSetting(
                "run() in an on_next of the same stream would wait for ever, because the next value comes when that "
                "on_next has returned; subscribe instead"
            )

    def run(self, action: Callable[[], object]) -> None:
        """Run an action where the callbacks run: here, or soon on their event loop, without waiting for it."""
        if self._loop_handler is None:
            action()
        else:
            self._loop_handler.post(action)  # if that event loop is closed, nobody is left to run it for

    def dispose_of(self, disposable: abc.DisposableBase) -> None:
        """Dispose of what was subscribed for this subscriber, where its callbacks run. What that raises is shown.

        It may hold a timer of the subscriber's event loop, and no other thread may cancel that.
        """

        def dispose() -> None:
            try:
                disposable.dispose()
            except BaseException as error:  # a bug of an operator
                unhandled(error)

        if self.loop is not None and self.loop.is_running() and self.loop is not running_loop():
            self.run(dispose)
        else:
            dispose()

    def _run_last(self, action: Callable[[], object], shown: BaseException | None = None) -> None:
        def guarded() -> None:
            try:
                action()
            except BaseException as error:  # the subscription has ended: only the hook is left to report it
                if error is not shown and not tell_awaiting(error):  # RxPY's own `on_error` raises what it is given
                    unhandled(error)

        self.run(guarded)


class Publisher(Protocol[_T]):
    """Gives values to subscribers: a source gives keys, a `Broadcast` gives notices."""

    def join(self, subscriber: Subscriber[_T]) -> None:
        """Give a subscriber the values from now on."""
        ...

    def leave(self, subscriber: Subscriber[_T]) -> None:
        """Give a subscriber no more values; may be repeated."""
        ...


class Current(Generic[_T]):
    """The publisher behind a stream at the moment: a forked child puts another in its place.

    Attributes:
        publisher: the present one.
    """

    def __init__(self, publisher: Publisher[_T]) -> None:
        self.publisher = publisher

    def join(self, subscriber: Subscriber[_T]) -> None:
        """Give a subscriber the values from now on."""
        self.publisher.join(subscriber)

    def leave(self, subscriber: Subscriber[_T]) -> None:
        """Give a subscriber no more values; may be repeated."""
        self.publisher.leave(subscriber)


class Hot(Observable[_T]):
    """The Observable of a publisher.

    Args:
        publisher: calls the subscribers.
    """

    def __init__(self, publisher: Publisher[_T]) -> None:
        super().__init__()
        self._publisher = publisher

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(
            f"{self!r} cannot be pickled or copied, because its threads and connections belong to this process; make a "
            "RunAt of the same queue_name there"
        )

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
            on_next: called with each value, one at a time; or an observer, and then the other callbacks are ignored.
            on_error: called at most once, with what ended the stream or with what `on_next` raised.
            on_completed: called at most once.
            scheduler: if it is an asyncio one, the callbacks run on its event loop, one value at a time, while the
                source waits; other schedulers are ignored.

        Returns:
            The subscription; dispose of it to leave.

        Raises:
            InvalidSetting: a callback of which a call runs no line, such as an `async def`; or a `run()` that would
                wait for ever, such as one in an `on_next` of this stream.
        """
        if callable(getattr(on_next, "on_next", None)):
            observer = cast("abc.ObserverBase[_T]", on_next)
            on_next, on_error, on_completed = observer.on_next, observer.on_error, observer.on_completed
        for name, callback in (("on_next", on_next), ("on_error", on_error), ("on_completed", on_completed)):
            refuse_unrun(name, callback)
        subscriber = Subscriber(cast("abc.OnNext[_T] | None", on_next), on_error, on_completed, scheduler)
        return end_if_interrupted(self._join(subscriber), on_next, on_completed)

    def _join(self, subscriber: Subscriber[_T]) -> abc.DisposableBase:
        publisher = self._publisher
        publisher.join(subscriber)
        return Disposable(only_here(lambda: publisher.leave(subscriber)))


def subscribe_in_bulk(
    stream: Observable[_T],
    on_next: abc.OnNext[_T],
    on_all: Callable[[list[_T]], object],
    on_error: abc.OnError,
    on_completed: abc.OnCompleted,
    scheduler: abc.SchedulerBase | None,
) -> abc.DisposableBase:
    """Subscribe a part of this package that can take many values in one call.

    Args:
        stream: a `Hot`; any other Observable calls `on_next` alone.
        on_next: called where values come one by one.
        on_all: called with at least one value, in order. In real time it runs none of the user's code. If it raises,
            all of these values count as not received.
        on_error: as in `Hot.subscribe`, as are the other two.
        on_completed: likewise.
        scheduler: likewise.
    """
    if isinstance(stream, Hot):
        hot: Hot[Any] = stream
        return hot._join(Subscriber(on_next, on_error, on_completed, scheduler, on_all))  # pyright: ignore[reportPrivateUsage]
    return stream.subscribe(on_next, on_error, on_completed, scheduler=scheduler)


def _has_ended(on_error: Callable[[Exception], object]) -> bool:
    """True if this is the `on_error` of an RxPY observer that has ended, and so ignores all errors."""
    return getattr(getattr(on_error, "__self__", None), "is_stopped", False) is True


def _ignore(_: object) -> None:
    pass


def _nothing() -> None:
    pass
