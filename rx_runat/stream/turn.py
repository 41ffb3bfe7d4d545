"""The time in which one claim is to be delivered; when it is over, the hold hands back the rest."""

from __future__ import annotations

from collections.abc import Callable

from rx_runat.stream.delivery import Delivery
from rx_runat.stream.hold_timer import timer


class Turn:
    """The time in which one claim is to be delivered.

        asked ahead      | delivery of the claim before | its own delivery |
        claimed as usual                                | its own delivery |
        time             -------------------------------------------------->|  a tenth of a second

    The time begins when the claim is asked for ahead, else with its delivery.

    Attributes:
        since: when its time began, on the clock of the source; for a claim whose reply was late, when that came.
        delivery: of the claim, while it is under way.
        timed: what the timer is to call; None: the timer knows nothing of it.
        is_over: True when its time is over.
        has_ended: True after its delivery.
    """

    def __init__(self, since: float) -> None:
        self.since = since
        self.delivery: Delivery | None = None
        self.timed: Callable[[], None] | None = None
        self.is_over = False
        self.has_ended = False

    def disarm(self) -> None:
        """Let the timer forget it."""
        if self.timed is not None:
            timer().disarm(self.timed)
