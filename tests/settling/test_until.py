"""`settle(until=...)`: the stream ends in order, when what is under way has ended; in virtual time."""

from __future__ import annotations

from typing import Any

import pytest
import reactivex as rx
from reactivex import operators as ops
from reactivex.disposable import Disposable
from reactivex.subject import Subject

from rx_runat import InvalidSetting, Outcome, settle
from rx_runat.testing import Faults, virtual_queue
from tests.support.settling import Works, fail, jobs, verdicts, wait_10


def test_what_was_not_begun_goes_back_and_what_was_begun_is_settled() -> None:
    queue, scheduler = virtual_queue()
    works = Works()
    end: Subject[str] = Subject()
    got: list[Any] = []
    queue.claims().pipe(settle(works, max_concurrent=2, until=end)).subscribe(
        lambda outcome: got.append(outcome.claim.key), on_completed=lambda: got.append("end")
    )
    queue.on_next(jobs(5))
    scheduler.advance_to(2)
    end.on_next("now")
    end.on_next("once more")
    scheduler.advance_to(3)
    assert (list(works.begun), works.disposed, got, queue.size()) == (["k000", "k001"], [], [], 3)
    works.done("k001")
    assert got == ["k001"]
    works.done("k000")
    assert got == ["k001", "k000", "end"]
    assert [due.key for due in queue.peek(9)] == ["k002", "k003", "k004"]


def test_a_subscription_that_is_refused_leaves_it() -> None:
    """Else the handlers of `signals()` would stay, and swallow the next SIGTERM."""
    queue, scheduler = virtual_queue()
    claims = queue.claims()
    left: list[str] = []
    end = rx.create(lambda observer, scheduler: Disposable(lambda: left.append("until")))

    def run(_: object) -> None:
        with pytest.raises(InvalidSetting, match="for ever"):
            claims.pipe(settle(fail, until=end)).run()
        left.append("refused")

    claims.subscribe(run)
    queue.on_next(jobs(1))
    scheduler.advance_to(2)
    assert left == ["until", "refused"]


def test_work_that_fails_after_it_is_nacked() -> None:
    queue, scheduler = virtual_queue()
    works = Works()
    end: Subject[str] = Subject()
    got: list[Outcome[Any]] = []
    ends: list[str] = []
    queue.claims().pipe(settle(works, until=end, backoff=wait_10)).subscribe(
        got.append, on_completed=lambda: ends.append("end")
    )
    queue.on_next(jobs(1))
    scheduler.advance_to(2)
    end.on_next("now")
    works.begun["k000"].on_error(ValueError())
    assert (verdicts(got), ends) == ([("k000", 1, "nacked")], ["end"])
    assert queue.size() == 1


def test_an_idle_stream_ends_at_once() -> None:
    queue, _ = virtual_queue()
    end: Subject[str] = Subject()
    got: list[Any] = []
    queue.claims().pipe(settle(fail, until=end), ops.count()).subscribe(
        got.append, on_completed=lambda: got.append("end")
    )
    end.on_next("now")
    assert got == [0, "end"]
    assert not end.observers


def test_what_has_fired_already_begins_nothing() -> None:
    queue, scheduler = virtual_queue()
    queue.on_next(jobs(2))
    got: list[Any] = []
    queue.claims().pipe(settle(fail, until=rx.just("now"))).subscribe(
        got.append, on_completed=lambda: got.append("end")
    )
    scheduler.advance_to(2)
    assert (got, queue.size()) == (["end"], 2)


def test_an_attempt_that_was_to_count_first_goes_back_uncounted(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults, interval=1)
    works = Works()
    end: Subject[str] = Subject()
    got: list[Any] = []
    queue.claims().pipe(
        settle(
            lambda claim: fail(claim) if claim.attempt == 1 else works(claim),
            until=end,
            max_concurrent=1,
            backoff=wait_10,
        )
    ).subscribe(got.append, on_completed=lambda: got.append("end"))
    queue.on_next(jobs(2))
    scheduler.advance_to(12)
    assert list(works.begun) == ["k000"]
    faults.away = True  # Redis is not told that the attempt of k001 counts
    works.done("k000")
    scheduler.advance_to(13)
    end.on_next("now")
    faults.away = False
    scheduler.advance_to(20)
    assert (list(works.begun), got[-1]) == (["k000"], "end")
    assert [due.key for due in queue.peek()] == ["k001"]
    claims: list[Any] = []
    queue.claims().subscribe(claims.append)
    scheduler.advance_to(21)
    assert [(claim.key, claim.attempt) for claim in claims] == [("k001", 2)]


def test_if_it_completes_nothing_happens_and_if_it_fails_the_stream_does() -> None:
    queue, scheduler = virtual_queue()
    works = Works()
    got: list[Any] = []
    queue.claims().pipe(settle(works, until=rx.empty())).subscribe(lambda each: got.append(each.verdict))
    queue.on_next(jobs(1))
    scheduler.advance_to(2)
    works.done("k000")
    assert got == ["acked"]
    end: Subject[str] = Subject()
    queue.claims().pipe(settle(works, until=end)).subscribe(got.append, lambda error: got.append(str(error)))
    end.on_error(ValueError("no"))
    assert got == ["acked", "no"]


def test_disposal_leaves_it() -> None:
    queue, _ = virtual_queue()
    end: Subject[str] = Subject()
    subscription = queue.claims().pipe(settle(fail, until=end)).subscribe()
    assert len(end.observers) == 1
    subscription.dispose()
    assert not end.observers
    queue.claims().pipe(settle(fail, until=end)).subscribe()
    queue.stop()
    assert not end.observers


@pytest.mark.parametrize("until", [3, "SIGTERM", lambda: None])
def test_what_is_no_observable_is_refused(until: Any) -> None:
    with pytest.raises(InvalidSetting, match=r"^until: got .*signals\(\)"):
        settle(fail, until=until)
