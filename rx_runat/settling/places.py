"""Where things happen: work, the subscriber's `on_next`, and calls to Redis."""

from __future__ import annotations

from collections.abc import Callable

from reactivex import abc

from rx_runat.settling.clerk import Clerk
from rx_runat.settling.threads import Inline, Pool
from rx_runat.stream.leases import LeaseManager


class Places:
    """The threads of one subscription; in virtual time all happens at once.

    Args:
        scheduler: of virtual time; None: time is real.
        max_concurrent: threads for work.
    """

    def __init__(self, scheduler: abc.SchedulerBase | None, max_concurrent: int) -> None:
        virtual = scheduler is not None
        self.scheduler = scheduler
        self.work = Inline() if virtual else Pool("rx_runat work", max_concurrent)
        self.outlet = Inline() if virtual else Pool("rx_runat outcomes", 1, idle_seconds=None)
        self.outlet.run(lambda: None)  # its thread brings the end, and a Python that exits (3.12) starts none any more
        self.clerks: dict[LeaseManager, Clerk] = {}
        self.leave: list[Callable[[], None]] = []

    def end(self) -> None:
        """Nothing happens there any more."""
        for clerk in self.clerks.values():
            clerk.end()
        self.work.end()
        self.outlet.end()
        for leave in self.leave:
            leave()

    def join(self, longest: float) -> None:
        """Wait for the threads."""
        for clerk in self.clerks.values():
            clerk.join(longest)
        self.work.join(longest)
        self.outlet.join(longest)
