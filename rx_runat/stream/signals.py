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
_END = 255  # in the pipe: the reader is to end; no signal has this number


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


class _Pipe:
    """Through which Python's own C code says that a signal has come. Made and closed on the main thread.

    Attributes:
        reading: the reader's end, which it closes.
        has_reader: True until then.
    """

    def __init__(self) -> None:
        self.reading, self._writing = os.pipe()
        self._spare = os.dup(self.reading)  # while it is open, Python can write although the reader has gone
        os.set_blocking(self._writing, False)
        self.has_reader = True
        self._is_wakeup = False
        self._pid = os.getpid()

    def set_wakeup(self) -> None:
        """Have Python write the number of each signal here, unless an event loop has such a pipe of its own."""
        earlier = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        self._is_wakeup = earlier < 0
        if not self._is_wakeup:
            signal.set_wakeup_fd(earlier, warn_on_full_buffer=False)

    def write(self, number: int) -> None:
        if os.getpid() == self._pid:  # else the reader is the parent's
            with contextlib.suppress(OSError):
                os.write(self._writing, bytes([number]))

    def close_reading(self) -> None:
        if self.has_reader:
            self.has_reader = False
            os.close(self.reading)

    def close(self, *numbers: int) -> None:
        """Let the reader read what is in it, and end.

        Args:
            numbers: what to write if Python has not written it.
        """
        present = signal.set_wakeup_fd(-1) if self._is_wakeup else -1
        is_ours = present == self._writing
        if not is_ours:
            for number in numbers:
                self.write(number)
            if self._is_wakeup:  # an event loop has put its own pipe in place of ours, and may put ours back
                signal.set_wakeup_fd(present, warn_on_full_buffer=False)
                return
        os.close(self._writing)
        os.close(self._spare)


class _Watch:
    """The handlers of this process, while somebody waits for a signal.

    A handler runs on the main thread between two steps of whatever that thread does, perhaps while it holds a lock that
    a subscriber needs. And it may run late: a main thread that begins to wait for a lock or for its event loop, just
    when the signal comes, first ends that wait. So Python's C code writes the number into a pipe at once, and a thread
    that reads it calls the subscribers. The handler only puts the earlier handlers back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the first of the four below; the handler does not take it
        self._waiting: tuple[Callable[[signal.Signals], None], ...] = ()
        self._is_left = False  # all have left before a signal came
        self._earlier: dict[signal.Signals, Any] = {}  # the handlers that were there before ours
        self._pipe: _Pipe | None = None  # while our handlers are in force

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
        self._put_back()  # of earlier subscribers, who left on another thread
        pipe = _Pipe()
        try:
            threading.Thread(target=self._read, args=(pipe,), name="rx_runat signals", daemon=True).start()
        except BaseException:  # a limit of threads
            pipe.close_reading()
            pipe.close()
            raise
        self._is_left = False
        self._pipe = pipe
        try:
            pipe.set_wakeup()
            for number in _NUMBERS:
                earlier = signal.getsignal(number)
                # What the process ignores stays ignored: SIGINT in the background of a shell, for instance. And if a
                # signal has come already, its handler has put the earlier ones back.
                if earlier is not signal.SIG_IGN and self._pipe is pipe:
                    self._earlier[number] = earlier
                    signal.signal(number, self._handle)
        except BaseException:  # of an earlier handler, such as KeyboardInterrupt
            self._end()
            raise

    def _end(self) -> None:
        self._is_left = True
        if threading.current_thread() is threading.main_thread():
            self._put_back()
        elif self._pipe is not None:
            self._pipe.write(_END)

    def _put_back(self, *numbers: int) -> None:
        """Put the earlier handlers back, on the main thread. A signal may come, and do the same, in between."""
        for number, handler in self._earlier.items():
            if signal.getsignal(number) == self._handle:  # else somebody has set another one since
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._earlier = {}
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.close(*numbers, _END)

    def _handle(self, number: int, _: FrameType | None) -> None:
        is_left = self._is_left
        self._put_back(number)
        if is_left:
            os.kill(os.getpid(), number)

    def _read(self, pipe: _Pipe) -> None:
        """Read until our handlers are out of force: until then, a second signal has not done what it usually does."""
        first = second = 0
        try:
            while (said := os.read(pipe.reading, 1)) and said[0] != _END:
                if said[0] not in _NUMBERS:  # of another signal
                    continue
                if not first:
                    first = said[0]
                    self._call(signal.Signals(first))
                else:
                    second = said[0]
        finally:
            pipe.close_reading()
        if second:
            os.kill(os.getpid(), second)

    def _call(self, number: signal.Signals) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, ()
        for received in waiting:
            try:
                received(number)
            except BaseException as error:  # a bug of one subscriber: the others must end as well
                unhandled(error)

    def leave_to_parent(self) -> None:
        """In a forked child: its signals are its own, and nobody waits for them here."""
        self._lock = threading.Lock()
        self._waiting = ()
        if self._pipe is not None:
            self._pipe.close_reading()
        self._put_back()


_watch = _Watch()
in_child(_watch.leave_to_parent)
