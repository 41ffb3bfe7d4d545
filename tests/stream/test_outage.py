"""How long an outage lasted, and how often a stream that is refused is told so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import reactivex as rx
import redis
from reactivex import operators as ops

from rx_runat import Job, OutcomeUnknown, Recovered, Refused, RunAt, settle
from rx_runat.store.request import Arg
from rx_runat.stream.outage import backoff
from rx_runat.testing import Faults, virtual_queue


class SilentServer(Faults):
    """While it is `silent`, each call waits for so many seconds of virtual time, and then has no reply."""

    silent = 0.0
    scheduler: Any = None

    def call(self, *command: Arg, **more: Any) -> Any:
        if self.silent:
            self.scheduler.sleep(self.silent)
            raise OutcomeUnknown("silent on demand") from redis.TimeoutError()
        return super().call(*command, **more)


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


def settled(claims: Any) -> Any:
    return claims.pipe(settle(lambda claim: claim.key))


REFUSED: dict[str, Callable[[RunAt], Any]] = {
    "keys": lambda queue: queue,
    "jobs": lambda queue: queue.jobs,
    "claims": lambda queue: queue.claims(),
    "outcomes": lambda queue: settled(queue.claims()),
    "claims of each subscription": lambda queue: rx.defer(lambda _: queue.claims()),
    "outcomes of each subscription": lambda queue: rx.defer(lambda _: settled(queue.claims())),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_stream_that_is_refused_and_retried_at_once_is_told_with_a_backoff(kind: str) -> None:
    faults = Faults()
    queue, scheduler = virtual_queue(faults=faults)
    faults.refusal = "NOPERM"
    moments = [round(sum(map(backoff, range(n))), 3) for n in range(8)]
    assert moments[-1] < 6
    assert refusals(queue, scheduler, REFUSED[kind](queue), until=6) == moments


@pytest.mark.parametrize("kind", REFUSED)
def test_21_a_queue_of_the_wrong_type_is_asked_no_faster_than_one_that_is_away(kind: str) -> None:
    faults = Faults()
    queue, scheduler = virtual_queue(faults=faults)
    faults.call("SET", "RunAt~default", "a string")
    told = refusals(queue, scheduler, REFUSED[kind](queue), until=100)
    assert 50 < len(told) < 60
    queue.stop()


def test_each_of_many_that_are_refused_waits_for_one_pause_alone() -> None:
    faults = Faults()
    queue, scheduler = virtual_queue(faults=faults)
    faults.refusal = "NOPERM"
    told: list[tuple[int, float]] = []
    for i in range(100):
        since = scheduler.clock

        def note(_: Exception, i: int = i, since: float = since) -> None:
            told.append((i, scheduler.clock - since))

        queue.claims().subscribe(on_error=note)
        scheduler.advance_by(0.1)
    scheduler.advance_by(2)
    assert sorted(i for i, _ in told) == list(range(100))
    assert max(waited for _, waited in told) <= 2


class RefusesLongLeases(Faults):
    """Refuses claims with a lease of 77 s, and no others."""

    def call(self, *command: Arg, **more: Any) -> Any:
        if 77_000 in command:
            raise Refused("too long")
        return super().call(*command, **more)


def test_a_source_that_works_neither_waits_for_one_that_is_refused_nor_hurries_it() -> None:
    queue, scheduler = virtual_queue(faults=RefusesLongLeases())
    got: list[tuple[str, float]] = []
    queue.claims().subscribe(lambda claim: got.append((claim.key, scheduler.clock)))
    scheduler.advance_to(1)
    keys = [(f"k{i}", 1 + i / 10) for i in range(90)]
    queue.on_next([Job(*key) for key in keys])
    told = refusals(queue, scheduler, rx.defer(lambda _: queue.claims(lease=77)), until=10)
    assert got == keys
    assert len(told) < 12


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
