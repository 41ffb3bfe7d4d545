"""Draws marble diagrams: lines of values on one time axis, as SVG and as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rx_runat.drawing.svg import CHARACTER, INK, PAPER, RED, Svg, hue, ticks
from rx_runat.model.humanize import readable

WIDTH = 760  # px: fits into a notebook's output and a README
COLUMNS = 72  # characters of a line; with a short name it fits into a terminal of 80

_R = 6.0  # px of a marble
_APART = 11.0  # px: marbles that are closer would cover each other; they become one, with their number
_ROW = 13.0  # px of a row of labels
_ROWS = 3  # rows of labels above a line; the pointer shows a label for which no row has room

_Place = Callable[[float], float]


@dataclass
class Track:
    """One stream: its marbles, and its end if it has ended.

    Attributes:
        name: the name of the stream.
        marbles: for each value, the seconds since the beginning, and its label.
        ended_after: the seconds until its end; None if it has not ended.
        error: the text of the error that ended it; None if none did.
    """

    name: str
    marbles: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    ended_after: float | None = None
    error: str | None = None


def draw(tracks: Sequence[Track], seconds: float, elapsed: float) -> str:
    """The diagram as SVG.

    Args:
        tracks: the streams, from top to bottom.
        seconds: the length of the axis.
        elapsed: where the line of a stream that has not ended stops.
    """
    left = min(max((len(track.name) for track in tracks), default=0), 24) * CHARACTER + 12
    scale = (WIDTH - 22 - left - 2 * _R) / seconds

    def place(after: float) -> float:
        return left + _R + 4 + after * scale

    lines = [_Line(track, place, left) for track in tracks]
    height = sum(line.height for line in lines) + 26
    svg = Svg(WIDTH, height, f"Marble diagram of {', '.join(track.name for track in tracks)}")
    for moment, label in ticks(seconds):
        svg.path(f"M{place(moment):.1f} 2V{height - 19:.1f}", color=f"{INK}40")
        svg.text(place(moment), height - 6, label, anchor="middle")
    top = 0.0
    for line in lines:
        top += line.height
        line.draw(svg, top - 14, WIDTH - 8 if elapsed >= seconds else place(elapsed) + 14)
    return str(svg)


class _Group:
    """One marble, or several that would cover each other and are drawn as one with their number."""

    def __init__(self, x: float, label: str) -> None:
        self.first = self.last = x
        self.labels = [label]

    @property
    def x(self) -> float:
        return (self.first + self.last) / 2

    @property
    def half(self) -> float:
        """Half of its width in px."""
        if len(self.labels) == 1:
            return _R
        return max((self.last - self.first) / 2 + _R, len(f"{len(self.labels):,}") * CHARACTER / 2 + 5, _R + 2)


class _Line:
    """A track, its groups, and the rows of their labels."""

    def __init__(self, track: Track, place: _Place, left: float) -> None:
        self._track = track
        self._place = place
        self._left = left
        self._groups: list[_Group] = []
        for after, label in track.marbles:
            x = place(after)
            last = self._groups[-1] if self._groups else None
            if last is not None and x - _R < max(last.x + last.half, last.last + _APART - _R):
                last.last = x
                last.labels.append(label)
            else:
                self._groups.append(_Group(x, label))
        self._rows = self._label_rows()
        self.height = (max(self._rows.values(), default=-1) + 1) * _ROW + 30

    def _label_rows(self) -> dict[int, int]:
        """For each single marble whose label has room: the lowest row that is free there."""
        rows: dict[int, int] = {}
        ends = [0.0] * _ROWS
        for number, group in enumerate(self._groups):
            if len(group.labels) > 1:
                continue
            half = len(group.labels[0]) * CHARACTER / 2
            start = min(max(group.x - half, self._left), WIDTH - 2 * half - 2)
            free = next((row for row in range(_ROWS) if ends[row] <= start), None)
            if free is not None:
                rows[number] = free
                ends[free] = start + 2 * half + CHARACTER
        return rows

    def draw(self, svg: Svg, y: float, now: float) -> None:
        """Draw the line at y; `now` is the x of its end if the stream has not ended."""
        track = self._track
        svg.text(4, y + 4, readable(track.name, 24))
        end = now if track.ended_after is None else self._place(track.ended_after)
        svg.line(self._left, y, end, y, width=1.5)
        for number, group in enumerate(self._groups):
            self._draw_group(svg, group, self._rows.get(number), y)
        if track.ended_after is None:
            svg.path(f"M{end - 6:.1f} {y - 4:.1f}l7 4l-7 4", width=1.5)
        elif track.error is None:
            if self._groups:  # to the right of the last marble, which would cover it
                end = max(end, self._groups[-1].x + self._groups[-1].half + 3)
            svg.line(end, y - 9, end, y + 9, width=2)
        else:
            svg.path(f"M{end - 6:.1f} {y - 6:.1f}l12 12m0 -12l-12 12", color=RED, width=2)
            room = int((WIDTH - end - 14) / CHARACTER)
            if room >= min(len(track.error), 12):
                svg.text(end + 11, y + 4, readable(track.error, room), color=RED)
            else:
                svg.text(end - 11, y + 4, readable(track.error), anchor="end", color=RED)

    def _draw_group(self, svg: Svg, group: _Group, row: int | None, y: float) -> None:
        if len(group.labels) > 1:
            hint = ", ".join(group.labels[:20]) + (", …" if len(group.labels) > 20 else "")
            svg.pill(group.x, y, group.half, _R + 2, color=INK, hint=hint)
            svg.text(group.x, y + 4, f"{len(group.labels):,}", anchor="middle", color=PAPER)
            return
        label = group.labels[0]
        if row is not None:
            half = len(label) * CHARACTER / 2
            x = min(max(group.x, self._left + half), WIDTH - half - 2)
            if row:
                svg.path(f"M{group.x:.1f} {y - _R - 2:.1f}v{-row * _ROW:.1f}", color=f"{INK}66")
            svg.text(x, y - _R - 5 - row * _ROW, label, anchor="middle")
        svg.dot(group.x, y, _R, color=hue(label), fill=hue(label), hint=label)


def spell_out(tracks: Sequence[Track], seconds: float, elapsed: float) -> str:
    """The diagram as text: labels at their moments, `(3)` for three at once, `+2` for two that a label covers."""
    width = max((len(track.name) for track in tracks), default=0)
    lines = [f"{track.name:<{width}}  {_spell_track(track, seconds, elapsed)}".rstrip() for track in tracks]
    axis = ""
    for moment, label in ticks(seconds, 6):
        column = int(moment / seconds * COLUMNS)
        if column >= len(axis):
            axis = axis.ljust(column) + label + " "
    return "\n".join([*lines, " " * (width + 2) + axis.rstrip()])


def _spell_track(track: Track, seconds: float, elapsed: float) -> str:
    def column(after: float) -> int:
        return int(after / seconds * COLUMNS)

    cells: list[tuple[int, list[str], int]] = []  # column of a group, its labels, and how many marbles these cover
    for after, label in track.marbles:
        at = column(after)
        if cells and at == cells[-1][0]:
            cells[-1][1].append(label)
        elif cells and at < cells[-1][0] + len(_spell_cell(*cells[-1][1:])) + 1:
            cells[-1] = (*cells[-1][:2], cells[-1][2] + 1)
        else:
            cells.append((at, [label], 0))
    line = ""
    for at, labels, more in cells:
        line = line.ljust(at, "-") + _spell_cell(labels, more)
    if track.ended_after is None:
        return line.ljust(column(elapsed), "-") + "->"
    line = line.ljust(column(track.ended_after), "-")
    return line + ("|" if track.error is None else f"X {track.error}")


def _spell_cell(labels: list[str], more: int) -> str:
    if len(labels) == 1:
        return labels[0] + (f"+{more}" if more else "")
    return f"({len(labels) + more:,})"
