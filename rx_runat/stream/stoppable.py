"""Work on a queue's claims that outlasts the look which brought them: it holds the store open until it is done."""

from __future__ import annotations

from typing import Protocol


class Stoppable(Protocol):
    """Who works on claims of a queue that may be stopped meanwhile."""

    @property
    def is_inside(self) -> bool:
        """Is this thread in a call of the guest's to the user's code?"""
        ...

    def stop(self) -> None:
        """Begin nothing more, give back what was not begun, break off what can be; does not wait."""
        ...

    def wait(self, longest: float) -> None:
        """Wait for the rest, after `stop`: so many seconds at most, or as long as it takes if that is negative."""
        ...
