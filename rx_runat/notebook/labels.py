"""Finds places for labels above a line, so that no label covers another one or the stem of another one.

with room, a label stands in the middle above its mark      tea
                                                             o

in a crowd, labels stand in rows; a stem leads from         |first
a mark to a label that is not in the lowest row             | |second
                                                            | | third
                                                            o o o
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import NamedTuple, TypeAlias

ROWS = 3  # above a line; a label for which no row has room is not written
_GAP = 7.0  # px between two labels of a row
_STEM = 3.0  # px between a stem and a label

Mark: TypeAlias = tuple[float, float]
"""The x of a mark, and the width of its label, in px."""


class Label(NamedTuple):
    """A label that is written.

    Attributes:
        x: of its mark, in px.
        start: where it begins, in px.
        end: where it ends, in px.
        row: counted from the line.
    """

    x: float
    start: float
    end: float
    row: int

    def collides(self, other: Label) -> bool:
        """True if one of the two covers the other one or its stem."""
        if self.row == other.row and self.start < other.end + _GAP and other.start < self.end + _GAP:
            return True
        return self._covers_stem(other) or other._covers_stem(self)

    def _covers_stem(self, other: Label) -> bool:
        return 0 < other.row >= self.row and self.start - _STEM < other.x < self.end + _STEM


def put_labels(marks: Sequence[Mark], left: float, right: float) -> list[Label]:
    """The labels that have room.

    Args:
        marks: by ascending x.
        left: where labels may begin, in px.
        right: where labels must end, in px.
    """
    labels: list[Label] = []
    for crowd in reversed(list(_crowds(marks, left, right))):  # from the right: most labels reach to the right
        if len(crowd) == 1:
            labels += _put(crowd, labels, left, right, (0.5, 0.0, 1.0))
            continue
        # Labels that begin at their marks reach over the marks that follow, in a row above those labels, so the last
        # mark chooses first. Labels that end at their marks reach over the marks before, so the first one chooses
        # first. Near the right edge, more labels have room if they end at their marks.
        begin = _put(reversed(crowd), labels, left, right, (0.0, 1.0))
        end = _put(crowd, labels, left, right, (1.0, 0.0))
        labels += begin if len(begin) >= len(end) else end
    return labels


def _crowds(marks: Sequence[Mark], left: float, right: float) -> Iterator[list[Mark]]:
    """Runs of marks whose labels would cover each other if each stood in the middle above its mark."""
    crowd: list[Mark] = []
    reach = 0.0
    for mark in marks:
        start = _start(mark, left, right, 0.5)
        if crowd and start >= reach + _GAP:
            yield crowd
            crowd = []
        crowd.append(mark)
        reach = max(reach, start + mark[1])
    if crowd:
        yield crowd


def _put(
    marks: Iterable[Mark], labels: Sequence[Label], left: float, right: float, shares: tuple[float, ...]
) -> list[Label]:
    """Give each label the lowest free row, and return those that got one.

    Args:
        marks: the first one has the first choice.
        labels: what has its place already.
        left: where labels may begin.
        right: where labels must end.
        shares: which part of a label may be to the left of its mark; what comes first is tried first.
    """
    done: list[Label] = []
    for mark in marks:
        x, width = mark
        low, high = x - width - _GAP - _STEM, x + width + _GAP + _STEM
        near = [each for each in (*labels, *done) if each.start < high and low < max(each.end, each.x)]
        for share, row in product(shares, range(ROWS)):
            start = _start(mark, left, right, share)
            label = Label(x, start, start + width, row)
            if not any(map(label.collides, near)):
                done.append(label)
                break
    return done


def _start(mark: Mark, left: float, right: float, share: float) -> float:
    x, width = mark
    return max(min(x - width * share + _STEM * (1 - 2 * share), right - width), left)
