"""`signals`: an Observable of the signals that ask a process to end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from queue import SimpleQueue
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
    before are in force again, so a second one ends the process as usual. A signal that the process ignores stays
    ignored, as where a shell's script started it in the background. Do not use this beside a server that has handlers
    of its own, such as uvicorn: let the server stop the queue.

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
    a subscriber needs. So the handler only puts the signal into a `SimpleQueue`, which takes no lock for that, and a
    thread calls the subscribers. The handler may also come between any two steps of the methods here: they put the
    earlier handlers back in such an order that it finds each either in force, or in `_earlier`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the three below; the handler does not take it
        self._waiting: tuple[Callable[[signal.Signals], None], ...] = ()
        self._earlier: dict[signal.Signals, Any] = {}  # the handlers that were there before ours
        self._box: SimpleQueue[signal.Signals | None] | None = None  # for the thread; None in it: nobody waits any more

    def join(self, received: Callable[[signal.Signals], None]) -> None:
        """Call this with the next signal.

        Raises:
            InvalidSetting: this is another thread than the main one.
            RuntimeError: no thread can be started.
        """
        if threading.current_thread() is not threading.main_thread():
            raise InvalidSetting("signals() must be subscribed to on the main thread: Python sets handlers there only")
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
        box = SimpleQueue[signal.Signals | None]()
        threading.Thread(target=self._read, args=(box,), name="rx_runat signals", daemon=True).start()
        self._box = box
        try:
            for number in _NUMBERS:
                handler = signal.getsignal(number)
                if handler not in (self._handle, signal.SIG_IGN):
                    self._earlier[number] = handler
                    signal.signal(number, self._handle)
        except BaseException:  # of an earlier handler, as KeyboardInterrupt
            self._end()
            raise

    def _end(self) -> None:
        box, self._box = self._box, None
        if box is not None:
            box.put(None)
        if threading.current_thread() is threading.main_thread():
            self._put_back()

    def _put_back(self) -> None:
        """Put the earlier handlers back, on the main thread."""
        for number, handler in tuple(self._earlier.items()):
            if signal.getsignal(number) == self._handle:  # else somebody has set another one since
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
            self._earlier.pop(number, None)

    def _handle(self, number: int, _: FrameType | None) -> None:
        box = self._box
        self._put_back()
        if box is not None:
            box.put(signal.Signals(number))
        else:  # nobody waits any more
            os.kill(os.getpid(), number)

    def _read(self, box: SimpleQueue[signal.Signals | None]) -> None:
        number = box.get()
        if number is None:
            return
        with self._lock:
            waiting: tuple[Callable[[signal.Signals], None], ...] = ()
            if self._box is box:
                waiting, self._waiting = self._waiting, ()
                self._end()
        if not waiting:  # the last one left at this moment: the signal does what it would have done without us
            os.kill(os.getpid(), number)
        for received in waiting:
            try:
                received(number)
            except BaseException as error:  # a bug of one subscriber: the others must end as well
                unhandled(error)

    def leave_to_parent(self) -> None:
        """In a forked child: its signals are its own, and nobody waits for them here."""
        self._lock = threading.Lock()
        self._waiting = ()
        self._box = None
        self._put_back()


_watch = _Watch()
in_child(_watch.leave_to_parent)
