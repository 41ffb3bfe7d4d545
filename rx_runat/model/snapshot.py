"""The state of a queue at one moment: counts of its keys, the next of them, and where single keys are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from rx_runat.model.members import to_key

Keys = list[tuple[str, float]]
"""Keys, each with a moment in epoch milliseconds."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a queue at one moment. Times are epoch milliseconds, on Redis's clock.

    Attributes:
        now: that moment.
        scheduled: how many keys wait, due ones included.
        due: how many of them are due.
        claimed: how many keys are under a lease.
        dead: how many dead letters there are.
        due_keys: the first due keys, with their run_at.
        coming: the next keys that are not due yet, with their run_at.
        leases: the claimed keys whose leases end first, with that end.
        slices: the start of a slice of time -> how many keys fall due in it; {} unless `coming` is full, and
            a window and the width of a slice were given.
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
    """Where one key is. Times are epoch milliseconds.

    Attributes:
        kind: "out": under a lease; "again": between two attempts; "gone": neither of the two. A key that is
            gone waits if it has a `run_at`, is a dead letter if it has `died` (both may be), and otherwise is done, was
            cancelled or was never scheduled.
        run_at: when it is due, if it waits.
        died: when it became a dead letter, if it is one.
    """

    kind: Literal["out", "again", "gone"]
    run_at: float | None = None
    died: float | None = None


def to_places(flat: list[bytes]) -> list[Place]:
    """Returns the places in a reply of `locate.lua`, three strings for each.

    >>> to_places([b"out", b"", b"", b"", b"1700000000000", b"1600000000000"])
    [Place(kind='out', run_at=None, died=None), Place(kind='gone', run_at=1700000000000.0, died=1600000000000.0)]
    """
    return [
        Place(
            "out" if place == b"out" else "again" if place == b"again" else "gone",
            float(score) if score else None,
            float(died)
            if 0 < len(died) < 16
            else None,  # 16 digits are no epoch ms: some other client wrote the letter
        )
        for place, score, died in zip(flat[::3], flat[1::3], flat[2::3], strict=True)
    ]


def to_keys_with_times(flat: list[bytes]) -> Keys:
    """Returns members and scores, which alternate, as keys with their moments.

    >>> to_keys_with_times([b"a", b"1", b"b", b"2"])
    [('a', 1.0), ('b', 2.0)]
    """
    return [(to_key(member), float(score)) for member, score in zip(flat[::2], flat[1::2], strict=True)]
