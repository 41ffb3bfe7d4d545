"""`settle` in virtual time: what becomes of each claim."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest
import reactivex as rx
from reactivex import Observable
from reactivex import operators as ops

from rx_runat import Claim, InvalidSetting, Job, Outcome, settle
from rx_runat.testing import Faults, virtual_queue
from tests.support.settling import PAST, fail, jobs, reopen, short, wait_10


def test_success_acks_and_tells_the_result(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    got: list[Outcome[str]] = []
    queue.claims().pipe(settle(lambda claim: claim.key.upper())).subscribe(got.append)
    queue.on_next(jobs(3))
    scheduler.advance_to(2)
    assert list(map(short, got)) == [(f"k00{i}", 1, "acked", f"K00{i}") for i in range(3)]
    assert {(outcome.error, outcome.delay) for outcome in got} == {(None, None)}
    queue.stop()
    reopen(faults)
    assert faults.call("KEYS", "*") == []


def test_an_error_nacks_with_backoff_and_at_last_buries() -> None:
    queue, scheduler = virtual_queue()
    got: list[tuple[float, str, int, str, Any]] = []
    delays: list[float | None] = []

    def note(outcome: Outcome[None]) -> None:
        got.append((scheduler.clock, *short(outcome)))
        delays.append(outcome.delay)

    queue.claims().pipe(settle(fail, max_attempts=3, backoff=lambda attempt: 10 * attempt)).subscribe(note)
    queue.schedule("a", 1)
    scheduler.advance_to(100)
    assert got == [(1, "a", 1, "nacked", "no a"), (11, "a", 2, "nacked", "no a"), (31, "a", 3, "buried", "no a")]
    assert delays == [10, 20, None]
    (letter,) = queue.dead.peek()
    assert (letter.key, letter.attempts, letter.reason) == ("a", 3, "ValueError: no a")


def test_the_stream_goes_on_after_an_error() -> None:
    queue, scheduler = virtual_queue()
    got: list[Outcome[float]] = []
    queue.claims().pipe(settle(lambda claim: 1 / int(claim.key), backoff=wait_10, max_concurrent=1)).subscribe(
        got.append
    )
    queue.on_next([Job(str(i), PAST) for i in range(3)])
    scheduler.advance_to(2)
    assert [short(outcome) for outcome in got] == [
        ("0", 1, "nacked", "division by zero"),
        ("1", 1, "acked", 1.0),
        ("2", 1, "acked", 0.5),
    ]


def test_an_outcome_says_what_it_is() -> None:
    queue, scheduler = virtual_queue()
    got: list[Outcome[Any]] = []
    queue.on_next([Job("<a>", 1), Job("b", 1), Job("c", 1)])

    def work(claim: Claim) -> Any:
        return {"<a>": "x" * 1000, "b": None}[claim.key]

    queue.claims().pipe(settle(work, max_attempts=2, backoff=wait_10)).subscribe(got.append)
    scheduler.advance_to(20)
    first, *rest = got
    assert repr(first).startswith("<Outcome '<a>', attempt 1, acked: 'xxx")
    assert len(repr(first)) < 120
    assert "&lt;a&gt;" in first._repr_html_()
    assert list(map(repr, rest)) == [
        "<Outcome 'b', attempt 1, acked>",
        "<Outcome 'c', attempt 1, nacked, again in 10 s: KeyError('c')>",
        "<Outcome 'c', attempt 2, buried: KeyError('c')>",
    ]
    assert [repr(outcome.claim).split(", ")[-1] for outcome in got] == ["acked>", "acked>", "nacked>", "buried>"]


def test_a_backoff_may_be_a_timedelta() -> None:
    queue, scheduler = virtual_queue()
    got: list[Outcome[None]] = []
    queue.claims().pipe(settle(fail, backoff=lambda _: timedelta(minutes=1))).subscribe(got.append)
    queue.schedule("a", 1)
    scheduler.advance_to(60.9)
    assert len(got) == 1
    scheduler.advance_to(61)
    assert len(got) == 2


@pytest.mark.parametrize(
    "work, said",
    [
        (lambda _: rx.of(1, 2, 3), ("acked", 3)),
        (lambda _: rx.empty(), ("acked", None)),
        (lambda _: rx.throw(ValueError("no")), ("nacked", "no")),
        (lambda _: rx.timer(5).pipe(ops.map(lambda _: "later")), ("acked", "later")),
        (lambda _: rx.of(1).pipe(ops.map(lambda x: x / 0)), ("nacked", "division by zero")),
    ],
)
def test_work_may_be_an_observable(work: Callable[[Claim], Observable[Any]], said: tuple[str, Any]) -> None:
    queue, scheduler = virtual_queue()
    got: list[Outcome[Any]] = []
    queue.claims().pipe(settle(work)).subscribe(got.append)
    queue.schedule("a", 1)
    scheduler.advance_to(6)
    assert [short(outcome)[2:] for outcome in got[:1]] == [said]


@pytest.mark.parametrize("ends", ["result", "error", "cancel"])
def test_work_may_be_a_future(ends: str) -> None:
    queue, scheduler = virtual_queue()
    got: list[Outcome[str]] = []
    future: Future[str] = Future()
    queue.claims().pipe(settle(lambda _: future)).subscribe(got.append)
    queue.schedule("a", 1)
    scheduler.advance_to(2)
    assert got == []
    if ends == "result":
        future.set_result("done")
        assert short(got[0]) == ("a", 1, "acked", "done")
    elif ends == "error":
        future.set_exception(ValueError("no"))
        assert short(got[0]) == ("a", 1, "nacked", "no")
    else:
        assert future.cancel()
        assert got[0].verdict == "nacked"
        assert type(got[0].error).__name__ == "CancelledError"


def test_a_crash_counts_as_an_attempt() -> None:
    """A key whose work kills the process every time ends in the dead letters, without being run once more."""
    queue, scheduler = virtual_queue()
    crashed = queue.claims(lease=10).subscribe()  # its process is killed: no ack, ever
    queue.schedule("a", 1)
    scheduler.advance_to(15)
    crashed.dispose()
    got: list[Outcome[None]] = []
    ran: list[Claim] = []
    queue.claims().pipe(settle(ran.append, max_attempts=2)).subscribe(got.append)
    scheduler.advance_to(100)
    assert [short(outcome) for outcome in got] == [("a", 3, "buried", None)]
    assert ran == []
    (letter,) = queue.dead.peek()
    assert letter.reason == (
        "attempt 2 was not settled before its lease ended (perhaps its process died), "
        "or it was nacked although max_attempts is 2"
    )


def test_a_reschedule_during_the_work_survives_its_ack() -> None:
    queue, scheduler = virtual_queue()
    times: list[float] = []

    def work(claim: Claim) -> None:
        times.append(scheduler.clock)
        if len(times) < 3:
            queue.schedule(claim.key, timedelta(days=1))

    queue.claims().pipe(settle(work)).subscribe()
    queue.schedule("a", 1)
    scheduler.advance_by(1_000_000)
    assert times == [1, 86_401, 172_801]


def test_an_ack_of_the_user_s_own_wins() -> None:
    queue, scheduler = virtual_queue()
    got: list[Outcome[bool]] = []
    queue.claims().pipe(settle(Claim.ack)).subscribe(got.append)
    queue.schedule("a", 1)
    scheduler.advance_to(2)
    assert [short(outcome) for outcome in got] == [("a", 1, "acked", True)]


def test_each_subscriber_works_for_itself() -> None:
    queue, scheduler = virtual_queue()
    ran: list[str] = []
    got: list[Outcome[None]] = []
    outcomes = queue.claims().pipe(settle(lambda claim: ran.append(claim.key)))
    shared = outcomes.pipe(ops.share())
    shared.subscribe(got.append)
    shared.subscribe(got.append)
    queue.schedule("a", 1)
    scheduler.advance_to(2)
    assert ran == ["a"]
    assert [short(outcome)[2] for outcome in got] == ["acked"] * 2


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"work": None}, "work: got None (NoneType); it must be callable with a claim"),
        ({"backoff": 5}, "backoff: got 5 (int); it must be callable with the number of an attempt"),
        ({"max_attempts": 0}, "max_attempts: got 0 (int); it must be a count from 1"),
        ({"max_concurrent": True}, "max_concurrent: got True (bool); it must be a count from 1"),
        ({"max_concurrent": 1.5}, "max_concurrent: got 1.5 (float); it must be a count from 1"),
    ],
)
def test_arguments_that_cannot_be_used(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidSetting) as refused:
        settle(**({"work": fail} | settings))
    assert str(refused.value) == said


def test_an_outcome_tells_how_long_the_work_took() -> None:
    queue, scheduler = virtual_queue()
    got: list[tuple[str, float | None]] = []
    outcomes = queue.claims().pipe(settle(lambda claim: rx.timer(1.5)))
    outcomes.subscribe(lambda outcome: got.append((outcome.verdict, outcome.seconds)))
    queue.schedule("a", 1)
    scheduler.advance_to(3)
    assert got == [("acked", 1.5)]


def test_an_outcome_of_work_that_was_not_run_has_no_time() -> None:
    queue, scheduler = virtual_queue()
    got: list[tuple[str, float | None]] = []
    claims = queue.claims(lease=1)
    queue.schedule("a", 1)
    crashed = claims.subscribe(lambda claim: None)  # the claim is forgotten, as by a process that dies
    scheduler.advance_to(1.5)
    crashed.dispose()
    settling = settle(lambda claim: None, max_attempts=1)
    queue.claims().pipe(settling).subscribe(lambda outcome: got.append((outcome.verdict, outcome.seconds)))
    scheduler.advance_to(5)
    assert got == [("buried", None)]
