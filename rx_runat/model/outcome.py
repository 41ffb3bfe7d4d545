"""What became of a claim that `settle` worked on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from rx_runat.model.checks import short
from rx_runat.model.claim import Claim
from rx_runat.model.humanize import readable, span
from rx_runat.model.rich import cards

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[R]):
    """What became of a claim.

        acked    the work is done, and the key is gone
        nacked   it failed: the key waits for its next attempt
        buried   it failed too often, or its process ended: the key lies in the dead letters
        lost     the lease was not ours to the end: somebody else has the key, or it was cancelled
        unknown  Redis did not answer before the lease's end: the key may come again

    Attributes:
        claim: the claim.
        verdict: one of the five.
        result: what the work gave; of an Observable the last value. None where it gave none.
        error: what it raised; None where it did not, or was not run to its end.
        delay: seconds from the verdict to the next attempt of a `nacked` one.
    """

    claim: Claim
    verdict: Literal["acked", "nacked", "buried", "lost", "unknown"]
    result: R | None = None
    error: BaseException | None = None
    delay: float | None = None

    def __repr__(self) -> str:
        return f"<Outcome {self.claim.key!r}, {self._state()}>"

    def _repr_html_(self) -> str:
        return cards().job_card("Outcome", self.claim.key, self._state())

    def _state(self) -> str:
        again = "" if self.delay is None else f", again in {span(self.delay)}"
        given = self.result if self.error is None else self.error
        what = "" if given is None else f": {readable(short(given), 80)}"
        return f"attempt {self.claim.attempt}, {self.verdict}{again}{what}"
