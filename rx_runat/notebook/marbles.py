"""`marbles`: marble diagrams of real streams."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from reactivex import Observable, abc

from rx_runat.model.claim import Claim
from rx_runat.model.dead_letter import DeadLetter
from rx_runat.model.humanize import readable
from rx_runat.model.job import Job
from rx_runat.model.outcome import Outcome
from rx_runat.notebook.diagram import Track, draw
from rx_runat.notebook.recording import Recording
from rx_runat.notebook.text_diagram import spell_out
from rx_runat.stream.ticks import Seconds

_LONGEST = 200  # columns of a label in a hint; the diagram itself shows fewer


class Marbles(Recording):
    """What some streams did, side by side. Made by `marbles`."""

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
        """Add a marble to the line of a stream."""
        try:
            label = readable(str(self._label(value)), _LONGEST)
        except Exception:  # the user's code; its bug must not hide the value
            label = "?"
        self.tracks[name].marbles.append((after, label))

    def end(self, name: str, after: float, error: Exception | None) -> None:
        """End the line of a stream."""
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
    """A marble diagram of what streams do in the next seconds, side by side on one time axis.

        due     --a-----b--(3)--c------>     values, and a burst as a count
        mails   --------b-------X            an error
        sums    -----------7----|            completion

    A recording subscribes at once, so it takes the keys of a queue that it records. In a notebook, `marbles(...)` as
    the last line of a cell shows a diagram that grows, and `await marbles(...)` shows it when it is complete. In a
    script, use `print(marbles(...).run())`. Long names are cut in the middle. Marbles that are close together are drawn
    without labels, or as one with their number; `recording.tracks` has them all.

    Temperature: hot: the recording has begun when this returns.
    Delivery:    the recording is a subscriber of each stream. If `label` raises, the marble shows "?".
    Order:       as the values come; one monotonic clock orders streams that come on different threads.
    Clock:       monotonic time of this process, or the scheduler's virtual time, counted from the beginning.
    Scheduler:   none of its own: each stream is recorded on the thread that emits it.
    Errors:      an error is drawn at the end of its stream; the other streams go on. None is raised.
    Disposal:    unsubscribes and keeps what was recorded. A recording ends by itself after `seconds`, or when all its
                 streams have ended.

    Args:
        seconds: how long to record, as a number or a timedelta.
        streams: streams by name, for names that cannot be keyword arguments.
        scheduler: a virtual-time scheduler; then all of the time passes before this returns. None: record live.
        label: returns the text beside a value; by default the key of a job, claim, outcome or dead letter, else
            `str(value)`. Equal texts of a diagram have one colour.
        more: streams by name.

    Raises:
        InvalidSetting: an argument cannot be used; the message says what came and what would be right.

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
    value = value.claim if isinstance(value, Outcome) else value
    return value.key if isinstance(value, (Job, Claim, DeadLetter)) else value
