"""What the Rx side asks of a store: protocols, which the Redis side fulfils. Neither side knows the other.

    asked by                  protocol    fulfilled by
    sink, letters, counter    Store       store
    hand                      Claimer[Claimed]       plain_claimer           keys for good
    hand                      Claimer[Leased]      leases          keys under a lease
    heads                     HeadTracker       watch           what others do

Nothing here knows Redis or Rx. The values that they take and answer are in `job.py` and `verdict.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol, TypeAlias, TypeVar

from rx_runat.model.batch import Claimed, Entry, Leased, SettleReply, SettleRequest
from rx_runat.model.dead_letter import DeadLetter
from rx_runat.model.job import Due, Job, Keep
from rx_runat.model.times import RunAtTime

Clock: TypeAlias = Callable[[], int]
"""A virtual clock: epoch microseconds. None where Redis's own clock rules."""

_C_co = TypeVar("_C_co", bound=Claimed | Leased, covariant=True)


class Claimer(Protocol[_C_co]):
    """One source's hand in the store: what it has taken, it can give back. Not for two threads at once."""

    @property
    def is_owed(self) -> bool:
        """Is the answer to a claim still out?"""
        ...

    def claim(self, limit: int) -> _C_co:
        """Take what is due, at most `limit` keys. After an answer that was lost, the same keys again."""
        ...

    def hand_back(self, entries: Sequence[Entry]) -> None:
        """Return entries of the last claim as they were."""
        ...

    def close(self) -> list[Entry]:
        """Leave nothing behind; answers entries of a claim whose answer had been lost until now."""
        ...


class PlainClaimer(Claimer[Claimed], Protocol):
    """A hand that takes for good. What it returns gives way to a schedule that was made meanwhile."""


class LeasingClaimer(Claimer[Leased], Protocol):
    """A hand that takes under a lease. It brings ended leases back first, and returns what is still its own.

    After an answer that was lost come the same keys again, whatever the limit is now, unless their lease has ended.
    """


class HeadTracker(Protocol):
    """An eye on what comes next: hints, that may be lost. One thread looks and waits; any may close."""

    def head(self) -> float:
        """The earliest moment that is worth a look, in epoch milliseconds; inf: none. `wait` hears of changes to it."""
        ...

    def wait(self, seconds: float) -> None:
        """Return when the schedule may have changed, or after so many seconds."""
        ...

    def close(self) -> None:
        """Break off what is under way and let go; may be repeated."""
        ...


class Store(Protocol):
    """Where schedules lie. Every verb may raise `StoreError`; none changes anything but what it says."""

    where: str

    def schedule(self, jobs: Sequence[Job], keep: Keep) -> float:
        """Write all jobs or none; answers the earliest run_at that stands for them, in epoch milliseconds."""
        ...

    def cancel(self, key: str) -> bool:
        """Call a key off: it waits no more, and a lease on it is revoked. Was there anything to call off?"""
        ...

    def when(self, key: str) -> datetime | None:
        """The run_at of a key that waits."""
        ...

    def peek(self, n: int) -> list[Due]:
        """The next keys, in order."""
        ...

    def size(self, until: RunAtTime | None) -> int:
        """How many keys wait, at all or until a moment."""
        ...

    def plain_claimer(self) -> Claimer[Claimed]:
        """A hand for one source."""
        ...

    def head_tracker(self, leases: bool = False) -> HeadTracker:
        """An eye on the schedule's head, on a connection of its own; with `leases`, on the first end of one as well."""
        ...

    def leasing_claimer(self, lease_ms: int) -> Claimer[Leased]:
        """A hand for one source of claims, whose leases last so many milliseconds."""
        ...

    def settle(self, verdicts: Sequence[SettleRequest], again: bool = False) -> SettleReply:
        """Let verdicts act whose leases are still ours; `again` after one that raised OutcomeUnknown."""
        ...

    def dead_peek(self, n: int) -> list[DeadLetter]:
        """The n dead letters that have lain there longest, in that order."""
        ...

    def dead_size(self) -> int:
        """How many dead letters there are."""
        ...

    def revive(self, key: str | None) -> int:
        """Bring a dead letter back to the schedule, or all; how many?"""
        ...

    def drop(self, key: str | None) -> int:
        """Forget a dead letter, or all; how many?"""
        ...

    def shorten_timeout(self, seconds: float) -> None:
        """From now on give up on the answer to any call after so long."""
        ...

    def close(self) -> None:
        """Close what was opened; may be repeated."""
        ...
