"""What tests of `settle` share: jobs, works that a test ends by hand, and short forms of outcomes."""

from __future__ import annotations

from typing import Any

import reactivex as rx
import redis
from reactivex import Observable
from reactivex.disposable import Disposable
from reactivex.subject import Subject

from rx_runat import Claim, Job, Outcome
from rx_runat.testing import Faults

Q = "RunAt~default"
CLAIMED = "{RunAt~default}:claimed"
PAST = 1.0


def jobs(n: int) -> list[Job]:
    return [Job(f"k{i:03}", PAST) for i in range(n)]


def short(outcome: Outcome[Any]) -> tuple[str, int, str, Any]:
    said = outcome.result if outcome.error is None else str(outcome.error)
    return outcome.claim.key, outcome.claim.attempt, outcome.verdict, said


def verdicts(outcomes: list[Outcome[Any]]) -> list[tuple[str, int, str]]:
    return sorted((outcome.claim.key, outcome.claim.attempt, outcome.verdict) for outcome in outcomes)


def deadline(client: redis.Redis, key: str) -> float:
    return client.zscore(CLAIMED, key) or 0.0


def fail(claim: Claim) -> None:
    raise ValueError(f"no {claim.key}")


def wait_10(_: int) -> float:
    return 10.0


def reopen(faults: Faults) -> None:
    """Connect anew after the queue has stopped, to see what it has left in Redis."""
    faults._closed = False
    faults._route = faults.route.renewed()


class Works:
    """Observables that a test ends by hand."""

    def __init__(self) -> None:
        self.begun: dict[str, Subject[Any]] = {}
        self.disposed: list[str] = []

    def __call__(self, claim: Claim) -> Observable[Any]:
        self.begun[claim.key] = subject = Subject()

        def subscribe(observer: Any, scheduler: Any = None) -> Any:
            inner = subject.subscribe(observer)

            def dispose() -> None:
                inner.dispose()
                self.disposed.append(claim.key)

            return Disposable(dispose)

        return rx.create(subscribe)

    def done(self, key: str, value: object = None) -> None:
        self.begun[key].on_next(value)
        self.begun[key].on_completed()
