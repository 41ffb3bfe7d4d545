"""How many keys a source may claim whose ticks are the user's: what those ticks have asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable

from rx_runat.stream.demand import HOLD_SECONDS
from rx_runat.stream.slots import Slots


class Asked:
    """The demand of ticks: each asks for one claim. A `Demand`.

        ticks    t      t t
        keys     10  0  10 10  0        for limit=10; a tick during a claim asks for the next one

    A claim that Redis did not reply to is still asked for.

    Args:
        limit: the most keys that one claim may take.
        slots: limit them as well, for claims; None: keys are taken for good.
    """

    ahead = 0  # a tick asks for one claim

    def __init__(self, limit: int, slots: Slots | None = None) -> None:
        self.hold_seconds = HOLD_SECONDS if slots is None else slots.hold_seconds
        self._limit = limit
        self._slots = slots
        self._lock = threading.Lock()  # guards the two below
        self._asked = 0
        self._ending: Callable[[], None] | None = None

    def ask(self) -> None:
        """Ask for one claim more. From any thread."""
        with self._lock:
            self._asked += 1

    def end(self, then: Callable[[], None]) -> None:
        """Note that nobody will ask for more; `then` ends the stream, when what was asked for is delivered."""
        with self._lock:
            self._ending = then

    @property
    def keys(self) -> int:
        """How many keys the next claim may take."""
        if not self._asked:
            return 0
        return self._limit if self._slots is None else min(self._limit, self._slots.keys)

    def wait(self) -> bool:
        """Returns False: the next tick may be far away."""
        return False

    @property
    def seconds_until_free(self) -> float | None:
        """The seconds until a claim that was asked for may take keys; None: the source is woken then."""
        return self._slots.seconds_until_free if self._slots is not None and self._asked else None

    @property
    def looks_again(self) -> bool:
        """True if more claims are asked for, or nobody will ask for any."""
        return self._asked > 0 or self._ending is not None

    @property
    def ending(self) -> Callable[[], None] | None:
        """What ends the stream, if nobody asks for a claim any more; None: it goes on."""
        with self._lock:
            return None if self._asked else self._ending

    def note_claim(self) -> None:
        """Note that a claim was made."""
        with self._lock:
            self._asked -= 1

    def note_delivery(self, keys: int, seconds: float) -> None:
        """Nothing: who asks for keys shows that he can take them."""

    def reset(self) -> None:
        """Nothing: there is one subscriber."""
