"""How long an outage lasted, and how often a stream that is refused is told so."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from reactivex import operators as ops

from rx_runat import Job, OutcomeUnknown, Recovered, Refused, RunAt
from rx_runat.store.request import Arg
from rx_runat.stream.outage import backoff
from rx_runat.testing import Faults, virtual_queue


class SilentServer(Faults):
    """While it is `silent`, each call waits for so many seconds of virtual time, and then has no reply."""

    silent = 0.0
    scheduler: Any = None

    def call(self, *command: Arg) -> Any:
        if self.silent:
            self.scheduler.sleep(self.silent)
            raise OutcomeUnknown("silent on demand") from redis.TimeoutError()
        return super().call(*command)


def test_an_outage_began_with_the_call_that_had_no_reply() -> None:
    faults = SilentServer()
    queue, scheduler = virtual_queue(faults=faults)
    faults.scheduler = scheduler
    notices: list[Any] = []
    queue.errors.subscribe(notices.append)
    queue.subscribe()
    queue.schedule("a", 10)
    scheduler.advance_to(9)
    faults.silent = 5.0
    scheduler.advance_to(10)  # the claim takes until 15
    faults.silent = 0.0
    scheduler.advance_to(20)
    (recovered,) = (each for each in notices if isinstance(each, Recovered))
    assert recovered.seconds == pytest.approx(5.05)
    assert "after 5.0 s" in str(recovered) or "after 5.1 s" in str(recovered)


def test_an_outage_does_not_begin_with_an_on_next_before_it() -> None:
    faults = Faults()
    queue, scheduler = virtual_queue(faults=faults)
    notices: list[Any] = []
    queue.errors.subscribe(notices.append)

    def slow(_: str) -> None:
        if not faults.away:
            scheduler.sleep(7)
            faults.away = True

    def comes_back(*_: object) -> None:
        faults.away = False

    queue.subscribe(slow)
    queue.on_next([Job("a", 1), Job("b", 1)])
    scheduler.schedule_absolute(8.02, comes_back)
    scheduler.advance_to(30)
    (recovered,) = (each for each in notices if isinstance(each, Recovered))
    assert recovered.seconds == pytest.approx(0.05)


def refusals(queue: RunAt, scheduler: Any, stream: Any, until: float) -> list[float]:
    """When a stream that is retried for ever is told that it is refused."""
    told: list[float] = []
    queue.errors.subscribe(lambda error: told.append(scheduler.clock) if isinstance(error, Refused) else None)
    stream.pipe(ops.retry()).subscribe()
    scheduler.advance_to(until)
    return [round(each, 3) for each in told]


@pytest.mark.parametrize("kind", ["keys", "jobs", "claims"])
def test_a_stream_that_is_refused_and_retried_at_once_is_told_with_a_backoff(kind: str) -> None:
    faults = Faults()
    queue, scheduler = virtual_queue(faults=faults)
    faults.refusal = "NOPERM"
    stream: Any = {"keys": queue, "jobs": queue.jobs, "claims": queue.claims()}[kind]
    moments = [round(sum(map(backoff, range(n))), 3) for n in range(8)]
    assert moments[-1] < 6
    assert refusals(queue, scheduler, stream, until=6) == moments


def test_the_first_refusal_comes_at_once_and_so_does_one_after_a_success() -> None:
    faults = Faults()
    queue, scheduler = virtual_queue(faults=faults)
    faults.refusal = "NOPERM"
    assert refusals(queue, scheduler, queue, until=3.2)[0] == 0.0
    faults.refusal = None
    scheduler.advance_to(20)
    got: list[str] = []
    queue.subscribe(got.append, lambda _: None)
    queue.schedule("a", 21)
    queue.schedule("b", 22)
    scheduler.advance_to(21)
    assert got == ["a"]
    told: list[float] = []
    queue.errors.subscribe(lambda _: told.append(scheduler.clock))
    faults.refusal = "NOPERM"
    scheduler.advance_to(22)
    assert told[0] == 22
    scheduler.advance_to(22.06)
    assert told == [22, pytest.approx(22.05)], "the pauses are short again"


def test_who_subscribes_when_the_pause_is_over_is_served_at_once() -> None:
    faults = Faults()
    queue, scheduler = virtual_queue(faults=faults)
    faults.refusal = "NOPERM"
    ended: list[Exception] = []
    queue.subscribe(on_error=ended.append)
    scheduler.advance_to(1)
    faults.refusal = None
    queue.schedule("a", 0)
    got: list[float] = []
    queue.subscribe(lambda _: got.append(scheduler.clock))
    scheduler.advance_to(2)
    assert len(ended) == 1
    assert got == [1]


def test_who_leaves_during_the_pause_leaves_nothing() -> None:
    faults = Faults()
    queue, scheduler = virtual_queue(faults=faults)
    faults.refusal = "NOPERM"
    queue.subscribe(on_error=lambda _: None)
    scheduler.advance_to(0.01)
    queue.subscribe().dispose()
    faults.refusal = None
    scheduler.advance_to(5)
    faults.commands.clear()
    scheduler.advance_to(100)
    assert faults.commands == []
    queue.stop()
