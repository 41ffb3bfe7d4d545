"""Settles claims and renews their leases, in bulk, whatever keeps the threads of the work busy.

verdicts   a  b c d      e
calls      [a]   [b c d] [e]      what comes during a call goes with the next one; none waits for another
renewals   r     .     .     r    every third of a lease, all in one call
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeVar

from reactivex import abc

from rx_runat.errors import OutcomeUnknown, Unavailable
from rx_runat.model.batch import Verb
from rx_runat.model.claim import Lease
from rx_runat.model.times import to_ms
from rx_runat.stream.leases import LeaseManager
from rx_runat.stream.loop import Loop
from rx_runat.stream.outage import backoff

log = logging.getLogger("rx_runat")

_RENEWALS = 3  # in the length of a lease: one may fail, and its repeat still comes in time
_MOST = 500  # verdicts in one call: some 3 ms of the server's time
_ENOUGH = 32  # verdicts are worth a call, while work goes on: so it is done sooner than with one call at the end
_MOMENT = 0.001  # s; what a thread that goes on with its next claim may add to an ack, should that one take longer
_LAST_SECONDS = 1.0  # after the end, a server that restarts is waited for so long, and no outage is sat out

_T = TypeVar("_T")


class _Asked(NamedTuple):
    lease: Lease
    verb: Verb
    argument: int | str
    then: Callable[[bool | None], None]


class Clerk:
    """The one that talks to Redis about the claims of one desk, on a thread of its own.

    Args:
        desk: where they were made.
        lost: hears, on our thread, of a lease that has been lost and was not to be settled yet.
        failed: hears of what does not heal.
    """

    def __init__(self, desk: LeaseManager, lost: Callable[[Lease], None], failed: Callable[[Exception], None]) -> None:
        self._desk = desk
        self._lost = lost
        self._failed = failed
        self._scheduler: abc.SchedulerBase = desk.scheduler or Loop("rx_runat clerk")
        self._ms = to_ms(desk.lease, "lease", 0)
        self._period = desk.lease / _RENEWALS
        self._lock = threading.Lock()  # over the rest
        self._kept: dict[Lease, None] = {}
        self._renews = False
        self._asked: list[_Asked] = []
        self._asks = False  # a call is under way, or about to be
        self._plans = False  # one is, in a moment
        self._failures = 0
        self._patient_until: float | None = None
        self._called_at: float | None = None  # of a call under way

    def keep(self, lease: Lease) -> None:
        """Renew a lease from now on, until it is settled or lost."""
        self._kept[lease] = None
        if self._renews:  # whoever ends the renewals looks again whether one has come
            return
        with self._lock:
            begins, self._renews = not self._renews, True
        if begins:
            self._scheduler.schedule_relative(self._period, self._renew)

    def settle(
        self, lease: Lease, verb: Verb, argument: int | str, then: Callable[[bool | None], None], more: bool = False
    ) -> None:
        """End a lease, soon.

        Args:
            lease: the lease.
            verb: how.
            argument: of the verb.
            then: hears, on our thread, whether it was still ours, or None: that is not known.
            more: others follow at once, if all goes well; wait a moment for them.
        """
        with self._lock:
            self._kept.pop(lease, None)
            self._asked.append(_Asked(lease, verb, argument, then))
            more = more and self._desk.scheduler is None and len(self._asked) < _ENOUGH
            plans = more and not self._asks and not self._plans
            begins = not more and not self._asks
            self._plans = self._plans or plans
            self._asks = self._asks or begins
        if plans:
            self._scheduler.schedule_relative(_MOMENT, self._ask_planned)
        elif begins and self._desk.scheduler is None:
            self._scheduler.schedule(self._ask_all)
        elif begins:
            self._ask_all()

    def hurry(self) -> None:
        """Sit no outage out from now on."""
        with self._lock:
            self._patient_until = self._patient_until or self._desk.now() + _LAST_SECONDS

    def break_off(self) -> None:
        """Wait no longer for a server that is there and silent, once there was time for an answer since `hurry`."""
        called_at, until, now = self._called_at, self._patient_until, self._desk.now()
        if called_at is not None and until is not None and now >= max(until, called_at + _LAST_SECONDS):
            self._desk.break_off()

    def end(self) -> None:
        """Let go, when all is settled."""
        with self._lock:
            self._kept.clear()
        if isinstance(self._scheduler, Loop):
            self._scheduler.dispose()

    def join(self, longest: float) -> None:
        """Wait for our thread, after the end."""
        if isinstance(self._scheduler, Loop):
            self._scheduler.end(longest)

    # On our thread.

    def _ask_planned(self, _: object = None, __: object = None) -> None:
        with self._lock:
            self._plans = False
            begins = bool(self._asked) and not self._asks
            self._asks = self._asks or begins
        if begins:
            self._ask_all()

    def _ask_all(self, _: object = None, __: object = None) -> None:
        while True:
            with self._lock:
                asked, self._asked = self._asked, []
                if not asked:
                    self._asks = False
                    return
            left = self._ask(asked)
            if left:
                with self._lock:
                    self._asked = left + self._asked
                    seconds = backoff(self._failures)
                    self._failures += 1
                self._scheduler.schedule_relative(seconds, self._ask_all)
                return
            self._failures = 0
            if self._desk.scheduler is None:  # a renewal may be due: however much is asked for, it has its turn
                self._scheduler.schedule(self._ask_all)
                return

    def _ask(self, asked: list[_Asked]) -> list[_Asked]:
        """Ask for these; answers those that are to be asked for again."""
        left: list[_Asked] = []
        # What may have been done already is asked for alone: of the others it would not be true.
        sure = [each for each in asked if not each.lease.is_unsure]
        for part in [*_parts(sure, _MOST), *([each] for each in asked if each.lease.is_unsure)]:
            if left:  # it would fare no better
                left += part
                continue
            try:
                answers = self._call([(each.lease, each.verb, each.argument) for each in part])
            except (Unavailable, OutcomeUnknown) as error:
                log.debug("not settled yet: %s", error)
                left += part
                continue
            except Exception as error:  # it does not heal, or it is a bug of ours: nothing may wait for it in silence
                self._failed(error)
                answers = [None] * len(part)
            for each, answer in zip(part, answers, strict=True):
                each.then(answer)
        return [each for each in left if not self._gives_up(each)]

    def _call(self, verdicts: Sequence[tuple[Lease, Verb, int | str]]) -> list[bool | None]:
        self._called_at = self._desk.now()
        try:
            return self._desk.settle(verdicts)
        finally:
            self._called_at = None

    def _gives_up(self, asked: _Asked) -> bool:
        over = self._patient_until is not None and self._desk.now() >= self._patient_until
        over = over or not self._desk.lives(asked.lease)
        if over:
            log.warning(
                "%s did not answer the %s of %r: it may come again", self._desk.where, asked.verb, asked.lease.key
            )
            asked.then(None)
        return over

    def _renew(self, _: object, __: object = None) -> None:
        began = self._desk.now()
        with self._lock:
            self._renews = False
            leases = list(self._kept)
            self._renews = bool(leases)
        if not leases:
            return
        failed = False
        for part in _parts(leases, _MOST):
            try:
                self._call([(lease, "extend", self._ms) for lease in part])
            except (Unavailable, OutcomeUnknown) as error:
                log.debug("not renewed: %s", error)
                failed = True
                break  # the others would fare no better, and each might wait as long for an answer
            except Exception as error:
                self._failed(error)
                return
        for lease in leases:
            if not self._desk.lives(lease):
                with self._lock:
                    was_kept = lease in self._kept
                    self._kept.pop(lease, None)
                if was_kept:
                    self._lost(lease)
        wait = self._period - (self._desk.now() - began)
        if failed:
            wait = min(wait, max(self._period / 4, backoff(0)))
        self._scheduler.schedule_relative(max(0.0, wait), self._renew)


def _parts(items: Sequence[_T], most: int) -> Iterator[list[_T]]:
    rest = iter(items)
    while part := list(islice(rest, most)):
        yield part
