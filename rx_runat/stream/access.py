"""How a part of a queue that users hold on to reaches the queue at the moment."""

from __future__ import annotations

from typing import NamedTuple

from rx_runat.model.protocols import Store
from rx_runat.stream.gate import Gate
from rx_runat.stream.writes import Writes


class Access(NamedTuple):
    """What the verbs of a queue need at the moment; a forked child makes all of it anew.

    Attributes:
        store: where the queue lies.
        writes: what writes to the schedule.
        reading: raises Stopped instead of what a stopped queue's store raises.
        writing: the same for verbs that change something.
    """

    store: Store
    writes: Writes
    reading: Gate
    writing: Gate
