"""Figures that can be compared: ours and a reference in turn, on the same server, in the same run."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import redis

from tests.support.servers import Server

T = TypeVar("T")

Q = "RunAt~default"


@dataclass(frozen=True)
class Row:
    """One figure, measured several times.

    Attributes:
        name: what was measured.
        unit: of `ours` and `reference`.
        ours: a figure for each repeat.
        reference: its partner in the same repeat; empty where there is nothing to compare with.
        by: how the two are compared, pair by pair.
        target: what we want of it, in words; a hope for a quiet machine, never a threshold of a test.
    """

    name: str
    unit: str
    ours: Sequence[float]
    reference: Sequence[float] = ()
    by: Literal["ratio", "difference"] = "ratio"
    target: str = ""

    @property
    def compared(self) -> list[float]:
        """Ours against the reference, one figure for each pair: a disturbance hits both halves of it, or one pair."""
        pairs = zip(self.ours, self.reference, strict=bool(self.reference))
        return [ours / other if self.by == "ratio" else ours - other for ours, other in pairs]


@dataclass
class Bench:
    """What a benchmark needs: a server, and how much to measure.

    Attributes:
        server: real, empty, and nobody else's.
        repeats: how many pairs.
        quick: measure next to nothing: does it run at all?
        lateness: what the picture shows: each way to tick, and how late its keys were, in ms.
    """

    server: Server
    repeats: int = 5
    quick: bool = False
    lateness: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.client: redis.Redis = self.server.client()

    def pick(self, full: T, quick: T) -> T:
        """The size of a whole run, or that of a quick one."""
        return quick if self.quick else full

    def pairs(self, ours: Callable[[], T], reference: Callable[[], T], at_most: int = 99) -> Iterator[tuple[T, T]]:
        """Measure both in turn, each on an empty server; `at_most` bounds the repeats of what takes long."""
        for _ in range(min(self.repeats, at_most)):
            yield self.sample(ours), self.sample(reference)

    def sample(self, measure: Callable[[], T]) -> T:
        """Measure once, on an empty server, with no garbage of former measurements to collect."""
        self.client.flushall()
        gc.collect()
        return measure()


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of the values that so many percent do not exceed.

    >>> percentile([4, 1, 3, 2], 50), percentile([4, 1, 3, 2], 99)
    (2, 4)
    """
    place = -(-len(values) * percent // 100)
    return sorted(values)[int(place) - 1]


def middle(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)
