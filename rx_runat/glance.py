"""A queue at a glance: how many keys wait, are due, claimed or dead, the next of them, and where others have gone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from rx_runat.wire import to_key

Keys = list[tuple[str, float]]
"""Keys, each with a moment in epoch milliseconds."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What one look saw. Times are epoch milliseconds, on Redis's clock.

    Attributes:
        now: the moment of the look.
        scheduled: how many keys wait, those that are due among them.
        due: how many of them are due and not taken.
        claimed: how many are out under a lease.
        dead: how many dead letters there are.
        due_keys: the first that are due, with their run_at.
        coming: the next that are not, with their run_at.
        leases: the claimed ones whose leases end first, with that end.
        slices: where a window holds more than was listed: start of a slice of time -> keys in it.
    """

    now: float
    scheduled: int = 0
    due: int = 0
    claimed: int = 0
    dead: int = 0
    due_keys: Keys = field(default_factory=list[tuple[str, float]])
    coming: Keys = field(default_factory=list[tuple[str, float]])
    leases: Keys = field(default_factory=list[tuple[str, float]])
    slices: dict[float, int] = field(default_factory=dict[float, int])


class Place(NamedTuple):
    """Where a key is that is no longer seen where it was.

    Attributes:
        kind: "out" under a lease; "again": it waits for another attempt; "dead": it is a dead letter; "gone": none of
            these, so its work is done, or it was cancelled, or it only waits.
        since: when it became a dead letter, epoch milliseconds; of others 0.
    """

    kind: Literal["out", "again", "dead", "gone"]
    since: float = 0.0


def to_place(word: bytes) -> Place:
    """A place as `whereabouts.lua` spells it.

    >>> to_place(b"1700000000000"), to_place(b"out"), to_place(b"")
    (Place(kind='dead', since=1700000000000.0), Place(kind='out', since=0.0), Place(kind='gone', since=0.0))
    """
    if word == b"out":
        return Place("out")
    if word == b"again":
        return Place("again")
    return Place("dead", float(word)) if word else Place("gone")


def to_keys_with_times(flat: list[bytes]) -> Keys:
    """Members and scores, one after the other, as keys with their moments.

    >>> to_keys_with_times([b"a", b"1", b"b", b"2"])
    [('a', 1.0), ('b', 2.0)]
    """
    return [(to_key(member), float(score)) for member, score in zip(flat[::2], flat[1::2], strict=True)]
