"""How many claims of a source may be out at once.

This is the `Demand` of a claims source, where the time that counts is that of the work, not that of `on_next`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Hashable, Iterable

# Keys: some 2 ms of the server's time. Of a thousand slots, claims of a quarter keep the server and the workers busy at
# the same time; with larger ones they take turns. Smaller ones cost the server more per key.
_LARGEST_CLAIM = 250

# Seconds that a source waits for a free slot before it rests. Claims without work free theirs within less, and to rest
# and to be woken by a tick costs 0.07 ms of processor time more. Meanwhile the source does nothing else: a `stop` may
# take so much longer.
_MOMENT = 0.003


class Slots:
    """The demand of a claims source: as many keys as there are free slots. A lease holds a slot.

        max_in_flight = 3
        claims   3  -     1  -        2      so many keys; -: no slot is free
        freed          1           1         by ack, nack, bury, a lost lease
                                1            by the lease's end

    A claim that was filtered out or forgotten frees its slot when its lease ends, so it never stops the stream. From
    any thread.

    The first claim takes one key. Only after it is it known whether `settle` works on these claims, and so which of
    their attempts count at the claim: a key that kills its process takes at most one other key with it.

    Args:
        max_in_flight: how many claims may be out.
        now: monotonic seconds; virtual seconds in virtual time.
        freed: called when keys may be taken again, after a source was told to take none and went to sleep.
        wanted: returns how many more claims those who work on them want; inf: any number.
        begins_with_one: False: the first claim may take as many keys as others.

    Attributes:
        max_in_flight: as above.
    """

    # No limit: slow subscribers keep their claims; a claim that nobody settles comes back when its lease ends.
    hold_seconds = math.inf
    ahead = 0
    looks_again = False
    ending: Callable[[], None] | None = None

    def __init__(
        self,
        max_in_flight: int,
        now: Callable[[], float],
        freed: Callable[[], None],
        wanted: Callable[[], float] = lambda: math.inf,
        begins_with_one: bool = True,
    ) -> None:
        self.max_in_flight = max_in_flight
        self._now = now
        self._freed = freed
        self._wanted = wanted
        self._lock = threading.Lock()  # over the rest
        self._ends: dict[Hashable, float] = {}
        self._first_end = math.inf  # no lease that holds a slot ends before this
        self._begins_with_one = begins_with_one
        self._is_first = begins_with_one  # nobody has received a claim since the last `reset`
        self._told_none = False
        self._is_waited_for = False
        self._may_be_free = threading.Event()  # set when a source that waits is to look at `keys` again

    @property
    def keys(self) -> int:
        """How many keys the next claim may take: 1 at first; then as many as are wanted and as slots are free.

        At most 250: some 2 ms of the server's time.
        """
        with self._lock:
            now = self._now()
            if self._first_end <= now:
                self._ends = {lease: end for lease, end in self._ends.items() if end > now}
                self._first_end = min(self._ends.values(), default=math.inf)
            self._told_none = True  # set before `wanted` is read: when more is wanted after that, `look_again` wakes
            most = 1 if self._is_first else _LARGEST_CLAIM
            keys = max(0, int(min(self.max_in_flight - len(self._ends), self._wanted(), most)))
            self._told_none = not keys
            return keys

    def wait(self) -> bool:
        """Wait a moment, after `keys` was 0, until that may have changed. Returns False if it has not."""
        self._may_be_free.clear()
        with self._lock:
            self._is_waited_for = self._told_none
        if not self._is_waited_for:
            return True  # it has changed already
        self._may_be_free.wait(_MOMENT)
        with self._lock:
            self._is_waited_for = False
            return not self._told_none

    @property
    def seconds_until_free(self) -> float | None:
        """The seconds until a slot is free, if no lease ends before its deadline; 0.0 if one is free.

        None if slots are free, and no claim is wanted: `freed` is called when that changes.
        """
        with self._lock:
            if len(self._ends) < self.max_in_flight:
                return None if self._told_none else 0.0
            self._first_end = min(self._ends.values())
            return max(0.0, self._first_end - self._now())

    def take(self, leases: Iterable[Hashable], end: float) -> None:
        """Give each of these leases a slot, until a moment of the clock."""
        with self._lock:
            self._is_first = False
            self._ends.update(dict.fromkeys(leases, end))
            self._first_end = min(self._first_end, end)

    def extend(self, lease: Hashable, end: float) -> None:
        """Let a lease hold its slot until later. A lease that holds none gets none."""
        with self._lock:
            if lease in self._ends:
                self._ends[lease] = end

    def free(self, leases: Iterable[Hashable]) -> None:
        """Free the slots of these leases, of those that hold one.

        All slots are free before the source is told, so that its next claim is for all of them.
        """
        with self._lock:
            before = len(self._ends)
            for lease in leases:
                self._ends.pop(lease, None)
            calls = self._told_none and len(self._ends) < before
        if calls:
            self.look_again()

    def look_again(self) -> None:
        """Tell the source, if it was told to take no keys, that a slot is free again, or more claims are wanted."""
        with self._lock:
            tells, self._told_none = self._told_none, False
            is_waited_for = self._is_waited_for
        if tells and is_waited_for:
            self._may_be_free.set()
        elif tells:
            self._freed()

    def note_claim(self) -> None:
        """Nothing: `take` counts."""

    def note_delivery(self, keys: int, seconds: float) -> None:
        """Nothing: how fast subscribers take claims says nothing about how long the work takes."""

    def reset(self) -> None:
        """Begin with one key again. A claim that is out holds its slot whether anybody subscribes or not."""
        self._is_first = self._begins_with_one
