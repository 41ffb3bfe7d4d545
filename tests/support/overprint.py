"""What of an SVG picture stands on something else, or outside of the picture."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple
from xml.etree import ElementTree

from rx_runat.drawing.svg import width_of

_SVG = "{http://www.w3.org/2000/svg}"
_UPRIGHT = re.compile(r"M([\d.-]+) ([\d.-]+)V([\d.-]+)$")
_AT_END = re.compile(r"M([\d.-]+) ([\d.-]+)l(7 4l-7 4|12 12m0 -12l-12 12)$")  # an arrow or a cross


class Box(NamedTuple):
    """A rectangle, and what is in it."""

    what: str
    left: float
    top: float
    right: float
    bottom: float

    def covers(self, other: Box) -> bool:
        return (
            min(self.right, other.right) - max(self.left, other.left) > 0.2  # the picture's numbers are rounded to 0.1
            and min(self.bottom, other.bottom) - max(self.top, other.top) > 0.2
        )


def overprinted(svg: str) -> list[str]:
    """What stands on something else, or leaves the picture: texts, and the ends of lines."""
    root = ElementTree.fromstring(svg)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    texts, marks = list(_texts(root)), list(_marks(root))
    found = [f"{a.what} on {b.what}" for a, b in combinations(texts, 2) if a.covers(b)]
    ends = list(_ends(root))
    found += [f"{text.what} on {mark.what}" for text in texts for mark in [*marks, *ends] if text.covers(mark)]
    found += [f"{end.what} on {mark.what}" for end in ends for mark in marks if end.covers(mark)]
    inside = Box("", 0, 0, width, height)
    return found + [
        f"{each.what} outside"
        for each in [*texts, *marks, *ends]
        if each.left < inside.left - 0.2 or each.right > width + 0.2 or each.top < -0.2 or each.bottom > height + 0.2
    ]


def _texts(root: ElementTree.Element) -> Iterator[Box]:
    for text in root.iter(f"{_SVG}text"):
        if text.get("class") == "on":  # the number of a pill stands on the pill
            continue
        x, y, words = float(text.attrib["x"]), float(text.attrib["y"]), text.text or ""
        long = width_of(words)
        left = x - {"start": 0.0, "middle": long / 2, "end": long}[text.get("text-anchor", "start")]
        yield Box(repr(words), left, y - 9, left + long, y + 2.5)


def _ends(root: ElementTree.Element) -> Iterator[Box]:
    for path in root.iter(f"{_SVG}path"):
        end = _AT_END.match(path.attrib["d"])
        if end:
            x, y, size = float(end[1]), float(end[2]), 7 if end[3].startswith("7") else 12
            yield Box("an arrow" if size == 7 else "a cross", x, y, x + size, y + (8 if size == 7 else 12))


def _marks(root: ElementTree.Element) -> Iterator[Box]:
    for dot in root.iter(f"{_SVG}circle"):
        x, y, r = (float(dot.attrib[name]) for name in ("cx", "cy", "r"))
        yield Box("a dot", x - r, y - r, x + r, y + r)
    for each in list(root.iter(f"{_SVG}rect"))[1:]:  # the first one is the paper
        x, y, width, height = (float(each.attrib[name]) for name in ("x", "y", "width", "height"))
        yield Box("a bar", x, y, x + width, y + height)
    for path in root.iter(f"{_SVG}path"):
        line = _UPRIGHT.match(path.attrib["d"])
        if line and line[2] != "2":  # one that begins at the upper edge is of the grid, which is behind all texts
            x, *ends = map(float, line.groups())
            yield Box("a line", x - 0.5, min(ends), x + 0.5, max(ends))
