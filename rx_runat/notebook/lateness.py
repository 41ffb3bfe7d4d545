"""`lateness`: how late keys come, as a distribution that grows."""

from __future__ import annotations

import math
from typing import Any

from reactivex import Observable, abc

from rx_runat.model.humanize import readable, span
from rx_runat.model.job import Due
from rx_runat.notebook.distribution import bin_of, draw, end_of
from rx_runat.notebook.recording import Recording
from rx_runat.stream.ticks import Seconds


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
        place = bin_of(late)
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
                return min(end_of(place), self.worst)
        return math.nan

    def text(self) -> str:
        """The distribution in words."""
        return self._words() + (f"; {self._error}" if self._error else "")

    def svg(self) -> str:
        """The distribution as SVG, on a logarithmic scale."""
        percentiles = {"half": self.percentile(50), "99 of 100": self.percentile(99)} if self.keys > 1 else {}
        return draw(self._words(), self._error or "", self._bins, percentiles)

    def _words(self) -> str:
        if not self.keys:
            return "no key has come"
        if self.keys == 1:
            return f"1 key, {span(self.worst)} late"
        half, most, worst = span(self.percentile(50)), span(self.percentile(99)), span(self.worst)
        return f"{self.keys:,} keys: half within {half}, 99 of 100 within {most}, the latest {worst}"


def lateness(jobs: Observable[Due], seconds: Seconds, *, scheduler: abc.SchedulerBase | None = None) -> Lateness:
    """How late the keys of the next seconds come, as a distribution that grows.

        jobs   --a----b---c-->
        words  3 keys: half within 0.4 ms, 99 of 100 within 1.2 ms, the latest 1.2 ms

    A recording subscribes at once, so it takes the keys of a queue that it records. In a notebook, `lateness(...)` as
    the last line of a cell shows a picture that grows, and `await lateness(...)` shows it when it is complete. In a
    script, use `print(lateness(...).run())`. The bars of keys that are over 20 ms late are striped. Percentiles are
    within 4 %, whatever the number of keys; memory is bounded.

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
