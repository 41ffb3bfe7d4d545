"""How many keys a claim may take: as many as the subscribers have shown that they take in a tenth of a second."""

from __future__ import annotations

from typing import Protocol

HOLD_SECONDS = 0.1  # what was claimed and not delivered by then goes back, for others to take
_AIM_SECONDS = HOLD_SECONDS / 2  # a claim that takes twice as long as it promised is still delivered whole
_GROWTH = 4  # 1, 4, 16, 64, 256, 1000: one quick key proves little, and the sixth claim has full size all the same


class Demand(Protocol):
    """What a source may ask for.

    Attributes:
        hold_seconds: for which a claim may be in hand before what is left of it goes back.
    """

    hold_seconds: float

    @property
    def frees_in(self) -> float:
        """Where no key may be taken: the seconds until some may."""
        ...

    @property
    def keys(self) -> int:
        """How many keys the next claim may take."""
        ...

    def show(self, keys: int, seconds: float) -> None:
        """Hear that so many keys were delivered in so long."""
        ...

    def forget(self) -> None:
        """Begin afresh: nobody is left of those who showed it."""
        ...


class Pace:
    """The demand of subscribers whose `on_next` takes its time: one key at first, then by their pace.

        claims     1  4  16  64  256  1000  1000  ...      a subscriber that takes a key in 10 us
        claims     1  1   1   1    1     1     1  ...      one that takes 50 ms

    Args:
        limit: keys; the ceiling.
    """

    hold_seconds = HOLD_SECONDS
    frees_in = 0.0  # it always asks for some

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._keys = 1

    @property
    def keys(self) -> int:
        """How many keys the next claim may take."""
        return self._keys

    def show(self, keys: int, seconds: float) -> None:
        """Hear that so many keys were delivered in so long."""
        fits = self._limit if seconds <= 0 else int(keys * _AIM_SECONDS / seconds)
        self._keys = max(1, min(self._limit, fits, max(self._keys, keys * _GROWTH)))

    def forget(self) -> None:
        """Begin afresh: nobody is left of those who showed it."""
        self._keys = 1
