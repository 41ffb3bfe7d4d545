"""What a timeline shows: keys that wait, and keys that fired, gathered from looks and from this process's claims.

    schedule  --looks-->  waiting   hollow, on their way to now
    claims    --taps--->  fired     filled by how late they were
              (neither)   gone      was due, and is no longer there: another process took it, how late is unknown
    leases    --looks-->  claimed   until their lease ends

Keys that would cover each other are one mark with a number. They are gathered in bins of time that are counted from
1970, not from now, so that a mark keeps its keys while it moves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypedDict

from rx_runat.glance import Glance, Keys
from rx_runat.job import Claimed, Entry
from rx_runat.words import readable

PAST = 0.5  # of a window: how much of what has fired stays in the picture
LISTED = 400  # keys of each kind that one look lists; what comes after them is counted
_BINS = 75  # in the whole picture: a bin is about as wide as a dot
_REST = "…"
_LANES = 12  # more would be lines without room; the rest shares the last
_PATIENCE_MS = 400.0  # how long a key that has vanished may be on its way through a claim of ours
_SOON_MS = 400.0
_GRACE_MS = 200.0  # a key that is due for longer is one that nobody takes
_MOST = 5_000  # keys of a claim that are sorted into lanes, at most: a burst must not hold up the picture


class Mark(NamedTuple):
    """Something to draw.

    Attributes:
        kind: "waiting", "due", "fired", "gone", "claimed", "dead".
        lane: its place from the top.
        at: epoch ms: when it is due, when it was taken, when its lease ends.
        keys: how many.
        label: the key, if it is one.
        late: ms, of the latest of them; None: unknown.
    """

    kind: str
    lane: int
    at: float
    keys: int
    label: str
    late: float | None


class Frame(TypedDict):
    """All that a picture is drawn from; JSON. Times are epoch ms on Redis's clock."""

    now: float
    window: float
    past: float
    lanes: list[str]
    marks: list[list[Any]]
    counts: dict[str, int]
    title: str
    note: str


class _Bin:
    """Fired keys that are drawn as one."""

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
        self._lane = lane
        self._lanes: dict[str, int] = {} if lane else {"": 0}
        self._known: dict[str, int] = {}  # the lanes of the keys in the last look, so that each is asked once
        self._seen = Glance(0.0)
        self._listed: dict[str, float] = {}
        self._fired: dict[tuple[str, int, int], _Bin] = {}
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
        self._forget(seen.now)
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
        if self._lane is None:  # all at one moment, in one lane; the first was due first
            self._fire("fired", 0, now, keys[0], len(keys), now - float(scores[keys[0]]))
            return
        for key in keys[:_MOST]:
            self._fire("fired", self._lane_of(key), now, key, 1, now - float(scores[key]))
        if len(keys) > _MOST:
            self._fire("fired", self._named(_REST), now, "", len(keys) - _MOST, now - float(scores[keys[_MOST]]))

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
                self._fire("gone", self._lane_of(key), max(at, since - _SOON_MS), key, 1, None)

    def _fire(self, kind: str, lane: int, at: float, key: str, keys: int, late: float | None) -> None:
        place = kind, lane, int(at // self.bin_ms)
        bin_ = self._fired.get(place)
        if bin_ is None:
            bin_ = self._fired[place] = _Bin()
        bin_.add(keys, at, key, None if late is None else max(late, 0.0))

    def _forget(self, now: float) -> None:
        oldest = (now - self.past) // self.bin_ms - 1
        for place in [place for place in self._fired if place[2] < oldest]:
            del self._fired[place]
        while self._ours and self._ours[0][0] < now - 3 * _PATIENCE_MS:
            self._ours.popleft()

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
        marks += self._gather("waiting", ((key, at) for key, (at, _) in self._missing.items()))  # not judged yet
        marks += self._gather("claimed", seen.leases)
        marks += [
            Mark(kind, lane, bin_.total / bin_.keys, bin_.keys, _label(bin_.keys, bin_.label), bin_.late)
            for (kind, lane, _), bin_ in self._fired.items()
        ]
        lanes = list(self._lanes)
        if _REST in lanes:  # comes last, whenever it came
            place = self._lanes[_REST]
            lanes.append(lanes.pop(place))
            marks = [
                mark._replace(lane=len(lanes) - 1 if mark.lane == place else mark.lane - (mark.lane > place))
                for mark in marks
            ]
        counts = {"scheduled": seen.scheduled, "due": seen.due, "claimed": seen.claimed, "dead": seen.dead}
        return {
            "now": seen.now,
            "window": self.window,
            "past": self.past,
            "lanes": lanes,
            "marks": [list(mark) for mark in marks],
            "counts": counts | {"received": self._received},
            "title": self._title,
            "note": note,
        }

    def _waiting(self, seen: Glance) -> list[Mark]:
        coming = self._on_time(seen) + seen.coming
        if not seen.slices:
            return self._gather("waiting", coming)
        counted = dict(seen.slices)
        for _, at in self._on_time(seen) if self._lane is None else seen.coming:
            start = at // self.bin_ms * self.bin_ms
            counted[start] = counted.get(start, 0) + (1 if self._lane is None else -1)
        lane = 0 if self._lane is None else self._named(_REST)  # what was not listed has no lane that we know
        rest = [Mark("waiting", lane, start + self.bin_ms / 2, n, "", None) for start, n in counted.items() if n > 0]
        return rest if self._lane is None else self._gather("waiting", coming) + rest

    def _on_time(self, seen: Glance) -> Keys:
        """What has fallen due this moment, where nothing has waited for longer: on its way into a claim."""
        fresh = seen.due_keys and seen.due == len(seen.due_keys) and seen.now - seen.due_keys[0][1] < _GRACE_MS
        return seen.due_keys if fresh else []

    def _due(self, seen: Glance) -> list[Mark]:
        if not seen.due_keys or self._on_time(seen):
            return []
        first, since = seen.due_keys[0]
        if self._lane is None:
            return [Mark("due", 0, since, seen.due, _label(seen.due, first), None)]
        lanes: dict[int, Keys] = {}
        for key, at in seen.due_keys:
            lanes.setdefault(self._lane_of(key), []).append((key, at))
        marks = [
            Mark("due", lane, keys[0][1], len(keys), _label(len(keys), keys[0][0]), None)
            for lane, keys in lanes.items()
        ]
        if seen.due > len(seen.due_keys):
            marks.append(Mark("due", self._named(_REST), since, seen.due - len(seen.due_keys), "", None))
        return marks

    def _gather(self, kind: str, keys: Iterable[tuple[str, float]]) -> list[Mark]:
        """Marks of keys, those of one bin as one."""
        bins: dict[tuple[int, int], list[tuple[str, float]]] = {}
        for key, at in keys:
            if abs(at) < 1e15:
                bins.setdefault((self._lane_of(key), int(at // self.bin_ms)), []).append((key, at))
        return [
            Mark(kind, lane, sum(at for _, at in each) / len(each), len(each), _label(len(each), each[0][0]), None)
            for (lane, _), each in bins.items()
        ]

    def _lane_of(self, key: str) -> int:
        if self._lane is None:
            return 0
        lane = self._known.get(key)
        if lane is None:
            try:
                name = readable(str(self._lane(key)), 20)
            except Exception:  # anybody's code; the key is there all the same
                name = "?"
            if len(self._known) > 10_000:
                self._known.clear()
            lane = self._known[key] = self._named(name)
        return lane

    def _named(self, name: str) -> int:
        if name not in self._lanes and len(self._lanes) >= _LANES - 1:
            name = _REST
        return self._lanes.setdefault(name, len(self._lanes))


def _label(keys: int, key: str) -> str:
    return readable(key, 24) if keys == 1 else ""
