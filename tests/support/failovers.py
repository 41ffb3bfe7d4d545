"""A server whose place another one takes, which lacks what the former one did last."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from rx_runat import OutcomeUnknown
from rx_runat.store.address import Address
from rx_runat.store.claimers import CLAIM, HAND_BACK, LEASE
from rx_runat.store.client import RedisClient
from rx_runat.store.request import Arg
from rx_runat.store.verbs import SETTLE
from tests.support.stores import FlakyClient

State = dict[bytes, tuple[bytes, int]]
"""All that a server has: key -> its value as DUMP spells it, and the milliseconds until it expires, 0 for never."""

_HARMLESS = [("EVAL", script.body) for script in (CLAIM, LEASE, HAND_BACK, SETTLE)]
_LONGEST = 20  # states that are kept


class Done(NamedTuple):
    """A command that was done.

    Attributes:
        command: its words.
        is_change: whether it has changed anything.
    """

    command: tuple[Arg, ...]
    is_change: bool


def _values(state: State) -> dict[bytes, bytes]:
    return {key: value for key, (value, _) in state.items()}


class FailoverClient(FlakyClient):
    """A flaky client of a server that fails over: then all has the state of some changes ago.

    A change is what one command did: what a script did is lost as a whole or not at all. What is late arrives at the
    former primary only, so a failover drops it.

    Fates besides those of `FlakyClient`: `switch`: a failover comes before the command arrives; `lost, switch`: the
    command is done, and a failover comes instead of the reply.

    Attributes:
        losing: how many of the last changes each failover loses.
        events: what has happened: each command that was done, and for each failover the number of changes that it lost.
        copies: the claimers' commands that were sent to this primary and not replied to: they may arrive again.
    """

    def __init__(self, client: RedisClient) -> None:
        super().__init__(client)
        self.losing = 0
        self.events: list[Done | int] = []
        self.copies: list[tuple[Arg, ...]] = []
        self._is_looking = False
        self._states = [self._state()]

    def call(self, *command: Arg, generation: int | None = None) -> Any:
        fate = self.fates.pop(0) if self.fates else None
        if fate == "switch":
            self.fail_over()
        self.fates.insert(0, {"switch": None, "lost, switch": "lost"}.get(fate or "", fate))
        try:
            return super().call(*command, generation=generation)
        except OutcomeUnknown:
            if command[:2] in _HARMLESS or command[0] == "DEL":
                self.copies.append(command)
            raise
        finally:
            if fate == "lost, switch":
                self.fail_over()

    def fail_over(self, losing: int | None = None) -> None:
        """Let another primary take over, which lacks so many of the last changes; None: `losing`."""
        self.losing = self.losing if losing is None else losing
        lost = min(self.losing, len(self._states) - 1)
        del self._states[len(self._states) - lost :]
        self.events.append(lost)
        self.late.clear()
        self.copies.clear()
        self.look("FLUSHDB")
        for key, (value, ttl) in self._states[-1].items():
            self.look("RESTORE", key, ttl, value)
        route = cast("Address", self.route)
        route.generation += 1
        route.pool().generation = route.generation

    def send_at_once(self, command: tuple[Arg, ...]) -> None:
        """Send a command whatever the fates."""
        RedisClient.call(self, *command)

    def look(self, *command: Arg) -> Any:
        """Send a command that no failover loses, whatever the fates."""
        self._is_looking = True
        try:
            return RedisClient.call(self, *command)
        finally:
            self._is_looking = False

    def _exchange(self, connection: Any, *command: Arg, pushed: bool = False) -> Any:
        reply = super()._exchange(connection, *command, pushed=pushed)
        if not self._is_looking:
            state = self._state()
            is_change = _values(state) != _values(self._states[-1])
            if is_change:
                self._states = [*self._states[-_LONGEST:], state]
            self.events.append(Done(command, is_change))
        return reply

    def _state(self) -> State:
        keys = sorted(self.look("KEYS", "*"))
        return {key: (self.look("DUMP", key), max(0, self.look("PTTL", key))) for key in keys}
