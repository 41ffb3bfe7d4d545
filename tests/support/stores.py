"""Stores whose clock and whose connection a test controls."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from rx_runat import OutcomeUnknown
from rx_runat.store.client import RedisClient
from rx_runat.store.request import Arg, Script
from rx_runat.testing import FailingClient

T = 1_700_000_000  # the virtual clocks begin here, epoch seconds
MS = T * 1000
Q = "RunAt~default"


def names(fates: object) -> str:
    """Returns the fates of calls as the name of a test's parameter."""
    return "-".join(fates) if isinstance(fates, list) else ""


def lossy(most: int) -> pytest.MarkDecorator:
    """Returns a parameter `fates`: all the ways in which up to so many replies are lost."""
    fates = [list(each) for times in range(most + 1) for each in itertools.product(["lost", "late"], repeat=times)]
    return pytest.mark.parametrize("fates", fates, ids=names)


class Clock:
    """A virtual clock, epoch microseconds."""

    def __init__(self) -> None:
        self.us = T * 1_000_000

    def __call__(self) -> int:
        return self.us

    def advance(self, seconds: float) -> None:
        self.us += round(seconds * 1_000_000)


class FlakyClient(FailingClient):
    """A client of any server whose next calls fare as a list says; it keeps all that was sent.

    Attributes:
        fates: of the next calls. `lost`: done, and not replied to; `late`: not replied to, and done by `arrive`;
            `interrupted`: as `late`, but a signal handler raises; `away`: not done; `refused`: not done, and refused;
            None: done and replied to.
        late: the commands that are still on their way.
        sent: every command that was sent, done or not.
    """

    def __init__(self, client: RedisClient) -> None:
        super().__init__(client, client.where)
        self.fates: list[str | None] = []
        self.late: list[tuple[Arg, ...]] = []
        self.sent: list[tuple[Arg, ...]] = []

    def run(self, script: Script, *args: Arg, generation: int | None = None) -> Any:
        return self.call(
            "EVAL", script.body, *args, generation=generation
        )  # always one command, so that it can be sent again

    def call(self, *command: Arg, generation: int | None = None) -> Any:
        fate = self.fates.pop(0) if self.fates else None
        self.away, self.lost, self.refusal = fate == "away", int(fate == "lost"), "no" if fate == "refused" else None
        if fate not in ("away", "refused"):
            self.sent.append(command)
        if fate in ("late", "interrupted"):
            self.late.append(command)
            raise OutcomeUnknown("late") if fate == "late" else KeyboardInterrupt
        return super().call(*command, generation=generation)

    def arrive(self) -> list[Any]:
        """Deliver what was late; returns the replies, which nobody receives."""
        late, self.late = self.late, []
        return [RedisClient.call(self, *command) for command in late]
