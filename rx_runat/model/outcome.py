"""What became of a claim that `settle` worked on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from rx_runat.model.checks import short
from rx_runat.model.claim import Claim, lease_of
from rx_runat.model.humanize import readable, span, spell
from rx_runat.model.rich import cards
from rx_runat.model.setters import setters

R = TypeVar("R")


Verdict: TypeAlias = Literal["acked", "nacked", "superseded", "buried", "lost", "unknown"]


@dataclass(frozen=True, slots=True)
class Outcome(Generic[R]):
    """What became of a claim.

        acked       the work is done, and the key is gone
        nacked      the work failed: the key waits for its next attempt
        superseded  the work failed, and the key had been scheduled again meanwhile: that schedule stands, and its
                    attempts count from 1
        buried      the work failed too often, or its process died too often: the key is in the dead letters
        lost        the claim was not settled in time: the lease ended, and the key comes again or has come again; or
                    the key was cancelled, which revoked the lease
        unknown     Redis did not answer before the lease ended: the key may come again

    Attributes:
        claim: the claim.
        verdict: one of the six words above.
        result: what the work returned; of an Observable the last value. None if the work gave no result.
        error: what the work raised. None if it raised nothing, was not run, or was cancelled.
        delay: of a `nacked` claim: seconds from the nack to the next attempt.
        next: of an `acked` or `buried` claim: when the key's next run is due, in UTC. None: no next run was written,
            because none was asked for, or because a newer schedule of the key stands; or Redis's first answer was lost,
            and the second one does not tell it.
    """

    claim: Claim
    verdict: Verdict
    result: R | None = None
    error: BaseException | None = None
    delay: float | None = None
    next: datetime | None = None

    @property
    def seconds(self) -> float | None:
        """How long the work took, from the call of your function to its end; None if it was not run.

        Each claim of a list has the time of the whole list. The wait for Redis, which settles the claim afterwards, is
        not part of it.
        """
        lease = lease_of(self.claim)
        return lease.worked if lease else None

    def __repr__(self) -> str:
        return f"<Outcome {self.claim.key!r}, {self._state()}>"

    def _repr_html_(self) -> str:
        return cards().job_card("Outcome", self.claim.key, self._state())

    def _state(self) -> str:
        again = "" if self.delay is None else f", again in {span(self.delay)}"
        if self.next is not None:
            again = f", next at {spell(self.next)}"
        given = self.result if self.error is None else self.error
        what = "" if given is None else f": {readable(short(given), 80)}"
        return f"attempt {self.claim.attempt}, {self.verdict}{again}{what}"


_set_claim, _set_verdict, _set_result, _set_error, _set_delay, _set_next = setters(
    Outcome, "claim", "verdict", "result", "error", "delay", "next"
)


def to_outcome(
    claim: Claim,
    verdict: Verdict,
    result: Any = None,
    error: BaseException | None = None,
    delay: float | None = None,
    next_run: datetime | None = None,
) -> Outcome[Any]:
    """Returns an outcome of these fields, in half the time of `Outcome(...)`."""
    outcome: Outcome[Any] = object.__new__(Outcome)  # pyright: ignore[reportUnknownVariableType]
    _set_claim(outcome, claim)
    _set_verdict(outcome, verdict)
    _set_result(outcome, result)
    _set_error(outcome, error)
    _set_delay(outcome, delay)
    _set_next(outcome, next_run)
    return outcome
