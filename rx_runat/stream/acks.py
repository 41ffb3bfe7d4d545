"""Leases of finished work are settled in bulk, on the leases thread: no thread of the user's waits for Redis.

The `begin` of work whose attempt does not count yet goes with the same calls.

requests  a  b c d      e
calls     [a]   [b c d] [e]      requests that come during one call go with the next call; a request
                                 waits, at most 1 ms, only where more are expected at once
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from itertools import groupby

from rx_runat.errors import OutcomeUnknown, Unavailable
from rx_runat.model.batch import REFUSED
from rx_runat.model.claim import Manager
from rx_runat.model.safe_log import debug, warn
from rx_runat.stream.lease_holder import Ack, LeaseHolder
from rx_runat.stream.lease_thread import LeaseThread, parts
from rx_runat.stream.outage import backoff
from rx_runat.stream.renewals import Renewals

# While more requests are expected, a call is made as soon as this many wait: the server then works while our threads
# do, and the whole takes less time than with one call at the end.
_ENOUGH = 32

# Seconds that an ack waits for others that are expected. They may not come, because the next work may take longer.
_MOMENT = 0.001


class Acks:
    """Ends leases, many in one call, and asks again through an outage for as long as the lease lives.

    Args:
        manager: knows which leases live.
        thread: makes the calls.
        renewals: a lease that is to be settled is renewed no longer.
    """

    def __init__(self, manager: Manager, thread: LeaseThread, renewals: Renewals) -> None:
        self._manager = manager
        self._thread = thread
        self._renewals = renewals
        self._lock = threading.Lock()  # over the rest
        self._waiting: list[Ack] = []
        self._is_calling = False  # a call is planned or under way
        self._expects_more = False  # that call waits for more requests
        self._failures = 0
        self._is_enough = threading.Event()  # ends that moment

    def put(self, ack: Ack, more: bool = False) -> None:
        """End a lease soon; in virtual time at once.

        Args:
            ack: the request.
            more: True if others are expected to follow at once; then wait a moment for them.
        """
        if ack.verb != "begin":
            self._renewals.release(ack.lease, ack.holder)
        with self._lock:
            self._waiting.append(ack)
            is_enough = not more or len(self._waiting) >= _ENOUGH
            if self._is_calling:
                if is_enough and self._expects_more:
                    self._expects_more = False
                    self._is_enough.set()
                return
            self._is_calling = True
            self._expects_more = waits = not is_enough and not self._thread.is_virtual
        try:
            self._thread.run(self._call_in_a_moment if waits else self._call)
        except RuntimeError as error:
            self._drop(error)

    def _drop(self, error: RuntimeError) -> None:
        """No thread can be started: leave the claims to the end of their leases, and end the streams that wait."""
        with self._lock:
            acks, self._waiting = self._waiting, []
            self._is_calling = self._expects_more = False
        for holder in dict.fromkeys(ack.holder for ack in acks):
            holder.failed(error)
        _tell((ack, None) for ack in acks)

    # On the thread.

    def _call_in_a_moment(self) -> None:
        """Call when enough requests wait. To wait here costs less than to plan an action on the thread."""
        self._is_enough.wait(_MOMENT)
        with self._lock:
            self._expects_more = False
            self._is_enough.clear()
        self._call()

    def _call(self) -> None:
        while True:
            with self._lock:
                acks, self._waiting = self._waiting, []
                if not acks:
                    self._is_calling = False
                    return
            left = self._settle(acks)
            if left:
                with self._lock:
                    self._waiting = left + self._waiting
                    seconds = backoff(self._failures)
                    self._failures += 1
                self._thread.run_after(seconds, self._call)
                return
            self._failures = 0
            if not self._thread.is_virtual and self._waiting:
                self._thread.run(self._call)  # a renewal that is due runs between two calls, however many acks come
                return

    def _settle(self, acks: list[Ack]) -> list[Ack]:
        """Settle these. Returns those that Redis did not answer, and that are to be asked for again."""
        left: list[Ack] = []
        # A request that Redis may have carried out already is sent in a call of its own, with `sent_at`: it holds
        # for the whole call, and would be false for the other requests.
        sure = [ack for ack in acks if ack.lease.sent_at is None]
        for part in [*parts(sure), *([ack] for ack in acks if ack.lease.sent_at is not None)]:
            if left:  # Redis is away: the other parts would fare no better
                left += part
                continue
            answers: list[int | None]
            refusal: Exception | None
            try:
                reply = self._thread.settle([ack[:3] for ack in part])
                answers, refusal = reply.answers, reply.refusal
            except (Unavailable, OutcomeUnknown) as error:
                debug("not settled yet: %s", error)
                left += part
                continue
            except Exception as error:  # it does not heal, or it is a bug of ours: the work must not go on in silence
                answers, refusal = [REFUSED] * len(part), error
            answered = list(zip(part, answers, strict=True))
            if refusal is None:
                _tell(answered)
                continue
            _tell(pair for pair in answered if pair[1] != REFUSED)
            refused = [ack for ack, answer in answered if answer == REFUSED]
            if isinstance(refusal, Unavailable):  # it heals: those that were refused are asked for again
                left += refused
            else:  # their claims are left to the end of their leases
                for holder in dict.fromkeys(ack.holder for ack in refused):
                    holder.failed(refusal)
                _tell((ack, REFUSED) for ack in refused)
        return [ack for ack in left if not self._gives_up(ack)]

    def _gives_up(self, ack: Ack) -> bool:
        if self._thread.waits(ack.holder) and self._manager.lives(ack.lease):
            return False
        warn(
            "%s did not answer the %s of %r: this key may be delivered again",
            self._manager.where,
            ack.verb,
            ack.lease.key,
        )
        _tell([(ack, None)])
        return True


def _tell(answered: Iterable[tuple[Ack, int | None]]) -> None:
    """Tell each holder the answers to its requests, in one call for those that follow each other."""
    for holder, pairs in groupby(answered, _holder_of):
        try:
            holder.settled(pairs)
        except Exception as error:  # a bug of ours: the leases thread must go on for the other holders
            holder.failed(error)


def _holder_of(pair: tuple[Ack, int | None]) -> LeaseHolder:
    return pair[0].holder
