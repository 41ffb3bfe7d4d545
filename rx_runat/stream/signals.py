"""`signals`: an Observable of the signals that ask a process to end."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import reactivex as rx
from reactivex import Observable, abc
from reactivex.disposable import Disposable

from rx_runat.errors import InvalidSetting
from rx_runat.model.forks import in_child
from rx_runat.model.safe_log import unhandled

_NUMBERS = (signal.SIGTERM, signal.SIGINT)


def signals() -> Observable[signal.Signals]:
    """The first SIGTERM or SIGINT that this process receives, and then the end.

        SIGTERM    ---------------x-----x->      the second one kills, as if nobody had subscribed
        signals()  ---------------S|

    While somebody is subscribed, these signals do nothing else. When the first one comes, the handlers that were there
    before are in force again, so a second one ends the process as usual. Do not use this beside a server that has
    handlers of its own, such as uvicorn: let the server stop the queue.

    Temperature: cold; all who are subscribed receive the signal.
    Scheduler:   `on_next` is called on a thread of its own, never inside the signal handler.
    Errors:      subscribed to on another thread than the main one, where Python sets no handlers: `on_error` with
                 InvalidSetting.
    Disposal:    the last one to leave puts the earlier handlers back; from another thread than the main one, when the
                 next signal comes, which then does what it would have done without us.

    Example:
        >>> from rx_runat import RunAt, settle, signals
        >>> from reactivex import operators as ops
        >>> with RunAt("memory://") as queue:
        ...     outcomes = queue.claims().pipe(settle(print, until=signals()), ops.count())

    See Also:
        `settle`, whose `until` ends the work in order.
    """

    def subscribe(observer: abc.ObserverBase[signal.Signals], _: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        def received(number: signal.Signals) -> None:
            observer.on_next(number)
            observer.on_completed()

        try:
            _watch.join(received)
        except (InvalidSetting, RuntimeError) as error:
            observer.on_error(error)
            return Disposable()
        return Disposable(lambda: _watch.leave(received))

    return rx.create(subscribe)


class _Watch:
    """The handlers of this process, while somebody waits for a signal.

    A handler runs on the main thread between two steps of whatever that thread does, perhaps while it holds a lock that
    a subscriber needs. So the handler only writes a byte into a pipe, and a thread that reads it calls the subscribers.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the three below; the handler does not take it
        self._waiting: tuple[Callable[[signal.Signals], None], ...] = ()
        self._earlier: dict[signal.Signals, Any] = {}  # the handlers that were there before ours
        self._pipe: tuple[int, int] | None = None  # its reader closes the first, `_end` the second

    def join(self, received: Callable[[signal.Signals], None]) -> None:
        """Call this with the next signal.

        Raises:
            InvalidSetting: this is another thread than the main one.
            RuntimeError: no thread can be started.
        """
        with self._lock:
            if not self._waiting:
                self._begin()
            self._waiting += (received,)

    def leave(self, received: Callable[[signal.Signals], None]) -> None:
        """Do not call this any more."""
        with self._lock:
            was_waiting = received in self._waiting
            self._waiting = tuple(each for each in self._waiting if each is not received)
            if was_waiting and not self._waiting:
                self._end()

    def _begin(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise InvalidSetting("signals() must be subscribed to on the main thread: Python sets handlers there only")
        reading, writing = os.pipe()
        try:
            threading.Thread(target=self._read, args=(reading,), name="rx_runat signals", daemon=True).start()
        except BaseException:  # a limit of threads
            os.close(reading)
            os.close(writing)
            raise
        self._pipe = reading, writing
        if not self._earlier:
            self._earlier = {number: signal.signal(number, self._handle) for number in _NUMBERS}

    def _end(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe[1])  # the reader reads its end, and ends
            self._pipe = None
        if threading.current_thread() is threading.main_thread():
            self._put_back()

    def _put_back(self) -> None:
        """Put the earlier handlers back, on the main thread."""
        earlier, self._earlier = self._earlier, {}
        for number, handler in earlier.items():
            if signal.getsignal(number) == self._handle:  # else somebody has set another one since
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _handle(self, number: int, _: FrameType | None) -> None:
        pipe = self._pipe
        self._put_back()
        if pipe is None:  # nobody waits any more
            os.kill(os.getpid(), number)
            return
        with contextlib.suppress(OSError):
            os.write(pipe[1], bytes([number]))

    def _read(self, reading: int) -> None:
        try:
            said = os.read(reading, 1)
        finally:
            os.close(reading)
        if not said:
            return
        with self._lock:
            waiting, self._waiting = self._waiting, ()
            self._end()
        for received in waiting:
            try:
                received(signal.Signals(said[0]))
            except BaseException as error:  # a bug of one subscriber: the others must end as well
                unhandled(error)

    def leave_to_parent(self) -> None:
        """In a forked child: its signals are its own, and nobody waits for them here."""
        self._lock = threading.Lock()
        self._waiting = ()
        if self._pipe is not None:
            for each in self._pipe:
                with contextlib.suppress(OSError):
                    os.close(each)
            self._pipe = None
        self._put_back()


_watch = _Watch()
in_child(_watch.leave_to_parent)
