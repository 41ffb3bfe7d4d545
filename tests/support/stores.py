"""Stores whose clock and whose wire a test holds in its hand."""

from __future__ import annotations

from typing import Any

from rx_runat import OutcomeUnknown, Refused, Unavailable
from rx_runat.store.client import RedisClient
from rx_runat.store.connection import Arg

T = 1_700_000_000  # the virtual clocks begin here, epoch seconds
MS = T * 1000


class Clock:
    """A virtual clock, epoch microseconds."""

    def __init__(self) -> None:
        self.us = T * 1_000_000

    def __call__(self) -> int:
        return self.us

    def advance(self, seconds: float) -> None:
        self.us += round(seconds * 1_000_000)


class Line(RedisClient):
    """RedisClient whose fates are told beforehand, and which are all written down.

    Attributes:
        fates: of the next calls: `lost` is done and not answered; `late` is not answered, and may be done by `arrive`;
            `away` is not done; `refused` is not done and refused; None is done and answered.
        late: what is still on its way.
        sent: all that was sent, answered or not.
    """

    def __init__(self, inner: RedisClient) -> None:
        super().__init__(inner.pool, inner.where)
        self.fates: list[str | None] = []
        self.late: list[tuple[Arg, ...]] = []
        self.sent: list[tuple[Arg, ...]] = []

    def run(self, script: Any, *args: Arg) -> Any:
        return self.call("EVAL", script.body, *args)  # one command each, so that it can be sent again

    def call(self, *command: Arg) -> Any:
        fate = self.fates.pop(0) if self.fates else None
        if fate == "away":
            raise Unavailable("away")
        if fate == "refused":
            raise Refused("refused")
        self.sent.append(command)
        if fate == "late":
            self.late.append(command)
            raise OutcomeUnknown("late")
        answer = super().call(*command)
        if fate == "lost":
            raise OutcomeUnknown("lost")
        return answer

    def arrive(self) -> list[Any]:
        """What was late arrives now."""
        late, self.late = self.late, []
        return [super(Line, self).call(*command) for command in late]
