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

# Seconds; stop() gives up on a Redis that is away after one interval, and after this at most. Where another primary may
# take over, it waits for so long whatever the interval: Sentinel and clusters need some seconds for that.
LONGEST_PATIENCE = 5.0
SHORTEST_SILENCE = 1.0  # seconds; a server or host that is only busy may be silent for longer than a short interval
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
    """

    def __init__(
        self, store: Store, claiming: Claiming[C], interval: float, now: Callable[[], float], is_virtual: bool
    ) -> None:
        self.break_off = store.close
        self._claiming = claiming
        self._store = store
        self._now = now
        self._is_virtual = is_virtual
        self._seconds = claiming.demand.hold_seconds
        self._lock = threading.Lock()  # guards the four below; held during each call to Redis
        self._claimer: Claimer[C] | None = None
        self._delivery: Delivery | None = None  # the one whose rest the timer is to hand back
        self._undelivered: list[Entry] = []
        self._returning: list[Entry] = []  # what the hand-back under way, or the one that failed last, returns
        self._timed: Callable[[], None] | None = None
        self._called_at: float | None = None  # when a look began to call Redis, or to wait for a call of the timer's
        self._stopped_at: float | None = None
        self._patience = min(interval, LONGEST_PATIENCE)
        self._longest_silence = max(self._patience, SHORTEST_SILENCE)

    def claim(self, limit: int) -> C:
        """Claim what is due, at most `limit` keys.

        Raises:
            StoreError: Redis did not answer; the next call asks for the same claim again.
        """
        with self._calling():
            if self._claimer is None:
                self._claimer = self._claiming.claimer()
            return self._claimer.claim(limit)

    # While a claim is delivered.

    def begin(self, delivery: Delivery) -> Callable[[], bool] | None:
        """Begin to count the time of a delivery.

        When it is over, the timer hands back what is undelivered, whoever is blocked. Where no timer can do that, the
        deliverer has to look at the clock after each key: in virtual time; where the system permits no further thread;
        and where Python has no GIL, which keeps two threads from taking the same key off an iterator.

        Returns:
            What tells the deliverer that the time is over; None if the timer does it, or if there is no limit: claims
            have none, and of a single key nothing waits behind an `on_next`.
        """
        if delivery.size == 1 or math.isinf(self._seconds) or self._start_timer(delivery):
            return None
        until = self._now() + self._seconds
        return lambda: self._now() > until

    def _start_timer(self, delivery: Delivery) -> bool:
        if self._is_virtual or math.isinf(self._seconds) or not _has_gil():
            return False
        timed = partial(self._hand_back_in_time, delivery)
        self._delivery, self._timed = delivery, timed
        return timer().arm(timed)

    def keep(self, delivery: Delivery, entries: list[Entry]) -> None:
        """Hold keys of a delivery that nobody received."""
        with self._calling():
            self._keep(delivery, entries)
        if self._timed is None:  # it was a single key, and the `on_error` of who did not receive it may block
            self._start_timer(delivery)

    def end(self, delivery: Delivery) -> None:
        """End a delivery, and hold its rest. Waits for the timer if that hands it back at the moment."""
        if self._timed is None:  # no timer shares the keys, so nobody is to be waited for
            if rest := delivery.rest():
                self._keep(delivery, rest)
            return
        with self._calling():
            self._delivery = None
            self._keep(delivery, delivery.rest())
        timer().disarm(self._timed)  # after the lock, because a hand-back that failed arms it again
        self._timed = None

    def _keep(self, delivery: Delivery, entries: list[Entry]) -> None:
        self._undelivered += entries
        delivery.left += entries

    def _hand_back_in_time(self, delivery: Delivery, failures: int = 0) -> None:
        """The time of a delivery is over: hand back what is undelivered. On a thread of the timer's.

        If Redis does not answer, try again for as long as the delivery goes on; at its end the source does, and reports
        the error.
        """
        with self._lock:
            if self._delivery is not delivery:
                return
            self._keep(delivery, delivery.rest())
            try:
                self._send_back()
            except Refused:
                return
            except StoreError:
                self._timed = partial(self._hand_back_in_time, delivery, failures + 1)
                timer().arm(self._timed, HOLD_SECONDS + backoff(failures))

    def leave_to_parent(self) -> None:
        """In a forked child: hold nothing, with a lock that is free."""
        self._lock = threading.Lock()
        self._undelivered, self._returning = [], []

    # What goes back.

    @property
    def is_empty(self) -> bool:
        """True if there is nothing to hand back."""
        return not self._undelivered and not self._returning

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
                if self._undelivered:
                    continue
                if closes:
                    self._claimer = None
                return handed_back

    def _send_back(self) -> bool:
        """Return what is undelivered, under the lock. After an error first the same keys again, in the same request."""
        sent = False
        while self._returning or self._undelivered:
            assert self._claimer is not None, "what is undelivered was claimed"
            if not self._returning:
                self._returning, self._undelivered = self._undelivered, []
            self._claimer.hand_back(self._returning)
            self._returning = []
            sent = True
        return sent

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
                    return self._not_returned(error)
            threading.Event().wait(_PAUSE)

    def _not_returned(self, error: StoreError) -> NotReturned | None:
        in_order = sorted(self._returning + self._undelivered, key=lambda entry: (float(entry.score), entry.key))
        keys = [entry.key for entry in in_order]
        if keys:
            return NotReturned(f"stopped, and could not hand back {keys}: {error}", keys)
        if self._claimer is not None and self._claimer.is_owed:
            return NotReturned(f"stopped, and what the last claim took is unknown, its answer was lost: {error}", ())
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
