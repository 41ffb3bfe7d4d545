"""A store and ticks make a hot stream: each tick claims what is due, its keys go to the subscribers of the moment.

    ticks  -->  look  -->  claim  -->  key, key, key  -->  subscribers
      ^          |                          |                  |
      '-- wait --'                          |                  '-- how fast they take: the next claim's size
                                            '-- what nobody received in time: handed back

One source claims for itself, as if in a process of its own. Looks come one at a time (`_turn`); subscribers come and
go at any time (`_lock`). No subscriber is ever called with the gate held.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, Protocol

import reactivex as rx
from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.disposable import SerialDisposable
from reactivex.scheduler import ImmediateScheduler
from reactivex.subject import Subject

from rx_runat.errors import Refused, StoreError
from rx_runat.model.batch import Claimed, Entry, Leased
from rx_runat.model.job import Due
from rx_runat.stream.claiming import C, Claiming
from rx_runat.stream.delivery import Delivery
from rx_runat.stream.hold import Hold
from rx_runat.stream.hot import Notices, Subscriber
from rx_runat.stream.outage import Outage
from rx_runat.stream.sleep import ContentionDelay, WakeFilter
from rx_runat.stream.ticks import Seconds, ticks

log = logging.getLogger("rx_runat")

# A backlog is claimed within one tick, since planning another takes a tenth as long as a claim of a thousand; but only
# so long, because the scheduler may be the user's, and others wait for it.
_TURN_SECONDS = 0.05

# Earlier than any schedule, and later than what says "look, whatever is written".
_ONLY_WHEN_CALLED = -sys.float_info.max


class Tap(Protocol):
    """Looks on at sources, for pictures. It starts no claim, keeps none going, and must not raise or take long."""

    def claimed(self, claimed: Claimed | Leased) -> None:
        """Keys were claimed, and are about to be delivered."""
        ...

    def delivered(self, claimed: Claimed | Leased, left: Sequence[Entry]) -> None:
        """They were, but for what is left: that goes back."""
        ...


class Source(Generic[C]):
    """The read side of a queue: a crowd for keys. `Dues` is the same crowd, for Dues.

    Args:
        where: the server, in messages.
        hand: takes keys, and returns them.
        claiming: how many keys a claim may take, and how they are delivered.
        interval: seconds between heartbeats; None: none.
        scheduler: where ticks come, one at a time.
        now: seconds, on a clock that nobody sets: how long the subscribers take.
        heads: the schedule's head whenever others may have changed it.
        courtesy: towards other sources that wait for the same key.
        errors: hears of what went wrong and was survived.
        finished: called once, when a stopped source has let go of everything.

    Attributes:
        subscribers: who is there; another tuple whenever one comes or goes.
        taps: who looks on.
    """

    def __init__(
        self,
        where: str,
        hand: Hold[C],
        *,
        claiming: Claiming[C],
        interval: Seconds | None,
        scheduler: abc.SchedulerBase,
        now: Callable[[], float],
        heads: Observable[float],
        courtesy: ContentionDelay,
        errors: Notices[StoreError],
        finished: Callable[[], None],
    ) -> None:
        self._where = where
        self._hold = hand
        self._claiming = claiming
        self._scheduler = scheduler
        self._demand = claiming.demand
        self._now = now
        self._errors = errors
        self._outage = Outage(where, scheduler, errors)
        self._finished = finished
        self._sleep = WakeFilter()
        self._courtesy = courtesy
        self._waits: Subject[float | None] = Subject()
        self._written: Subject[float] = Subject()
        asleep = self._waits.pipe(ops.filter(lambda wait: wait != 0), ops.take(1))
        wake = rx.merge(self._written, asleep.pipe(ops.flat_map(lambda _: heads))).pipe(ops.filter(self._sleep.wakes))
        self._looks = ticks(interval, self._waits, wake, scheduler).pipe(
            ops.filter(self._outage.lets_look), ops.map(self._look)
        )
        self._lock = threading.Lock()  # over the five below
        self.subscribers: tuple[Subscriber[Any], ...] = ()
        self._leaving: tuple[Subscriber[Any], ...] = ()
        self._ticking = SerialDisposable()
        self._active = False
        self._stopped = False
        self._turn = threading.Lock()  # over the rest: one look at a time, then the end
        self._here = threading.local()
        self._delivery: Delivery | None = None
        self._done = False
        self.taps: Sequence[Tap] = ()

    # Subscribers come and go, on any thread.

    def join(self, subscriber: Subscriber[Any]) -> None:
        """Let a subscriber have the next key; the first one starts the ticks. After `stop` it completes at once."""
        subscriber.mark(self._inside)
        with self._lock:
            stopped = self._stopped
            starts = not stopped and not self._active
            if not stopped:
                self.subscribers += (subscriber,)
                self._active = True
        if starts:
            # At once, even inside a trampoline of RxPY's, which would begin when what runs there has ended.
            at_once = ImmediateScheduler.singleton()
            self._ticking.disposable = self._looks.subscribe(self._waits.on_next, scheduler=at_once)
        if stopped:
            subscriber.complete()

    def leave(self, subscriber: Subscriber[Any]) -> None:
        """Let a subscriber have no more keys; when the last one goes, the ticks end and what is in hand goes back."""
        with self._lock:
            self.subscribers = tuple(each for each in self.subscribers if each is not subscriber)
            self._leaving = tuple(each for each in self._leaving if each is not subscriber)
            last = not self.subscribers
        subscriber.withdraw()
        if last:
            self.written(-math.inf)

    def written(self, run_at: float) -> None:
        """Hear of a run_at, in epoch milliseconds; wake up if it is earlier than what we sleep for."""
        self._written.on_next(run_at)

    def stop(self, longest: float = -1, waits: bool = True) -> None:
        """Hold back, complete, let go; waits for the `on_next` in progress, unless called from it. May be repeated.

        Args:
            longest: seconds to wait for that `on_next`; by default as long as it takes.
            waits: False: the source ends by itself, soon.
        """
        with self._lock:
            self._stopped = True
            leaving, self.subscribers = self.subscribers, ()
            self._leaving += leaving
        for subscriber in leaving:
            subscriber.withdraw()
        if self.is_inside():
            return  # the look that called us finishes
        if not waits and not self._turn.acquire(blocking=False):
            self._scheduler.schedule(self._stop_soon)  # after the look that is under way
            return
        if not waits:
            self._end_turn()
            return
        if not self._take_last_turn(longest):
            log.error("stopped, but an on_next did not return: what its source had in hand is lost")
            return
        self._end_turn()

    def _stop_soon(self, _: abc.SchedulerBase, __: object = None) -> None:
        self.stop()

    def _end_turn(self) -> None:
        try:
            with self._inside():
                self._finish()
        finally:
            self._turn.release()

    def _take_last_turn(self, longest: float) -> bool:
        began = time.monotonic()
        while not self._turn.acquire(timeout=0.02):
            if self._hold.hangs(began):
                self._hold.break_off()
            elif not self._hold.is_asking and 0 <= longest < time.monotonic() - began:
                return False
        return True

    # Ticks, one at a time, on the scheduler.

    def _look(self, _: object) -> float | None:
        """One tick: claim, deliver, hand back, until no more is due. Answers the seconds until the next is worth it."""
        with self._turn, self._inside():
            turn_ends = self._now() + _TURN_SECONDS
            wait: float | None = 0.0
            try:
                while wait == 0.0 and not self._stopped:  # 0.0: more is due already
                    wait = self._claim_and_deliver()
                    if self._now() > turn_ends:
                        break
                return wait
            except Refused as error:
                self._fail(error)
            except StoreError as error:
                self._sleep.begins(-math.inf)  # through the backoff, whoever writes
                return self._outage.survive(error)
            except Exception as error:  # a bug of ours: better a dead stream that says so than a silent one
                log.exception("the source of %s failed", self._where)
                self._fail(error)
            finally:
                if self._stopped:
                    self._finish()
            return None

    def _claim_and_deliver(self) -> float | None:
        """One claim on its way to the subscribers, and what is left of it on its way back."""
        self._sleep.ends()
        if self._hold.left or not self.subscribers:
            self._settle()
        if self._rests():
            return None
        keys = self._demand.keys
        if not keys:  # no slot is free: until one is, nothing that Redis could say is worth a look
            return 0.0 if self._sleep.begins(_ONLY_WHEN_CALLED) else self._demand.frees_in
        claimed = self._hold.claim(keys)
        claimed_at = self._now()
        self._outage.recover()
        wait = claimed.wait
        next_run_at = math.inf if wait is None else claimed.now / 1e3 + wait * 1e3
        self._courtesy.looked(claimed.now / 1e3, bool(claimed.keys), next_run_at)
        if claimed.keys:
            subscribers = self.subscribers
            for tap in tuple(self.taps):
                tap.claimed(claimed)
            self._deliver(self._claiming.delivery(claimed))
            for tap in tuple(self.taps):
                tap.delivered(claimed, self._hold.left)
            if self._hold.left and not self._stopped:
                # Those who are there and take nothing, because their event loop does not run, wait for the heartbeat.
                stuck = len(self._hold.left) == len(claimed.keys) and subscribers is self.subscribers
                self._settle()
                wait = None if stuck else 0.0
                if stuck:  # what we put back ourselves is no reason to look
                    next_run_at = _ONLY_WHEN_CALLED
            if not self.subscribers:
                return 0.0
        if self._sleep.begins(next_run_at):
            return 0.0
        return wait and max(0.0, wait + self._courtesy.seconds - (self._now() - claimed_at))  # on_next took its time

    def _deliver(self, delivery: Delivery) -> None:
        self._delivery = delivery
        began = self._now()
        keys = delivery.give(self, self._now, began + self._demand.hold_seconds, self._hold.left)
        self._demand.show(keys, self._now() - began)
        self._delivery = None

    def _settle(self) -> None:
        if self._hold.settle(resting=not self.subscribers):
            self._outage.recover()

    def _rests(self) -> bool:
        """Nobody listens: end the ticks. Whoever joins from now on starts them anew."""
        with self._lock:
            if self.subscribers:
                return False
            self._active = False
            self._ticking.disposable = None
        self._outage.forget()
        self._demand.forget()
        return True

    def due(self) -> Due:
        """The key in delivery, as a Due."""
        assert self._delivery is not None
        return self._delivery.due()

    # What goes wrong.

    def _fail(self, error: Exception) -> None:
        """End the stream for all who listen now; a new subscription starts afresh."""
        with self._lock:
            subscribers, self.subscribers = self.subscribers, ()
            self._active = False
            self._ticking.disposable = None
        self._outage.forget()
        log.error("%s", error)
        if isinstance(error, StoreError):
            self._errors.publish(error)
        for subscriber in subscribers:
            subscriber.withdraw()
            subscriber.fail(error)

    def _finish(self) -> None:
        """The end, in the last turn: hand back while there is patience, complete, let go."""
        if self._done:
            return
        self._done = True
        self._active = False
        self._ticking.dispose()
        try:
            notice = self._hold.give_all_back()
            if notice is not None:
                log.error("%s", notice)
                self._errors.publish(notice)
        finally:
            for subscriber in self._leaving:
                subscriber.complete()
            self._finished()

    # Which thread, and when.

    def is_inside(self) -> bool:
        """Is this thread in a call of ours to a subscriber?"""
        return getattr(self._here, "inside", False)

    @contextmanager
    def _inside(self) -> Generator[None]:
        before = self.is_inside()
        self._here.inside = True
        try:
            yield
        finally:
            self._here.inside = before
