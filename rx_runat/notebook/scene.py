"""What a timeline shows: keys that wait, and keys that fired, gathered from looks and from this process's claims.

schedule  --looks-->  waiting   hollow, on their way to now
claims    --taps--->  fired     filled by how late they were
          (neither)   gone      was due, and is no longer there: another process took it, how late is unknown
leases    --looks-->  claimed   until their lease ends
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from rx_runat.glance import Glance, Keys
from rx_runat.job import Claimed, Entry
from rx_runat.notebook.frame import Frame, Mark, label_of
from rx_runat.notebook.lanes import Lanes
from rx_runat.notebook.past import Past

PAST = 0.5  # of a window: how much of what has fired stays in the picture
LISTED = 400  # keys of each kind that one look lists; what comes after them is counted
_BINS = 75  # in the whole picture: a bin is about as wide as a dot
_PATIENCE_MS = 400.0  # how long a key that has vanished may be on its way through a claim of ours
_SOON_MS = 400.0
_GRACE_MS = 200.0  # a key that is due for longer is one that nobody takes
_MOST = 5_000  # keys of a claim that are sorted into lanes, at most: a burst must not hold up the picture


class Scene:
    """What a picture of a queue shows. Not for two threads at once.

    Args:
        title: which queue.
        window: ms to come that are in the picture.
        lane: of a key; None: all share one.
    """

    def __init__(self, title: str, window: float, lane: Callable[[str], object] | None) -> None:
        self.window = window
        self.past = window * PAST
        self.bin_ms = max(1, round((self.window + self.past) / _BINS))
        self._title = title
        self._lanes = Lanes(self.bin_ms, lane)
        self._past = Past(self._lanes)
        self._seen = Glance(0.0)
        self._listed: dict[str, float] = {}
        self._missing: dict[str, tuple[float, float]] = {}  # key -> its run_at, and when it was missed
        self._ours: deque[tuple[float, set[str]]] = deque()  # what this process took lately
        self._received = 0

    # What comes in.

    def see(self, seen: Glance, taken: Iterable[tuple[Claimed, list[Entry]]] = (), *, claiming: bool = True) -> None:
        """Take in a look, and what this process claimed since the last one; `claiming`: does it claim at all?"""
        for claimed, left in taken:
            self._take(claimed, left)
        before, self._listed = self._listed, dict(seen.due_keys + seen.coming)
        for key, at in before.items():
            if key not in self._listed and self._is_taken(key, at, seen):
                self._missing.setdefault(key, (at, seen.now))
        self._judge(seen, _PATIENCE_MS if claiming else 0.0)
        self._past.forget(seen.now - self.past)
        while self._ours and self._ours[0][0] < seen.now - 3 * _PATIENCE_MS:
            self._ours.popleft()
        self._seen = seen

    def _take(self, claimed: Claimed, left: list[Entry]) -> None:
        now = claimed.now / 1e3
        returned = {entry.key for entry in left}
        keys = [key for key in claimed.keys if key not in returned] if returned else claimed.keys
        if not keys:
            return
        self._ours.append((now, set(keys)))
        self._received += len(keys)
        scores = dict(zip(claimed.keys, claimed.scores, strict=True))
        if self._lanes.is_one:  # all at one moment, in one lane; the first was due first
            self._past.add("fired", 0, now, keys[0], len(keys), now - float(scores[keys[0]]))
            return
        for key in keys[:_MOST]:
            self._past.add("fired", self._lanes.of(key), now, key, 1, now - float(scores[key]))
        if len(keys) > _MOST:
            more = len(keys) - _MOST
            self._past.add("fired", self._lanes.rest(), now, "", more, now - float(scores[keys[_MOST]]))

    def _is_taken(self, key: str, at: float, seen: Glance) -> bool:
        """Was a key taken that a look does not list any more? Before its time it was cancelled, or moved."""
        if at > seen.now:
            return False
        truncated = len(seen.due_keys) == LISTED
        return not truncated or (at, key) < (seen.due_keys[-1][1], seen.due_keys[-1][0])

    def _judge(self, seen: Glance, patience: float) -> None:
        """Where have the keys gone that are missing?"""
        leased = {key for key, _ in seen.leases}
        for key, (at, since) in list(self._missing.items()):
            if key in leased or key in self._listed or any(key in keys for _, keys in self._ours):
                del self._missing[key]
            elif seen.now - since >= patience:
                del self._missing[key]
                self._past.add("gone", self._lanes.of(key), max(at, since - _SOON_MS), key, 1, None)

    # What goes out.

    @property
    def is_busy(self) -> bool:
        """Will something happen at once?"""
        coming = self._seen.coming
        return bool(self._missing) or (bool(coming) and coming[0][1] - self._seen.now < _SOON_MS)

    def frame(self, note: str = "") -> Frame:
        """The picture of the last look.

        Args:
            note: something to say above it, such as what went wrong.
        """
        seen = self._seen
        marks = [*self._waiting(seen), *self._due(seen)]
        marks += self._lanes.gather("waiting", ((key, at) for key, (at, _) in self._missing.items()))  # not judged yet
        marks += self._lanes.gather("claimed", seen.leases)
        names, marks = self._lanes.arrange([*marks, *self._past.marks()])
        counts = {"scheduled": seen.scheduled, "due": seen.due, "claimed": seen.claimed, "dead": seen.dead}
        return {
            "now": seen.now,
            "window": self.window,
            "past": self.past,
            "lanes": names,
            "marks": [list(mark) for mark in marks],
            "counts": counts | {"received": self._received},
            "title": self._title,
            "note": note,
        }

    def _waiting(self, seen: Glance) -> list[Mark]:
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

    def _on_time(self, seen: Glance) -> Keys:
        """What has fallen due this moment, where nothing has waited for longer: on its way into a claim."""
        fresh = seen.due_keys and seen.due == len(seen.due_keys) and seen.now - seen.due_keys[0][1] < _GRACE_MS
        return seen.due_keys if fresh else []

    def _due(self, seen: Glance) -> list[Mark]:
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
