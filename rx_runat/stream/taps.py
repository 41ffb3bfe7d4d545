"""Taps and the monitor: observers of what a queue does in this process, for drawings, and for metrics and traces.

    source     claimed, deliver, delivered  -->  taps, monitor
    writes     schedule                     -->  monitor
    leases     settle                       -->  monitor
    settling   begin_work                   -->  monitor

A tap is told of what has happened. A monitor also gets what is about to happen, and runs it: so a trace knows what
belongs together. Without a monitor, all of this costs one comparison for each claim, call and work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from rx_runat.model.batch import Claimed, Entry, Leased, SettleReply, Verb
from rx_runat.model.claim import Claim, Lease
from rx_runat.model.job import Job
from rx_runat.model.protocols import Plan

_T = TypeVar("_T")


class Tap(Protocol):
    """Observes the claims of sources. It causes no claim, and must not raise or take long."""

    def claimed(self, claimed: Claimed | Leased) -> None:
        """Keys were claimed, and are delivered next."""
        ...

    def delivered(self, claimed: Claimed | Leased, left: Sequence[Entry]) -> None:
        """Keys were delivered, except for `left`, which go back."""
        ...


class WorkMonitor(Protocol):
    """Measures one call of the work of `settle`, until that work is over. It must not raise."""

    def run(self, call: Callable[[], _T]) -> _T:
        """Make the call, once, and return what it returns. Work may go on after it."""
        ...

    def end(self, seconds: float, error: BaseException | None) -> None:
        """The work is over after so many seconds, or is waited for no longer. On any thread; called once.

        Args:
            seconds: since `begin_work`.
            error: what the work raised; None: nothing.
        """
        ...


class Monitor(Protocol):
    """Measures what a queue does. It raises nothing of its own, and runs what it is given once, whatever happens."""

    def schedule(self, jobs: Sequence[Job], plan: Plan[_T]) -> Plan[_T]:
        """Returns a plan that does the same as the plan which writes these jobs. On the caller's thread."""
        ...

    def settle(self, asked: Sequence[tuple[Lease, Verb]], plan: Plan[SettleReply]) -> Plan[SettleReply]:
        """Returns a plan that does the same as the plan which settles these leases, each by its verb."""
        ...

    def note_claim(self, seconds: float) -> None:
        """A call of so many seconds has claimed keys, which are delivered next."""
        ...

    def deliver(self, claimed: Claimed | Leased, give: Callable[[], None]) -> None:
        """Deliver keys by a call of `give`."""
        ...

    def delivered(self, claimed: Claimed | Leased, left: Sequence[Entry]) -> None:
        """As `Tap.delivered`."""
        ...

    def begin_work(self, claims: Sequence[Claim]) -> WorkMonitor:
        """The work of `settle` is about to be called with these claims, at least one."""
        ...


class Taps(list[Tap]):
    """The taps of all sources of one queue; one may be appended or removed at any time.

    Attributes:
        monitor: of the queue; None: nobody measures it. Read it once for each use: any thread may change it meanwhile.
    """

    monitor: Monitor | None = None

    def claimed(self, claimed: Claimed | Leased, seconds: float) -> None:
        """Tell all of a claim, and the monitor also how long its call took."""
        for tap in tuple(self):
            tap.claimed(claimed)
        monitor = self.monitor
        if monitor is not None:
            monitor.note_claim(seconds)

    def deliver(self, claimed: Claimed | Leased, give: Callable[[], None]) -> None:
        """Deliver keys by a call of `give`."""
        monitor = self.monitor
        if monitor is None:
            give()
        else:
            monitor.deliver(claimed, give)

    def delivered(self, claimed: Claimed | Leased, left: Sequence[Entry]) -> None:
        """Tell all."""
        for tap in tuple(self):
            tap.delivered(claimed, left)
        monitor = self.monitor
        if monitor is not None:
            monitor.delivered(claimed, left)
