"""What the Rx side needs of a store: protocols, which the Redis side fulfils. Neither side imports the other.

    used by                     protocol           fulfilled by
    sink, queue, dead letters   Store              store/redis_store.py
    a source of bare keys       Claimer[Claimed]   store/claimers.py   takes keys for good
    a source of claims          Claimer[Leased]    store/claimers.py   takes keys under a lease
    listener                    HeadTracker        store/tracking.py   reports what others write

Nothing here knows Redis or Rx. The values that pass through are in `job.py`, `batch.py` and `dead_letter.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeAlias, TypeVar

from rx_runat.model.batch import Claimed, Counting, Cursor, Entry, Leased, Page, SettleReply, SettleRequest
from rx_runat.model.dead_letter import DeadLetter
from rx_runat.model.job import Due, Job, Keep
from rx_runat.model.stats import Stats
from rx_runat.model.times import RunAtTime

Clock: TypeAlias = Callable[[], int]
"""A virtual clock: returns epoch microseconds. None where Redis's own clock decides."""

_T = TypeVar("_T")
_C_co = TypeVar("_C_co", bound=Claimed | Leased, covariant=True)


class Claimer(Protocol[_C_co]):
    """One source uses it to take keys and to return them: one call at a time, from any thread.

    A `Claimer[Claimed]` takes keys for good; a key that it returns gives way to a newer schedule of that key. A
    `Claimer[Leased]` takes keys under a lease, returns ended leases to the schedule first, and hands back only keys
    whose lease it still holds.
    """

    @property
    def is_owed(self) -> bool:
        """True if a claim was not replied to: it may have taken keys."""
        ...

    @property
    def is_ahead(self) -> bool:
        """True if the next claim is asked for already."""
        ...

    @property
    def newer(self) -> Sequence[Entry]:
        """What a claim that was asked for ahead took, and `hand_back` could not return yet."""
        ...

    def has_earlier(self, until: float) -> bool:
        """Returns True if a claim brings something before `until`, in epoch milliseconds, or now. It takes nothing."""
        ...

    def claim(self, limit: int, ahead: int = 0) -> _C_co:
        """Take due keys, at most `limit`.

        After a lost reply the next call returns the same keys, whatever its limit; leased keys only while their lease
        lives.

        Args:
            limit: keys.
            ahead: keys, for the claim after this one: if more are due, it is asked for before this returns, and the
                next call returns it. 0: it is not asked for. A `Claimer[Leased]` asks for none.
        """
        ...

    def hand_back(self, entries: Sequence[Entry]) -> None:
        """Return entries of the last claim to the schedule, as they were.

        If a claim was asked for ahead, all its keys go back first.
        """
        ...

    def close(self) -> list[Entry]:
        """Delete the receipt; first resend a claim whose reply was lost, and return the entries that it took."""
        ...


class HeadTracker(Protocol):
    """Reports changes of what comes next. A report is a hint and may be lost.

    Only one thread may use it, except for `close`, which any thread may call. Moments are in epoch milliseconds.
    """

    def head(self, pushes: bool = True) -> float:
        """Returns the earliest run_at; inf: nothing is scheduled.

        From now on `wait` returns when it changes; not if `pushes` is False: that read is cheaper for the server.
        """
        ...

    def lease_end(self) -> float:
        """Returns the first end of a lease; inf: nothing is leased."""
        ...

    def wait(self, seconds: float) -> None:
        """Return when the schedule may have changed, or after so many seconds, or sooner."""
        ...

    def close(self) -> None:
        """End a call under way and close the connection. Any thread may call it, and repeat it."""
        ...


Plan: TypeAlias = Generator[Any, Any, _T]
"""A verb that is not under way yet: a store carries it out, at once or together with others."""


class DeadPlans(Protocol):
    """The verbs of a store on dead letters, as plans."""

    def peek(self, n: int) -> Plan[list[DeadLetter]]:
        """See `Store.dead_peek`."""
        ...

    def size(self) -> Plan[int]:
        """See `Store.dead_size`."""
        ...

    def drop(self, key: str | None) -> Plan[int]:
        """See `Store.drop`."""
        ...


class Plans(Protocol):
    """The verbs of a store as plans; each is documented at the verb of the same name."""

    def schedule(self, jobs: Sequence[Job], keep: Keep, only_waiting: bool = False) -> Plan[float | None]:
        """See `Store.schedule`."""
        ...

    def cancel(self, key: str) -> Plan[bool]:
        """See `Store.cancel`."""
        ...

    def when(self, key: str) -> Plan[datetime | None]:
        """See `Store.when`."""
        ...

    def peek(self, n: int) -> Plan[list[Due]]:
        """See `Store.peek`."""
        ...

    def size(self, until: RunAtTime | None) -> Plan[int]:
        """See `Store.size`."""
        ...

    def stats(self) -> Plan[Stats]:
        """See `Store.stats`."""
        ...

    def moment(self, until: RunAtTime | None) -> Plan[int | None]:
        """Tells a moment in epoch milliseconds, a delay by Redis's clock; None stays None."""
        ...

    def page(self, after: Cursor) -> Plan[Page]:
        """Reads the keys of the schedule that come after a place in it, as many as one step may have."""
        ...

    @property
    def dead(self) -> DeadPlans:
        """The verbs on dead letters."""
        ...

    def settle(self, requests: Sequence[SettleRequest]) -> Plan[SettleReply]:
        """See `Store.settle`."""
        ...

    def revive(self, key: str | None) -> Plan[int]:
        """See `Store.revive`."""
        ...


class Awaits(Protocol):
    """Carries out the plans of awaits, many in one round trip, on a thread of its own."""

    async def do(self, plan: Plan[_T], sent_at: int | None = None, outlasts_stop: bool = False) -> _T:
        """Carry out a plan; see `Store.do`. One that outlasts `stop` is carried out until the store closes."""
        ...


class Store(Protocol):
    """Where schedules are kept. Every verb may raise `StoreError`.

    Attributes:
        where: the server's name, for messages.
    """

    where: str

    @property
    def plans(self) -> Plans:
        """The verbs as plans."""
        ...

    @property
    def batches(self) -> Awaits:
        """Carries out plans for awaits."""
        ...

    def do(self, plan: Plan[_T], sent_at: int | None = None) -> _T:
        """Carry out a plan on this thread.

        Args:
            plan: the plan.
            sent_at: the generation before an earlier sending of its first request, which raised OutcomeUnknown; None:
                there was none.
        """
        ...

    @property
    def generation(self) -> int:
        """How many primaries there were before the present one: a number that changes with each failover.

        A new primary may lack what the former one did last.
        """
        ...

    @property
    def fails_over(self) -> bool:
        """True if another primary may take the place of the present one."""
        ...

    def schedule(self, jobs: Sequence[Job], keep: Keep, only_waiting: bool = False) -> float | None:
        """Write jobs; returns the earliest run_at that their keys now have, in epoch milliseconds.

        None: none of the keys waits: under `keep="absent"` all of them are out under a lease, or with `only_waiting`,
        which writes none of those that do not wait.

        All or none are written, unless there are more than one step holds: 100,000 moments, or 20,000 jobs if one of
        them has a delay or data, or `keep` is not "last"; in either case 512 MiB of keys and data. A longer list is
        written in such steps, in order. The message of an error then says how many jobs were written, and which is the
        first that was not.
        """
        ...

    def cancel(self, key: str) -> bool:
        """Cancel a key and revoke a lease on it; returns True if it waited or was under a lease."""
        ...

    def when(self, key: str) -> datetime | None:
        """Returns the run_at of a key that waits, else None."""
        ...

    def peek(self, n: int) -> list[Due]:
        """Returns the next n keys, in order."""
        ...

    def size(self, until: RunAtTime | None) -> int:
        """Returns how many keys wait, all or until a moment."""
        ...

    def stats(self) -> Stats:
        """Returns the queue in numbers, by one script."""
        ...

    def plain_claimer(self) -> Claimer[Claimed]:
        """Returns a claimer for one source."""
        ...

    def leasing_claimer(self, lease_ms: int, counting: Counting | None = None) -> Claimer[Leased]:
        """Returns a claimer for one source of claims, whose leases last so many milliseconds.

        It looks at `counting` at each claim; None: all attempts count at the claim.
        """
        ...

    def head_tracker(self) -> HeadTracker:
        """Returns a new tracker of the schedule's head."""
        ...

    def settle(self, requests: Sequence[SettleRequest], sent_at: int | None = None) -> SettleReply:
        """Begin, end or extend leases. A request whose lease has ended changes nothing; see `SettleReply`.

        Args:
            requests: one for each lease.
            sent_at: the generation before an earlier call with the same requests, which raised OutcomeUnknown; None:
                there was no such call.
        """
        ...

    def dead_peek(self, n: int) -> list[DeadLetter]:
        """Returns the n oldest dead letters, in that order."""
        ...

    def dead_size(self) -> int:
        """Returns how many dead letters there are."""
        ...

    def revive(self, key: str | None) -> int:
        """Move a dead letter back to the schedule, or all; returns how many."""
        ...

    def drop(self, key: str | None) -> int:
        """Delete a dead letter, or all; returns how many."""
        ...

    def shorten_timeout(self, seconds: float) -> None:
        """Wait no longer than `seconds` for the reply to any call from now on."""
        ...

    def close(self) -> None:
        """Close what was opened; may be repeated."""
        ...
