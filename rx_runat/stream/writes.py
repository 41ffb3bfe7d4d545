"""Write to the schedule, then wake the queue's own sources: the one place where both happen.

    jobs, settle requests, dead letters  -->  store  -->  sources.wake_for(run_at)

Only a source that sleeps until a later run_at wakes up. Sources of other processes are woken by Redis: see `wake.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rx_runat.model.batch import SettleReply, SettleRequest
from rx_runat.model.job import Job, Keep
from rx_runat.model.protocols import Plan, Store
from rx_runat.stream.sources import Sources


class Writes:
    """The writes that can put a key into the schedule. From any thread.

    Args:
        store: where the schedule is.
        sources: the queue's own sources.
    """

    def __init__(self, store: Store, sources: Sources) -> None:
        self._store = store
        self._sources = sources

    def schedule(self, jobs: Sequence[Job], keep: Keep, only_waiting: bool = False) -> float | None:
        """Write jobs: all or none, but for a long list; see `Store.schedule`.

        Returns:
            The earliest run_at for which one of their keys is scheduled now, in epoch milliseconds. Depending on
            `keep`, an older run_at may have stayed. None: none of the keys waits.
        """
        return self._store.do(self.plan_schedule(jobs, keep, only_waiting))

    def plan_schedule(self, jobs: Sequence[Job], keep: Keep, only_waiting: bool = False) -> Plan[float | None]:
        """Returns the plan of `schedule`."""
        plan = self._schedule(jobs, keep, only_waiting)
        monitor = self._sources.taps.monitor
        return plan if monitor is None else monitor.schedule(jobs, plan)

    def _schedule(self, jobs: Sequence[Job], keep: Keep, only_waiting: bool) -> Plan[float | None]:
        # After an error, some of a long list may be written, or all of it, with the reply lost.
        run_at: float | None = -math.inf
        try:
            run_at = yield from self._store.plans.schedule(jobs, keep, only_waiting)
            return run_at
        finally:
            if run_at is not None:
                self._sources.wake_for(run_at)

    def plan_settle(self, requests: Sequence[SettleRequest]) -> Plan[SettleReply]:
        """End or extend leases; see `Store.settle`."""
        reply = yield from self._store.plans.settle(requests)
        if reply.earliest is not None:
            self._sources.wake_for(reply.earliest)
        return reply

    def revive(self, key: str | None) -> int:
        """Put one dead letter, or with None all of them, back into the schedule. Returns how many came back."""
        return self._store.do(self.plan_revive(key))

    def plan_revive(self, key: str | None) -> Plan[int]:
        """Returns the plan of `revive`."""
        revived: int | None = None
        try:
            revived = yield from self._store.plans.revive(key)
            return revived
        finally:
            if revived != 0:  # after an error, some letters may have been revived
                self._sources.wake_for(-math.inf)
