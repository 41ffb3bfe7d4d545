"""A store as an Observer of jobs: what is written is written when `on_next` returns."""

from __future__ import annotations

from reactivex import abc

from rx_runat.model.job import Schedulable, to_jobs
from rx_runat.stream.writes import Writes


class Sink(abc.ObserverBase[Schedulable]):
    """The write side of a queue, for as many producers as like to share it.

    It derives from RxPY's abstract observer and not from `Observer`, which drops everything after its first
    `on_completed`: here a producer's end is its own.

    Args:
        writes: to the queue's store.
    """

    def __init__(self, writes: Writes) -> None:
        self._writes = writes

    def on_next(self, value: Schedulable) -> None:
        """Schedule a job, or a list of jobs: all of it or nothing; returns once Redis has answered.

        Raises:
            InvalidJob: before Redis was touched.
            StoreError: what Redis said; `OutcomeUnknown` if it did not answer.
        """
        jobs = to_jobs(value)
        if jobs:
            self._writes.schedule(jobs, "last")

    def on_error(self, error: Exception) -> None:
        """Raise what a producer ended with, as Rx does where nobody handles it; the queue goes on."""
        raise error

    def on_completed(self) -> None:
        """Nothing: a producer that completes ends itself, not the queue."""
