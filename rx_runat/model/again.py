"""When a key comes again: what `settle(work, again=...)` and `claim.ack(again=...)` take, and how it is sent to Redis.

timedelta   after the moment at which the run ends, on Redis's clock
datetime    at that moment
None        no more
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import Enum
from typing import TypeAlias

from rx_runat.errors import InvalidJob
from rx_runat.model.checks import short, show
from rx_runat.model.job import Due
from rx_runat.model.times import to_time

NextRun: TypeAlias = datetime | timedelta | None
"""When a key is due again: an aware datetime, or a timedelta from the end of the run; None: no more."""

Again: TypeAlias = Callable[[Due], NextRun]
"""Tells when a key is due again, from the run that was claimed. Such as `every(...)` and `cron(...)`."""


class Planned(Enum):
    """What a claim that is settled by hand does about the next run if nothing is said."""

    AS_PLANNED = "as settle was told"

    def __repr__(self) -> str:
        return f"<{self.value}>"


AS_PLANNED = Planned.AS_PLANNED
"""The next run is the one that `settle(work, again=...)` planned; none without `settle`."""


def to_next_run(again: Again | NextRun, due: Due) -> str:
    """Returns when a key is due again as `to_time` spells it; "": it is not.

    Args:
        again: when, or what tells it.
        due: the run that was claimed.

    Raises:
        InvalidJob: it is no moment. A number is refused too: 3600 could mean an hour from now, or one in 1970.
        Exception: whatever `again` raises.
    """
    at = again(due) if callable(again) else again
    if at is None:
        return ""
    if not isinstance(at, datetime | timedelta):  # pyright: ignore[reportUnnecessaryIsInstance]
        if inspect.iscoroutine(at):
            at.close()  # else Python warns that nobody awaited it
        raise InvalidJob(
            f"again: got {show(at)} for {short(due.key)}; it must be an aware datetime, a timedelta from the end of "
            "the run, or None for no more"
        )
    return to_time(at, "again")
