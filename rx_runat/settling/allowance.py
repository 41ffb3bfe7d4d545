"""How many claims may wait until work on them may begin, so that stuck work keeps no claims from other processes."""

from __future__ import annotations

import math

_SOON = 0.25  # of a lease: work that begins within this shows that as many claims as now wait are not too many


class Allowance:
    """How many claims may wait for a worker.

        any number   at first
        none         after claims went back, because they had waited for as long as a lease
        one more     each time that work begins on a claim which waited for less than a quarter of its lease

    So a source whose work is stuck asks for no more than there are free workers, and finds back to its pace by itself.

    Attributes:
        claims: how many; inf: any number. No lock: where two threads raise it at once, one of them may be lost.
    """

    def __init__(self) -> None:
        self.claims = math.inf

    def note_given_back(self) -> None:
        """Note that claims went back because they waited for too long."""
        self.claims = 0

    def note_begun(self, waited: float, lease: float) -> None:
        """Note that work begins on a claim that waited for so many seconds, under a lease of so many seconds."""
        if waited < lease * _SOON:
            self.claims += 1
