"""The sink: an Observer that writes jobs to the schedule. When `on_next` returns, Redis has them.

a list of jobs  -->  checked whole  -->  written: all or nothing in one step; a long list in several, in order
"""

from __future__ import annotations

from reactivex import abc

from rx_runat.model.job import Schedulable, to_jobs
from rx_runat.stream.writes import Writes


class Sink(abc.ObserverBase[Schedulable]):
    """The write side of a queue, shared by any number of producers.

    It derives from RxPY's abstract observer and not from `Observer`, because an `Observer` drops everything after its
    first `on_completed`; here one producer that completes does not end the sink for the others.

    Args:
        writes: to the queue's store.
    """

    def __init__(self, writes: Writes) -> None:
        self._writes = writes

    def on_next(self, value: Schedulable) -> None:
        """See `RunAt.on_next`."""
        jobs = to_jobs(value)
        if jobs:
            self._writes.schedule(jobs, "last")

    def on_error(self, error: Exception) -> None:
        """See `RunAt.on_error`."""
        raise error

    def on_completed(self) -> None:
        """See `RunAt.on_completed`."""
