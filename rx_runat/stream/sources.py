"""The sources of one queue: each claims for itself, as if in a process of its own, and all stop together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import reactivex as rx
from reactivex import abc

from rx_runat.errors import Stopped, StoreError
from rx_runat.model.protocols import Clock, Store
from rx_runat.stream.claiming import C, Claiming
from rx_runat.stream.hold import Hold
from rx_runat.stream.hot import Notices
from rx_runat.stream.loop import Loop
from rx_runat.stream.sleep import ContentionDelay
from rx_runat.stream.source import Source, Tap
from rx_runat.stream.stoppable import Stoppable
from rx_runat.stream.ticks import Seconds, to_seconds
from rx_runat.stream.wake import heads

LONGEST_LOOKOUT = 1.0  # seconds; one that is just connecting to a server that is silent ends by itself, later


class Sources:
    """Opens sources on a store and ends them.

    Each real source has threads of its own: one to tick and deliver on, so that slow subscribers of one source delay
    no other, and one to listen for what others write.

    Args:
        store: where keys are claimed.
        name: of the threads, as a debugger shows it.
        interval: seconds between heartbeats; None: none.
        clock: epoch microseconds in virtual time; None: Redis's own clock rules.
        finished: called once, when all have been stopped and have let go.
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
        self.errors: Notices[StoreError] = Notices()
        self.taps: list[Tap] = []  # on all of them, those that are opened later too
        self.now: Callable[[], float] = time.monotonic if clock is None else lambda: clock() / 1e6
        self._store = store
        self._name = name
        self._interval = interval
        self._is_virtual = clock is not None
        self._all_finished = finished
        self._lock = threading.Lock()  # over the four below
        self._opened: tuple[tuple[Source[Any], tuple[Loop, ...]], ...] = ()
        self._guests: tuple[Stoppable, ...] = ()
        self._unfinished = 0
        self.is_stopped = False

    def open(self, claiming: Claiming[C], scheduler: abc.SchedulerBase | None) -> Source[C]:
        """A source more.

        Args:
            claiming: how it claims.
            scheduler: where it ticks; None: a loop of its own.
        """
        loops: tuple[Loop, ...] = ()
        if scheduler is None:
            scheduler = Loop(self._name)
            loops = (scheduler,)
        others = rx.never()
        if not self._is_virtual:  # where all writes pass the queue's own sink
            lookout = Loop(f"{self._name} lookout")
            loops = (lookout, *loops)
            others = heads(claiming.head_tracker, lookout)

        def finished() -> None:
            for loop in loops:
                loop.dispose()
            self._one_finished()

        source: Source[C] = Source(
            self._store.where,
            Hold(self._store, claiming, 1.0 if self._interval is None else to_seconds(self._interval)),
            claiming=claiming,
            interval=self._interval,
            scheduler=scheduler,
            now=self.now,
            heads=others,
            courtesy=ContentionDelay(0.0) if self._is_virtual else ContentionDelay(),
            errors=self.errors,
            finished=finished,
        )
        source.taps = self.taps
        with self._lock:
            if self.is_stopped:
                raise Stopped("the queue was stopped; make a new one to go on")
            self._opened += ((source, loops),)
            self._unfinished += 1
        return source

    @property
    def are_claiming(self) -> bool:
        """Does anybody listen to one of them?"""
        return any(source.subscribers for source, _ in self._opened)

    def written(self, run_at: float) -> None:
        """Hear of a run_at, in epoch milliseconds; wake up who sleeps for a later one."""
        for source, _ in self._opened:
            source.written(run_at)

    def admit(self, guest: Stoppable) -> Callable[[], None]:
        """Keep the store open, and `stop` waiting, for one who works on claims; until what this answers is called."""
        with self._lock:
            stopped, closed = self.is_stopped, not self._unfinished
            if not closed:
                self._guests += (guest,)
                self._unfinished += 1
        if stopped:
            guest.stop()
        if closed:
            return lambda: None

        def leave() -> None:
            with self._lock:
                self._guests = tuple(each for each in self._guests if each is not guest)
            self._one_finished()

        return leave

    def stop(self, longest: float) -> None:
        """End them all; waits for an `on_next` or work in progress, unless called from one. May be repeated.

        From an `on_next` it waits for none: two that did it for each other would wait for ever.
        """
        with self._lock:
            self.is_stopped = True
            opened, guests = self._opened, self._guests
        waits = not any(source.is_inside() for source, _ in opened) and not any(guest.is_inside for guest in guests)
        for guest in guests:
            guest.stop()
        for source, _ in opened:
            source.stop(longest, waits)
        if waits and not self._is_virtual:  # virtual time stands still while we wait
            for guest in guests:
                guest.wait(longest)
        if waits:
            for _, loops in opened:
                for loop in loops:
                    loop.end(longest if loop.name == self._name else LONGEST_LOOKOUT)

    def _one_finished(self) -> None:
        with self._lock:
            self._unfinished -= 1
            last = not self._unfinished
        if last:
            self.errors.end()
            self._all_finished()
