"""The timeline as a static SVG: the picture that `timeline.js` draws, for pages where no script runs."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from rx_runat.drawing.frame import Frame
from rx_runat.drawing.palette import COLORS, PAPER, RULE, Hue
from rx_runat.drawing.svg import CHARACTER, ERROR, FAINT, INK, WIDTH, Svg, ticks, width_of
from rx_runat.model.humanize import readable

# The same sets, sizes and limits as in timeline.js; change both.
_ROW = 15.0  # px of a line of text
_R, _R_MANY = 5.5, 4.0  # px: half the width of a dot; bars are narrower, since they may stand only a bin apart
_EDGE = 8.0  # px from the left edge: a claim that is older than the picture stays there
_TALL = ((1, 96.0, 54.0), (3, 62.0, 30.0), (math.inf, 46.0, 20.0))  # lanes; the height of each; of its tallest bar
_STAY = ("waiting", "due", "lease")  # kinds that stay at now once their time has come
_UNWRITTEN = ("lease", "back")  # kinds without a label: their key is written at its claim, or where it waits
_FILLED = ("fired", "retried", "done")
_ASIDE = ("back", "dead")  # kinds that are drawn below the line of a crowded lane
# Rare kinds are drawn last, so that nothing covers them. A crowded lane has no room for their labels.
_ON_TOP = {"claimed": 1, "retried": 2, "back": 3, "dead": 4}
_FEW = 4  # marks of several keys; a lane with more of them is crowded
_LATE = ((20.0, "on time"), (200.0, "over 20 ms late"), (math.inf, "over 0.2 s late"))  # ms
_PATHS = {
    "claimed": "l7 7l-7 7l-7 -7z",
    "back": "l6 6l-6 6l-6 -6z",
    "lease": "q6 7 0 14",
    "dead": "l10 10m0 -10l-10 10",
}
_STARTS = {"claimed": (0, 7), "back": (0, 6), "lease": (3, 7), "dead": (5, 5)}  # px left of the mark, and above it
_COLORS = {"claimed": COLORS["claimed"], "lease": COLORS["claimed"], "dead": ERROR, "due": INK}
LEGEND = (  # the first two entries are always shown; each of the rest only if the picture has such a mark
    ("waiting", None, "waiting"),
    ("fired", 0.0, "on time"),
    ("fired", 100.0, "over 20 ms late"),
    ("fired", 1000.0, "over 0.2 s late"),
    ("due", None, "due, not taken"),
    ("gone", None, "taken elsewhere"),
    ("claimed", None, "claimed"),
    ("lease", None, "lease ends"),
    ("back", None, "came back"),
    ("dead", None, "dead"),
)


def draw(frame: Frame) -> str:
    """The picture of a frame, as SVG."""
    return _Picture(frame).draw()


def counts(frame: Frame) -> str:
    """The counts of a frame in words."""
    number = frame["counts"]
    words = [f"{number['scheduled']:,} scheduled", f"{number['due']:,} due"]
    words += [f"{number[name]:,} {name}" for name in ("claimed", "dead") if number[name]]
    return " · ".join([*words, f"{number['received']:,} received"])


class _Label(NamedTuple):
    x: float
    is_past: bool
    text: str
    rows: int
    stays: bool


class _Picture:
    """Draws one frame."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._lanes = [readable(name, 20) for name in frame["lanes"] or [""]]
        _, self._tall, self._room = next(each for each in _TALL if len(self._lanes) <= each[0])
        note, number = frame["note"], counts(frame)
        self._words = note if frame["state"] == "away" else f"{note} · {number}" if note else number
        self._is_narrow = width_of(frame["title"]) + width_of(self._words) + 24 > WIDTH
        self._head = 12 + _ROW * (1 + self._is_narrow)
        self._left = 8 + max(map(width_of, self._lanes))
        self._bottom = self._head + self._tall * len(self._lanes)
        self._scale = (WIDTH - 12 - self._left) / (frame["window"] + frame["past"])
        self._now = self._left + frame["past"] * self._scale
        height = self._bottom + 2 * _ROW + 8 + 18 * len(self._legend())
        self._svg = Svg(WIDTH, height, f"Timeline of {frame['title']}: {self._words}")

    def draw(self) -> str:
        frame, svg = self._frame, self._svg
        most = int((WIDTH - 8) / CHARACTER)
        color = ERROR if frame["state"] == "away" else FAINT if frame["note"] else INK
        svg.text(4, 14, readable(frame["title"], most))
        if self._is_narrow:
            svg.text(4, 14 + _ROW, readable(self._words, most), color=color)
        else:
            svg.text(WIDTH - 4, 14, self._words, anchor="end", color=color)
        self._draw_axis()
        for place, lane in enumerate(self._lanes):
            y = self._head + self._tall * (place + 1) - self._room / 2 - 4
            marks = [mark for mark in frame["marks"] if mark[1] == place]
            self._draw_lane(lane, marks, y)
            self._draw_marks(lane, marks, y)
        self._draw_legend()
        return str(svg)

    def _place(self, at: float) -> float:
        return self._now + (at - self._frame["now"]) * self._scale

    def _draw_axis(self) -> None:
        svg, now, bottom = self._svg, self._now, self._bottom
        for seconds, label in ticks(self._frame["window"] / 1e3, 6):
            width, half = seconds * 1e3 * self._scale, width_of(label) / 2 + CHARACTER / 2
            for x, text in ((now + width, f"+{label}"), (now - width, f"-{label}")):
                if seconds and self._left <= x <= WIDTH - 8:
                    svg.path(f"M{x:.1f} {self._head:.0f}V{bottom:.1f}", color=RULE)
                    if self._left < x - half and x + half < WIDTH:
                        svg.text(x, bottom + 14, text, anchor="middle", color=FAINT)
        is_past = self._frame["state"] in ("away", "stopped")
        svg.path(f"M{now:.1f} {self._head - 4:.0f}V{bottom + 2:.1f}", color=FAINT if is_past else INK, width=1.5)
        svg.text(now, bottom + 14, "now", anchor="middle", color=FAINT if is_past else INK)
        svg.text((self._left + WIDTH) / 2, bottom + 14 + _ROW, "time from now", anchor="middle", color=FAINT)

    def _draw_lane(self, name: str, marks: list[list[Any]], y: float) -> None:
        svg, left = self._svg, self._left
        svg.text(4, y + 4, name)
        svg.path(f"M{left:.1f} {y:.1f}H{WIDTH - 4:.0f}", color=RULE)
        out = [self._place(at) for kind, _, at, *_ in marks if kind in ("claimed", "lease")]
        if out:  # a line from the first claim to the end of the last lease
            start, end = max(min(self._now, *out) + 7, left), min(max(self._now, *out), WIDTH - 4)
            svg.line(start, y, end, y, color=_COLORS["claimed"], width=2.5)

    def _draw_marks(self, name: str, marks: list[list[Any]], y: float) -> None:
        left = self._left
        crowded = sum(keys > 1 and kind not in _ASIDE for kind, _, _, keys, *_ in marks) > _FEW
        for kind, _, at, _, _, late in marks:  # a line from its run_at, below all marks
            x, is_told = self._place(at), kind == "fired" or (kind == "retried" and not crowded)
            if is_told and late is not None and late * self._scale > _R and left + _R <= x <= WIDTH:
                start = max(x - late * self._scale, left)
                self._svg.line(start, y, x, y, color=_color(kind, late), width=2)
        labels: list[_Label] = []
        tallest = 0.0
        for kind, _, at, keys, label, late in sorted(marks, key=lambda mark: (_ON_TOP.get(mark[0], 0), mark[2])):
            x = max(self._place(at), self._now) if kind in _STAY else self._place(at)
            stays = kind == "claimed" and x < left + _EDGE
            x = left + _EDGE if stays else x
            if not left + _R <= x <= WIDTH:
                continue
            aside = min(14.0, self._room / 2 - 3) if crowded and kind in _ASIDE else 0.0
            half = self._draw_mark(kind, x, y + aside, keys, late)
            if kind not in _UNWRITTEN and not (crowded and kind in _ON_TOP) and (keys > 1 or label != name):
                rows = 2 if label and not crowded else 1
                labels.append(_Label(x, kind not in _STAY, label or f"{keys:,}", rows, stays))
            tallest = max(tallest, half - aside)
        self._write(sorted(labels), y - tallest - 4)

    def _write(self, labels: list[_Label], y: float) -> None:
        """Write labels above the marks of a lane, each on its side of the line of now.

        A label goes to the lowest row where it covers no other. If there is no such row, it is left out.
        """
        ends = {True: [self._left - 4] * 2, False: [self._now] * 2}
        for x, is_past, text, rows, stays in labels:
            wide = width_of(text)
            start = max(x - wide / 2, self._left) if stays else x - wide / 2
            start = min(start, (self._now if is_past else WIDTH) - 4 - wide)
            start = start if is_past else max(start, self._now + 4)
            row = next((row for row in range(rows) if ends[is_past][row] <= start), None)
            if row is not None and start + wide < WIDTH:
                self._svg.text(start, y - row * 12, text)
                ends[is_past][row] = start + wide + (4 if rows == 2 else CHARACTER)

    def _draw_mark(self, kind: str, x: float, y: float, keys: int, late: float | None, r: float = _R) -> float:
        """Draw a mark and return half of its height."""
        svg, color, fill = self._svg, _color(kind, late), _fill(kind, late)
        if kind in _PATHS:
            left, above = _STARTS[kind]
            width = 2 if kind in ("lease", "dead") else 1.5
            svg.path(f"M{x - left:.1f} {y - above:.1f}{_PATHS[kind]}", color=color, width=width, fill=fill)
            return 7
        half = self._half(keys, r)
        shape, r = _lateness(late) if kind in _FILLED else "on time", r if keys == 1 else _R_MANY
        if shape == "on time":
            svg.bar(x, y, r, half, color=color, fill=fill, dashed=kind == "gone")
        elif shape == "over 0.2 s late":
            svg.path(
                f"M{x - r + 0.5:.1f} {y - half + 0.5:.1f}h{2 * r - 1:.1f}v{2 * half - 1:.1f}h{1 - 2 * r:.1f}z",
                color=color,
                width=1.5,
                fill=fill,
            )
        else:
            tip, w = (2 * r, r + 1) if keys == 1 else (1.8 * r, r)
            d = f"M{x:.1f} {y - half - 1:.1f}l{w:.1f} {tip:.1f}V{y + half:.1f}h{-2 * w:.1f}V{y - half - 1 + tip:.1f}z"
            svg.path(d, color=color, width=1.5, fill=fill)
        return half

    def _half(self, keys: int, r: float) -> float:
        """Half the height of a mark. Each factor of ten takes a quarter of the room, as far as there is room."""
        return r if keys == 1 else r + (self._room / 2 - r) * min(1.0, math.log10(keys) / 4)

    def _legend(self) -> list[list[tuple[float, str, float | None, str]]]:
        """The rows of the legend: of each entry its x, kind, lateness and words."""
        shows = {_words(kind, late) for kind, _, _, _, _, late in self._frame["marks"]}
        rows: list[list[tuple[float, str, float | None, str]]] = [[]]
        x = 10.0
        for kind, late, text in LEGEND:
            if kind != "waiting" and late != 0 and text not in shows:
                continue
            if rows[-1] and x + 11 + width_of(text) > WIDTH:
                rows.append([])
                x = 10.0
            rows[-1].append((x, kind, late, text))
            x += width_of(text) + 32
        return rows

    def _draw_legend(self) -> None:
        for number, row in enumerate(self._legend()):
            y = self._bottom + 2 * _ROW + 12 + 18 * number
            for x, kind, late, text in row:
                self._draw_mark(kind, x, y, 1, late, 5)
                self._svg.text(x + 11, y + 4, text, color=FAINT)


def _lateness(late: float | None) -> str:
    """How late a key is, in the words of the legend."""
    return "on time" if late is None else next(words for limit, words in _LATE if late <= limit)


def _words(kind: str, late: float | None) -> str:
    return _lateness(late) if kind in _FILLED else next(words for each, _, words in LEGEND if each == kind)


def _color(kind: str, late: float | None) -> Hue:
    if kind in _FILLED:
        return COLORS["ontime" if _lateness(late) == "on time" else "late"]
    return _COLORS.get(kind, FAINT)


def _fill(kind: str, late: float | None) -> Hue | None:
    if kind in _FILLED or kind == "back":
        return _color(kind, late)
    return None if kind in ("lease", "dead") else PAPER
