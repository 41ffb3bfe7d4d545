"""A key under a lease: what a subscriber of `claims` receives, and how it says what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from rx_runat.errors import InvalidSetting, OutcomeUnknown
from rx_runat.model.batch import Verb
from rx_runat.model.checks import show
from rx_runat.model.humanize import late, span
from rx_runat.model.job import Due
from rx_runat.model.rich import cards
from rx_runat.model.times import from_score, to_ms

LOST = "its lease was lost"
UNSURE = "perhaps settled: no answer came"


class Lease:
    """What is known here of one lease; Redis alone knows whether it lives.

    Attributes:
        key: the key.
        fence: of its claim; it stays when the lease is extended.
        held: its end as last heard, epoch milliseconds.
        is_unsure: an answer that may have ended it was lost.
        fate: what ended it, in words; empty: nothing that is known.
    """

    __slots__ = ("desk", "fate", "fence", "held", "is_unsure", "key")

    def __init__(self, key: str, fence: str, held: int, desk: Desk) -> None:
        self.key = key
        self.fence = fence
        self.held = held
        self.is_unsure = False
        self.fate = ""
        self.desk = desk

    def __str__(self) -> str:
        """How it stands, from what is known here."""
        if self.fate:
            return self.fate
        if self.is_unsure:
            return UNSURE
        left = self.desk.left(self)
        return f"its lease ends in {span(left)}" if left > 0 else f"its lease ended {span(-left)} ago"


class Desk(Protocol):
    """Where leases are ended or lengthened, many in one call; from any thread."""

    where: str

    @property
    def is_delivering(self) -> bool:
        """Are more claims on their way to the subscribers, right now?"""
        ...

    def left(self, lease: Lease) -> float:
        """The seconds until a lease ends, by our own clock; less than 0 after its end."""
        ...

    def settle(self, verdicts: Sequence[tuple[Lease, Verb, int | str]]) -> list[bool | None]:
        """Was each lease still ours? None: unknown. Raises StoreError: nothing is done; OutcomeUnknown: perhaps."""
        ...

    def lives(self, lease: Lease) -> bool:
        """Is a lease ours, as far as is known here?"""
        ...


@dataclass(frozen=True, slots=True)
class Claim(Due):
    """A key that is ours until its lease ends.

        waits  --claim-->  out  --ack-->   gone
          ^                 |---nack-->    waits for its next attempt
          |                 |---bury-->    dead letters
          '--- the lease ends ---'

    Each of the four verbs tells whether the lease was still ours, and acts only then: a late one changes nothing, and
    harms no newer claim. A schedule made while the key is out stands, whatever becomes of the claim.

    Attributes:
        attempt: which one this is, from 1; one that ended with its process counts.
        lease: seconds that the lease was given.
        deadline: the lease's end on Redis's clock; `extend` moves it.
    """

    attempt: int = 1
    lease: float = 0.0
    held: Lease = field(default=None, repr=False, compare=False)  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Claim {self.key!r}, {self._state()}>"

    def _repr_html_(self) -> str:
        return cards().job_card("Claim", self.key, self._state())

    def _state(self) -> str:
        return f"attempt {self.attempt}, {late(self.lateness)}, {self.held}"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(f"the claim on {self.key!r} stays in its process: send the key")

    @property
    def deadline(self) -> datetime:
        """The lease's end on Redis's clock, in UTC, as last heard."""
        return from_score(self.held.held)

    def ack(self) -> bool:
        """The work is done: the key is gone. Was the lease still ours?

        Raises:
            OutcomeUnknown: asked three times and never answered, or answered when it could not be known any more;
                asking again is safe.
            StoreError: not done.
        """
        return self._settle("ack", "")

    def nack(self, delay: float | timedelta = 0) -> bool:
        """The work failed: the key waits for another attempt. Was the lease still ours?

        Args:
            delay: seconds on Redis's clock, or a timedelta, until then.

        Raises:
            InvalidSetting: a delay that is none.
            OutcomeUnknown, StoreError: as `ack`.
        """
        return self._settle("nack", to_ms(delay, "delay", 0))

    def extend(self, by: float | timedelta) -> bool:
        """The work goes on: the lease lives so long from now, or as long as it did. Was it still ours?

        Args:
            by: seconds on Redis's clock, or a timedelta.

        Raises:
            InvalidSetting: no such time.
            OutcomeUnknown, StoreError: as `ack`.
        """
        return self._settle("extend", to_ms(by, "by", 0.001))

    def bury(self, reason: str) -> bool:
        """The work is given up: the key goes to the dead letters. Was the lease still ours?

        Args:
            reason: why, for whoever reads them; cut to a thousand characters.

        Raises:
            InvalidSetting: no text.
            OutcomeUnknown, StoreError: as `ack`.
        """
        if not isinstance(reason, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidSetting(f"reason: got {show(reason)}; it must be a str")
        return self._settle("bury", reason)

    def _settle(self, verb: Verb, argument: int | str) -> bool:
        (ours,) = self.held.desk.settle([(self.held, verb, argument)])
        if ours is None:
            raise OutcomeUnknown(
                f"{verb} of {self.key!r}: its lease has ended; whether by this call is unknown, because "
                f"{self.held.desk.where} did not answer at once"
            )
        return ours
