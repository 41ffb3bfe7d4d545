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

    Once all lanes are taken, a new one takes the place of the lane whose keys left the picture first. Until then a lane
    without keys stays, so that the picture does not jump.

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
        self._free: dict[int, None] = {}  # places without keys, in the order in which their last keys left the picture
        self._known: dict[str, str] = {}  # key -> name of its lane, so that `lane` is called once for each key

    @property
    def is_one(self) -> bool:
        """True if all keys share one lane."""
        return self._lane is None

    def of(self, key: str) -> int:
        """The lane of a key."""
        if self._lane is None:
            return 0
        name = self._known.get(key)
        if name is None:
            try:
                name = readable(str(self._lane(key)), 20)
            except Exception:  # the user's code; its bug must not hide the key
                name = "?"
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[key] = name
        return self._named(name)

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
        """The names of the lanes from the top, and the marks with their final places. The lane `…` comes last.

        The lane `…` is there only while it has keys. Lanes without a mark are free from now on.
        """
        marks = list(marks)
        used = {mark.lane for mark in marks}
        self._free = {place: None for place in (*self._free, *self._places.values()) if place not in used}
        names = [name for name, place in self._in_order() if name != REST or place in used]
        final = {self._places[name]: number for number, name in enumerate(names)}
        return names, [mark._replace(lane=final[mark.lane]) for mark in marks]

    def _in_order(self) -> list[tuple[str, int]]:
        return sorted(self._places.items(), key=lambda each: (each[0] == REST, each[1]))

    def _named(self, name: str) -> int:
        if name not in self._places:
            if name != REST and len(self._places) - (REST in self._places) >= _LANES - 1:
                names = {place: name for name, place in self._places.items()}
                old = next((names[place] for place in self._free if names[place] != REST), None)
                if old is None:
                    return self._named(REST)
                self._places[name] = self._places.pop(old)
            else:
                self._places[name] = len(self._places)
        place = self._places[name]
        self._free.pop(place, None)
        return place
