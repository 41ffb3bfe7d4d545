"""One claim on its way to the subscribers, key by key, over one iterator."""

from __future__ import annotations

from collections.abc import Iterator
from operator import length_hint

from rx_runat.job import Claimed, Due, Entry
from rx_runat.verdict import Leased
from rx_runat.wire import from_score


class Delivery:
    """What was claimed, and how far its delivery has come.

    The plain path iterates over `keys` and nothing else: no object is built per key, no place is counted. Where the
    iterator stands is read off its length hint, and only by those who ask: for a `Due`, or for what is left.

    Args:
        claimed: the claim.
    """

    def __init__(self, claimed: Claimed | Leased) -> None:
        self._claimed = claimed
        self.size = len(claimed.keys)
        self.keys: Iterator[object] = iter(claimed.keys)
        self._due: tuple[int, Due] | None = None

    @property
    def goes_on(self) -> bool:
        """Is a key left to deliver?"""
        return length_hint(self.keys) > 0

    def entry(self) -> Entry:
        """The key in delivery, as it was claimed."""
        place = self._place()
        return Entry(self._claimed.keys[place], self._claimed.scores[place])

    def due(self) -> Due:
        """The key in delivery, as a `Due`; the same one for all who ask."""
        place = self._place()
        if self._due is None or self._due[0] != place:
            key, score = self._claimed.keys[place], self._claimed.scores[place]
            self._due = place, Due(key, from_score(score), (self._claimed.now - float(score) * 1e3) / 1e6)
        return self._due[1]

    def rest(self) -> list[Entry]:
        """What comes after the key in delivery."""
        place = self._place() + 1
        return list(map(Entry, self._claimed.keys[place:], self._claimed.scores[place:]))

    def _place(self) -> int:
        return self.size - length_hint(self.keys) - 1
