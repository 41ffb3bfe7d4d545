"""Marble diagrams of real streams."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from reactivex import Observable, abc

from rx_runat.model.humanize import readable
from rx_runat.model.job import Job
from rx_runat.notebook.diagram import Track, draw, spell_out
from rx_runat.notebook.recording import Recording
from rx_runat.stream.ticks import Seconds


class Marbles(Recording):
    """What some streams did, side by side: `marbles` makes one."""

    def __init__(
        self,
        seconds: Seconds,
        streams: Mapping[str, Observable[Any]],
        scheduler: abc.SchedulerBase | None,
        label: Callable[[Any], object] | None,
    ) -> None:
        self._label = label or _label
        self.tracks = {name: Track(name) for name in streams}
        super().__init__(seconds, streams, scheduler)

    def add(self, name: str, after: float, value: Any) -> None:
        """Put a marble on a line."""
        try:
            label = readable(str(self._label(value)), 24)
        except Exception:  # anybody's code; the value came all the same
            label = "?"
        self.tracks[name].marbles.append((after, label))

    def end(self, name: str, after: float, error: Exception | None) -> None:
        """End a line."""
        self.tracks[name].ended_after = after
        self.tracks[name].error = None if error is None else readable(f"{type(error).__name__}: {error}", 80)

    def svg(self) -> str:
        """The diagram as SVG."""
        return draw(list(self.tracks.values()), self.seconds, self.elapsed)

    def text(self) -> str:
        """The diagram in characters."""
        return spell_out(list(self.tracks.values()), self.seconds, self.elapsed)


def marbles(
    seconds: Seconds,
    streams: Mapping[str, Observable[Any]] | None = None,
    /,
    *,
    scheduler: abc.SchedulerBase | None = None,
    label: Callable[[Any], object] | None = None,
    **more: Observable[Any],
) -> Marbles:
    """A marble diagram of what streams do in the next seconds, side by side on one clock.

        due     --a-----b--(3)--c------>     values, and a burst as a count
        mails   --------b-------X            an error
        sums    -----------7----|            completion

    Recording is subscribing: it begins at once, and a queue that is recorded is consumed. In a notebook, `marbles(...)`
    as the last line of a cell grows while it is watched, and `await marbles(...)` is shown when it is complete; in a
    script, `print(marbles(...).run())`.

    Temperature: hot: it has begun when you have it.
    Delivery:    each stream as its own subscriber gets it; a bug in `label` shows as "?".
    Order:       as it came; streams that come on threads of their own are ordered by one monotonic clock.
    Clock:       monotonic time of this process, or the scheduler's virtual time, counted from the beginning.
    Scheduler:   none of its own: each stream is recorded on the thread that it comes on.
    Errors:      one that ends a stream is drawn at its end; the others go on. None is raised.
    Disposal:    leaves the streams; what was recorded stays. It ends by itself after `seconds`, or when all have ended.

    Args:
        seconds: how long, as a number or a timedelta.
        streams: by names that are no Python names.
        scheduler: a virtual-time one: the whole time passes before this returns.
        label: what to write beside a value; by default the key of a job, else `str(value)`.
        more: streams by name.

    Raises:
        InvalidSetting: an argument that cannot be used; what came and what would be right.

    Example:
        >>> from reactivex import operators as ops
        >>> from rx_runat import Job
        >>> from rx_runat.testing import virtual_queue
        >>> queue, scheduler = virtual_queue()
        >>> queue.on_next([Job("tea", 240.0), Job("bus", 900.0), Job("tram", 2400.0)])
        >>> marbles(3600, scheduler=scheduler, due=queue, t=queue.pipe(ops.filter(lambda key: key[0] == "t")))
        due  ----tea-----------bus---------------------------tram--------------------->
        t    ----tea-----------------------------------------tram--------------------->
             0           10 min      20 min      30 min      40 min      50 min      60 min
    """
    return Marbles(seconds, {**(streams or {}), **more}, scheduler, label)


def _label(value: Any) -> object:
    return value.key if isinstance(value, Job) else value
