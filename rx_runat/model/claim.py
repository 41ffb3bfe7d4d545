"""A key under a lease: what a subscriber of `claims` receives, and the calls that end or extend the lease."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple, Protocol, TypeAlias

from rx_runat.errors import InvalidSetting, OutcomeUnknown, Stopped, Unavailable
from rx_runat.model.again import AS_PLANNED, Again, NextRun, Planned, to_next_run
from rx_runat.model.batch import Counts, SettleReply, Verb
from rx_runat.model.checks import show
from rx_runat.model.data import from_text
from rx_runat.model.humanize import late, span
from rx_runat.model.job import Due
from rx_runat.model.rich import cards
from rx_runat.model.setters import setters
from rx_runat.model.times import from_score, lateness, to_ms

ACKED, NACKED, BURIED, HANDED_BACK = "acked", "nacked", "buried", "handed back"
NACKED_AND_NEWER = "nacked, and scheduled again"
LOST = "its lease was lost"
UNSURE = "perhaps settled: no answer came"


class WithNextRun(NamedTuple):
    """The argument of an `ack` or a `bury` that names the next run itself, instead of the one that was planned.

    Each call brings its own, so that a call which fails, or comes too late, changes nothing for another one.

    Attributes:
        next_run: as in `Lease`.
        argument: of the verb, as in `SettleRequest`.
    """

    next_run: str
    argument: int | str


Argument: TypeAlias = int | str | WithNextRun
"""The argument of a verb, as in `SettleRequest`, perhaps with the next run."""


class Lease:
    """What this process knows of one lease. Only Redis knows whether the lease is still ours.

    Attributes:
        key: the key.
        fence: the token of the claim call, which proves the lease. It stays the same when the lease is extended.
        deadline_ms: the end of the lease as Redis last told it, epoch milliseconds.
        generation: of a primary (see `Store`) that knew the lease.
        sent_at: if Redis may have ended the lease in a call whose answer was lost: the generation (see `Store`) at
            which that call was made; None: it was not.
        ending: how the lease ended, in words; empty while no end is known.
        manager: ends and extends the lease.
        counts: when this attempt counts, as the claim said.
        is_counted: True if this attempt counts by now. If not, a lease that ends is as if the key had not been
            claimed, and `begin` must be asked before the work begins.
        data: what the run carries, as text.
        next_run: when the key's next run is due, as `settle` planned it and `to_time` spells it; "": there is none. It
            is written where the lease ends by an `ack` or a `bury` that names no other.
        next_run_ms: when the next run is due that was written, epoch milliseconds; None: none was.
        score: the run_at of the run that was claimed, as Redis spelled it.
        claimed_at: Redis's clock at the claim, epoch microseconds.
        worked: how long the work of `settle` took, in seconds; None: it was not run, or is not over.
    """

    __slots__ = (
        "claimed_at",
        "counts",
        "data",
        "deadline_ms",
        "ending",
        "fence",
        "generation",
        "is_counted",
        "key",
        "manager",
        "next_run",
        "next_run_ms",
        "score",
        "sent_at",
        "worked",
    )

    def __init__(
        self,
        key: str,
        fence: str,
        deadline_ms: int,
        manager: Manager,
        counts: Counts = "now",
        generation: int = 0,
        data: str = "",
        score: str = "0",
        claimed_at: int = 0,
    ) -> None:
        self.key = key
        self.fence = fence
        self.deadline_ms = deadline_ms
        self.generation = generation
        self.sent_at: int | None = None
        self.ending = ""
        self.manager = manager
        self.counts = counts
        self.is_counted = counts == "now"
        self.data = data
        self.score = score
        self.claimed_at = claimed_at
        self.next_run = ""
        self.next_run_ms: float | None = None
        self.worked: float | None = None

    @property
    def is_unsure(self) -> bool:
        """True if Redis may have ended the lease in a call whose answer was lost."""
        return self.sent_at is not None

    @property
    def is_settled(self) -> bool:
        """True if it ended by a call that Redis has answered."""
        return self.ending in (ACKED, NACKED, NACKED_AND_NEWER, BURIED)

    @property
    def is_suspect(self) -> bool:
        """True if the attempt before was not settled: perhaps the work killed its process."""
        return self.counts == "suspect"

    def __str__(self) -> str:
        """The state of the lease in words, as far as this process knows it."""
        if self.ending:
            return self.ending
        if self.is_unsure:
            return UNSURE
        left = self.manager.left(self)
        return f"its lease ends in {span(left)}" if left > 0 else f"its lease ended {span(-left)} ago"


class Manager(Protocol):
    """Ends and extends leases. From any thread. `LeaseManager` in `stream/leases.py` fulfils it.

    Attributes:
        where: the server, in messages.
    """

    where: str

    @property
    def is_stopped(self) -> bool:
        """True if the queue was stopped."""
        ...

    def left(self, lease: Lease) -> float:
        """The seconds until a lease ends, on our own clock; less than 0 after its end."""
        ...

    def lives(self, lease: Lease) -> bool:
        """True if a lease is ours, as far as this process knows."""
        ...

    def settle(self, requests: Sequence[tuple[Lease, Verb, Argument]]) -> SettleReply:
        """Begin, end or extend leases in one round trip.

        Args:
            requests: each a lease, what becomes of it, and the argument of that verb (see `SettleRequest`).

        Returns:
            What Redis did about each of them. A request that was refused alone raises nothing.

        Raises:
            OutcomeUnknown: sent up to three times, and no sending was answered; call it again.
            StoreError: Redis did nothing at all.
        """
        ...

    async def settle_async(self, requests: Sequence[tuple[Lease, Verb, Argument]]) -> SettleReply:
        """As `settle`, without blocking the event loop."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class Claim(Due):
    """A key that is ours until its lease ends.

        waits  --claim-->  out  --ack-->   gone
          ^                 |---nack-->    waits for its next attempt
          |                 |---bury-->    dead letters
          '--- the lease ends ---'

    `ack`, `nack`, `extend` and `bury` act only if the lease is still ours, and return whether it was. A call that comes
    too late changes nothing, and so does no harm to a newer claim on the same key. If the key is scheduled again while
    it is out, the new schedule stands whether the claim is acked, nacked or buried.

    Attributes:
        data: what the key carried when it was claimed. In Redis it stays until the run is over; a schedule made
            meanwhile may change it there, for the next run.
        attempt: the number of this attempt, from 1. An attempt whose process died counts, except for later ones under
            `settle`, which count from the moment at which their work begins.
        lease: the length of the lease when the key was claimed, in seconds.
        deadline: the end of the lease on Redis's clock. `extend` moves it.
    """

    attempt: int = 1
    lease: float = 0.0
    _lease: Lease = field(default=None, repr=False, compare=False)  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        # Worked out at the first use, because most functions read few of them, and hundreds of claims may wait for
        # their work: a datetime costs as much time as all the rest of a claim, and JSON costs more.
        if name == "run_at":
            value: Any = from_score(self._lease.score)
        elif name == "lateness":
            value = lateness(self._lease.score, self._lease.claimed_at)
        elif name == "data":
            value = from_text(self._lease.data, self.key)
        else:
            return Due.__getattr__(self, name)
        object.__setattr__(self, name, value)
        return value

    def __repr__(self) -> str:
        return f"<Claim {self.key!r}, {self._state()}>"

    def _repr_html_(self) -> str:
        return cards().job_card("Claim", self.key, self._state())

    def _state(self) -> str:
        return f"attempt {self.attempt}, {late(self.lateness)}, {self._lease}{self._data_text()}"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(
            f"a Claim cannot be pickled or copied, because its lease is managed in this process; pass on its key "
            f"{self.key!r} instead"
        )

    @property
    def deadline(self) -> datetime:
        """The end of the lease on Redis's clock, in UTC, as Redis last told it."""
        return from_score(self._lease.deadline_ms)

    def ack(self, again: Again | NextRun | Planned = AS_PLANNED) -> bool:
        """Tell that the work is done: the key is gone from Redis, or waits for its next run.

        The next run is written in the same script. It keeps the key's data. If the key was scheduled again meanwhile,
        that schedule stands, and no next run is written.

        Args:
            again: when the key is due again: an aware datetime, a timedelta from this moment on Redis's clock, or a
                function of the claim that returns one of these, such as `every(...)`; None: it is not. By default as
                `settle(work, again=...)` has planned it, and without `settle` not at all.

        Returns:
            True if the lease was still ours. False if it was not; then nothing changed, and no next run was written.

        Raises:
            InvalidJob: `again` is no moment. Nothing was sent.
            OutcomeUnknown: the request was sent up to three times, and no sending was answered; or an answer was lost,
                and the lease has ended since or another primary has taken over, so that nobody can know any more
                whether this call ended it. Calling again is safe.
            StoreError: Redis did nothing.
            Stopped: the queue was stopped, and Redis did nothing: the key comes again when its lease ends.
        """
        return self._settle("ack", self._with(again, ""))

    def nack(self, delay: float | timedelta = 0) -> bool:
        """Tell that the work failed: the key waits for another attempt, unless it was scheduled again meanwhile.

        Args:
            delay: the time until the next attempt, on Redis's clock, in seconds or as a timedelta.

        Returns:
            As `ack`.

        Raises:
            InvalidSetting: the delay is not a time between 0 and a year.
            OutcomeUnknown, StoreError, Stopped: as `ack`.
        """
        return self._settle("nack", to_ms(delay, "delay", 0))

    def extend(self, by: float | timedelta) -> bool:
        """Tell that the work goes on: the lease now ends after the time `by`, counted from now.

        If its present deadline is later, that deadline stays.

        Args:
            by: a time on Redis's clock, in seconds or as a timedelta.

        Returns:
            As `ack`.

        Raises:
            InvalidSetting: `by` is not a time between a millisecond and a year.
            OutcomeUnknown, StoreError, Stopped: as `ack`.
        """
        return self._settle("extend", to_ms(by, "by", 0.001))

    def bury(self, reason: str, again: Again | NextRun | Planned = AS_PLANNED) -> bool:
        """Give the work up: the key goes to the dead letters, with the data of this run.

        Args:
            reason: why, for the people who read the dead letters; cut to a thousand characters.
            again: as with `ack`: a key may be a dead letter and have a next run.

        Returns:
            As `ack`.

        Raises:
            InvalidSetting: the reason is not a str.
            InvalidJob, OutcomeUnknown, StoreError, Stopped: as `ack`.
        """
        return self._settle("bury", self._with(again, _check_reason(reason)))

    @property
    def aio(self) -> ClaimAio:
        """The verbs as coroutines, which never block the event loop."""
        return ClaimAio(self, self._with, self._settle_async)

    def _with(self, again: Again | NextRun | Planned, argument: str) -> Argument:
        """Returns the argument of a verb together with the next run, if the user names one."""
        return argument if isinstance(again, Planned) else WithNextRun(to_next_run(again, self), argument)

    def _settle(self, verb: Verb, argument: Argument) -> bool:
        with self._telling(verb):
            return self._was_ours(verb, self._lease.manager.settle([(self._lease, verb, argument)]))

    async def _settle_async(self, verb: Verb, argument: Argument) -> bool:
        with self._telling(verb):
            return self._was_ours(verb, await self._lease.manager.settle_async([(self._lease, verb, argument)]))

    @contextmanager
    def _telling(self, verb: Verb) -> Generator[None]:
        """Raise Stopped, if the queue was stopped and so Redis did nothing."""
        try:
            yield
        except (Unavailable, Stopped) as error:
            if not self._lease.manager.is_stopped or isinstance(error, OutcomeUnknown):
                raise
            raise Stopped(
                f"{verb} of {self.key!r}: its queue was stopped, so this changes nothing any more: "
                "the key comes again when its lease ends"
            ) from error

    def _was_ours(self, verb: Verb, reply: SettleReply) -> bool:
        if reply.refusal is not None:
            raise reply.refusal
        (answer,) = reply.answers
        if answer is None:
            raise OutcomeUnknown(
                f"{verb} of {self.key!r}: its lease is gone; whether this call ended it is unknown, because "
                f"an earlier reply of {self._lease.manager.where} was lost"
            )
        return answer > 0


class ClaimAio:
    """The verbs of a claim as coroutines. Each does, returns and raises what the verb of the same name does.

    Many awaits share round trips; see `Aio`. A coroutine that is the work of `settle` needs none of them.

    Args:
        claim: the claim.
        argument: returns the argument of a verb together with the next run.
        settle: carries out a verb with its argument; returns whether the lease was still ours.
    """

    def __init__(
        self,
        claim: Claim,
        argument: Callable[[Again | NextRun | Planned, str], Argument],
        settle: Callable[[Verb, Argument], Awaitable[bool]],
    ) -> None:
        self._claim = claim
        self._argument = argument
        self._settle = settle

    async def ack(self, again: Again | NextRun | Planned = AS_PLANNED) -> bool:
        """As `Claim.ack`."""
        return await self._settle("ack", self._argument(again, ""))

    async def nack(self, delay: float | timedelta = 0) -> bool:
        """As `Claim.nack`."""
        return await self._settle("nack", to_ms(delay, "delay", 0))

    async def extend(self, by: float | timedelta) -> bool:
        """As `Claim.extend`."""
        return await self._settle("extend", to_ms(by, "by", 0.001))

    async def bury(self, reason: str, again: Again | NextRun | Planned = AS_PLANNED) -> bool:
        """As `Claim.bury`."""
        return await self._settle("bury", self._argument(again, _check_reason(reason)))

    def __repr__(self) -> str:
        return f"<aio of {self._claim!r}>"


def _check_reason(reason: object) -> str:
    if not isinstance(reason, str):
        raise InvalidSetting(f"reason: got {show(reason)}; it must be a str")
    return reason


_set_key, _set_attempt, _set_length, _set_lease = setters(Claim, "key", "attempt", "lease", "_lease")


def to_claim(lease: Lease, attempt: int, seconds: float) -> Claim:
    """Returns the claim of a lease, in a third of the time of `Claim(...)`.

    Args:
        lease: what is known of it.
        attempt: the number of the attempt, from 1.
        seconds: the length of the lease.
    """
    claim: Claim = object.__new__(Claim)
    _set_key(claim, lease.key)
    _set_attempt(claim, attempt)
    _set_length(claim, seconds)
    _set_lease(claim, lease)
    return claim


lease_of: Callable[[Claim], Lease] = attrgetter("_lease")
"""The lease of a claim: hidden from users, but used by the rest of the package. An attrgetter reads it fastest."""
