"""How many keys a claim may take: as many as the subscribers have shown that they receive in a twentieth of a second.

Then a delivery that takes twice as long as expected still ends within the tenth of a second that keys are held.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

# Keys that were claimed and not delivered by then go back, for other sources to claim; even while an `on_next` blocks.
HOLD_SECONDS = 0.1
_AIM_SECONDS = HOLD_SECONDS / 2  # a claim whose delivery takes twice as long as expected is still delivered whole
_GROWTH = 4  # 1, 4, 16, 64, 256, 1000: one quick key proves little, and the sixth claim has full size all the same


class Demand(Protocol):
    """How many keys a source may claim. `Pace` for plain keys, `Slots` for claims, `Asked` for ticks of the user's.

    Attributes:
        hold_seconds: the longest time for which a source may hold a claim before it hands back the rest.
    """

    hold_seconds: float

    @property
    def keys(self) -> int:
        """How many keys the next claim may take."""
        ...

    def wait(self) -> bool:
        """Wait a moment, after `keys` was 0, on a thread of the source's own. Returns True if that may have changed."""
        ...

    @property
    def ahead(self) -> int:
        """How many keys may be claimed ahead, while as many are delivered; 0: none."""
        ...

    @property
    def seconds_until_free(self) -> float | None:
        """The seconds until a claim may take keys again, where `keys` was 0; None: the source is woken then."""
        ...

    @property
    def looks_again(self) -> bool:
        """True if a look is worth it after a claim, whatever that claim has found."""
        ...

    @property
    def ending(self) -> Callable[[], None] | None:
        """What ends the stream, once no claim will be made any more; None: it goes on."""
        ...

    def note_claim(self) -> None:
        """Note that a claim was made."""
        ...

    def note_delivery(self, keys: int, seconds: float) -> None:
        """Take into account how many keys were delivered in how many seconds."""
        ...

    def reset(self) -> None:
        """Forget the subscribers that left: the next ones may be slower."""
        ...


class Pace:
    """The demand of subscribers whose `on_next` takes time: one key at first, then by their pace.

        claims     1  4  16  64  256  1000  1000  ...      a subscriber that receives a key in 10 us
        claims     1  1   1   1    1     1     1  ...      one that needs 50 ms

    Args:
        limit: the most keys that one claim may take.
    """

    hold_seconds = HOLD_SECONDS
    seconds_until_free: float | None = 0.0  # `keys` is never 0
    looks_again = False
    ending: Callable[[], None] | None = None

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._keys = 1
        self._fits = 0  # so many keys the subscribers receive in a twentieth of a second

    @property
    def keys(self) -> int:
        """How many keys the next claim may take."""
        return self._keys

    @property
    def ahead(self) -> int:
        """How many keys may be claimed ahead: `limit`, if two full claims are received in a twentieth of a second.

        Of one key nothing waits behind an `on_next`; so with a limit of one none is claimed ahead.
        """
        return self._limit if 1 < self._limit == self._keys and 2 * self._limit <= self._fits else 0

    def wait(self) -> bool:
        """Returns False: `keys` is never 0."""
        return False

    def note_claim(self) -> None:
        """Nothing: the pace is that of deliveries."""

    def note_delivery(self, keys: int, seconds: float) -> None:
        """Adapt the next claim to the pace at which these keys were delivered."""
        self._fits = 2 * self._limit if seconds <= 0 else int(keys * _AIM_SECONDS / seconds)
        self._keys = max(1, min(self._limit, self._fits, max(self._keys, keys * _GROWTH)))

    def reset(self) -> None:
        """Begin with one key again: the pace was that of subscribers that left."""
        self._keys = 1
        self._fits = 0
