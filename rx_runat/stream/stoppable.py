"""Work on claims that outlasts the tick which brought them: the store stays open until that work has ended."""

from __future__ import annotations

from typing import Protocol


class Stoppable(Protocol):
    """Works on the claims of a queue that may be stopped meanwhile."""

    @property
    def is_inside(self) -> bool:
        """True where a `stop` must not wait for this work: where `is_blocked`, and on an event loop that it needs."""
        ...

    @property
    def is_blocked(self) -> bool:
        """True on one of its threads, which ends only after its present action has returned."""
        ...

    def stop(self) -> None:
        """Begin nothing more, hand back what was not begun, cancel what can be cancelled. Does not wait."""
        ...

    def wait(self, longest: float) -> None:
        """Wait for the rest, after `stop`: so many seconds at most, or as long as it takes if that is negative."""
        ...
