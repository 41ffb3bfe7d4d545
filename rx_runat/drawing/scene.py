"""What a timeline shows: the schedule as the last snapshot saw it, the keys that are out, and what became of others.

A mark has one of these kinds:

waiting   hollow, moves towards now
due       hollow, stays at now: nobody takes the key
fired     filled, with the shape and colour of its lateness: this process delivered the key; for a key under a lease:
          its work is done
retried   like fired, for a key that took more than one attempt. It is a kind of its own, because a retried key is
          always late, and one mark for several keys looks as late as the latest: one retried key would make the
          others look late
done      like fired, for a key that was out for so long that its claim has left the picture: the mark stands where
          the work ended
gone      another process took the key; how late is unknown
claimed   the moment from which the key is out under a lease
lease     the end of that lease
back      the key was out, and waits for another attempt
dead      the key was given up
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rx_runat.drawing.frame import Frame, Mark, label_of, listed
from rx_runat.drawing.history import History
from rx_runat.drawing.key_tracker import SOON_MS, KeyTracker, Locate
from rx_runat.drawing.lanes import Lanes
from rx_runat.model.snapshot import Keys, Place, Snapshot

PAST = 0.5  # how far back the picture goes, as a fraction of `window`
_BINS = 75  # in the whole picture, so that a bin is about as wide as a dot
_GRACE_MS = 200.0  # a key that is due for longer is shown as one that nobody takes


def _all_gone(keys: Sequence[str]) -> list[Place]:
    return [Place("gone")] * len(keys)


class Scene:
    """What a picture of a queue shows. Not thread-safe.

    Args:
        title: the name of the queue, and where it is.
        window: how many ms of the future the picture shows.
        lane: returns the lane of a key; None if all keys share one.

    Attributes:
        tracker: finds out what became of keys; the poller tells it what this process claims.
    """

    def __init__(self, title: str, window: float, lane: Callable[[str], object] | None) -> None:
        self.window = window
        self.past = window * PAST
        self.bin_ms = max(1, round((self.window + self.past) / _BINS))
        self._title = title
        self._lanes = Lanes(self.bin_ms, lane)
        self._history = History(self._lanes)
        self._seen = Snapshot(0.0)
        self.tracker = KeyTracker(self.past, self._history.add)

    # What comes in.

    def see(self, seen: Snapshot, *, claiming: bool = True, locate: Locate = _all_gone) -> None:
        """Take in a snapshot.

        Args:
            seen: the snapshot.
            claiming: True if this process claims from the queue.
            locate: returns where keys are now. If it raises, the scene stays as it was.
        """
        self.tracker.see(seen, claiming, locate)
        self._history.forget(seen.now - self.past)
        self._seen = seen

    # What goes out.

    @property
    def is_busy(self) -> bool:
        """True if something will change within moments, so that the next poll should come soon."""
        coming = self._seen.coming
        return bool(self.tracker.missing) or (bool(coming) and coming[0][1] - self._seen.now < SOON_MS)

    def frame(self, note: str = "", state: str = "live", asks: int = 0) -> Frame:
        """The frame of the last snapshot. See `Frame` for the arguments."""
        seen = self._seen
        marks = [*self._waiting(seen), *self._due(seen), *self._lanes.gather("waiting", self.tracker.missing)]
        marks += self._folded(
            "claimed", [(key, out.at) for key, out in self.tracker.out.items()], before=seen.now - self.past
        )
        marks += self._folded("lease", seen.leases, after=seen.now + self.window)
        names, marks = self._lanes.arrange([*marks, *self._history.marks()])
        counts = {"scheduled": seen.scheduled, "due": seen.due, "claimed": seen.claimed, "dead": seen.dead}
        return {
            "now": seen.now,
            "window": self.window,
            "past": self.past,
            "lanes": names,
            "marks": list(map(listed, marks)),
            "counts": counts | {"received": self.tracker.received},
            "title": self._title,
            "note": note,
            "state": state,
            "asks": asks,
        }

    def _folded(self, kind: str, keys: Keys, before: float = -math.inf, after: float = math.inf) -> list[Mark]:
        """Marks of keys. The keys of a lane that lie outside of the picture become one mark, at its edge."""
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
        """Marks of the keys to come.

        If the window holds more keys than a snapshot lists, the snapshot also counts the keys in each slice of time as
        wide as a bin (`seen.slices`). A picture of one lane then draws these counts, and adds the keys that have just
        fallen due. With several lanes, only listed keys have a known lane: they are subtracted from the counts, and the
        remainder is drawn in the lane of the rest.
        """
        one = self._lanes.is_one
        coming = self._on_time(seen) + seen.coming
        if not seen.slices:
            return self._lanes.gather("waiting", coming)
        counted = dict(seen.slices)
        for _, at in self._on_time(seen) if one else seen.coming:
            start = at // self.bin_ms * self.bin_ms
            counted[start] = counted.get(start, 0) + (1 if one else -1)
        lane = self._lanes.rest()
        rest = [Mark("waiting", lane, start + self.bin_ms / 2, n, "", None) for start, n in counted.items() if n > 0]
        return rest if one else self._lanes.gather("waiting", coming) + rest

    def _on_time(self, seen: Snapshot) -> Keys:
        """The keys that have just fallen due, if none has waited for longer: they are on their way into a claim."""
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
