"""What a source has claimed and no subscriber has received, and how it goes back to Redis.

    the look          claim   a b c ............ c ends, end   hand back c if nobody received it, claim ...
    the hold timer                    d e f hand back          a tenth of a second after the claim, while c blocks

Looks come one at a time, and a hand-back of the timer runs beside them: one lock guards the calls to Redis and what is
undelivered. It is acquired once for a claim and its delivery, never for a key.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Generic

from rx_runat.errors import NotReturned, Refused, StoreError
from rx_runat.model.batch import Entry
from rx_runat.model.monotonic import monotonic
from rx_runat.model.protocols import Claimer, Store
from rx_runat.stream.claiming import C, Claiming
from rx_runat.stream.delivery import Delivery
from rx_runat.stream.demand import HOLD_SECONDS
from rx_runat.stream.hold_timer import timer
from rx_runat.stream.outage import backoff
from rx_runat.stream.turn import Turn

# Seconds; stop() gives up on a Redis that is away after one interval, and after this at most. Where another primary may
# take over, it waits for so long whatever the interval: Sentinel and clusters need some seconds for that.
LONGEST_PATIENCE = 5.0
SHORTEST_SILENCE = 1.0  # seconds; a server or host that is only busy may be silent for longer than a short interval
# Seconds. If the reply to a claim that was asked for ahead takes longer than this, the time of its keys begins when
# they come: where a reply takes a tenth of a second, their time would be over before any key is delivered. After a
# shorter wait their time still suffices, because the two deliveries take a twentieth of a second together.
_SHORT_WAIT = HOLD_SECONDS / 4
_PAUSE = 0.02  # seconds between two tries: a server that restarts is back within some 50 ms

_has_gil: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)  # before Python 3.13 there always is one


class Hold(Generic[C]):
    """Claims keys for a source, holds those that nobody received, and hands them back.

    Its methods are called by the source's looks, one at a time, unless they say otherwise.

    Args:
        store: where keys are claimed.
        claiming: makes the claimer: a new one when somebody subscribes after all had left.
        interval: seconds; how long to retry while Redis is away, when everything must go back.
        now: returns monotonic seconds; virtual seconds in virtual time.
        is_virtual: True in virtual time: then no thread hands back.

    Attributes:
        break_off: makes a call to Redis that is under way fail, from another thread.
        was_ahead: True if the last claim was asked for before the delivery of the one before it. So what it reports of
            the next key may be old.
    """

    def __init__(
        self, store: Store, claiming: Claiming[C], interval: float, now: Callable[[], float], is_virtual: bool
    ) -> None:
        self.break_off = store.close
        self.was_ahead = False
        self._claiming = claiming
        self._store = store
        self._now = now
        self._seconds = claiming.demand.hold_seconds
        self._is_virtual = is_virtual
        self._lock = threading.Lock()  # guards the five below; held during each call to Redis
        self._claimer: Claimer[C] | None = None
        self._undelivered: list[Entry] = []
        # What the hand-back under way, or the one that failed last, returns; keys of a claim that was asked for ahead
        # are not in it.
        self._returning: list[Entry] | None = None
        self._turn = Turn(now())
        self._next: Turn | None = None  # of the claim that was asked for ahead
        self._called_at: float | None = None  # when a look began to call Redis, or to wait for a call of the timer's
        self._stopped_at: float | None = None
        self._patience = min(interval, LONGEST_PATIENCE)
        self._longest_silence = max(self._patience, SHORTEST_SILENCE)

    def claim(self, limit: int, ahead: int = 0) -> C:
        """Claim what is due, at most `limit` keys.

        Args:
            limit: keys.
            ahead: keys: if more are due, ask for so many before this returns; the next call returns them. 0: do not.

        Raises:
            StoreError: Redis did not answer; the next call asks for the same claim again.
        """
        with self._calling():
            if self._claimer is None:
                self._claimer = self._claiming.claimer()
            self.was_ahead = self._claimer.is_ahead
            began = self._now()
            claimed = self._claimer.claim(limit, ahead if self._has_timer else 0)
            arrived = self._now()
            if self._next is not None and arrived - began > _SHORT_WAIT:
                self._end_next()
            self._turn, self._next = self._next or Turn(arrived), None
            if not claimed.keys:
                self._turn.disarm()
            if self._claimer.is_owed:  # it was asked for ahead, or perhaps was: then it is asked for again
                self._next = Turn(self._now())
        if self._next is not None:
            self._arm(self._next)
        return claimed

    def has_earlier(self, until: float) -> bool:
        """Returns True if a claim brings something before `until`, in epoch milliseconds, or now.

        Raises:
            StoreError: Redis did not answer.
        """
        with self._calling():
            return self._claimer is None or self._claimer.has_earlier(until)

    @property
    def is_ahead(self) -> bool:
        """True if the next claim is asked for already."""
        return self._next is not None

    # While a claim is delivered.

    def begin(self, delivery: Delivery) -> Callable[[], bool] | None:
        """Begin a delivery. Its time counts from here; from the asking, if the claim was asked for ahead.

        When it is over, the timer hands back what is undelivered, whoever is blocked. Where no timer can do that, the
        deliverer has to look at the clock after each key: in virtual time; where the system permits no further thread;
        and where Python has no GIL, which keeps two threads from taking the same key off an iterator.

        Returns:
            What tells the deliverer that the time is over; None if the timer does it, or if there is no limit: claims
            have none, and of a single key nothing waits behind an `on_next`.
        """
        turn = self._turn
        turn.delivery = delivery
        if turn.is_over:  # the time was over before the delivery began
            return lambda: True
        if math.isinf(self._seconds) or (delivery.size == 1 and self._next is None):
            return None
        if turn.timed or self._arm(turn):
            return None
        until = turn.since + self._seconds
        return lambda: self._now() > until

    @property
    def _has_timer(self) -> bool:
        return not self._is_virtual and math.isfinite(self._seconds) and _has_gil()

    def _arm(self, turn: Turn) -> bool:
        """Let the timer end a turn. Returns False if it cannot."""
        if not self._has_timer:
            return False
        timed = partial(self._end_in_time, turn)
        if timer().arm(timed):
            turn.timed = timed
        return turn.timed is not None

    def keep(self, delivery: Delivery, entries: list[Entry]) -> None:
        """Hold keys of a delivery that nobody received."""
        with self._calling():
            self._keep(delivery, entries)
        if self._turn.timed is None:  # it was a single key, and the `on_error` of who did not receive it may block
            self._arm(self._turn)

    def end(self, delivery: Delivery) -> None:
        """End a delivery, and hold its rest. Waits for the timer if that hands it back at the moment."""
        turn = self._turn
        if turn.timed is None:  # no timer shares the keys, so nobody is to be waited for
            turn.delivery, turn.has_ended = None, True
            if rest := delivery.rest():
                self._keep(delivery, rest)
            return
        with self._calling():
            turn.delivery, turn.has_ended = None, True
            self._keep(delivery, delivery.rest())
        turn.disarm()  # after the lock, because a hand-back that failed arms it again

    def _keep(self, delivery: Delivery, entries: list[Entry]) -> None:
        self._undelivered += entries
        delivery.left += entries

    def _end_in_time(self, turn: Turn, failures: int = 0) -> None:
        """The time of a claim is over: hand back what is undelivered. On a thread of the timer's.

        A claim that was asked for ahead goes back as well. Both times end together, because it was asked for just
        before this delivery began.

        If Redis does not answer, try again for as long as the turn goes on; at its end the source does, and reports the
        error.
        """
        with self._lock:
            if turn is not self._next and (turn is not self._turn or turn.has_ended):
                return
            turn.is_over = True
            delivery = self._turn.delivery
            if delivery is not None:
                self._keep(delivery, delivery.rest())
            try:
                self._send_back(with_next=True)
            except Refused:
                return
            except StoreError:
                turn.timed = partial(self._end_in_time, turn, failures + 1)
                timer().arm(turn.timed, HOLD_SECONDS + backoff(failures))

    def leave_to_parent(self) -> None:
        """In a forked child: hold nothing, with a lock that is free."""
        self._lock = threading.Lock()
        self._undelivered, self._returning, self._next = [], None, None

    # What goes back.

    @property
    def is_empty(self) -> bool:
        """True if there is nothing to hand back."""
        return not self._undelivered and self._returning is None

    def hand_back(self, closes: bool) -> bool:
        """Return what is undelivered to Redis.

        Args:
            closes: True if nobody subscribes any more. Then the claimer is closed: a claim whose answer was lost is
                asked for again, and its keys go back too. The receipt, which is the record of the last claim that Redis
                keeps in case it is asked for again, is deleted.

        Returns:
            True if there was something to hand back.

        Raises:
            StoreError: Redis did not answer; call it again.
        """
        handed_back = False
        while True:
            with self._calling():
                handed_back = self._send_back() or handed_back
                if closes and self._claimer is not None:
                    self._undelivered = self._claimer.close()
                    self._end_next()
                if self._undelivered:
                    continue
                if closes:
                    self._claimer = None
                return handed_back

    def _send_back(self, with_next: bool = False) -> bool:
        """Return what is undelivered, under the lock. After an error first the same keys again, in the same request.

        A claim that was asked for ahead goes back with it; `with_next`: also if nothing else does.
        """
        sent = False
        while self._undelivered or self._returning is not None or (with_next and self._next is not None):
            assert self._claimer is not None, "what is undelivered was claimed"
            if self._returning is None:
                self._returning, self._undelivered = self._undelivered, []
            self._claimer.hand_back(self._returning)
            self._returning = None
            self._end_next()
            sent = True
        return sent

    def _end_next(self) -> None:
        if self._next is not None:
            self._next.disarm()
            self._next = None

    def hand_back_everything(self) -> NotReturned | None:
        """Hand back and close, and retry during an outage for as long as an interval.

        Returns:
            None, or a notice of what could not be handed back.
        """
        self._store.shorten_timeout(self._longest_silence)
        deadline = monotonic() + (LONGEST_PATIENCE if self._store.fails_over else self._patience)
        while True:
            try:
                self.hand_back(closes=True)
                return None
            except StoreError as error:
                if isinstance(error, Refused) or monotonic() >= deadline:
                    with self._calling():
                        self._end_next()  # else the timer would try for ever
                    return self._not_returned(error)
            threading.Event().wait(_PAUSE)

    def _not_returned(self, error: StoreError) -> NotReturned | None:
        newer = () if self._claimer is None else self._claimer.newer
        held = [*(self._returning or ()), *self._undelivered, *newer]
        in_order = sorted(held, key=lambda entry: (float(entry.score), entry.key))
        keys = [entry.key for entry in in_order]
        lost = "what the last claim took is unknown, its answer was lost"
        is_owed = self._claimer is not None and self._claimer.is_owed
        if keys:
            also = f", and {lost}" if is_owed else ""
            return NotReturned(f"stopped, and could not hand back {keys}{also}: {error}", keys)
        if is_owed:
            return NotReturned(f"stopped, and {lost}: {error}", ())
        return None  # only the receipt is left, of keys that were delivered, and it expires

    # Calls that hang.

    def hangs(self, since: float) -> bool:
        """True if a look has waited for a reply for too long, counted from `since` (monotonic). From any thread."""
        called_at = self._called_at
        return called_at is not None and monotonic() - max(called_at, since) > self._longest_silence

    @property
    def is_calling(self) -> bool:
        """True while a look waits for a reply of Redis. From any thread."""
        return self._called_at is not None

    def note_stop(self) -> None:
        """Note that the source is to end: from now on a look does not wait for a call that hangs. From any thread."""
        self._stopped_at = monotonic()

    @contextmanager
    def _calling(self) -> Generator[None]:
        self._called_at = monotonic()
        try:
            while not self._lock.acquire(timeout=_PAUSE):  # the timer hands back at the moment
                if self._stopped_at is not None and self.hangs(self._stopped_at):
                    self.break_off()
            try:
                yield
            finally:
                self._lock.release()
        finally:
            self._called_at = None
