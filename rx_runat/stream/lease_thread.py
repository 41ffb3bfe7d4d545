"""The thread that settles and renews the leases of one claims source.

No work and no `on_next` runs on it. A handler of the log may, because a call to Redis may find something to log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from reactivex import abc

from rx_runat.model.batch import SettleReply, Verb
from rx_runat.model.claim import Lease, Manager
from rx_runat.stream.lease_holder import LeaseHolder
from rx_runat.stream.loop import Loop

_T = TypeVar("_T")

_LARGEST_CALL = 500  # requests in one call: some 3 ms of the server's time
_LAST_SECONDS = 1.0  # after `stop`: long enough for a server that restarts, too short to wait for the end of an outage
_JOIN_SECONDS = 1.0  # a thread with nothing left to do ends at once; if new work came meanwhile, nobody waits for that


class LeaseThread:
    """Makes calls about leases, one at a time, and knows how long the holders of the leases wait for an answer.

    The thread lives while there is something to do. In virtual time there is no thread: what is to run now runs at
    once, and what is to run later is planned with the virtual scheduler.

    Args:
        manager: makes the calls.
        now: monotonic seconds; virtual seconds in virtual time.
        scheduler: the one of virtual time; None: time is real.
        disconnect: closes the connections, so that a call which waits for a silent server raises.
    """

    def __init__(
        self,
        manager: Manager,
        now: Callable[[], float],
        scheduler: abc.SchedulerBase | None,
        disconnect: Callable[[], None],
    ) -> None:
        self.is_virtual = scheduler is not None
        self.now = now
        self._manager = manager
        self._disconnect = disconnect
        self._loop = Loop("rx_runat leases")
        self._scheduler: abc.SchedulerBase = scheduler or self._loop
        self._waits_until: dict[LeaseHolder, float] = {}
        self._called_at: float | None = None  # when the call under way began

    @property
    def is_here(self) -> bool:
        """True on the thread."""
        return self._loop.is_here

    def run(self, action: Callable[[], None]) -> None:
        """Run an action on the thread, soon; in virtual time at once."""
        if self.is_virtual:
            action()
        else:
            self._scheduler.schedule(lambda _, __: action())

    def run_after(self, seconds: float, action: Callable[[], None]) -> abc.DisposableBase:
        """Run an action on the thread after so many seconds, unless the returned disposable is disposed of before."""
        return self._scheduler.schedule_relative(seconds, lambda _, __: action())

    def settle(self, requests: Sequence[tuple[Lease, Verb, int | str]]) -> SettleReply:
        """Begin, end or extend leases; see `Manager.settle`. On this thread only."""
        self._called_at = self.now()
        try:
            return self._manager.settle(requests)
        finally:
            self._called_at = None

    def stop_waiting_soon(self, holder: LeaseHolder) -> None:
        """From now on a holder does not wait for the end of an outage, because its queue stops."""
        self._waits_until.setdefault(holder, self.now() + _LAST_SECONDS)

    def waits(self, holder: LeaseHolder) -> bool:
        """True if a holder still waits for a server that does not answer."""
        until = self._waits_until.get(holder)
        return until is None or self.now() < until

    def break_off(self, holder: LeaseHolder) -> None:
        """Break off the call under way, if Redis had time to reply since its start and since `stop_waiting_soon`.

        A server that is reachable and silent, and a client without a timeout, would keep `stop` waiting for ever.
        """
        called_at, until = self._called_at, self._waits_until.get(holder)
        if called_at is not None and until is not None and self.now() >= max(until, called_at + _LAST_SECONDS):
            self._disconnect()

    def forget(self, holder: LeaseHolder) -> None:
        """Forget a holder whose leases have all ended."""
        self._waits_until.pop(holder, None)

    def join(self) -> None:
        """Wait for the thread, once it has nothing left to do."""
        self._loop.join(_JOIN_SECONDS)


def parts(items: Sequence[_T], largest: int = _LARGEST_CALL) -> Iterator[list[_T]]:
    """The items in order, in lists that are short enough for one call to Redis.

    >>> list(parts("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    rest = iter(items)
    while part := list(islice(rest, largest)):
        yield part
