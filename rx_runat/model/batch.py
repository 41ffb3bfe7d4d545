"""The values of claims: what was leased, what becomes of it, and what was given up. Nothing here knows Redis or Rx."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias


class Leased(NamedTuple):
    """What one look at Redis brought under a lease.

    Attributes:
        keys: those that fell due, in the order of the schedule.
        scores: their run_at, as Redis spelled it.
        attempts: which attempt each is, from 1.
        fence: proves the lease on all of them.
        deadline: the lease's end, epoch milliseconds: it lives while Redis's clock is before that.
        now: Redis's clock at the claim, epoch microseconds.
        wait: seconds until the next key falls due or the next lease ends, 0.0 if that is so already; after a claim of 0
            keys, only until the next lease ends; None if nothing of them is known.
    """

    keys: list[str]
    scores: list[str]
    attempts: list[int]
    fence: str
    deadline: int
    now: int
    wait: float | None


Verb: TypeAlias = Literal["ack", "nack", "extend", "bury", "back"]


class SettleRequest(NamedTuple):
    """What becomes of a claimed key.

    Attributes:
        verb: `ack` it is done; `nack` it waits for another attempt; `extend` its lease lives on; `bury` it goes to the
            dead letters; `back` nobody saw it: it waits as it was, and this attempt does not count.
        key: the key.
        fence: of its claim.
        argument: milliseconds for `nack` (the delay) and `extend`, the reason for `bury`, else of no meaning.
        held: the latest deadline that its holder knows of, epoch milliseconds.
    """

    verb: Verb
    key: str
    fence: str
    argument: int | str
    held: int


class SettleReply(NamedTuple):
    """What became of verdicts.

    Attributes:
        answers: one for each. 0: the lease was not ours any more, and nothing was done; else it was, and the answer is
            the new deadline for an `extend`, 1 for the others; None: unknown, because the first answer was lost and the
            lease has ended since.
        earliest: the earliest run_at of what these verdicts put into the schedule, epoch milliseconds; None: nothing.
    """

    answers: list[int | None]
    earliest: float | None


class Entry(NamedTuple):
    """A claimed key, with its score as Redis spelled it: so it goes back as it was."""

    key: str
    score: str


class Claimed(NamedTuple):
    """What one look at Redis brought.

    Attributes:
        keys: those that fell due, in order.
        scores: theirs, as Redis spelled them.
        now: Redis's clock at the claim, epoch microseconds.
        wait: seconds until the next key falls due; 0.0 if more are due already; None if nothing is scheduled.
    """

    keys: list[str]
    scores: list[str]
    now: int
    wait: float | None
