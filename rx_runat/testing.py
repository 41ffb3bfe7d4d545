"""For users' own tests: queues in virtual time, and servers that fail on demand. Needs the `memory` extra."""

from __future__ import annotations

from typing import Any

import fakeredis
from reactivex.testing import TestScheduler

from rx_runat.errors import OutcomeUnknown, Refused, Unavailable
from rx_runat.queue import RunAt
from rx_runat.store.client import RedisClient
from rx_runat.store.connect import Connected, connect
from rx_runat.store.connection import Arg
from rx_runat.stream.ticks import Seconds

__all__ = ["Faults", "virtual_queue"]


class Faults(RedisClient):
    """A server of a queue's own (fakeredis) that fails on demand.

    Example:
        >>> faults = Faults()
        >>> queue, scheduler = virtual_queue(faults=faults)
        >>> faults.away = True
        >>> queue.size()
        Traceback (most recent call last):
        rx_runat.errors.Unavailable: nothing answers at memory://: away on demand

    Attributes:
        away: nothing reaches the server.
        lost: how many of the next calls the server does, and does not answer.
        refusal: what it refuses every call with, in words; None: it does not.
        commands: the ones that reached it, in order.
    """

    def __init__(self) -> None:
        inner = connect(fakeredis.FakeRedis(server=fakeredis.FakeServer())).client
        super().__init__(inner.pool, "memory://")
        self.away = False
        self.lost = 0
        self.refusal: str | None = None
        self.commands: list[str] = []

    def call(self, *command: Arg) -> Any:
        """Send a command, if the server is there to hear it."""
        if self.away:
            raise Unavailable(f"nothing answers at {self.where}: away on demand")
        if self.refusal is not None:
            raise Refused(f"{self.where} refuses: {self.refusal}")
        self.commands.append(str(command[0]))
        answer = super().call(*command)
        if self.lost > 0:
            self.lost -= 1
            raise OutcomeUnknown(f"{self.where} did not answer {command[0]!r}: lost on demand")
        return answer


def virtual_queue(
    interval: Seconds | None = None,
    *,
    queue_name: str = "RunAt~default",
    limit: int = 1000,
    faults: Faults | None = None,
) -> tuple[RunAt, TestScheduler]:
    """A queue in virtual time, and its clock: `scheduler.advance_by(seconds)` moves both.

    The scripts are the ones that run in production, on fakeredis; the scheduler's `now`, which begins in 1970, is the
    clock that they go by. Nothing happens between two advances.

    Args:
        interval: seconds between heartbeats; None: none are needed, because every write passes this queue's own sink.
        queue_name: as in `RunAt`.
        limit: as in `RunAt`.
        faults: a server that fails on demand.

    Example:
        >>> queue, scheduler = virtual_queue()
        >>> subscription = queue.subscribe(print)
        >>> _ = queue.schedule("tea", 240.0)
        >>> scheduler.advance_by(239)
        >>> scheduler.advance_by(1)
        tea
    """
    scheduler = TestScheduler()
    target: Any = Connected(faults or Faults())  # beyond what users may pass, and so beyond the type
    return RunAt(target, queue_name=queue_name, interval=interval, limit=limit, scheduler=scheduler), scheduler
