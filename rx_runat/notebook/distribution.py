"""Draws how late keys came, as bars on a logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rx_runat.drawing.palette import COLORS
from rx_runat.drawing.svg import CHARACTER, ERROR, FAINT, INK, WIDTH, Svg, width_of
from rx_runat.model.humanize import readable, span

_POWER = -5  # the first bin ends at 10 us; Redis's clock counts microseconds, so finer bins would be noise
FIRST = 10.0**_POWER
FINE = 60  # bins for each power of ten: 10 ** (1 / 60) is 1.04, so percentiles are within 4 %
_COARSE = 12  # bars for each power of ten
_ON_TIME = math.floor(math.log10(0.02 / FIRST) * FINE)  # the last bin up to 20 ms: on time, as in the timeline

_ROW = 15.0  # px of a line of text
_TALL = 110.0  # px of the highest bar
_STRIPE = 4.0  # px from stripe to stripe of a late bar


def bin_of(late: float) -> int:
    """The bin of a lateness, in seconds. Bin n ends at `FIRST * 10 ** (n / FINE)`."""
    return 0 if late <= FIRST else math.ceil(math.log10(late / FIRST) * FINE)


def end_of(place: int) -> float:
    """The seconds at which a bin ends."""
    return FIRST * 10 ** (place / FINE)


def draw(words: str, error: str, bins: Mapping[int, int], percentiles: Mapping[str, float]) -> str:
    """The distribution as SVG.

    Args:
        words: the distribution in words.
        error: what ended the stream; "" if nothing did.
        bins: number of keys by bin.
        percentiles: seconds by the name of a percentile, in ascending order; at most two.
    """
    return str(_Picture(words, error, bins, percentiles).svg)


class _Picture:
    """Draws one distribution, from top to bottom: words, names of percentiles, bars, axis, legend."""

    def __init__(self, words: str, error: str, bins: Mapping[int, int], percentiles: Mapping[str, float]) -> None:
        self._bins = bins
        self._top = 20 + _ROW * (3 if error else 2) + 6
        self._bottom = self._top + _TALL
        self._least = min(math.floor((min(bins, default=FINE) - 1) / FINE), math.floor(max(bins, default=0) / FINE))
        self._least = max(self._least, 0) + _POWER
        self._most = max(math.ceil(max(bins, default=0) / FINE) + _POWER, self._least + 2)
        self._bars = self._count_bars()
        self._highest = f"{max(map(sum, self._bars.values()), default=0):,}"
        self._left = max(width_of(self._highest), width_of("keys")) + 12
        self._right = WIDTH - 12
        self._scale = (self._right - self._left) / (self._most - self._least)
        self.svg = Svg(WIDTH, self._bottom + 2 * _ROW + 14, f"Lateness: {words}{error and '; '}{error}")
        self.svg.text(4, 16, readable(words, int((WIDTH - 8) / CHARACTER)))
        if error:
            self.svg.text(4, 16 + _ROW, readable(error, int((WIDTH - 8) / CHARACTER)), color=ERROR)
        self._draw_bars()
        self._draw_axes()
        self._draw_percentiles(percentiles)
        self._draw_legend()

    def _place(self, seconds: float) -> float:
        return self._left + (math.log10(max(seconds, FIRST)) - self._least) * self._scale

    def _count_bars(self) -> dict[int, tuple[int, int]]:
        """For each bar, how many of its keys came on time, and how many late."""
        bars: dict[int, tuple[int, int]] = {}
        for place, keys in self._bins.items():
            bar = math.ceil(place * _COARSE / FINE)
            on_time, late = bars.get(bar, (0, 0))
            bars[bar] = (on_time + keys, late) if place <= _ON_TIME else (on_time, late + keys)
        return bars

    def _draw_bars(self) -> None:
        highest = max(map(sum, self._bars.values()), default=1)
        width = self._scale / _COARSE - 2
        for bar, (on_time, late) in sorted(self._bars.items()):
            x = self._left + (max(bar - 1, 0) / _COARSE + _POWER - self._least) * self._scale + 1
            hint = f"{on_time + late:,} keys"
            low = max(_TALL * on_time / highest, 1.5) if on_time else 0.0
            if on_time:
                self.svg.box(x, self._bottom - low, width, low, color=COLORS["ontime"], hint=hint)
            if late:
                tall = max(_TALL * late / highest, 1.5)
                self._draw_striped(x, self._bottom - low - tall, width, tall, hint)

    def _draw_striped(self, x: float, y: float, width: float, tall: float, hint: str = "") -> None:
        """A late bar: it differs from one on time by its stripes as well."""
        stripes = "".join(
            f"M{x:.1f} {y + tall - _STRIPE * n:.1f}h{width:.1f}" for n in range(1, math.ceil(tall / _STRIPE))
        )
        outline = f"M{x:.1f} {y:.1f}h{width:.1f}v{tall:.1f}h{-width:.1f}z"
        self.svg.path(outline + stripes, color=COLORS["late"], width=1.2, hint=hint)

    def _draw_axes(self) -> None:
        svg, left, right, bottom = self.svg, self._left, self._right, self._bottom
        svg.line(left, bottom, right, bottom)
        svg.line(left, self._top, left, bottom)
        svg.text(left - 6, self._top + 8, self._highest, anchor="end", color=FAINT)
        svg.text(left - 6, bottom - _TALL / 2 + 4, "keys", anchor="end", color=FAINT)
        svg.text(left - 6, bottom, "0", anchor="end", color=FAINT)
        powers = range(self._least, self._most + 1)
        for power in powers:
            x = left + (power - self._least) * self._scale
            svg.line(x, bottom, x, bottom + 4)
            if power % math.ceil(len(powers) / 10) == 0:
                anchor = "start" if power == self._least else "end" if power == self._most else "middle"
                svg.text(x, bottom + 16, span(10.0**power), anchor=anchor, color=FAINT)
        svg.text(right, bottom + 16 + _ROW, "how late, on a logarithmic scale", anchor="end", color=FAINT)

    def _draw_percentiles(self, percentiles: Mapping[str, float]) -> None:
        """Name the lower one to its left, and the upper one a row higher, so that no name covers a name or a line."""
        for row, (name, seconds) in enumerate(percentiles.items()):
            x, y = self._place(seconds), self._top - 6 - _ROW * row
            self.svg.path(f"M{x:.1f} {y - 9:.1f}V{self._bottom:.1f}", color=INK, width=1.5)
            is_right = row > 0 and x + 4 + width_of(name) < WIDTH - 2
            self.svg.text(x + 4 if is_right else x - 4, y, name, anchor="start" if is_right else "end")

    def _draw_legend(self) -> None:
        y = self._bottom + 16 + _ROW
        self.svg.box(self._left, y - 9, 10, 10, color=COLORS["ontime"])
        self.svg.text(self._left + 16, y, "on time", color=FAINT)
        if any(late for _, late in self._bars.values()):
            x = self._left + 40 + width_of("on time")
            self._draw_striped(x, y - 9, 10, 10)
            self.svg.text(x + 16, y, "over 20 ms late", color=FAINT)
