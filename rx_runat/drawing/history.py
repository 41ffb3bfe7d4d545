"""What has happened to keys: the marks to the left of the line of now, until they leave the picture."""

from __future__ import annotations

from collections.abc import Mapping

from rx_runat.drawing.frame import Mark, label_of
from rx_runat.drawing.lanes import Lanes

_MOST = 5_000  # keys of one event that are sorted into lanes; a burst of more must not delay the picture


class _Bin:
    """Keys that are drawn as one mark."""

    __slots__ = ("keys", "label", "late", "total")

    def __init__(self) -> None:
        self.keys = 0
        self.total = 0.0
        self.label = ""
        self.late: float | None = None

    def add(self, keys: int, at: float, label: str, late: float | None) -> None:
        self.keys += keys
        self.total += keys * at
        self.label = label
        if late is not None:
            self.late = late if self.late is None else max(self.late, late)


class History:
    """What has happened to keys, in bins of time: as many as the picture has room for, whatever the number of keys.

    Args:
        lanes: decides into which lane a key goes.
    """

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._bins: dict[tuple[str, int, int], _Bin] = {}

    def add(self, kind: str, at: float, lates: Mapping[str, float | None]) -> None:
        """Note what happened to keys at a moment, and by how many ms each was late; None if unknown."""
        if self._lanes.is_one:
            self._add(kind, 0, at, lates)
            return
        keys = list(lates)
        for key in keys[:_MOST]:
            self._add(kind, self._lanes.of(key), at, {key: lates[key]})
        if len(keys) > _MOST:
            self._add(kind, self._lanes.rest(), at, {key: lates[key] for key in keys[_MOST:]})

    def forget(self, until: float) -> None:
        """Forget what happened before a moment."""
        oldest = self._lanes.bin(until) - 1
        for place in [place for place in self._bins if place[2] < oldest]:
            del self._bins[place]

    def _add(self, kind: str, lane: int, at: float, lates: Mapping[str, float | None]) -> None:
        place = kind, lane, self._lanes.bin(at)
        bin_ = self._bins.get(place)
        if bin_ is None:
            bin_ = self._bins[place] = _Bin()
        known = [late for late in lates.values() if late is not None]
        bin_.add(len(lates), at, next(iter(lates)), max(0.0, *known) if known else None)

    def marks(self) -> list[Mark]:
        """One mark for each bin."""
        return [
            Mark(kind, lane, bin_.total / bin_.keys, bin_.keys, label_of(bin_.keys, bin_.label), bin_.late)
            for (kind, lane, _), bin_ in self._bins.items()
        ]
