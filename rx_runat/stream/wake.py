"""The head of the schedule as a stream, so that sources that sleep are woken by the writes of any process.

All sources of a queue share one listener: one connection to Redis and one thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import reactivex as rx
from reactivex import Observable, abc
from reactivex.disposable import Disposable

from rx_runat.model.protocols import HeadTracker
from rx_runat.model.safe_log import fault
from rx_runat.stream.listener import HeadListener, Heads
from rx_runat.stream.loop import Loop


class HeadWatch:
    """Watches the head of the schedule for all sources of one queue, while at least one of them subscribes.

        subscribers   0 --- 1 --- 2 --- 1 --- 0 --------- 1 -->
        listener            [=================|           [===>     a new one: its connection is new, too

    RxPY's `share` counts its subscribers without a lock. Here sources subscribe and leave on their own threads.

    Args:
        new_tracker: returns a new tracker of the head.
        loop: where it listens; nothing else uses it, because a wait keeps its thread busy.
    """

    def __init__(self, new_tracker: Callable[[], HeadTracker], loop: abc.SchedulerBase) -> None:
        self._new_tracker = new_tracker
        self._loop = loop
        self._lock = threading.Lock()  # guards the four below; no source is called under it, and nothing is read
        self._observers: dict[object, tuple[abc.ObserverBase[float], bool]] = {}
        self._leasing: set[object] = set()  # the sources of claims that tick
        self._listener: HeadListener | None = None
        self._is_stopped = False

    def heads(self, has_leases: bool) -> Observable[float]:
        """The earliest moment at which a claim brings something, in epoch milliseconds, whenever it may have changed.

        inf if there is none. For a source of claims the first end of a lease counts as well: a process that holds a
        lease may be killed, and then its key comes back at that moment. Sources of bare keys are not told of leases.

        A head is a hint: one that is lost, late or repeated costs a look at Redis or a wait until the heartbeat, never
        a key. A source's own claims cause heads, too. They do not wake it: its look knows that moment already.

        Temperature: hot; a subscriber gets the newest head that is known, at once, and then each head that is read.
        Delivery:    the newest head; a change that is undone between two reads is not seen.
        Clock:       run_at is on Redis's clock; pauses are on the loop's.
        Scheduler:   the newest head comes in `subscribe`, each later one on the loop; so an observer only posts.
        Errors:      an outage is retried with backoff and not reported: the source looks at the same server and reports
                     it. At a refusal -inf comes once, so that the source looks; the head is read again every 5 s.
                     Where the server refuses `CLIENT TRACKING`, what others claim is found by the read every 5 s only.
                     Where it refuses `SUBSCRIBE` as well, no other head comes.
        Disposal:    from any thread; the last one ends the wait and closes the connection.
        Redis:       for all sources of a queue together a read per change, and one every 5 s, or every second where
                     another primary may take over; while changes bring nothing earlier, at most 10 reads a second. A
                     read is `ZRANGE Q 0 0`, and while a source of claims ticks the same of `{Q}:claimed`.

        Args:
            has_leases: True for a source of claims; call `note_leasing` before it looks.
        """

        def subscribe(observer: abc.ObserverBase[float], _: abc.SchedulerBase | None = None) -> abc.DisposableBase:
            key = object()
            newest = self._join(key, observer, has_leases)
            if newest is not None:
                observer.on_next(newest.claims if has_leases else newest.plain)
            return Disposable(lambda: self._leave(key))

        return rx.create(subscribe)

    def note_leasing(self, source: object, is_ticking: bool) -> None:
        """Note that a source of claims begins to tick, or ends. Ends of leases are read while one of them ticks.

        A source subscribes to `heads` with its first sleep. That is too late to begin to read ends of leases: what
        another process has claimed since the first look was read already, without them.
        """
        with self._lock:
            if is_ticking:
                self._leasing.add(source)
            else:
                self._leasing.discard(source)

    def stop(self, longest: float) -> None:
        """End the listener for good, and wait for its thread: at most so many seconds."""
        with self._lock:
            ended = None if self._is_stopped else self._listener
            self._is_stopped = True
        if ended is not None:
            ended.close()
        if isinstance(self._loop, Loop):
            self._loop.end(longest)

    def leave_to_parent(self) -> None:
        """In a forked child: nobody subscribes any more. The listener is the parent's and stays as it is."""
        self._lock = threading.Lock()
        self._is_stopped = True
        if isinstance(self._loop, Loop):
            self._loop.leave_to_parent()

    def _join(self, key: object, observer: abc.ObserverBase[float], has_leases: bool) -> Heads | None:
        """Register an observer, and listen if nobody does. Returns the newest heads that are known."""
        with self._lock:
            if self._is_stopped:
                return None
            if self._listener is None or self._listener.is_over:
                listener = HeadListener(self._new_tracker(), self._loop, self._leases_matter, self._publish)
                # Under the lock: if no thread can be started this raises, and nobody else counts on this listener.
                listener.start()
                self._listener = listener
            self._observers[key] = (observer, has_leases)
            return self._listener.newest

    def _leave(self, key: object) -> None:
        with self._lock:
            self._observers.pop(key, None)
            ended = None
            if not self._observers and not self._is_stopped:
                ended, self._listener = self._listener, None
        if ended is not None:
            ended.close()

    def _leases_matter(self) -> bool:
        return bool(self._leasing)

    def _publish(self, listener: HeadListener, heads: Heads) -> None:
        """Tell all observers. Whoever subscribes later gets the same heads as `newest`, so nobody misses them."""
        with self._lock:
            if self._listener is not listener:
                return
            listener.newest = heads
            observers = tuple(self._observers.values())
        for observer, has_leases in observers:
            try:
                observer.on_next(heads.claims if has_leases else heads.plain)
            except Exception as error:  # its loop could start no thread, for instance; the others are told all the same
                fault("a source could not be woken", error=error)
