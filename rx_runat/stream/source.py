"""One look at Redis: each tick claims what is due, delivers it to the subscribers of the moment, hands back the rest.

    tick  -->  claim  -->  key, key, key  -->  subscribers
     ^           |              |                   |
     '-- wait ---'              |                   '-- how fast they receive: the size of the next claim
                                '-- what nobody received in time: handed back

A source claims for itself, as if in a process of its own. Looks come one at a time, under the `LookLock`. Subscribers
join and leave at any time, and no subscriber is called under the lock that guards `Subscribers`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Generic

from reactivex import Observable, abc

from rx_runat.errors import Refused, StoreError
from rx_runat.model.job import Due
from rx_runat.model.safe_log import fault
from rx_runat.stream.broadcast import Broadcast
from rx_runat.stream.claiming import C, Claiming
from rx_runat.stream.delivery import Delivery
from rx_runat.stream.endless_waits import refuse_endless_wait
from rx_runat.stream.hold import Hold
from rx_runat.stream.hot import Subscriber
from rx_runat.stream.look_lock import LookLock
from rx_runat.stream.loop import Loop
from rx_runat.stream.outage import Outage, Refusals
from rx_runat.stream.sleep import ContentionDelay, Sleep
from rx_runat.stream.subscribers import Subscribers
from rx_runat.stream.taps import Taps
from rx_runat.stream.ticks import HEARTBEAT, Seconds, Ticker

# Seconds. A backlog is claimed in one look, because to plan another tick takes a tenth as long as to claim a thousand
# keys. A look ends after this time, because the scheduler may be the user's, and its other actions wait meanwhile.
_LONGEST_LOOK = 0.05

# Seconds. At an interval of 0.1 s the claims of an idle source then cost it one command a second, and at 5 s, where
# every other heartbeat claims, all it sends is one a second.
_LONGEST_WITHOUT_CLAIM = 6.0


class Source(Generic[C]):
    """The read side of a queue: publishes keys, each to all who subscribe at the moment.

    Args:
        where: the server, in messages.
        hold: claims keys, and hands them back.
        claiming: decides how many keys a claim may take, and what is delivered for each.
        interval: seconds between heartbeats; None: no heartbeat.
        scheduler: where ticks come, one at a time.
        now: returns monotonic seconds; virtual seconds in virtual time; measures how long the subscribers take.
        heads: the schedule's head whenever others may have changed it.
        contention: delays looks where other sources compete for the same key.
        errors: publishes the errors that were survived, or that ended the stream.
        refusals: of all sources of the queue that claim in this way.
        taps: told of each claim and delivery.
        loops: threads of this source alone; they end with it.
        is_virtual: True if time is virtual: then nothing waits for real time to pass.
        ticks: told, from any thread, when this source begins to tick and when it ends.
        finished: called once, when a stopped source has handed back and completed.

    Attributes:
        loops: as above.
        subscribers: who subscribes at the moment.
    """

    def __init__(
        self,
        where: str,
        hold: Hold[C],
        *,
        claiming: Claiming[C],
        interval: Seconds | None,
        scheduler: abc.SchedulerBase,
        now: Callable[[], float],
        heads: Observable[float],
        contention: ContentionDelay,
        errors: Broadcast[StoreError],
        refusals: Refusals,
        taps: Taps,
        loops: tuple[Loop, ...],
        is_virtual: bool,
        ticks: Callable[[Source[Any], bool], None],
        finished: Callable[[], None],
    ) -> None:
        self._where = where
        self._hold = hold
        self._claiming = claiming
        self._demand = claiming.demand
        self._scheduler = scheduler
        self._now = now
        self._errors = errors
        self._taps = taps
        self._finished = finished
        self._is_virtual = is_virtual
        self._outage = Outage(where, scheduler, errors, refusals)
        self._sleep = Sleep(now, contention)
        self._ticker = Ticker(
            self._look,
            interval=interval,
            scheduler=scheduler,
            heads=heads,
            wake_filter=self._sleep.wake_filter,
            outage=self._outage,
            failed=self._fail_without_ticks,
            ticking=partial(ticks, self),
        )
        self.loops = loops
        self.subscribers = Subscribers(self._ticker)
        self._look_lock = LookLock()  # guards the four below
        self._delivery: Delivery | None = None
        self._is_finished = False
        self._asked_at = 0.0  # when the last call to Redis began
        self._claimed_at = 0.0  # when the last claim began

    # From any thread.

    def join(self, subscriber: Subscriber[Any]) -> None:
        """Give a subscriber the next key; the first one starts the ticks. After `stop` it completes at once."""
        if not self.subscribers.is_stopped:
            refuse_endless_wait(subscriber, self._look_lock, self._scheduler, self.subscribers.present, self._claiming)
        subscriber.wrap_handler(self._look_lock.inside)
        subscriber.note_join()
        self.subscribers.join(subscriber)

    def leave(self, subscriber: Subscriber[Any]) -> None:
        """Give a subscriber no more keys; may be repeated."""
        self.subscribers.leave(subscriber)

    def wake_for(self, run_at: float) -> None:
        """Look now if a run_at, in epoch milliseconds, is earlier than what the source sleeps for."""
        self._ticker.wake_for(run_at)

    def wake(self) -> None:
        """Look now, no matter what the source sleeps for."""
        self._ticker.wake()

    def leave_to_parent(self) -> None:
        """In a forked child: if a look is under way on this thread, because an `on_next` forked, let it end quietly.

        It gives no more keys, and hands nothing back. The locks that it comes by are made anew.
        """
        self._is_finished = True
        self.subscribers.leave_to_parent()
        self._hold.leave_to_parent()
        if self._delivery is not None:
            self._delivery.drop_rest()
        for loop in self.loops:
            loop.leave_to_parent()

    # A look, on the scheduler: tick -> claim -> deliver -> hand back the rest.

    def _look(self, tick: object) -> float | None:
        """Claim and deliver until no more is due. At a heartbeat, read first whether a claim is worth it.

        Returns:
            The seconds until the next look; 0.0: at once; None: none is planned, the heartbeat or a write causes it.
        """
        with self._look_lock:
            look_ends = self._now() + _LONGEST_LOOK
            wait: float | None = 0.0
            try:
                pause = self._outage.pause_after_refusal
                if pause and self.subscribers:
                    return pause
                if tick is HEARTBEAT and self._sleeps_on():
                    return self._sleep.seconds_left
                while wait == 0.0 and not self.subscribers.is_stopped:  # 0.0: more is due already
                    wait = self._claim_and_deliver(asks_ahead=self._now() < look_ends)
                    if self._now() > look_ends and not self._hold.is_ahead:
                        break
                return None if self.subscribers.is_stopped else wait
            except Refused as error:
                self._fail(error)
            except StoreError as error:
                self._sleep.begin_backoff()
                return self._outage.note_failure(error, self._now() - self._asked_at)
            except Exception as error:  # a bug of ours: a stream that fails with it is better than a silent one
                fault("the source of %s failed", self._where, error=error)
                self._fail(error)
            finally:
                if self.subscribers.is_stopped:
                    self._finish()
            return None

    def _sleeps_on(self) -> bool:
        """True at a heartbeat that finds nothing new: the head of the schedule is what the source sleeps for.

        So an idle source costs the server one command a heartbeat where nothing is scheduled, and two where keys wait,
        instead of the six of a claim. A claim is made all the same every few seconds: it also deletes, and so notices a
        server that is no primary any more.
        """
        is_fresh = self._now() - self._claimed_at < _LONGEST_WITHOUT_CLAIM
        if not (is_fresh and self.subscribers and self._hold.is_empty) or self.subscribers.is_stopped:
            return False
        self._asked_at = self._now()
        return self._sleep.goes_on(self._hold.has_earlier)

    def _claim_and_deliver(self, asks_ahead: bool) -> float | None:
        """One claim, delivered, and its rest handed back. Returns the seconds until the next claim is worth it.

        If `asks_ahead`, the next claim may be asked for before this one is delivered, so that server and subscribers
        work at the same time. What such a claim reports of the next key is older than the writes that came during the
        delivery, so another look follows.
        """
        self._sleep.look_begins()
        self._hand_back_held()
        if self._rests():
            return None
        keys = self._demand.keys
        if not keys and self.loops and self._demand.wait():
            keys = self._demand.keys
        if not keys:  # until a slot is free, nothing that Redis reports is worth a look
            if end := self._demand.ending:
                end()
                return 0.0  # look again at once: nobody subscribes any more
            return self._demand.seconds_until_free if self._sleep.begin_until_woken() else 0.0
        self._asked_at = self._now()
        claimed = self._hold.claim(keys, self._demand.ahead if asks_ahead else 0)
        self._claimed_at = self._asked_at
        self._demand.note_claim()
        self._sleep.plan_after(claimed)
        if not claimed.keys:
            self._outage.note_success()
        else:
            present = self.subscribers.present
            delivery = self._deliver(claimed)
            if delivery.left and not self.subscribers.is_stopped:  # after `stop`, `_finish` hands back
                self._hand_back_held()  # unless the timer did, while an `on_next` blocked
                # The subscribers are stuck if all of them are still there, and received nothing that they were given,
                # because their event loops do not run. That their keys went back is no reason to look again before the
                # heartbeat.
                received_none = len(delivery.left) == delivery.size and delivery.given > 0
                self._sleep.plan_after_hand_back(received_none and present is self.subscribers.present)
        if not self.subscribers or self._demand.looks_again or self._hold.was_ahead:
            return 0.0  # look again at once: without subscribers that look hands back everything and ends the ticks
        return self._sleep.begin()

    def _deliver(self, claimed: C) -> Delivery:
        """Deliver a claim. What nobody received is in the hold afterwards, or went back in time."""
        delivery = self._delivery = self._claiming.delivery(claimed)
        began = self._now()
        is_over = self._hold.begin(delivery)  # before any code of the user's runs, who may block on `errors` as well
        try:
            self._outage.note_success()
            self._taps.claimed(claimed, began - self._asked_at)
            keep = partial(self._hold.keep, delivery)
            self._taps.deliver(claimed, partial(delivery.give, self.subscribers, keep, is_over))
            seconds = self._now() - began
        finally:
            self._hold.end(delivery)
            self._delivery = None
        self._demand.note_delivery(delivery.given, seconds)
        self._taps.delivered(claimed, delivery.left)
        return delivery

    def _hand_back_held(self) -> None:
        """Hand back what is held, also from an earlier look, and everything if nobody subscribes any more."""
        if self._hold.is_empty and self.subscribers:
            return
        self._asked_at = self._now()
        if self._hold.hand_back(closes=not self.subscribers):
            self._outage.note_success()

    def due(self, key: str) -> Due:
        """Returns the key in delivery as a Due."""
        assert self._delivery is not None
        return self._delivery.due(key)

    def _rests(self) -> bool:
        """Rest if nobody subscribes, until the next one does. Returns True if the source rests."""
        if not self.subscribers.pause_ticks_without_any():
            return False
        self._outage.reset()
        self._demand.reset()
        return True

    # The end.

    @property
    def is_inside(self) -> bool:
        """True if this thread is in a look of this source, perhaps in a call to a subscriber."""
        return self._look_lock.is_inside

    def stop(self, longest: float = -1, waits: bool = True) -> None:
        """Hand back, complete, release the threads; waits for the `on_next` in progress. May be repeated.

        Called from that `on_next`, it returns at once; the look that called `on_next` then ends the source.

        Args:
            longest: seconds to wait for the `on_next`; negative: as long as it takes.
            waits: False: it does not wait, and the source ends by itself, soon.
        """
        self.subscribers.stop()
        self._hold.note_stop()
        if self.is_inside:
            return
        if waits and not self._look_lock.acquire_after_look(self._hold, longest):
            fault(
                "stopped, but an on_next did not return: "
                "a plain key in delivery is lost if the process ends before that on_next returns"
            )
            return
        if not waits and not self._look_lock.acquire(timeout=0):
            self._scheduler.schedule(self._stop_soon)  # after the look in progress
            return
        try:
            self._finish()
        finally:
            self._look_lock.release()

    def _stop_soon(self, _: abc.SchedulerBase, __: object = None) -> None:
        self.stop()

    def _finish(self) -> None:
        """End a stopped source, under the look lock: hand back, complete, release the threads. Once."""
        if self._is_finished:
            return
        self._is_finished = True
        self.subscribers.end_ticks()
        try:
            notice = self._hold.hand_back_everything()
            if notice is not None:
                fault("%s", notice)
                self._errors.publish(notice)
        finally:
            self.subscribers.complete()
            for loop in self.loops:
                loop.dispose()
            self._finished()

    def _fail_without_ticks(self, error: Exception) -> None:
        """Fail because nothing can be planned: no thread can be started. So the pause after the last time is here.

        Whoever subscribes again in `on_error`, as `ops.retry` does, does that on the thread of its first `subscribe`.
        """
        if not self._is_virtual:
            threading.Event().wait(self._outage.pause_after_refusal)
        self._fail(error)

    def _fail(self, error: Exception) -> None:
        """End the stream for all who subscribe now; a new subscription starts afresh."""
        failing = self.subscribers.remove_all()
        self._outage.note_refusal()
        fault("%s", error)
        if isinstance(error, StoreError):
            self._errors.publish(error)
        for subscriber in failing:
            subscriber.unblock_source()
            subscriber.fail(error)
