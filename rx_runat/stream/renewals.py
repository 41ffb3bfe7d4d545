"""Leases are renewed while there is work on their claims: those of one claims source in bulk, up to 500 in one call.

lease    [-----------|-----------|-----------)
renewed  .           r           r           r      every third of a lease, so one call may fail
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from reactivex.disposable import SingleAssignmentDisposable

from rx_runat.errors import OutcomeUnknown, Unavailable
from rx_runat.model.claim import Lease, Manager
from rx_runat.model.safe_log import debug
from rx_runat.model.times import to_ms
from rx_runat.stream.lease_holder import LeaseHolder
from rx_runat.stream.lease_thread import LeaseThread, parts
from rx_runat.stream.outage import backoff

_RENEWALS = 3  # in the length of a lease: one may fail, and the next one still comes in time


class Renewals:
    """Extends the leases that holders keep, until the holder releases the lease or the lease is lost.

    Each renewal plans the next one; while no lease is kept, none is planned.

    Args:
        manager: knows which leases live.
        thread: makes the calls.
        lease: seconds; each renewal extends the leases by this.
    """

    def __init__(self, manager: Manager, thread: LeaseThread, lease: float) -> None:
        self._manager = manager
        self._thread = thread
        self._lease_ms = to_ms(lease, "lease", 0)
        self._period = lease / _RENEWALS
        # A lease may be put in and taken out on any thread, without a lock: CPython does each of the two in one step.
        self._kept: dict[LeaseHolder, dict[Lease, None]] = {}
        self._lock = threading.Lock()  # over the two below
        self._plan: SingleAssignmentDisposable | None = None  # of the next renewal, or of the one under way
        self._is_renewing = False

    def renew(self, leases: Iterable[Lease], holder: LeaseHolder) -> None:
        """Renew leases from now on, until the holder releases them or they are lost."""
        kept = self._kept.get(holder)
        if kept is None:
            kept = self._kept.setdefault(holder, {})
        kept.update(dict.fromkeys(leases))
        if self._plan is None:  # whoever resets `_plan` looks at `_kept` after that, so these are not missed
            with self._lock:
                if self._plan is None:
                    self._plan_next(self._period)

    def release(self, lease: Lease, holder: LeaseHolder) -> None:
        """Renew a lease no longer for this holder, and do not tell the holder if it is lost."""
        kept = self._kept.get(holder)
        if kept is not None:
            kept.pop(lease, None)

    def leave(self, holder: LeaseHolder) -> None:
        """Release all leases of a holder. If no other holder keeps any, nothing remains planned and the thread ends."""
        with self._lock:
            self._kept.pop(holder, None)
            if self._is_renewing:
                return  # the end of the renewal looks whether leases are left
            plan, self._plan = self._plan, None
            if self._keeps_any():
                self._plan = plan
            elif plan is not None:
                plan.dispose()

    def _keeps_any(self) -> bool:
        return any(list(self._kept.values()))

    def _pairs(self) -> list[tuple[Lease, LeaseHolder]]:
        return [(lease, holder) for holder, leases in list(self._kept.items()) for lease in list(leases)]

    def _plan_next(self, seconds: float) -> None:
        """With the lock held."""
        self._plan = plan = SingleAssignmentDisposable()
        try:
            plan.disposable = self._thread.run_after(seconds, lambda: self._renew(plan))
        except BaseException:  # no thread can be started
            self._plan = None
            raise

    # On the thread.

    def _renew(self, plan: SingleAssignmentDisposable) -> None:
        began = self._thread.now()
        with self._lock:
            if plan is not self._plan:
                return  # `leave` disposed of it when it had begun already
            self._plan = None
            kept = self._pairs()
            if not kept:
                return
            self._plan, self._is_renewing = plan, True
        wait = self._period
        try:
            for holder in dict.fromkeys(holder for _, holder in kept):
                holder.check(began)
            kept = self._pairs()  # without those that went back
            done = self._extend(list(dict.fromkeys(lease for lease, _ in kept)))
            self._tell_lost(kept)
            wait -= self._thread.now() - began
            if not done:
                wait = min(wait, max(self._period / 4, backoff(0)))
        except Exception as error:  # it does not heal, or it is a bug of ours: the work must not go on in silence
            for holder in dict.fromkeys(holder for _, holder in kept):
                holder.failed(error)
        finally:
            with self._lock:
                self._plan, self._is_renewing = None, False
                if self._keeps_any():
                    self._plan_next(max(0.0, wait))

    def _extend(self, leases: list[Lease]) -> bool:
        """Extend these leases. Returns False if Redis did not answer: another try is due soon."""
        for part in parts(leases):
            try:
                reply = self._thread.settle([(lease, "extend", self._lease_ms) for lease in part])
                if reply.refusal is not None:
                    raise reply.refusal
            except (Unavailable, OutcomeUnknown) as error:
                debug("not renewed: %s", error)
                return False  # the other parts would fare no better, and each might wait as long for an answer
        return True

    def _tell_lost(self, kept: list[tuple[Lease, LeaseHolder]]) -> None:
        for lease, holder in kept:
            if not self._manager.lives(lease) and self._kept.get(holder, {}).pop(lease, self) is None:
                holder.lost(lease)  # unless the holder has released it meanwhile: then the lease may have been settled
