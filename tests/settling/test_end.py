"""How the stream of outcomes ends: in virtual time, what was begun and what was not."""

from __future__ import annotations

from typing import Any

import pytest
import reactivex as rx
from reactivex import Observable
from reactivex import operators as ops
from reactivex.disposable import Disposable
from reactivex.subject import Subject

from rx_runat import Claim, Outcome, RunAt, settle
from rx_runat.testing import virtual_queue
from tests.support.settling import PAST, Works, fail, jobs


def test_the_end_of_the_claims_is_the_end_when_all_are_settled() -> None:
    queue, scheduler = virtual_queue()
    works = Works()
    got: list[Any] = []
    queue.claims().pipe(ops.take(3), settle(works, max_concurrent=1)).subscribe(
        lambda outcome: got.append(outcome.claim.key), on_completed=lambda: got.append("end")
    )
    queue.on_next(jobs(5))
    scheduler.advance_to(2)
    for key in ("k000", "k001", "k002"):
        assert got[-1:] != ["end"]
        works.done(key)
    assert got == ["k000", "k001", "k002", "end"]
    assert queue.size() == 2


@pytest.mark.parametrize(
    "claims, said", [(rx.empty(), "end"), (rx.throw(ValueError("no")), "no"), (rx.never(), "nothing")]
)
def test_no_claims(claims: Observable[Claim], said: str) -> None:
    got: list[str] = ["nothing"]
    claims.pipe(settle(fail)).subscribe(print, lambda error: got.append(str(error)), lambda: got.append("end"))
    assert got[-1] == said


def test_an_error_of_the_claims_comes_when_all_are_settled() -> None:
    queue, scheduler = virtual_queue()
    works = Works()
    got: list[Any] = []
    above: Subject[Claim] = Subject()
    queue.claims().subscribe(above)
    above.pipe(settle(works)).subscribe(lambda outcome: got.append(outcome.verdict), lambda e: got.append(str(e)))
    queue.schedule("a", 1)
    scheduler.advance_to(2)
    above.on_error(ValueError("no"))
    assert got == []
    works.done("a")
    assert got == ["acked", "no"]


def test_disposal_cancels_what_runs_and_hands_back_what_was_not_begun() -> None:
    queue, scheduler = virtual_queue()
    works = Works()
    got: list[Outcome[Any]] = []
    subscription = queue.claims(max_in_flight=4).pipe(settle(works, max_concurrent=2)).subscribe(got.append)
    queue.on_next(jobs(5))
    scheduler.advance_to(2)
    subscription.dispose()
    assert (works.disposed, got) == (["k000", "k001"], [])
    assert queue.size() == 5
    again: list[Claim] = []
    queue.claims().subscribe(again.append)
    scheduler.advance_to(3)
    assert {(claim.attempt, claim.run_at.timestamp()) for claim in again} == {(1, PAST)}
    subscription.dispose()


def test_a_claim_that_comes_during_the_end_goes_back_and_keeps_nothing_open() -> None:
    queue, scheduler = virtual_queue()
    claims: list[Claim] = []
    queue.claims().subscribe(claims.append)
    ended: list[str] = []
    queue.errors.subscribe(on_completed=lambda: ended.append("let go"))
    queue.schedule("a", 1)
    scheduler.advance_to(2)

    class Above(Observable[Claim]):
        def subscribe(self, on_next: Any = None, *_: Any, **__: Any) -> Any:
            self.give = on_next
            return Disposable()

    above = Above()
    above.pipe(settle(fail)).subscribe().dispose()
    above.give(claims[0])
    assert queue.size() == 1
    queue.stop()
    assert ended == ["let go"]


def test_taking_outcomes_leaves_the_other_keys() -> None:
    queue, scheduler = virtual_queue()
    got: list[str] = []
    outcomes = queue.claims().pipe(settle(lambda claim: claim.key), ops.take(3))
    queue.on_next(jobs(10))
    outcomes.subscribe(lambda outcome: got.append(outcome.claim.key))
    scheduler.advance_to(2)
    assert got == ["k000", "k001", "k002"]
    assert queue.size() == 7
    outcomes.subscribe(lambda outcome: got.append(outcome.claim.key))
    scheduler.advance_to(3)
    assert got == [job.key for job in jobs(6)]


def test_stop_hands_back_and_completes() -> None:
    queue, scheduler = virtual_queue()
    works = Works()
    got: list[str] = []
    queue.claims().pipe(settle(works, max_concurrent=1)).subscribe(on_completed=lambda: got.append("end"))
    queue.errors.subscribe(on_completed=lambda: got.append("let go"))
    queue.on_next(jobs(3))
    scheduler.advance_to(2)
    store = queue._store
    closed: list[int] = []
    close = store.close
    store.close = lambda: (closed.append(store.size(None)), close())  # type: ignore[method-assign, assignment]
    queue.stop()
    assert (works.disposed, got, closed) == (["k000"], ["end", "let go"], [3])


def test_a_queue_that_stops_ends_what_its_claims_were_merged_into() -> None:
    one, scheduler = virtual_queue()
    other = RunAt("memory://", scheduler=scheduler, interval=None)
    works = Works()
    got: list[str] = []
    rx.merge(one.claims(), other.claims()).pipe(settle(works)).subscribe(on_completed=lambda: got.append("end"))
    one.schedule("one", 1)
    other.schedule("other", 2)
    scheduler.advance_to(3)
    one.stop()
    assert (works.disposed, got) == (["one", "other"], ["end"])
    scheduler.advance_to(4)
    assert other.size() == 1
    other.stop()
