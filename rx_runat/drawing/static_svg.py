"""The timeline as a static SVG: the picture that `timeline.js` draws, for pages where no script runs."""

from __future__ import annotations

import math
from typing import Any

from rx_runat.drawing.frame import Frame
from rx_runat.drawing.palette import COLORS, RULE, Hue
from rx_runat.drawing.svg import CHARACTER, ERROR, FAINT, INK, WIDTH, Svg, ticks

# The same sets, sizes and limits as in timeline.js; change both. The colours differ: the script takes those of the
# page's theme, a static picture must be readable on white and on black.
_HEAD, _FOOT = 26.0, 44.0
_R, _R_MANY = 5.5, 4.2  # px: half the width of a dot; bars are narrower, since they may stand only a bin apart
_EDGE = 8.0  # px from the left edge: a claim that is older than the picture stays there
_STAY = ("waiting", "due", "lease")  # kinds that stay at now once their time has come
_UNWRITTEN = ("lease", "back")  # kinds without a label: their key is written at its claim, or where it waits
_FILLED = ("fired", "retried", "done")
_ASIDE = ("back", "dead")  # kinds that are drawn below the line of a crowded lane
# Rare kinds are drawn last, so that nothing covers them. A crowded lane has no room for their labels.
_ON_TOP = {"claimed": 1, "retried": 2, "back": 3, "dead": 4}
_FEW = 4  # marks of several keys; a lane with more of them is crowded
_ON_TIME, _LATE_COLOR, _CLAIMED = COLORS["ontime"], COLORS["late"], COLORS["claimed"]
_LATE = ((20.0, _ON_TIME), (math.inf, _LATE_COLOR))  # ms, and the colour up to there
LEGEND = (  # the first two entries are always shown; each of the rest only if the picture has such a mark
    ("waiting", None, "waiting"),
    ("fired", 0.0, "on time"),
    ("fired", 100.0, "over 20 ms late"),
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


def height(keys: int) -> float:
    """The height of a mark in px: a dot for one key; every factor of ten in the number of keys adds 8 px."""
    return 2 * _R if keys == 1 else 2 * _R + 1 + 8 * math.log10(keys)


class _Picture:
    """Draws one frame."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._lanes = frame["lanes"] or [""]
        self._tall = 84.0 if len(self._lanes) == 1 else 58.0 if len(self._lanes) < 4 else 46.0
        self._left = 8 + max(map(len, self._lanes)) * CHARACTER
        self._bottom = _HEAD + self._tall * len(self._lanes)
        self._scale = (WIDTH - 12 - self._left) / (frame["window"] + frame["past"])
        self._now = self._left + frame["past"] * self._scale
        self._svg = Svg(WIDTH, self._bottom + _FOOT, f"Timeline of {frame['title']}: {counts(frame)}")

    def draw(self) -> str:
        frame, svg = self._frame, self._svg
        svg.text(4, 15, frame["title"])
        svg.text(WIDTH - 4, 15, frame["note"] or counts(frame), anchor="end", color=ERROR if frame["note"] else INK)
        self._draw_axis()
        for place, lane in enumerate(self._lanes):
            y = _HEAD + self._tall * (place + 0.62)
            marks = [mark for mark in frame["marks"] if mark[1] == place]
            self._draw_lane(lane, marks, y)
            self._draw_marks(lane, marks, y)
        self._draw_legend(self._bottom + 36)
        return str(svg)

    def _place(self, at: float) -> float:
        return self._now + (at - self._frame["now"]) * self._scale

    def _draw_axis(self) -> None:
        svg, now, bottom = self._svg, self._now, self._bottom
        for seconds, label in ticks(self._frame["window"] / 1e3, 6):
            width = seconds * 1e3 * self._scale
            for x, text in ((now + width, f"+{label}"), (now - width, f"-{label}")):
                if seconds and self._left <= x <= WIDTH - 8:
                    svg.path(f"M{x:.1f} {_HEAD:.0f}V{bottom:.1f}", color=RULE)
                    if self._left + 12 < x < WIDTH - 30:
                        svg.text(x, bottom + 14, text, anchor="middle")
        svg.path(f"M{now:.1f} {_HEAD - 4:.0f}V{bottom + 2:.1f}", color=INK, width=1.5)
        svg.text(now, bottom + 14, "now", anchor="middle")

    def _draw_lane(self, name: str, marks: list[list[Any]], y: float) -> None:
        svg, left = self._svg, self._left
        svg.text(4, y + 4, name)
        svg.path(f"M{left:.1f} {y:.1f}H{WIDTH - 4:.0f}", color=RULE)
        out = [self._place(at) for kind, _, at, *_ in marks if kind in ("claimed", "lease")]
        if out:  # a line from the first claim to the end of the last lease
            start, end = max(min(self._now, *out) + 7, left), min(max(self._now, *out), WIDTH - 4)
            svg.line(start, y, end, y, color=_CLAIMED, width=2.5)

    def _draw_marks(self, name: str, marks: list[list[Any]], y: float) -> None:
        left = self._left
        crowded = sum(keys > 1 and kind not in _ASIDE for kind, _, _, keys, *_ in marks) > _FEW
        written: list[tuple[float, float, str, int, bool]] = []
        for kind, _, at, keys, label, late in sorted(marks, key=lambda mark: (_ON_TOP.get(mark[0], 0), mark[2])):
            x = max(self._place(at), self._now) if kind in _STAY else self._place(at)
            stays = kind == "claimed" and x < left + _EDGE
            x = left + _EDGE if stays else x
            if not left + _R <= x <= WIDTH:
                continue
            line = kind == "fired" or (kind == "retried" and not crowded)
            if line and late is not None and late * self._scale > _R:
                self._svg.line(max(x - late * self._scale, left), y, x, y, color=_color(kind, late), width=2)
            top = self._draw_mark(kind, x, y + 14 if crowded and kind in _ASIDE else y, keys, late)
            if kind not in _UNWRITTEN and not (crowded and kind in _ON_TOP) and (keys > 1 or label != name):
                written.append((x, top, label, keys, stays))
        ends = [0.0, 0.0]  # where the last label of each of the two rows ends
        for x, top, label, keys, stays in sorted(written):
            rows, apart = (1 if crowded else 2, 4.0) if label else (1, 14.0)
            self._write(label or f"{keys:,}", x, top, ends, rows, apart, stays)

    def _write(self, text: str, x: float, top: float, ends: list[float], rows: int, apart: float, shifts: bool) -> None:
        """Write a label above a mark, in the lowest row that is free there; no label if none is free."""
        half = len(text) * CHARACTER / 2
        x = max(x, self._left + half) if shifts else x
        row = next((row for row in range(rows) if ends[row] <= x - half), None)
        if row is not None and x - half > self._left - 4:
            self._svg.text(x, top - 4 - row * 12, text, anchor="middle")
            ends[row] = x + half + apart

    def _draw_mark(self, kind: str, x: float, y: float, keys: int, late: float | None) -> float:
        """Draw a mark and return the y of its top."""
        svg, color = self._svg, _color(kind, late)
        if kind in ("claimed", "back"):
            svg.path(f"M{x:.1f} {y - 7:.1f}l7 7l-7 7l-7 -7z", color=color, width=1.5)
            return y - 7
        if kind == "lease":
            svg.path(f"M{x - 3:.1f} {y - 7:.1f}q6 7 0 14", color=color, width=2)
            return y - 7
        if kind == "dead":
            svg.path(f"M{x - 5:.1f} {y - 5:.1f}l10 10m0 -10l-10 10", color=color, width=2)
            return y - 6
        fill = color if kind in _FILLED else None
        half = height(keys) / 2
        svg.bar(x, y, _R if keys == 1 else _R_MANY, half, color=color, fill=fill, dashed=kind == "gone")
        return y - half

    def _draw_legend(self, y: float) -> None:
        marks = self._frame["marks"]
        shows = {("fired" if kind in _FILLED else kind, _color(kind, late)) for kind, _, _, _, _, late in marks}
        x = 10.0
        for kind, late, text in LEGEND:
            fits = x + 11 + len(text) * CHARACTER < WIDTH
            if fits and (kind == "waiting" or late == 0 or (kind, _color(kind, late)) in shows):
                self._draw_mark(kind, x, y - 4, 1, late)
                self._svg.text(x + 11, y, text)
                x += len(text) * CHARACTER + 32


def _color(kind: str, late: Any) -> Hue:
    if kind in _FILLED and late is not None:
        return next(color for limit, color in _LATE if late <= limit)
    return {"claimed": _CLAIMED, "lease": _CLAIMED, "dead": ERROR}.get(kind, FAINT)
