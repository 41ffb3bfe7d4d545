"""Taps: observers of the claims and deliveries of this process, for the drawings of a queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rx_runat.model.batch import Claimed, Entry, Leased


class Tap(Protocol):
    """Observes the claims of sources. It causes no claim, and must not raise or take long."""

    def claimed(self, claimed: Claimed | Leased) -> None:
        """Keys were claimed, and are delivered next."""
        ...

    def delivered(self, claimed: Claimed | Leased, left: Sequence[Entry]) -> None:
        """Keys were delivered, except for `left`, which go back."""
        ...


class Taps(list[Tap]):
    """The taps of all sources of one queue; one may be appended or removed at any time."""

    def claimed(self, claimed: Claimed | Leased) -> None:
        """Tell each tap."""
        for tap in tuple(self):
            tap.claimed(claimed)

    def delivered(self, claimed: Claimed | Leased, left: Sequence[Entry]) -> None:
        """Tell each tap."""
        for tap in tuple(self):
            tap.delivered(claimed, left)
