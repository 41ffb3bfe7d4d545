"""What waits until work on it may begin: how many claims may, and for how long, so that others get the rest."""

from __future__ import annotations

import math

from rx_runat.model.claim import Claim
from rx_runat.settling.assignment import Assignment
from rx_runat.settling.limiter import Limiter

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


class Backlog:
    """Looks after the claims that wait in a limiter.

    Args:
        limiter: where they wait.

    Attributes:
        is_limited: True once claims had to go back: then `note_begun` wants to know, and a source may wait to be woken.
    """

    def __init__(self, limiter: Limiter[Assignment]) -> None:
        self.is_limited = False
        self._limiter = limiter
        self._allowance = Allowance()
        self._suspect: object | None = None  # the one that a check found under way, and at which check first
        self._suspect_since = 0.0

    @property
    def wanted(self) -> float:
        """How many more claims a source may take: those that begin at once, and some that wait."""
        return self._allowance.claims + self._limiter.spare

    def note_begun(self, waiting: Assignment, now: float) -> None:
        """Note that work begins."""
        self._allowance.note_begun(now - waiting.since, waiting.seconds)

    def take_overdue(self, now: float) -> list[Claim]:
        """Returns the claims that have waited for as long as their lease, behind work or a subscriber that is stuck.

        They would be renewed for ever, and kept from other processes.
        """
        self._check_suspect(now)
        overdue = self._limiter.take_back(lambda waiting: now - waiting.since >= waiting.seconds)
        if overdue:
            self._allowance.note_given_back()
            self.is_limited = True
        return [claim for assignment in overdue for claim in assignment.claims]

    def _check_suspect(self, now: float) -> None:
        """Let a suspect work beside one that is under way for a lease: else work that is stuck would stop them all."""
        suspect = self._limiter.suspect
        if suspect is not self._suspect:
            self._suspect, self._suspect_since = suspect, now
        elif isinstance(suspect, Assignment) and now - self._suspect_since >= suspect.seconds:
            self._limiter.pass_suspect(suspect)
