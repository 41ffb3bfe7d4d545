"""The sink: an Observer that writes jobs to the schedule. When `on_next` returns, Redis has them.

a list of jobs  -->  checked whole  -->  written: all or nothing in one step; a long list in several, in order
"""

from __future__ import annotations

from collections.abc import Callable

from reactivex import abc

from rx_runat.model.job import Keep, Schedulable, to_jobs
from rx_runat.stream.access import Access


class Sink(abc.ObserverBase[Schedulable]):
    """The write side of a queue, shared by any number of producers. `RunAt.on_next` documents what it takes.

    It derives from RxPY's abstract observer and not from `Observer`, because an `Observer` drops everything after its
    first `on_completed`; here one producer that completes does not end the sink for the others.

    Args:
        access: returns how the queue is reached.
        keep: which schedule stands if a key has one already.
        only_waiting: True: keys that do not wait are not written.
        owner: returns the repr of the queue.
    """

    def __init__(self, access: Callable[[], Access], keep: Keep, only_waiting: bool, owner: Callable[[], str]) -> None:
        self._access = access
        self._keep: Keep = keep
        self._only_waiting = only_waiting
        self._owner = owner

    def on_next(self, value: Schedulable) -> None:
        """Schedule a job, or a list of jobs; see `RunAt.on_next`."""
        access = self._access()
        with access.writing:
            jobs = to_jobs(value)
            if jobs:
                access.writes.schedule(jobs, self._keep, self._only_waiting)

    def on_error(self, error: Exception) -> None:
        """Raise the error that a producer ended with, as Rx does where nobody handles it. The queue goes on."""
        raise error

    def on_completed(self) -> None:
        """Do nothing: a producer that completes does not end the queue."""

    def __repr__(self) -> str:
        only = ", only_waiting=True" if self._only_waiting else ""
        return f"<sink(keep={self._keep!r}{only}) of {self._owner()}>"
