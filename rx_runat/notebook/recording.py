"""Recordings of Observables: live for some seconds, or at once in virtual time.

`Marbles` and `Lateness` are the two kinds of recordings.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from abc import abstractmethod
from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import Any, Self

import reactivex as rx
from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable
from reactivex.scheduler import VirtualTimeScheduler

from rx_runat.errors import InvalidSetting
from rx_runat.model.checks import show
from rx_runat.model.foreign_values import hint, to_length
from rx_runat.model.forks import renew_in_child
from rx_runat.notebook.display import shown
from rx_runat.stream.loop import Loop
from rx_runat.stream.ticks import Seconds

_REDRAW_SECONDS = 0.25  # a growing picture looks alive at four updates a second; each sends the whole SVG


class Recording(abc.DisposableBase):
    """Subscribes to streams at once; unsubscribes when its time is over, all have ended, or it is disposed.

    Args:
        seconds: how long to record.
        streams: streams by name, which are subscribed in this order.
        scheduler: a virtual-time scheduler; then all of the time passes in the constructor. None to record live.
    """

    def __init__(
        self, seconds: Seconds, streams: Mapping[str, Observable[Any]], scheduler: abc.SchedulerBase | None
    ) -> None:
        self.seconds = seconds_of(seconds)
        virtual = scheduler if isinstance(scheduler, VirtualTimeScheduler) else None
        if scheduler is not None and virtual is None:
            raise InvalidSetting(
                f"scheduler: got {show(scheduler)}; it must be a virtual-time scheduler, or None to record live"
            )
        for name, stream in streams.items():
            if not isinstance(stream, Observable):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InvalidSetting(f"{name}: got {show(stream)}; it must be an Observable")
        self._lock = threading.RLock()  # guards what was recorded: streams emit on different threads
        self._over = threading.Event()
        self._then: list[Callable[[], object]] = []
        self._running = len(streams)
        self._subscriptions = CompositeDisposable()
        self._loop = Loop("rx_runat recording") if virtual is None else None
        self._scheduler = self._loop or virtual
        assert self._scheduler is not None
        self._began = self._scheduler.now
        self._ended_after: float | None = None
        if self._loop is not None:
            self._loop.schedule_relative(self.seconds, self._dispose_later)
        for name, stream in streams.items():
            self._subscribe_to(name, stream)
        if not streams:
            self.dispose()
        elif virtual is not None:
            virtual.advance_by(self.seconds)
            self.dispose()
        renew_in_child(self, Recording._leave_to_parent)

    # What a picture is made of.

    @abstractmethod
    def add(self, name: str, after: float, value: Any) -> None:
        """Note a value of a stream. Called under the lock."""

    @abstractmethod
    def end(self, name: str, after: float, error: Exception | None) -> None:
        """Note the end of a stream. Called under the lock."""

    @abstractmethod
    def svg(self) -> str:
        """The picture of what was recorded so far, as SVG."""

    @abstractmethod
    def text(self) -> str:
        """What was recorded so far as text, for terminals."""

    # When it is over.

    @property
    def is_over(self) -> bool:
        """True once it has unsubscribed from all streams."""
        return self._over.is_set()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning; once it is over, how long it took."""
        if self._ended_after is not None:
            return self._ended_after
        assert self._scheduler is not None
        return min((self._scheduler.now - self._began).total_seconds(), self.seconds)

    def run(self) -> Self:
        """Wait for the end, and return the recording.

        In a notebook, `await` the recording instead: a stream may need the event loop, which this blocks.
        """
        try:
            self._over.wait()
        except BaseException:  # Ctrl-C
            self.dispose()
            raise
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        """Wait for the end, and return the recording. Cancelling the wait ends the recording."""
        loop = asyncio.get_running_loop()
        over = loop.create_future()

        def wake() -> None:
            if not over.done():
                over.set_result(None)

        def wake_threadsafe() -> None:
            try:
                loop.call_soon_threadsafe(wake)
            except RuntimeError:  # the event loop is closed: nobody waits on it
                pass

        self._when_over(wake_threadsafe)
        try:
            yield from over
        except BaseException:
            self.dispose()
            raise
        return self

    def dispose(self) -> None:
        """Unsubscribe now, and keep what was recorded. May be repeated."""
        with self._lock:
            if self._ended_after is not None:
                return
            self._ended_after = self.elapsed
        self._subscriptions.dispose()
        if self._loop is not None:
            self._loop.dispose()
        with self._lock:
            self._over.set()
            then, self._then = self._then, []
        for each in then:
            each()

    def _leave_to_parent(self) -> None:
        """In a forked child: it is over, with what was recorded until then. The subscriptions are the parent's."""
        self._lock = threading.RLock()
        self._ended_after = self.elapsed
        self._over = threading.Event()
        self._over.set()
        self._then = []
        if self._loop is not None:
            self._loop.leave_to_parent()

    def _dispose_later(self, *_: object) -> None:
        self.dispose()

    def _when_over(self, action: Callable[[], object]) -> None:
        with self._lock:
            if not self._over.is_set():
                self._then.append(action)
                return
        action()

    # How it is shown.

    def __repr__(self) -> str:
        with self._lock:
            return self.text()

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        with self._lock:
            return {"image/svg+xml": self.svg(), "text/plain": self.text()}

    def _ipython_display_(self) -> None:
        """Show the picture, and replace it while it grows."""
        show_again = shown(self._repr_mimebundle_())
        if self.is_over or self._loop is None:
            return

        def redraw(*_: object) -> None:
            show_again(self._repr_mimebundle_())

        rx.interval(_REDRAW_SECONDS, scheduler=self._loop).subscribe(redraw)
        self._when_over(redraw)

    # Subscribing.

    def _subscribe_to(self, name: str, stream: Observable[Any]) -> None:
        on_next, ended = partial(self._note, name), partial(self._note_end, name)
        try:
            self._subscriptions.add(stream.subscribe(on_next, ended, ended, scheduler=None))
        except Exception as error:  # `subscribe` itself raised
            ended(error)

    def _note(self, name: str, value: Any) -> None:
        with self._lock:
            if self._ended_after is None:
                self.add(name, self.elapsed, value)

    def _note_end(self, name: str, error: Exception | None = None) -> None:
        with self._lock:
            if self._ended_after is not None:
                return
            self.end(name, self.elapsed, error)
            self._running -= 1
            if self._running:
                return
        if self._loop is not None:  # on our loop: the stream that ends right now may hold a lock that disposal needs
            self._loop.schedule(self._dispose_later)


def seconds_of(value: object, name: str = "seconds") -> float:
    """A span of time in seconds.

    Raises:
        InvalidSetting: the value is no span of time, or is not positive and finite.
    """
    seconds = to_length(value)
    if seconds is None:
        raise InvalidSetting(f"{name}: got {show(value)}; it must be seconds, such as 3, or a timedelta{hint(value)}")
    if not 0 < seconds <= sys.float_info.max:
        raise InvalidSetting(f"{name}: got {show(value)}; it must be positive and finite")
    return float(seconds)
