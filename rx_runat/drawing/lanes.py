"""The lanes of a timeline: which key goes where, and what falls together there."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rx_runat.drawing.frame import Mark, label_of
from rx_runat.model.humanize import readable

REST = "…"
_LANES = 12  # more would be lines without room; the rest shares the last
_KNOWN = 10_000  # keys whose lanes are remembered


class Lanes:
    """Lanes by a function of the key, in the order in which they were first seen.

    Keys that would cover each other are one mark with a number. They are gathered in bins of time that are counted from
    1970, not from now, so that a mark keeps its keys while it moves.

    Args:
        bin_ms: the width of a bin.
        lane: of a key; None: all share one.
    """

    def __init__(self, bin_ms: int, lane: Callable[[str], object] | None) -> None:
        self.bin_ms = bin_ms
        self._lane = lane
        self._places: dict[str, int] = {} if lane else {"": 0}
        self._known: dict[str, int] = {}  # so that each key is asked once

    @property
    def is_one(self) -> bool:
        """Do all keys share one lane?"""
        return self._lane is None

    def of(self, key: str) -> int:
        """The lane of a key."""
        if self._lane is None:
            return 0
        lane = self._known.get(key)
        if lane is None:
            try:
                name = readable(str(self._lane(key)), 20)
            except Exception:  # anybody's code; the key is there all the same
                name = "?"
            if len(self._known) >= _KNOWN:
                self._known.clear()
            lane = self._known[key] = self._named(name)
        return lane

    def rest(self) -> int:
        """The lane of keys that are counted and not known."""
        return 0 if self._lane is None else self._named(REST)

    def bin(self, at: float) -> int:
        """The number of a moment's bin."""
        return int(at // self.bin_ms)

    def gather(self, kind: str, keys: Iterable[tuple[str, float]]) -> list[Mark]:
        """Marks of keys, those of one bin as one."""
        bins: dict[tuple[int, int], list[tuple[str, float]]] = {}
        for key, at in keys:
            if abs(at) < 1e15:
                bins.setdefault((self.of(key), self.bin(at)), []).append((key, at))
        return [
            Mark(kind, lane, sum(at for _, at in each) / len(each), len(each), label_of(len(each), each[0][0]), None)
            for (lane, _), each in bins.items()
        ]

    def arrange(self, marks: Iterable[Mark]) -> tuple[list[str], list[Mark]]:
        """The lanes' names from the top, and the marks with their places there: the rest comes last."""
        names = list(self._places)
        if REST not in names:
            return names, list(marks)
        place = self._places[REST]
        names.append(names.pop(place))
        last = len(names) - 1
        return names, [
            mark._replace(lane=last if mark.lane == place else mark.lane - (mark.lane > place)) for mark in marks
        ]

    def _named(self, name: str) -> int:
        if name not in self._places and len(self._places) >= _LANES - 1:
            name = REST
        return self._places.setdefault(name, len(self._places))
