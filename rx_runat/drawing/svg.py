"""SVG pictures, drawn piece by piece, on a paper of their own that is light or dark as the page is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from zlib import crc32

from rx_runat.drawing.palette import COLORS, KEYS, PAPER, Hue
from rx_runat.model.humanize import columns

INK, FAINT, ERROR = COLORS["ink"], COLORS["faint"], COLORS["error"]
WIDTH = 760.0  # px that a picture is drawn for. It takes the width of its page, and all of it gets smaller or larger
FONT = 12  # px; in a page of 640 px it is 10, in a page of 1,000 px 16
_WIDEST = 1000  # px: larger letters are no easier to read. An `<img>` ignores it
CHARACTER = 7.3  # px: the width of a column in a monospaced font of 12 px; a little more than the usual 0.6 em

_STEPS = (
    *(base * 10**power for power in range(-4, 1) for base in (1, 2, 5)),
    *(10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 21_600, 43_200),
    *(86_400 * each for each in (1, 2, 5, 7, 14, 28, 91, 182, 365)),
)
_UNITS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"))

# The class keeps the style away from the rest of a page that the picture is a part of. Such a picture takes the
# `color-scheme` of its page; VS Code and JupyterLab say in their own ways that they are dark. In an `<img>`, a picture
# is a document of its own, with a `:root`. It takes the `color-scheme` of the page or, if the page names none (as
# JupyterLab), that of the system; it cannot know more. Because it has its own paper, it can be read on any page.
_CLASS = "rx-runat-svg"
_SCHEMES = (
    f".{_CLASS}:root{{color-scheme:light dark}}"
    f':is(.vscode-dark,[data-jp-theme-light="false"]) .{_CLASS}{{color-scheme:dark}}'
)
# A rim of paper around each letter keeps it readable on lines.
_RIM = (
    f".{_CLASS} text:not(.on){{paint-order:stroke;stroke-width:3px;stroke-linejoin:round;"
    f"stroke:{PAPER.light};stroke:light-dark({PAPER.light},{PAPER.dark})}}"
)


class Svg:
    """A picture. Colours are those of light paper; a style changes them where the page is dark.

    It takes all of the width that its page gives it; as a part of a page, up to 1,000 px. It names no width of its own,
    because JupyterLab shows it in an `<img>` without a style, which would not shrink it. The pointer shows a mark's
    `hint` where the picture is a part of its page; an `<img>` has no hints.

    Args:
        width: px that it is drawn for.
        height: px, if it is as wide as it is drawn for.
        title: says what the picture shows; screen readers read it out.
    """

    def __init__(self, width: float, height: float, title: str) -> None:
        self._hues: dict[str, Hue] = {}
        self._head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(width)} {_n(height)}" width="100%" '
            f'style="max-width:{_WIDEST}px;height:auto" class="{_CLASS}" role="img" '
            f'font-family="ui-monospace,Menlo,Consolas,monospace" font-size="{FONT}" fill="{self._use(INK)}">'
            f"<title>{escape(title)}</title>"
        )
        self._pieces = [
            f'<rect width="{_n(width)}" height="{_n(height)}" rx="4" fill="{self._use(PAPER)}"/>',
        ]

    def line(self, x1: float, y1: float, x2: float, y2: float, *, color: Hue = FAINT, width: float = 1.0) -> None:
        """Draw a straight line."""
        self.path(f"M{_n(x1)} {_n(y1)}L{_n(x2)} {_n(y2)}", color=color, width=width)

    def path(self, d: str, *, color: Hue = FAINT, width: float = 1.0, fill: Hue | None = None, hint: str = "") -> None:
        """Draw a path."""
        self._pieces.append(
            f'<path d="{d}" stroke="{self._use(color)}" stroke-width="{_n(width)}" fill="{self._fill(fill)}"'
            + _end("path", hint)
        )

    def dot(self, x: float, y: float, r: float, *, color: Hue, fill: Hue | None = None, hint: str = "") -> None:
        """Draw a circle."""
        self._pieces.append(
            f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(r)}" stroke="{self._use(color)}" stroke-width="1.5" '
            f'fill="{self._fill(fill)}"' + _end("circle", hint)
        )

    def pill(self, x: float, y: float, half: float, r: float, *, color: Hue, hint: str = "") -> None:
        """Draw a horizontal filled bar with round ends; `half` is half of its width."""
        self._pieces.append(
            f'<rect x="{_n(x - half)}" y="{_n(y - r)}" width="{_n(2 * half)}" height="{_n(2 * r)}" rx="{_n(r)}" '
            f'fill="{self._use(color)}"' + _end("rect", hint)
        )

    def box(self, x: float, y: float, width: float, height: float, *, color: Hue, hint: str = "") -> None:
        """Draw a filled rectangle."""
        self._pieces.append(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" fill="{self._use(color)}"'
            + _end("rect", hint)
        )

    def bar(
        self, x: float, y: float, r: float, half: float, *, color: Hue, fill: Hue | None = None, dashed: bool = False
    ) -> None:
        """Draw a vertical bar with round ends; `half` is half of its height."""
        dashes = ' stroke-dasharray="2.5 2.5"' if dashed else ""
        self._pieces.append(
            f'<rect x="{_n(x - r)}" y="{_n(y - half)}" width="{_n(2 * r)}" height="{_n(2 * half)}" rx="{_n(r)}" '
            f'stroke="{self._use(color)}" stroke-width="1.5" fill="{self._fill(fill)}"{dashes}/>'
        )

    def text(
        self, x: float, y: float, text: str, *, anchor: str = "start", color: Hue = INK, on_mark: bool = False
    ) -> None:
        """Write one line; `y` is its baseline. `on_mark`: it stands on a filled mark, and gets no rim of paper."""
        more = ' class="on"' if on_mark else ""
        more += f' fill="{self._use(color)}"' if color != INK else ""
        more += f' text-anchor="{anchor}"' if anchor != "start" else ""
        self._pieces.append(f'<text x="{_n(x)}" y="{_n(y)}"{more} xml:space="preserve">{escape(text)}</text>')

    def __str__(self) -> str:
        return "".join([self._head, self._style(), *self._pieces, "</svg>"])

    def _use(self, color: Hue) -> str:
        """The colour on light paper, for an attribute; the style names the colour on dark paper."""
        self._hues[color.light] = color
        return color.light

    def _fill(self, color: Hue | None) -> str:
        return "none" if color is None else self._use(color)

    def _style(self) -> str:
        every = f":is(.{_CLASS},.{_CLASS} *)"
        rules = (
            f'{every}[{what}="{light}"]{{{what}:light-dark({light},{hue.dark})}}'
            for light, hue in self._hues.items()
            for what in ("fill", "stroke")
        )
        return f"<style>{_SCHEMES}{_RIM}{''.join(rules)}</style>"


def width_of(text: str) -> float:
    """The px that a text takes."""
    return columns(text) * CHARACTER


def hue(text: str) -> Hue:
    """The colour of a value: the same wherever its text is the same. Red is none of them: it is for errors alone.

    >>> hue("a") == hue("a")
    True
    """
    return KEYS[crc32(text.encode(errors="replace")) % len(KEYS)]


def hues(texts: Iterable[str]) -> dict[str, Hue]:
    """Colours that differ, for as many of the first texts as there are colours; each has its `hue` if that is free.

    >>> len(set(hues("abcabc").values()))
    3
    """
    chosen: dict[str, Hue] = {}
    free = list(KEYS)
    for text in texts:
        if text not in chosen:
            if not free:
                break
            own = hue(text)
            chosen[text] = free.pop(free.index(own) if own in free else 0)
    return chosen


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


def _end(tag: str, hint: str) -> str:
    return f"><title>{escape(hint)}</title></{tag}>" if hint else "/>"


def _n(number: float) -> str:
    """A number of px with at most one decimal."""
    return f"{number:.1f}".removesuffix(".0")
