"""Draws marble diagrams as SVG: lines of values on one time axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import merge
from operator import itemgetter

from rx_runat.drawing.palette import PAPER, RULE, Hue
from rx_runat.drawing.svg import CHARACTER, ERROR, FAINT, WIDTH, Svg, hue, hues, ticks, width_of
from rx_runat.model.humanize import readable
from rx_runat.notebook.labels import put_labels

NAME = 24  # columns of a stream's name; a longer one is cut in the middle
LABEL = 24  # columns of the label beside a marble; its hint has more of it

_R = 6.0  # px of a marble
_APART = 11.0  # px: marbles that are closer would cover each other; they become one, with their number
_ROW = 14.0  # px of a row of labels
_END = 18.0  # px at the right edge that the end of a line needs: an arrow, a bar or a cross
_FOOT = 40.0  # px of the axis: its labels, and its title

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
    left = max((width_of(readable(track.name, NAME)) for track in tracks), default=0.0) + 12
    scale = (WIDTH - 22 - left - 2 * _R) / seconds

    def place(after: float) -> float:
        return left + _R + 4 + after * scale

    now = WIDTH - 8 if elapsed >= seconds else place(elapsed) + 14
    every = merge(*(track.marbles for track in tracks), key=itemgetter(0))
    colors = hues(label for _, label in every)  # equal labels have one colour in all streams; the first ones differ
    lines = [_Line(track, place, left, now) for track in tracks]
    height = sum(line.height for line in lines) + _FOOT
    svg = Svg(WIDTH, height, f"Marble diagram of {', '.join(track.name for track in tracks)}")
    for moment, label in ticks(seconds):
        svg.path(f"M{place(moment):.1f} 2V{height - _FOOT + 7:.1f}", color=RULE)
        half = width_of(label) / 2
        x = min(place(moment), WIDTH - 2 - half)
        svg.text(x, height - _FOOT + 20, label, anchor="middle", color=FAINT)
    svg.text(WIDTH - 8, height - 6, "time since the recording began", anchor="end", color=FAINT)
    top = 0.0
    for line in lines:
        line.draw(svg, top, colors)
        top += line.height
    return str(svg)


class _Group:
    """One marble, or several that would cover each other and are drawn as one with their number."""

    def __init__(self, x: float, label: str) -> None:
        self.first = self.last = x
        self.labels = [label]

    def take(self, later: _Group) -> None:
        """Become one with a later group."""
        self.last = later.last
        self.labels += later.labels

    @property
    def half(self) -> float:
        """Half of its width in px."""
        if len(self.labels) == 1:
            return _R
        return max((self.last - self.first) / 2 + _R, width_of(f"{len(self.labels):,}") / 2 + 5, _R + 2)

    def middle(self, left: float) -> float:
        """Its x. A wide one at an edge moves to the inside; `left` is the left edge."""
        return min(max((self.first + self.last) / 2, left + self.half), WIDTH - _END - self.half)


def _groups(marbles: Sequence[tuple[float, str]], place: _Place, left: float) -> list[_Group]:
    close: list[_Group] = []
    for after, label in marbles:
        x = place(after)
        if close and x < close[-1].last + _APART:
            close[-1].last = x
            close[-1].labels.append(label)
        else:
            close.append(_Group(x, label))
    groups: list[_Group] = []
    for group in close:  # a number may be wider than its marbles, and cover what is beside them
        groups.append(group)
        while len(groups) > 1:
            one, two = groups[-2:]
            if two.middle(left) - two.half >= one.middle(left) + one.half:
                break
            one.take(groups.pop())
    return groups


class _Line:
    """A track, its groups, their labels, and its end; `now` is the x of the end if the stream has not ended."""

    def __init__(self, track: Track, place: _Place, left: float, now: float) -> None:
        self._track = track
        self._left = left
        self._groups = _groups(track.marbles, place, left)
        singles = [(each.first, width_of(_short(each.labels[0]))) for each in self._groups if len(each.labels) == 1]
        self._labels = {label.x: label for label in put_labels(singles, left, WIDTH - 2)}
        rows = max((label.row + 1 for label in self._labels.values()), default=0)
        self._above = rows * _ROW + 16
        self._end = now if track.ended_after is None else place(track.ended_after)
        if self._groups:  # what is drawn at the end stands to the right of the last marble, which would cover it
            last = self._groups[-1]
            self._end = max(self._end, last.middle(left) + last.half + 9)
        self._error = track.error or ""
        self._is_error_below = self._end + 11 + width_of(self._error) > WIDTH - 2
        self.height = self._above + (30 if self._error and self._is_error_below else 14)

    def draw(self, svg: Svg, top: float, colors: Mapping[str, Hue]) -> None:
        """Draw the line, with its upper end at `top`; `colors` of labels, where they are not their `hue`."""
        track, end, y = self._track, self._end, top + self._above
        svg.text(4, y + 4, readable(track.name, NAME))
        svg.line(self._left, y, end, y, width=1.5)
        for group in self._groups:
            self._draw_group(svg, group, y, colors)
        if track.ended_after is None:
            svg.path(f"M{end - 6:.1f} {y - 4:.1f}l7 4l-7 4", width=1.5)
        elif track.error is None:
            svg.line(end, y - 8, end, y + 8, width=2)
        else:
            svg.path(f"M{end - 6:.1f} {y - 6:.1f}l12 12m0 -12l-12 12", color=ERROR, width=2)
            self._write_error(svg, y)

    def _write_error(self, svg: Svg, y: float) -> None:
        if not self._is_error_below:
            svg.text(self._end + 11, y + 4, self._error, color=ERROR)
            return
        text = readable(self._error, int((WIDTH - 2 - self._left) / CHARACTER))
        svg.text(min(self._end - 6, WIDTH - 2 - width_of(text)), y + 20, text, color=ERROR)

    def _draw_group(self, svg: Svg, group: _Group, y: float, colors: Mapping[str, Hue]) -> None:
        if len(group.labels) > 1:
            hint = ", ".join(group.labels[:20]) + (", …" if len(group.labels) > 20 else "")
            x = group.middle(self._left)
            svg.pill(x, y, group.half, _R + 2, color=FAINT, hint=hint)
            svg.text(x, y + 4, f"{len(group.labels):,}", anchor="middle", color=PAPER, on_mark=True)
            return
        x, words = group.first, group.labels[0]
        label = self._labels.get(x)
        if label is not None:
            base = y - _R - 5 - label.row * _ROW
            if label.row:
                is_below = label.start < x < label.end
                svg.path(f"M{x:.1f} {y - _R - 2:.1f}V{base + 4 if is_below else base - 8:.1f}", color=RULE)
            svg.text(label.start, base, _short(words))
        color = colors.get(words) or hue(words)
        svg.dot(x, y, _R, color=color, fill=color, hint=words)


def _short(label: str) -> str:
    return readable(label, LABEL)
