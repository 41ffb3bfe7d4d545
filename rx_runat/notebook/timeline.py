"""A live picture of a queue."""

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
    """A live picture of a queue: keys move towards now, fire, and are filled by how late they were.

        -2 s        now        +2 s        +4 s
              ●  ●   |  ○    (12)     ○
          fired      |     waiting
           ◇---------|-----------)          claimed, until its lease ends
           ●         |                      acked
           ◇         |        ○             nacked, or its lease has ended: it waits for another attempt
               ✕     |                      buried

    Looking claims nothing and counts as no subscriber. Keys that other processes take are shown as such, how late they
    were is not known. Where more keys fall together than a picture can hold, they are counted.

    Temperature: hot; each call is a picture of its own.
    Delivery:    what this process's sources deliver is seen for sure, those that are opened later too; of what others
                 take, 400 keys a look.
    Order:       by time, on one axis; lanes in the order in which their first key was seen.
    Clock:       Redis's: dots move by it, whatever the clock of the browser.
    Scheduler:   a loop of its own, at most 20 looks and 20 updates a second; 4 looks where nothing changes.
    Errors:      a server that does not answer is written into the picture; it is asked again every second.
    Disposal:    `close()`. It looks no more when the queue was stopped, or 10 s after its last view went out of sight,
                 and looks again when one comes back.
    Redis:       `snapshot.lua` at each look: O(keys shown + log(size)). Where keys have vanished, `locate.lua` tells
                 where at most 400 of them are.

    Args:
        queue: to look at.
        window: seconds to come that are in the picture; half as many of the past are.
        lane: of a key, such as `lambda key: key.split(":")[0]`; by default all share one. Twelve at most.

    Raises:
        InvalidSetting: an argument that cannot be used; or the `notebook` extra is not installed.
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
