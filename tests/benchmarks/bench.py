"""Figures that can be compared: ours and a reference are measured in turn, on one server, in one run."""

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
        ours: one figure for each repeat.
        reference: the reference's figure of the same repeat; empty if there is no reference.
        by: how each pair is compared.
        target: the figure that we wish for on a quiet machine, in words. No test asserts it.
    """

    name: str
    unit: str
    ours: Sequence[float]
    reference: Sequence[float] = ()
    by: Literal["ratio", "difference"] = "ratio"
    target: str = ""

    @property
    def compared(self) -> list[float]:
        """The comparison of each pair.

        Pairs are compared because a disturbance of the machine either spoils one pair only, or changes both figures of
        a pair alike.
        """
        pairs = zip(self.ours, self.reference, strict=bool(self.reference))
        return [ours / other if self.by == "ratio" else ours - other for ours, other in pairs]


@dataclass
class Bench:
    """A server, and how much to measure on it.

    Attributes:
        server: a real server without other clients.
        repeats: how many pairs.
        quick: True for tiny sizes, which only show whether the benchmarks run.
        lateness: the data of the picture: how late keys were in ms, for each way to tick.
    """

    server: Server
    repeats: int = 5
    quick: bool = False
    lateness: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.client: redis.Redis = self.server.client()

    def pick(self, full: T, quick: T) -> T:
        """Returns `full`, or `quick` in a quick run."""
        return quick if self.quick else full

    def pairs(self, ours: Callable[[], T], reference: Callable[[], T], at_most: int = 99) -> Iterator[tuple[T, T]]:
        """Measure both in turn, each on an empty server. `at_most` limits the repeats of a long benchmark."""
        for _ in range(min(self.repeats, at_most)):
            yield self.sample(ours), self.sample(reference)

    def sample(self, measure: Callable[[], T]) -> T:
        """Measure once, on an empty server, after the garbage of former measurements is collected."""
        self.client.flushall()
        gc.collect()
        return measure()


def percentile(values: Sequence[float], percent: float) -> float:
    """Returns the smallest value that is at least as large as so many percent of the values.

    >>> percentile([4, 1, 3, 2], 50), percentile([4, 1, 3, 2], 99)
    (2, 4)
    """
    place = -(-len(values) * percent // 100)
    return sorted(values)[int(place) - 1]


def middle(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)
