"""What becomes of keys: judged from looks at a queue, and from what this process claims.

    waits  --tap------>  fired              delivered by a source of this process, and how late
      |'-- vanished -->  gone               another process took it; how late is unknown
      '-->  out  --vanished-->  fired, gone  its work is done; retried, where it took another attempt
                          |-->  back        it waits for another attempt
                          '-->  dead        it was given up

A look lists some keys, and where it lists one no more, that may mean little. So a key that has vanished is asked about.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from rx_runat.model.batch import Claimed, Entry, Leased
from rx_runat.model.snapshot import Keys, Place, Snapshot

LISTED = 400  # keys of each kind that one look lists, and asks about: 0.2 ms of the server's time, and 1 ms at most
SOON_MS = 400.0  # what falls due so soon is about to happen
_PATIENCE_MS = 400.0  # how long a key that has vanished may be on its way through a claim of ours
_MOST = 5_000  # keys that are out, and watched: what comes above is shown as fired at once

Tell: TypeAlias = Callable[[str, float, Mapping[str, float | None]], object]
"""Hears what became of keys: the kind, the moment, and by how many ms each was late. Times are epoch ms."""

Ask: TypeAlias = Callable[[Sequence[str]], Sequence[Place]]
"""Tells where keys are now."""


class Out(NamedTuple):
    """A key that is out under a lease.

    Attributes:
        at: since when, as far as is known here.
        late: ms by which it was late then; None: another process has it, and that is not known here.
        attempt: which one this is, as far as is known here.
    """

    at: float
    late: float | None
    attempt: int = 1


class Fates:
    """What becomes of the keys of a queue. Not for two threads at once.

    Args:
        past: ms after which a moment is out of sight.
        tell: hears of each end.
    """

    def __init__(self, past: float, tell: Tell) -> None:
        self.received = 0
        self.out: dict[str, Out] = {}
        self._past = past
        self._tell = tell
        self._listed: dict[str, float] = {}
        self._missing: dict[str, tuple[float, float]] = {}  # key -> its run_at, and when it was missed
        self._ours: deque[tuple[float, set[str]]] = deque()  # what this process took lately

    @property
    def missing(self) -> Keys:
        """The keys that have vanished, and are not judged yet."""
        return [(key, at) for key, (at, _) in self._missing.items()]

    # What this process claims.

    def delivered(self, claimed: Claimed, left: Iterable[Entry]) -> None:
        """A claim of the plain stream was delivered; what is left of it goes back."""
        returned = {entry.key for entry in left}
        now = claimed.now / 1e3
        keys = dict(zip(claimed.keys, claimed.scores, strict=True))
        lates: dict[str, float | None] = {key: now - float(score) for key, score in keys.items() if key not in returned}
        if lates:
            self._took(now, lates)
            self._tell("fired", now, lates)

    def leased(self, leased: Leased) -> None:
        """Keys were claimed under a lease."""
        now = leased.now / 1e3
        lates: dict[str, float | None] = {}
        outs: dict[str, Out] = {}
        for key, score, attempt in zip(leased.keys, leased.scores, leased.attempts, strict=True):
            lates[key] = now - float(score)
            outs[key] = Out(now, lates[key], attempt)
            before = self.out.get(key)
            if before is not None and (before.late is not None or before.at < now):  # else a look saw this very claim
                self._end(key, before, Place("again" if attempt > 1 else "gone"), now)
        self._took(now, lates)
        if len(self.out) + len(outs) > _MOST:
            self._tell("fired", now, lates)
        else:
            self.out |= outs

    def returned(self, left: Iterable[Entry]) -> None:
        """Nobody received some of them: they wait as they were."""
        for entry in left:
            self.received -= self.out.pop(entry.key, None) is not None

    def _took(self, now: float, lates: Mapping[str, float | None]) -> None:
        self._ours.append((now, set(lates)))
        self.received += len(lates)

    # What looks see.

    def see(self, seen: Snapshot, claiming: bool, ask: Ask) -> None:
        """Take in a look, and judge what has vanished.

        Args:
            seen: the look.
            claiming: does this process claim at all? If not, what it does not know of was taken by others.
            ask: tells where keys are now; what it raises leaves all as it was.
        """
        held = dict(seen.leases)
        listed = dict(seen.due_keys + seen.coming)
        missing = self._still_missing(seen, listed, held)
        patience = _PATIENCE_MS if claiming else 0.0
        lost = [key for key, (_, since) in missing.items() if seen.now - since >= patience]
        doubtful = [*lost[: LISTED // 2], *(key for key in self.out if key not in held)][:LISTED]
        places = dict(zip(doubtful, ask(doubtful) if doubtful else [], strict=True))
        places |= dict.fromkeys(lost[LISTED // 2 :], Place("gone"))  # a flood: one of many is not worth a question
        self._listed, self._missing = listed, missing
        for key in held:
            self.out.setdefault(key, Out(seen.now, None))
        for key, place in places.items():
            self._judge(key, place, seen.now)
        while self._ours and self._ours[0][0] < seen.now - 3 * _PATIENCE_MS:
            self._ours.popleft()

    def _still_missing(
        self, seen: Snapshot, listed: dict[str, float], held: dict[str, float]
    ) -> dict[str, tuple[float, float]]:
        """The keys that are due, and neither listed any more nor known to be elsewhere."""
        missing = dict(self._missing)
        for key, at in self._listed.items():
            if key not in listed and _is_taken(key, at, seen):
                missing.setdefault(key, (at, seen.now))
        return {
            key: since
            for key, since in missing.items()
            if not (key in held or key in listed or key in self.out or any(key in keys for _, keys in self._ours))
        }

    def _judge(self, key: str, place: Place, now: float) -> None:
        out = self.out.pop(key, None)
        if place.kind == "out":
            self.out[key] = out or Out(now, None)  # to the end: others are asked about before
            self._missing.pop(key, None)
        elif out is not None:
            self._end(key, out, place, now)
        else:
            at, since = self._missing.pop(key)
            if place.run_at != at:  # else it waits as it did, beyond what a look lists
                self._end(key, Out(max(at, since - SOON_MS), None), place, now)

    def _end(self, key: str, out: Out, place: Place, now: float) -> None:
        """Tell what became of a key that was out, at the moment at which it went out if that is in sight."""
        in_sight = out.at >= now - self._past
        if place.died is not None and place.died >= int(out.at):  # an older letter says nothing about this time
            self._tell("dead", place.died, {key: None})
        elif place.kind == "again":
            self._tell("back", out.at, {key: None})
        elif out.late is not None and place.run_at is not None and abs(out.at - out.late - place.run_at) < 0.5:
            self.received -= 1  # it was given back: it waits as it was, and this attempt does not count
        else:
            kind = (
                "gone" if out.late is None else "done" if not in_sight else "fired" if out.attempt == 1 else "retried"
            )
            self._tell(kind, out.at if in_sight else now, {key: out.late})


def _is_taken(key: str, at: float, seen: Snapshot) -> bool:
    """Was a key taken that a look does not list any more? Before its time it was cancelled, or moved."""
    if at > seen.now:
        return False
    truncated = len(seen.due_keys) == LISTED
    return not truncated or (at, key) < (seen.due_keys[-1][1], seen.due_keys[-1][0])
