"""The sources of one queue: each claims for itself, as if in a process of its own, and all stop together."""

from __future__ import annotations

import threading
import weakref
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import reactivex as rx
from reactivex import abc

from rx_runat.errors import Stopped, StoreError
from rx_runat.model.monotonic import monotonic
from rx_runat.model.protocols import Clock, Store
from rx_runat.stream.broadcast import Broadcast
from rx_runat.stream.claiming import C, Claiming
from rx_runat.stream.hold import Hold
from rx_runat.stream.hold_timer import timer
from rx_runat.stream.loop import Loop
from rx_runat.stream.outage import Refusals
from rx_runat.stream.sleep import ContentionDelay
from rx_runat.stream.source import Source
from rx_runat.stream.stoppable import Stoppable
from rx_runat.stream.taps import Taps
from rx_runat.stream.ticks import Seconds, to_seconds
from rx_runat.stream.wake import HeadWatch

LONGEST_LISTENER_END = 1.0  # seconds; a listener that is connecting to a silent server ends by itself, after this


class Sources:
    """Opens sources on a store and stops them.

    Unless a scheduler is given, each source has a thread of its own to tick and deliver on, so that slow subscribers of
    one source delay no other. In real time one more thread listens, for all of them, to what others write.

    Args:
        store: where keys are claimed.
        name: of the threads, as a debugger shows it.
        interval: seconds between heartbeats; None: no heartbeat.
        clock: returns epoch microseconds in virtual time; None: Redis's own clock counts.
        finished: called once, when everything that was opened or registered has ended.

    Attributes:
        errors: publishes errors that were survived, or that ended a stream.
        taps: of all sources, including those that are opened later.
        now: returns monotonic seconds; virtual seconds in virtual time.
        is_stopped: True after `stop`.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        interval: Seconds | None,
        clock: Clock | None,
        finished: Callable[[], None],
    ) -> None:
        self.errors: Broadcast[StoreError] = Broadcast(lambda: any(source.is_inside for source in self._ticking))
        self.taps = Taps()
        self.now: Callable[[], float] = monotonic if clock is None else lambda: clock() / 1e6
        # By the kind of the claiming: what Redis refuses to sources of claims, it may allow to those of bare keys.
        self._refusals: defaultdict[type, Refusals] = defaultdict(lambda: Refusals(self.now))
        self._store = store
        self._name = name
        self._interval = interval
        self._is_virtual = clock is not None
        self._all_finished = finished
        self._watch = HeadWatch(store.head_tracker, Loop(f"{name} listener"))
        self._lock = threading.Lock()  # guards the six below
        # Weak: a source that rests holds no key and no thread, so who has no reference to it needs no source. A service
        # that opens a stream of claims for each request would else keep all of them, and wake all at each write.
        self._opened: weakref.WeakSet[Source[Any]] = weakref.WeakSet()
        self._ticking: tuple[Source[Any], ...] = ()  # what has a subscriber lives, even if nobody has a reference
        self._stopping: tuple[Source[Any], ...] = ()  # all that were there at the first `stop`
        self._stoppables: tuple[Stoppable, ...] = ()
        self._unfinished = 0  # how many of the last two have not ended
        self.is_stopped = False

    def open(self, claiming: Claiming[C], scheduler: abc.SchedulerBase | None, is_driven: bool = False) -> Source[C]:
        """Returns a new source.

        Args:
            claiming: how it claims.
            scheduler: where it ticks; None: a loop of its own.
            is_driven: True if only its demand makes it claim: then it has no heartbeat, and others' writes do not wake
                it.

        Raises:
            Stopped: the queue was stopped.
        """
        loops: tuple[Loop, ...] = ()
        if scheduler is None:
            scheduler = Loop(self._name)
            loops = (scheduler,)
        # In virtual time all writes go through the queue's own `Writes`.
        heads = rx.never() if self._is_virtual or is_driven else self._watch.heads(claiming.has_leases)

        def note_ticks(source: Source[Any], is_ticking: bool) -> None:
            if claiming.has_leases and not is_driven:
                self._watch.note_leasing(source, is_ticking)
            self._note_ticks(source, is_ticking)

        interval = 1.0 if self._interval is None else to_seconds(self._interval)
        source: Source[C] = Source(
            self._store.where,
            Hold(self._store, claiming, interval, self.now, self._is_virtual),
            claiming=claiming,
            interval=None if is_driven else self._interval,
            scheduler=scheduler,
            now=self.now,
            heads=heads,
            contention=ContentionDelay(0.0) if self._is_virtual else ContentionDelay(),
            errors=self.errors,
            refusals=self._refusals[type(claiming)],
            taps=self.taps,
            loops=loops,
            is_virtual=self._is_virtual,
            ticks=note_ticks,
            finished=self._one_finished,
        )
        with self._lock:
            if self.is_stopped:
                raise Stopped("the queue was stopped; make a new one to go on")
            self._opened.add(source)
        return source

    def leave_to_parent(self) -> None:
        """In a forked child: let what these sources do end here, because the parent does it."""
        for source in {*self._opened, *self._ticking, *self._stopping}:
            source.leave_to_parent()
        self._watch.leave_to_parent()

    def _note_ticks(self, source: Source[Any], is_ticking: bool) -> None:
        with self._lock:
            others = tuple(each for each in self._ticking if each is not source)
            self._ticking = (*others, source) if is_ticking else others

    @property
    def are_claiming(self) -> bool:
        """True if one of the sources has a subscriber."""
        return any(source.subscribers for source in self._ticking)

    @property
    def are_live(self) -> bool:
        """True if one of them has a subscriber, and time is real: keys come by themselves."""
        return self.are_claiming and not self._is_virtual

    def wake_for(self, run_at: float) -> None:
        """Wake the sources that sleep until later than a run_at, in epoch milliseconds."""
        for source in self._ticking:
            source.wake_for(run_at)

    @property
    def are_blocked(self) -> bool:
        """True if one of them, or registered work, cannot end before this thread has returned from a callback."""
        sources = (*self._ticking, *self._stopping)
        return any(each.is_inside for each in sources) or any(each.is_blocked for each in self._stoppables)

    def register(self, stoppable: Stoppable) -> Callable[[], None]:
        """Register work on claims of this queue. The store stays open, and `stop` waits, until the work has ended.

        After `stop` the work is stopped at once.

        Returns:
            A callback that the work calls once, when it has ended.
        """
        with self._lock:
            stopped = self.is_stopped
            closed = stopped and not self._unfinished
            if not closed:
                self._stoppables += (stoppable,)
                self._unfinished += 1
        if stopped:
            stoppable.stop()
        if closed:
            return lambda: None

        def ended() -> None:
            with self._lock:
                self._stoppables = tuple(each for each in self._stoppables if each is not stoppable)
            self._one_finished()

        return ended

    def stop(self, longest: float) -> None:
        """Stop all sources and registered work, and wait until they have ended. May be repeated.

        From an `on_next`, or from registered work, it does not wait: two callbacks that stop each other's queues would
        deadlock.

        Args:
            longest: seconds to wait for an `on_next` or for work; negative: as long as it takes.
        """
        with self._lock:
            if not self.is_stopped:
                self.is_stopped = True
                self._stopping = tuple(self._opened)
                self._unfinished += len(self._stopping)
            sources, stoppables = self._stopping, self._stoppables
        waits = not any(source.is_inside for source in sources) and not any(each.is_inside for each in stoppables)
        for stoppable in stoppables:
            stoppable.stop()
        for source in sources:
            source.stop(longest, waits)
        if waits and not self._is_virtual:  # virtual time stands still while we wait
            # The last look of a source may have registered another one, and stopped it; see `register`.
            later = [each for each in self._stoppables if each not in stoppables and not each.is_inside]
            for stoppable in (*stoppables, *later):
                stoppable.wait(longest)
        if waits:
            for source in sources:
                for loop in source.loops:
                    loop.end(longest)
            self._watch.stop(LONGEST_LISTENER_END)
            timer().end_if_idle()

    def _one_finished(self) -> None:
        with self._lock:
            self._unfinished -= 1
            is_last = self.is_stopped and not self._unfinished
        if is_last:
            self.errors.end()
            self._all_finished()
