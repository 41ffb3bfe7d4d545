"""A queue in numbers, at one moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stats:
    """A queue in numbers, at one moment on Redis's clock.

    Attributes:
        scheduled: how many keys wait, due ones included; what `size()` returns.
        due: how many of them are due.
        claimed: how many keys are out under a lease, those included whose lease has ended and that no source has
            returned to the schedule yet.
        dead: how many dead letters there are.
        lateness: how late the oldest key is that waits to be claimed, in seconds; 0.0 if none is late. A key whose
            lease has ended counts from that end until a source returns it, so it grows as well where all workers died.
    """

    scheduled: int
    due: int
    claimed: int
    dead: int
    lateness: float
