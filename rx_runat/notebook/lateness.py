"""`lateness`: how late keys come, as a distribution that grows."""

from __future__ import annotations

import math
from typing import Any

from reactivex import Observable, abc

from rx_runat.drawing.svg import CHARACTER, INK, RED, Svg
from rx_runat.model.humanize import readable, span
from rx_runat.model.job import Due
from rx_runat.notebook.recording import Recording
from rx_runat.stream.ticks import Seconds

_WIDTH, _HEIGHT = 760.0, 190.0
_FIRST = 1e-5  # seconds: the first bin; Redis's clock counts microseconds, so finer bins would be noise
_FINE = 60  # bins for each power of ten: 10 ** (1 / 60) is 1.04, so percentiles are within 4 %
_COARSE = 12  # bars of the picture for each power of ten


class Lateness(Recording):
    """How late the keys of a stream came. Made by `lateness`."""

    def __init__(self, seconds: Seconds, jobs: Observable[Due], scheduler: abc.SchedulerBase | None) -> None:
        self.keys = 0
        self.worst = 0.0
        self._bins: dict[int, int] = {}
        self._error: str | None = None
        super().__init__(seconds, {"jobs": jobs}, scheduler)

    def add(self, name: str, after: float, value: Any) -> None:  # noqa: ARG002
        """Count a key."""
        late = max(float(value.lateness), 0.0)
        place = 0 if late <= _FIRST else math.ceil(math.log10(late / _FIRST) * _FINE)
        self._bins[place] = self._bins.get(place, 0) + 1
        self.keys += 1
        self.worst = max(self.worst, late)

    def end(self, name: str, after: float, error: Exception | None) -> None:  # noqa: ARG002
        """Note the error that ended the stream, if one did."""
        self._error = None if error is None else readable(f"{type(error).__name__}: {error}", 80)

    def percentile(self, percent: float) -> float:
        """The lateness in seconds that `percent` % of the keys did not exceed, within 4 %. NaN before the first key."""
        wanted, seen = self.keys * percent / 100, 0
        for place in sorted(self._bins):
            seen += self._bins[place]
            if seen >= wanted:
                return min(_FIRST * 10 ** (place / _FINE), self.worst)
        return math.nan

    def text(self) -> str:
        """The distribution in words."""
        if not self.keys:
            words = "no key has come"
        elif self.keys == 1:
            words = f"1 key, {span(self.worst)} late"
        else:
            half, most, worst = span(self.percentile(50)), span(self.percentile(99)), span(self.worst)
            words = f"{self.keys:,} keys: half within {half}, 99 of 100 within {most}, the latest {worst}"
        return words + (f"; {self._error}" if self._error else "")

    def svg(self) -> str:
        """The distribution as SVG, on a logarithmic scale."""
        svg = Svg(_WIDTH, _HEIGHT, f"Lateness: {self.text()}")
        svg.text(4, 15, self.text(), color=RED if self._error else "")
        least = math.floor(math.log10(max(min(self._lates(), default=1e-4), _FIRST)) + 1e-9)
        most = max(math.ceil(math.log10(max(self.worst, _FIRST))), least + 2)
        left, right, bottom = 12.0, _WIDTH - 12, _HEIGHT - 26
        scale = (right - left) / (most - least)
        bars: dict[int, int] = {}
        for place, keys in self._bins.items():
            bar = min(math.ceil(place * _COARSE / _FINE), (most + 5) * _COARSE)
            bars[bar] = bars.get(bar, 0) + keys
        highest = max(bars.values(), default=1)
        for bar, keys in sorted(bars.items()):
            x = left + (max(bar - 1, 0) / _COARSE - 5 - least) * scale
            tall = max((bottom - 48) * keys / highest, 1.5)
            svg.box(x + 1, bottom - tall, scale / _COARSE - 2, tall, color="#3b82c4", hint=f"{keys:,} keys")
        svg.line(left, bottom, right, bottom)
        for power in range(least, most + 1):
            x = left + (power - least) * scale
            svg.line(x, bottom, x, bottom + 4)
            anchor = "start" if power == least else "end" if power == most else "middle"
            svg.text(x, bottom + 17, span(10.0**power), anchor=anchor)
        if self.keys > 1:
            for percent, name in ((50, "half"), (99, "99 of 100")):
                x = left + (math.log10(max(self.percentile(percent), _FIRST)) - least) * scale
                svg.path(f"M{x:.1f} 36V{bottom:.1f}", color=RED if percent == 99 else INK, width=1.5)
                fits = x + len(name) * CHARACTER + 5 < _WIDTH
                svg.text(x + 4 if fits else x - 4, 34, name, anchor="start" if fits else "end")
        return str(svg)

    def _lates(self) -> list[float]:
        return [_FIRST * 10 ** ((place - 1) / _FINE) for place in self._bins]


def lateness(jobs: Observable[Due], seconds: Seconds, *, scheduler: abc.SchedulerBase | None = None) -> Lateness:
    """How late the keys of the next seconds come, as a distribution that grows.

        jobs   --a----b---c-->
        words  3 keys: half within 0.4 ms, 99 of 100 within 1.2 ms, the latest 1.2 ms

    A recording subscribes at once, so it takes the keys of a queue that it records. In a notebook, `lateness(...)` as
    the last line of a cell shows a picture that grows, and `await lateness(...)` shows it when it is complete. In a
    script, use `print(lateness(...).run())`. Percentiles are within 4 %, whatever the number of keys; memory is
    bounded.

    Temperature: hot: the recording has begun when this returns.
    Delivery:    the recording is a subscriber of the stream.
    Order:       not recorded.
    Clock:       lateness is measured on Redis's clock, when a key is claimed; `seconds` on this process's, or in
                 virtual time.
    Scheduler:   none of its own: the stream is recorded on the thread that emits it.
    Errors:      the text shows an error that ends the stream. None is raised.
    Disposal:    unsubscribes and keeps what was recorded. A recording ends by itself after `seconds`.

    Args:
        jobs: `queue.jobs`, or a stream made from it; any stream whose values have a `lateness`.
        seconds: how long to record, as a number or a timedelta.
        scheduler: a virtual-time scheduler; then all of the time passes before this returns. None: record live.

    Raises:
        InvalidSetting: an argument cannot be used; the message says what came and what would be right.

    Example:
        >>> from rx_runat import Job
        >>> from rx_runat.testing import virtual_queue
        >>> queue, scheduler = virtual_queue()
        >>> queue.on_next([Job(f"k{i}", i / 100) for i in range(100)])
        >>> scheduler.advance_by(1)
        >>> lateness(queue.jobs, 5, scheduler=scheduler)
        100 keys: half within 501 ms, 99 of 100 within 1 s, the latest 1 s
    """
    return Lateness(seconds, jobs, scheduler)
