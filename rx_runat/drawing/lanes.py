"""The lanes of a timeline: which key goes to which lane, and which keys of a lane are drawn as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rx_runat.drawing.frame import FAR, Mark, label_of
from rx_runat.model.humanize import readable

REST = "…"
_LANES = 12  # more would leave no room for their marks; further keys share the last one
_KNOWN = 10_000  # keys whose lanes are remembered


class Lanes:
    """Lanes by a function of the key, in the order in which their first keys were seen.

    Keys that would cover each other become one mark with their number. They are gathered in bins of time. The bins are
    counted from 1970, not from now, so that a mark keeps its keys while it moves.

    Args:
        bin_ms: the width of a bin, in ms.
        lane: returns the lane of a key; None if all keys share one.
    """

    def __init__(self, bin_ms: int, lane: Callable[[str], object] | None) -> None:
        self.bin_ms = bin_ms
        self._lane = lane
        self._places: dict[str, int] = {} if lane else {"": 0}
        self._known: dict[str, int] = {}  # so that `lane` is called once for each key

    @property
    def is_one(self) -> bool:
        """True if all keys share one lane."""
        return self._lane is None

    def of(self, key: str) -> int:
        """The lane of a key."""
        if self._lane is None:
            return 0
        lane = self._known.get(key)
        if lane is None:
            try:
                name = readable(str(self._lane(key)), 20)
            except Exception:  # the user's code; its bug must not hide the key
                name = "?"
            if len(self._known) >= _KNOWN:
                self._known.clear()
            lane = self._known[key] = self._named(name)
        return lane

    def rest(self) -> int:
        """The lane for keys whose number is known and whose own lanes are not.

        Either the snapshot counted the keys without listing them, or a burst was too large to look at each key.
        """
        return 0 if self._lane is None else self._named(REST)

    def bin(self, at: float) -> int:
        """The number of a moment's bin."""
        return int(at // self.bin_ms)

    def gather(self, kind: str, keys: Iterable[tuple[str, float]]) -> list[Mark]:
        """Marks of keys: one for each lane and bin."""
        bins: dict[tuple[int, int], list[tuple[str, float]]] = {}
        for key, at in keys:
            if abs(at) < FAR:  # a score of infinity has no bin
                bins.setdefault((self.of(key), self.bin(at)), []).append((key, at))
        return [
            Mark(kind, lane, sum(at for _, at in each) / len(each), len(each), label_of(len(each), each[0][0]), None)
            for (lane, _), each in bins.items()
        ]

    def arrange(self, marks: Iterable[Mark]) -> tuple[list[str], list[Mark]]:
        """The names of the lanes from the top, and the marks with their final places. The lane `…` comes last."""
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
