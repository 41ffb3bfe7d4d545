"""For users' own tests: queues in virtual time, and servers that fail on demand. Needs the `memory` extra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reactivex.testing import TestScheduler

from rx_runat.errors import OutcomeUnknown, Refused, Unavailable
from rx_runat.model.data import DATA_LIMIT
from rx_runat.queue import RunAt
from rx_runat.store.client import RedisClient, Sending
from rx_runat.store.connect import Connected, connect
from rx_runat.store.request import Arg
from rx_runat.stream.ticks import Seconds

try:
    import fakeredis
except ImportError as error:
    raise ImportError("rx_runat.testing needs fakeredis; pip install 'rx-runat[memory]'") from error

__all__ = ["Faults", "virtual_queue"]


class FailingClient(RedisClient):
    """A client whose calls fail on demand.

    Attributes:
        away: True: no call reaches the server.
        lost: how many of the next calls the server carries out while the reply to us is lost.
        refusal: the words with which every call is refused; None: no call is refused.
        commands: the names of the commands that reached the server, in order.
    """

    def __init__(self, client: RedisClient, where: str) -> None:
        super().__init__(client.route, where)
        self.away = False
        self.lost = 0
        self.refusal: str | None = None
        self.commands: list[str] = []

    def call(self, *command: Arg, generation: int | None = None) -> Any:
        """Send a command, unless a fault prevents it."""
        if self.away:
            raise Unavailable(f"nothing answers at {self.where}: away on demand")
        if self.refusal is not None:
            raise Refused(f"{self.where} refuses: {self.refusal}")
        self.commands.append(str(command[0]))
        reply = super().call(*command, generation=generation)
        if self.lost > 0:
            self.lost -= 1
            raise OutcomeUnknown(f"{self.where} did not answer {command[0]!r}: lost on demand")
        return reply

    def send_many(self, sendings: Sequence[Sending]) -> None:
        """Send each by itself: a call each, which a fault may prevent."""
        for sending in sendings:
            super().send_many([sending])


class Faults(FailingClient):
    """A server for one queue (fakeredis) that fails on demand.

    Example:
        >>> faults = Faults()
        >>> queue, scheduler = virtual_queue(faults=faults)
        >>> faults.away = True
        >>> queue.size()
        Traceback (most recent call last):
        rx_runat.errors.Unavailable: nothing answers at memory://: away on demand

    Attributes:
        away: True: no call reaches the server.
        lost: how many of the next calls the server carries out while the reply to us is lost.
        refusal: the words with which every call is refused; None: no call is refused.
        commands: the names of the commands that reached the server, in order.
    """

    def __init__(self) -> None:
        super().__init__(connect(fakeredis.FakeRedis(server=fakeredis.FakeServer())).client, "memory://")


def virtual_queue(
    interval: Seconds | None = None,
    *,
    queue_name: str = "RunAt~default",
    limit: int = 1000,
    data_limit: int = DATA_LIMIT,
    faults: Faults | None = None,
) -> tuple[RunAt, TestScheduler]:
    """Returns a queue in virtual time, and its clock: `scheduler.advance_by(seconds)` moves both.

    The scripts are those of production, on fakeredis. Their clock is the scheduler's `now`, which begins in 1970.
    Nothing happens between two advances.

    Args:
        interval: seconds between heartbeats; None: no heartbeats. None are needed, because every write passes this
            queue's own sink, which wakes its sources.
        queue_name: as in `RunAt`.
        limit: as in `RunAt`.
        data_limit: as in `RunAt`.
        faults: a server that fails on demand; None: one that does not fail.

    Example:
        >>> queue, scheduler = virtual_queue()
        >>> subscription = queue.subscribe(print)
        >>> _ = queue.schedule("tea", 240.0)
        >>> scheduler.advance_by(239)
        >>> scheduler.advance_by(1)
        tea
    """
    scheduler = TestScheduler()
    # `RunAt` accepts a `Connected`, but its documentation and types do not offer that form.
    target: Any = Connected(faults or Faults())
    queue = RunAt(
        target, queue_name=queue_name, interval=interval, limit=limit, scheduler=scheduler, data_limit=data_limit
    )
    return queue, scheduler
