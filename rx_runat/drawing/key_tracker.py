"""Finds out what became of each key: from the snapshots of a queue, and from what this process claims.

    waits  --claimed here-->  fired               a source of this process delivered it, and how late
      |'-- vanished ------->  gone                another process took it; how late is unknown
      '-->  out  --vanished-->  fired, gone       its work is done; "retried" if it took another attempt
                          |-->  back              it waits for another attempt
                          '-->  dead              it was given up

A snapshot lists some 400 keys of each kind, so a key that it does not list need not be gone. The tracker therefore
locates a key that has vanished before it judges.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from rx_runat.model.batch import Claimed, Entry, Leased
from rx_runat.model.snapshot import Keys, Place, Snapshot

# The most keys of each kind that one snapshot lists, and the most keys that one poll locates. This costs 0.2 ms of the
# server's time, 1 ms at most.
LISTED = 400
SOON_MS = 400.0  # a key that falls due within this time is about to be claimed
_PATIENCE_MS = 400.0  # how long a vanished key may be on its way through a claim of this process
_MOST = 5_000  # keys that are followed while they are out; further ones are reported as fired at once

Report: TypeAlias = Callable[[str, float, Mapping[str, float | None]], object]
"""Called with what became of keys: the kind, the moment in epoch ms, and by how many ms each key was late."""

Locate: TypeAlias = Callable[[Sequence[str]], Sequence[Place]]
"""Returns where keys are now."""


class Out(NamedTuple):
    """A key that is out under a lease.

    Attributes:
        at: since when, as far as this process knows.
        late: by how many ms it was late then; None if another process claimed it: this process cannot know.
        attempt: the number of its attempt, as far as this process knows.
    """

    at: float
    late: float | None
    attempt: int = 1


class KeyTracker:
    """Follows the keys of a queue. Not thread-safe.

    Args:
        past: ms after which a moment has left the picture.
        report: called with what became of keys.

    Attributes:
        received: how many keys the subscribers of this process have received.
        out: the keys that are out under a lease.
    """

    def __init__(self, past: float, report: Report) -> None:
        self.received = 0
        self.out: dict[str, Out] = {}
        self._past = past
        self._report = report
        self._listed: dict[str, float] = {}
        self._missing: dict[str, tuple[float, float]] = {}  # key -> its run_at, and when it was first missing
        self._ours: deque[tuple[float, set[str]]] = deque()  # what this process claimed lately

    @property
    def missing(self) -> Keys:
        """The keys that have vanished and are not judged yet."""
        return [(key, at) for key, (at, _) in self._missing.items()]

    # What this process claims.

    def delivered(self, claimed: Claimed, left: Iterable[Entry]) -> None:
        """Take in a delivered claim of the plain stream; its keys in `left` go back to the queue."""
        returned = {entry.key for entry in left}
        now = claimed.now / 1e3
        keys = dict(zip(claimed.keys, claimed.scores, strict=True))
        lates: dict[str, float | None] = {key: now - float(score) for key, score in keys.items() if key not in returned}
        if lates:
            self._took(now, lates)
            self._report("fired", now, lates)

    def leased(self, leased: Leased) -> None:
        """Take in a claim under leases."""
        now = leased.now / 1e3
        lates: dict[str, float | None] = {}
        outs: dict[str, Out] = {}
        for key, score, attempt in zip(leased.keys, leased.scores, leased.attempts, strict=True):
            lates[key] = now - float(score)
            outs[key] = Out(now, lates[key], attempt)
            before = self.out.get(key)
            # If neither holds, `before` is this same claim: a snapshot showed it before this report of it came.
            if before is not None and (before.late is not None or before.at < now):
                self._end(key, before, Place("again" if attempt > 1 else "gone"), now)
        self._took(now, lates)
        if len(self.out) + len(outs) > _MOST:
            self._report("fired", now, lates)
        else:
            self.out |= outs

    def returned(self, left: Iterable[Entry]) -> None:
        """Note that these leased keys were handed back unreceived: they wait again as before."""
        for entry in left:
            self.received -= self.out.pop(entry.key, None) is not None

    def _took(self, now: float, lates: Mapping[str, float | None]) -> None:
        self._ours.append((now, set(lates)))
        self.received += len(lates)

    # What snapshots show.

    def see(self, seen: Snapshot, claiming: bool, locate: Locate) -> None:
        """Take in a snapshot, and judge the keys that have vanished.

        Args:
            seen: the snapshot.
            claiming: True if this process claims from the queue. If not, other processes took what has vanished.
            locate: returns where keys are now. If it raises, no key is judged and nothing is forgotten.
        """
        held = dict(seen.leases)
        listed = dict(seen.due_keys + seen.coming)
        missing = self._still_missing(seen, listed, held)
        patience = _PATIENCE_MS if claiming else 0.0
        lost = [key for key, (_, since) in missing.items() if seen.now - since >= patience]
        doubtful = [*lost[: LISTED // 2], *(key for key in self.out if key not in held)][:LISTED]
        places = dict(zip(doubtful, locate(doubtful) if doubtful else [], strict=True))
        # If very many keys vanish at once, those beyond the limit count as gone: locating each would cost too much.
        places |= dict.fromkeys(lost[LISTED // 2 :], Place("gone"))
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
        """The keys whose time has come, which are not listed any more and not known to be elsewhere."""
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
            self.out[key] = out or Out(now, None)  # at the end of the dict, so that the others are located before it
            self._missing.pop(key, None)
        elif out is not None:
            self._end(key, out, place, now)
        else:
            at, since = self._missing.pop(key)
            if place.run_at != at:  # if equal, the key waits as before, beyond the keys that a snapshot lists
                self._end(key, Out(max(at, since - SOON_MS), None), place, now)

    def _end(self, key: str, out: Out, place: Place, now: float) -> None:
        """Report what became of a key that was out, at the moment of its claim if that is still in the picture."""
        in_sight = out.at >= now - self._past
        # A dead letter that is older than this claim was buried before it, and says nothing about this claim.
        if place.died is not None and place.died >= int(out.at):
            self._report("dead", place.died, {key: None})
        elif place.kind == "again":
            self._report("back", out.at, {key: None})
        elif out.late is not None and place.run_at is not None and abs(out.at - out.late - place.run_at) < 0.5:
            self.received -= 1  # it was handed back: it waits with its old run_at, and this attempt does not count
        else:
            kind = (
                "gone" if out.late is None else "done" if not in_sight else "fired" if out.attempt == 1 else "retried"
            )
            self._report(kind, out.at if in_sight else now, {key: out.late})


def _is_taken(key: str, at: float, seen: Snapshot) -> bool:
    """True if a key that a snapshot does not list any more was claimed.

    A key that vanishes before its time was cancelled or moved. A full list says nothing about the keys after its last.
    """
    if at > seen.now:
        return False
    truncated = len(seen.due_keys) == LISTED
    return not truncated or (at, key) < (seen.due_keys[-1][1], seen.due_keys[-1][0])
