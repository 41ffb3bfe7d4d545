"""A timeline that stands still: the same picture as `timeline.js` draws, for pages where nothing moves."""

from __future__ import annotations

import math
from typing import Any

from rx_runat.notebook.frame import Frame
from rx_runat.notebook.svg import CHARACTER, INK, RED, Svg, ticks

WIDTH = 760.0

# Shared with timeline.js: what differs is that a page has themes, and a still must do on white and on black.
_HEAD, _FOOT = 26.0, 44.0
_R, _R_MANY = 5.5, 4.2  # px: bars of counted keys may stand side by side, a bin apart
_GREEN, _AMBER, _VIOLET = "#3f9a6b", "#c07f1a", "#8a63c9"
_LATE = ((20.0, _GREEN), (200.0, _AMBER), (math.inf, RED))
LEGEND = (
    ("waiting", None, "waiting"),
    ("fired", 0.0, "on time"),
    ("fired", 100.0, "over 20 ms late"),
    ("fired", 1000.0, "over 0.2 s late"),
    ("gone", None, "taken elsewhere"),
    ("claimed", None, "claimed"),
    ("dead", None, "dead"),
)


def draw(frame: Frame) -> str:
    """The picture of a frame, as SVG."""
    lanes = frame["lanes"] or [""]
    tall = 84.0 if len(lanes) == 1 else 58.0 if len(lanes) < 4 else 46.0
    left = 8 + max(map(len, lanes)) * CHARACTER
    bottom = _HEAD + tall * len(lanes)
    scale = (WIDTH - 12 - left) / (frame["window"] + frame["past"])
    now = left + frame["past"] * scale
    svg = Svg(WIDTH, bottom + _FOOT, f"Timeline of {frame['title']}: {counts(frame)}")
    svg.text(4, 15, frame["title"])
    svg.text(WIDTH - 4, 15, frame["note"] or counts(frame), anchor="end", color=RED if frame["note"] else "")
    _draw_axis(svg, frame, now, scale, left, bottom)
    for place, lane in enumerate(lanes):
        y = _HEAD + tall * (place + 0.62)
        svg.text(4, y + 4, lane)
        svg.path(f"M{left:.1f} {y:.1f}H{WIDTH - 4:.0f}", color=f"{INK}66")
        marks = sorted((mark for mark in frame["marks"] if mark[1] == place), key=lambda mark: mark[2])
        ends = [0.0, 0.0]
        for kind, _, at, keys, label, late in marks:
            x = now + (at - frame["now"]) * scale
            x = max(x, now) if kind in ("waiting", "due") else x
            if left + _R <= x <= WIDTH:
                top = _draw_mark(svg, kind, x, y, keys, late, scale, left)
                text = label or f"{keys:,}"
                fits = x - len(text) * CHARACTER / 2 > left - 4
                row = _draw_label(svg, x, top, text, ends if label else ends[:1]) if fits else None
                if row is not None:
                    ends[row] = x + len(text) * CHARACTER / 2 + (4 if label else 14)
    _draw_legend(svg, frame, bottom + 36)
    return str(svg)


def counts(frame: Frame) -> str:
    """The state of a queue in words."""
    number = frame["counts"]
    words = [f"{number['scheduled']:,} scheduled", f"{number['due']:,} due"]
    words += [f"{number[name]:,} {name}" for name in ("claimed", "dead") if number[name]]
    return " · ".join([*words, f"{number['received']:,} received"])


def _draw_axis(svg: Svg, frame: Frame, now: float, scale: float, left: float, bottom: float) -> None:
    for seconds, label in ticks(frame["window"] / 1e3, 6):
        for x, text in ((now + seconds * 1e3 * scale, f"+{label}"), (now - seconds * 1e3 * scale, f"-{label}")):
            if seconds and left <= x <= WIDTH - 8:
                svg.path(f"M{x:.1f} {_HEAD:.0f}V{bottom:.1f}", color=f"{INK}2e")
                if left + 12 < x < WIDTH - 30:
                    svg.text(x, bottom + 14, text, anchor="middle")
    svg.path(f"M{now:.1f} {_HEAD - 4:.0f}V{bottom + 2:.1f}", color=RED, width=1.5)
    svg.text(now, bottom + 14, "now", anchor="middle", color=RED)


def _draw_mark(
    svg: Svg, kind: str, x: float, y: float, keys: int, late: float | None, scale: float, left: float
) -> float:
    """Draw a mark; answers its top."""
    color = _color(kind, late)
    if kind == "fired" and late is not None and late * scale > _R:
        svg.line(max(x - late * scale, left), y, x, y, color=color, width=2)
    if kind == "claimed":
        svg.path(f"M{x:.1f} {y - 7:.1f}l7 7l-7 7l-7 -7z", color=color, width=1.5)
        return y - 7
    if kind == "dead":
        svg.path(f"M{x - 5:.1f} {y - 5:.1f}l10 10m0 -10l-10 10", color=color, width=2)
        return y - 6
    fill = color if kind == "fired" else "none"
    half = height(keys) / 2
    svg.bar(x, y, _R if keys == 1 else _R_MANY, half, color=color, fill=fill, dashed=kind == "gone")
    return y - half


def _draw_label(svg: Svg, x: float, top: float, text: str, ends: list[float]) -> int | None:
    """Write over a mark, in the lowest row that is free there; answers the row, if there is one."""
    half = len(text) * CHARACTER / 2
    for row, end in enumerate(ends):
        if end <= x - half:
            svg.text(x, top - 4 - row * 12, text, anchor="middle")
            return row
    return None


def _draw_legend(svg: Svg, frame: Frame, y: float) -> None:
    kinds = {mark[0] for mark in frame["marks"]}
    x = 10.0
    for kind, late, text in LEGEND:
        if kind in kinds or kind in ("waiting", "fired"):
            _draw_mark(svg, kind, x, y - 4, 1, late, 0, 0)
            svg.text(x + 11, y, text)
            x += len(text) * CHARACTER + 32


def height(keys: int) -> float:
    """How tall a mark is: a dot for one key, and 8 px more for each ten times as many."""
    return 2 * _R if keys == 1 else 2 * _R + 1 + 8 * math.log10(keys)


def _color(kind: str, late: Any) -> str:
    if kind == "fired" and late is not None:
        return next(color for limit, color in _LATE if late <= limit)
    return {"claimed": _VIOLET, "dead": RED}.get(kind, INK)
