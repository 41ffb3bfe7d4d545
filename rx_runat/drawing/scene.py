"""What a timeline shows: the schedule as a look saw it, what is out, and what has become of keys.

waiting   hollow, on its way to now
due       hollow, at now: nobody takes it
fired     filled by how late it was: delivered by this process, and of claims, its work is done
retried   the same, by another attempt: late by nature, it must not make those late that it is counted with
gone      another process took it, how late is unknown
claimed   since when it is out under a lease; and lease, that lease's end
back      it was out, and waits for another attempt
dead      it was given up
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rx_runat.drawing.fates import SOON_MS, Ask, Fates
from rx_runat.drawing.frame import Frame, Mark, label_of
from rx_runat.drawing.history import Past
from rx_runat.drawing.lanes import Lanes
from rx_runat.model.snapshot import Keys, Place, Snapshot

PAST = 0.5  # of a window: how much of what has fired stays in the picture
_BINS = 75  # in the whole picture: a bin is about as wide as a dot
_GRACE_MS = 200.0  # a key that is due for longer is one that nobody takes


def _nobody_knows(keys: Sequence[str]) -> list[Place]:
    return [Place("gone")] * len(keys)


class Scene:
    """What a picture of a queue shows. Not for two threads at once.

    Args:
        title: which queue.
        window: ms to come that are in the picture.
        lane: of a key; None: all share one.

    Attributes:
        fates: what becomes of keys; it is told what this process claims.
    """

    def __init__(self, title: str, window: float, lane: Callable[[str], object] | None) -> None:
        self.window = window
        self.past = window * PAST
        self.bin_ms = max(1, round((self.window + self.past) / _BINS))
        self._title = title
        self._lanes = Lanes(self.bin_ms, lane)
        self._past = Past(self._lanes)
        self._seen = Snapshot(0.0)
        self.fates = Fates(self.past, self._past.add)

    # What comes in.

    def see(self, seen: Snapshot, *, claiming: bool = True, ask: Ask = _nobody_knows) -> None:
        """Take in a look.

        Args:
            seen: the look.
            claiming: does this process claim at all?
            ask: tells where keys have gone; what it raises leaves all as it was.
        """
        self.fates.see(seen, claiming, ask)
        self._past.forget(seen.now - self.past)
        self._seen = seen

    # What goes out.

    @property
    def is_busy(self) -> bool:
        """Will something happen at once?"""
        coming = self._seen.coming
        return bool(self.fates.missing) or (bool(coming) and coming[0][1] - self._seen.now < SOON_MS)

    def frame(self, note: str = "") -> Frame:
        """The picture of the last look.

        Args:
            note: something to say above it, such as what went wrong.
        """
        seen = self._seen
        marks = [*self._waiting(seen), *self._due(seen), *self._lanes.gather("waiting", self.fates.missing)]
        marks += self._folded(
            "claimed", [(key, out.at) for key, out in self.fates.out.items()], before=seen.now - self.past
        )
        marks += self._folded("lease", seen.leases, after=seen.now + self.window)
        names, marks = self._lanes.arrange([*marks, *self._past.marks()])
        counts = {"scheduled": seen.scheduled, "due": seen.due, "claimed": seen.claimed, "dead": seen.dead}
        return {
            "now": seen.now,
            "window": self.window,
            "past": self.past,
            "lanes": names,
            "marks": [list(mark) for mark in marks],
            "counts": counts | {"received": self.fates.received},
            "title": self._title,
            "note": note,
        }

    def _folded(self, kind: str, keys: Keys, before: float = -math.inf, after: float = math.inf) -> list[Mark]:
        """Marks of keys; those of a lane that are out of sight, before or after, are one at its edge."""
        edges: dict[int, Keys] = {}
        inside: Keys = []
        for key, at in keys:
            if before <= at <= after:
                inside.append((key, at))
            else:
                edges.setdefault(self._lanes.of(key), []).append((key, at))
        return self._lanes.gather(kind, inside) + [
            Mark(kind, lane, each[0][1], len(each), label_of(len(each), each[0][0]), None)
            for lane, each in edges.items()
        ]

    def _waiting(self, seen: Snapshot) -> list[Mark]:
        one = self._lanes.is_one
        coming = self._on_time(seen) + seen.coming
        if not seen.slices:
            return self._lanes.gather("waiting", coming)
        counted = dict(seen.slices)
        for _, at in self._on_time(seen) if one else seen.coming:
            start = at // self.bin_ms * self.bin_ms
            counted[start] = counted.get(start, 0) + (1 if one else -1)
        lane = self._lanes.rest()  # what was not listed has no lane that we know
        rest = [Mark("waiting", lane, start + self.bin_ms / 2, n, "", None) for start, n in counted.items() if n > 0]
        return rest if one else self._lanes.gather("waiting", coming) + rest

    def _on_time(self, seen: Snapshot) -> Keys:
        """What has fallen due this moment, where nothing has waited for longer: on its way into a claim."""
        fresh = seen.due_keys and seen.due == len(seen.due_keys) and seen.now - seen.due_keys[0][1] < _GRACE_MS
        return seen.due_keys if fresh else []

    def _due(self, seen: Snapshot) -> list[Mark]:
        if not seen.due_keys or self._on_time(seen):
            return []
        first, since = seen.due_keys[0]
        if self._lanes.is_one:
            return [Mark("due", 0, since, seen.due, label_of(seen.due, first), None)]
        lanes: dict[int, Keys] = {}
        for key, at in seen.due_keys:
            lanes.setdefault(self._lanes.of(key), []).append((key, at))
        marks = [
            Mark("due", lane, keys[0][1], len(keys), label_of(len(keys), keys[0][0]), None)
            for lane, keys in lanes.items()
        ]
        if seen.due > len(seen.due_keys):
            marks.append(Mark("due", self._lanes.rest(), since, seen.due - len(seen.due_keys), "", None))
        return marks
