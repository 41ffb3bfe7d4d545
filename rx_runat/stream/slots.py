"""How many claims a source may have out: the demand of work that takes its time."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Hashable, Iterable

_MOST = 1000  # keys in one claim: some 7 ms of the server's time


class Slots:
    """The demand of claims: as many as there are free slots; what holds one is a lease.

        max_in_flight = 3
        claims   3  -  -  1  -  -  -  2
        free        .  .        .  .      ack, nack, bury, a lost lease
                                      ..  or the lease's end

    A claim that was filtered out or forgotten frees its slot when its lease ends, so it never stops the stream. From
    any thread.

    Args:
        max_in_flight: how many.
        now: seconds, on a clock that nobody sets.
        freed: called when a slot is free again, where none was when the source asked.
    """

    hold_seconds = math.inf  # what is claimed has a lease to bring it back: nobody else waits for it

    def __init__(self, max_in_flight: int, now: Callable[[], float], freed: Callable[[], None]) -> None:
        self._max = max_in_flight
        self._now = now
        self._freed = freed
        self._lock = threading.Lock()
        self._ends: dict[Hashable, float] = {}
        self._first_end = math.inf  # no lease ends before
        self._was_full = False

    @property
    def keys(self) -> int:
        """How many keys the next claim may take: as many as there are free slots, or as keep the server busy enough."""
        with self._lock:
            now = self._now()
            if self._first_end <= now:
                self._ends = {lease: end for lease, end in self._ends.items() if end > now}
                self._first_end = min(self._ends.values(), default=math.inf)
            free = max(0, self._max - len(self._ends))
            self._was_full = not free
            return min(free, _MOST)

    @property
    def seconds_until_free(self) -> float:
        """The seconds until a lease ends, at the latest."""
        with self._lock:
            if len(self._ends) < self._max:
                return 0.0
            self._first_end = min(self._ends.values())
            return max(0.0, self._first_end - self._now())

    def take(self, leases: Iterable[Hashable], end: float) -> None:
        """Leases that are out until a moment of the clock."""
        with self._lock:
            self._ends.update(dict.fromkeys(leases, end))
            self._first_end = min(self._first_end, end)

    def extend(self, lease: Hashable, end: float) -> None:
        """A lease that is out until later; one whose slot is free already stays without."""
        with self._lock:
            if lease in self._ends:
                self._ends[lease] = end

    def free(self, leases: Iterable[Hashable]) -> None:
        """Leases that are over, or were before; all at once, so that the source claims for all of them at once."""
        with self._lock:
            before = len(self._ends)
            for lease in leases:
                self._ends.pop(lease, None)
            calls = self._was_full and len(self._ends) < before
            if calls:
                self._was_full = False
        if calls:
            self._freed()

    def note_delivery(self, keys: int, seconds: float) -> None:
        """Nothing: what subscribers take at once says nothing about work."""

    def reset(self) -> None:
        """Nothing: what is out stays out, whoever listens."""
