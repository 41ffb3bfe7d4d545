"""Write to the schedule, then tell the queue's own sources: the one place where both happen.

    job, settle request, dead letter  -->  store  -->  sources: "this run_at is new"

A source that sleeps until a later moment wakes up. Sources of other processes are woken by Redis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rx_runat.model.batch import SettleReply, SettleRequest
from rx_runat.model.job import Job, Keep
from rx_runat.model.protocols import Store
from rx_runat.stream.sources import Sources


class Writes:
    """The writes that can bring a key into the schedule. From any thread.

    Args:
        store: where the schedule is.
        sources: the queue's own sources.
    """

    def __init__(self, store: Store, sources: Sources) -> None:
        self._store = store
        self._sources = sources

    def schedule(self, jobs: Sequence[Job], keep: Keep) -> float:
        """Write all jobs or none. Returns the earliest run_at that stands for them, in epoch milliseconds."""
        run_at = self._store.schedule(jobs, keep)
        self._sources.written(run_at)
        return run_at

    def settle(self, requests: Sequence[SettleRequest], resent: bool) -> SettleReply:
        """End or extend leases; see `Store.settle`."""
        reply = self._store.settle(requests, resent)
        if reply.earliest is not None:
            self._sources.written(reply.earliest)
        return reply

    def revive(self, key: str | None) -> int:
        """Bring one dead letter back to the schedule, or all. Returns how many came back."""
        revived = self._store.revive(key)
        if revived:
            self._sources.written(-math.inf)
        return revived
