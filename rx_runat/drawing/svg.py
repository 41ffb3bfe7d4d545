"""SVG pictures, drawn piece by piece, in colours that can be read on white and on black."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from zlib import crc32

INK = "#757b84"  # a contrast of 4 against white, and against the dark themes of JupyterLab and GitHub
PAPER = "#ffffff"  # for text on INK or on one of HUES
HUES = ("#3b82c4", "#c2703d", "#3f9a6b", "#b0569b", "#8a7a2f", "#6a6fd0", "#c0504d", "#2f97a3")  # as dark as INK
RED = "#c93c37"
FONT = 11  # px
CHARACTER = 6.7  # px: the width of a character in a monospaced font of 11 px; a little more than the usual 0.6 em

_STEPS = (
    *(base * 10**power for power in range(-4, 1) for base in (1, 2, 5)),
    *(10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 21_600, 43_200),
    *(86_400 * each for each in (1, 2, 5, 7, 14, 28, 91, 182, 365)),
)
_UNITS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"))


class Svg:
    """A picture.

    Args:
        width: px.
        height: px.
        title: says what the picture shows; screen readers read it out.
    """

    def __init__(self, width: float, height: float, title: str) -> None:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(width)} {_n(height)}" width="{_n(width)}" '
            f'height="{_n(height)}" role="img" font-family="ui-monospace,Menlo,Consolas,monospace" '
            f'font-size="{FONT}" fill="{INK}"><title>{escape(title)}</title>'
        )
        self._pieces = [head]

    def line(self, x1: float, y1: float, x2: float, y2: float, *, color: str = INK, width: float = 1.0) -> None:
        """Draw a straight line."""
        self.path(f"M{_n(x1)} {_n(y1)}L{_n(x2)} {_n(y2)}", color=color, width=width)

    def path(self, d: str, *, color: str = INK, width: float = 1.0, fill: str = "none") -> None:
        """Draw a path."""
        self._pieces.append(f'<path d="{d}" stroke="{color}" stroke-width="{_n(width)}" fill="{fill}"/>')

    def dot(self, x: float, y: float, r: float, *, color: str, fill: str = "none", hint: str = "") -> None:
        """Draw a circle. The pointer shows `hint`."""
        tail = f"><title>{escape(hint)}</title></circle>" if hint else "/>"
        self._pieces.append(
            f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(r)}" stroke="{color}" stroke-width="1.5" fill="{fill}"{tail}'
        )

    def pill(self, x: float, y: float, half: float, r: float, *, color: str, hint: str = "") -> None:
        """Draw a horizontal filled bar with round ends; `half` is half of its width. The pointer shows `hint`."""
        tail = f"><title>{escape(hint)}</title></rect>" if hint else "/>"
        self._pieces.append(
            f'<rect x="{_n(x - half)}" y="{_n(y - r)}" width="{_n(2 * half)}" height="{_n(2 * r)}" rx="{_n(r)}" '
            f'fill="{color}"{tail}'
        )

    def box(self, x: float, y: float, width: float, height: float, *, color: str, hint: str = "") -> None:
        """Draw a filled rectangle. The pointer shows `hint`."""
        tail = f"><title>{escape(hint)}</title></rect>" if hint else "/>"
        self._pieces.append(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" fill="{color}"{tail}'
        )

    def bar(self, x: float, y: float, r: float, half: float, *, color: str, fill: str, dashed: bool = False) -> None:
        """Draw a vertical bar with round ends; `half` is half of its height."""
        dashes = ' stroke-dasharray="2.5 2.5"' if dashed else ""
        self._pieces.append(
            f'<rect x="{_n(x - r)}" y="{_n(y - half)}" width="{_n(2 * r)}" height="{_n(2 * half)}" rx="{_n(r)}" '
            f'stroke="{color}" stroke-width="1.5" fill="{fill}"{dashes}/>'
        )

    def text(
        self, x: float, y: float, text: str, *, anchor: str = "start", color: str = "", size: float = FONT
    ) -> None:
        """Write one line; `y` is its baseline."""
        more = f' fill="{color}"' if color else ""
        more += f' font-size="{_n(size)}"' if size != FONT else ""
        more += f' text-anchor="{anchor}"' if anchor != "start" else ""
        self._pieces.append(f'<text x="{_n(x)}" y="{_n(y)}"{more} xml:space="preserve">{escape(text)}</text>')

    def __str__(self) -> str:
        return "".join(self._pieces) + "</svg>"


def hue(text: str) -> str:
    """The colour of a key, the same in every picture.

    >>> hue("a") == hue("a")
    True
    """
    return HUES[crc32(text.encode(errors="replace")) % len(HUES)]


def ticks(seconds: float, most: int = 8) -> Iterator[tuple[float, str]]:
    """Marks for an axis from 0 to `seconds`, at most `most` of them, in round steps such as 1, 2, 5 or 60.

    >>> list(ticks(3600, 4))
    [(0, '0'), (1200, '20 min'), (2400, '40 min'), (3600, '60 min')]
    >>> [label for _, label in ticks(0.5, 6)]
    ['0', '0.1 s', '0.2 s', '0.3 s', '0.4 s', '0.5 s']
    """
    step = next((each for each in _STEPS if seconds / each <= most), seconds / most)
    unit, name = next((each for each in _UNITS if step >= each[0] * (0.1 if each[1] == "s" else 1)), _UNITS[-1])
    for number in range(int(seconds / step + 1e-6) + 1):
        moment = number * step
        yield moment, f"{round(moment / unit, 6):g} {name}" if number else "0"


def _n(number: float) -> str:
    """A number of px with at most one decimal."""
    return f"{number:.1f}".removesuffix(".0")
