"""`timeline`: a live picture of a queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rx_runat.errors import InvalidSetting
from rx_runat.model.checks import show
from rx_runat.notebook.recording import seconds_of
from rx_runat.queue import RunAt
from rx_runat.stream.ticks import Seconds

if TYPE_CHECKING:
    from rx_runat.notebook.widget import Timeline


def timeline(queue: RunAt, window: Seconds = 10.0, lane: Callable[[str], object] | None = None) -> Timeline:
    """A live picture of a queue: keys move towards now, fire, and take the shape and colour of their lateness.

        -2 s        now        +2 s        +4 s
              ●  ▲   |  ○    (12)     ○
          fired      |     waiting             ● on time   ▲ over 20 ms late   ■ over 0.2 s late
           ◇---------|-----------)          claimed, until its lease ends
           ●         |                      acked
           ◆         |        ○             nacked, or its lease has ended: it waits for another attempt
               ✕     |                      buried

    A picture claims nothing and is no subscriber. It shows which keys other processes took, but not how late those
    keys were. Keys that would cover each other become one mark with their number.

    The cell that displays a picture first has it live; run that cell again, and it is live there again. If another cell
    displays the same picture, it shows a still of that moment, so that a notebook keeps its story after "Run All". If
    the front end gives cells no ids, every later display is a still. After the queue was stopped, the live picture
    keeps what it last showed when something happened. After a restart of the kernel, it says so and stands still.

    Temperature: hot; each call is a picture of its own.
    Delivery:    shows every key that a source of this process delivers, also a source that is opened later. Of the
                 keys that other processes take, it follows 400 at each poll.
    Order:       by time, on one axis; lanes in the order in which their first key was seen.
    Clock:       Redis's: dots move by it, whatever the clock of the browser shows.
    Scheduler:   a loop of its own, with at most 20 polls and 20 updates a second; while nothing changes, 4 polls a
                 second and an update every 5 s. A picture takes no output away from the cells of its notebook.
    Errors:      while the server does not answer, the picture shows the error and polls once a second.
    Disposal:    `close()`. Polling stops when the queue is stopped, or about a minute after the last view went out of
                 sight and the last cell started; it starts again when a view comes back.
    Redis:       `snapshot.lua` at each poll: O(keys shown + log(size)). If keys have vanished, `locate.lua` finds where
                 at most 400 of them are.

    Args:
        queue: the queue.
        window: how many seconds of the future the picture shows, as a number or a timedelta. It shows half as many of
            the past.
        lane: returns the lane of a key, such as `lambda key: key.split(":")[0]`; by default all keys share one lane.
            At most twelve lanes are shown; further keys share the last one, until the keys of a lane are gone.

    Raises:
        InvalidSetting: an argument cannot be used, or the `notebook` extra is not installed.
    """
    if not isinstance(queue, RunAt):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidSetting(f"queue: got {show(queue)}; it must be a RunAt")
    if lane is not None and not callable(lane):
        raise InvalidSetting(f"lane: got {show(lane)}; it must be a function of a key")
    seconds = seconds_of(window, "window")
    try:
        from rx_runat.notebook.widget import Timeline
    except ImportError as error:
        raise InvalidSetting("timeline needs anywidget; pip install 'rx-runat[notebook]'") from error
    return Timeline(queue, seconds, lane)
