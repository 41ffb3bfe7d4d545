"""A queue at a glance: how many keys wait, are due, claimed or dead, and the next of them."""

from __future__ import annotations

from dataclasses import dataclass, field

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


def to_keys_with_times(flat: list[bytes]) -> Keys:
    """Members and scores, one after the other, as keys with their moments.

    >>> to_keys_with_times([b"a", b"1", b"b", b"2"])
    [('a', 1.0), ('b', 2.0)]
    """
    return [(to_key(member), float(score)) for member, score in zip(flat[::2], flat[1::2], strict=True)]
