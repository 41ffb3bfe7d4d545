"""`settle` in virtual time: what becomes of each claim, and of all when the stream ends."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest
import reactivex as rx
from reactivex import Observable
from reactivex import operators as ops
from reactivex.disposable import Disposable
from reactivex.subject import Subject

from rx_runat import Claim, InvalidSetting, Job, Outcome, Refused, RunAt, exponential, settle
from rx_runat.testing import Faults, virtual_queue

PAST = 1.0


def jobs(n: int) -> list[Job]:
    return [Job(f"k{i:03}", PAST) for i in range(n)]


def short(outcome: Outcome[Any]) -> tuple[str, int, str, Any]:
    said = outcome.result if outcome.error is None else str(outcome.error)
    return outcome.claim.key, outcome.claim.attempt, outcome.verdict, said


def fail(claim: Claim) -> None:
    raise ValueError(f"no {claim.key}")


def wait_10(_: int) -> float:
    return 10.0


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


# What becomes of a claim.


def test_success_acks_and_tells_the_result(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    got: list[Outcome[str]] = []
    queue.claims().pipe(settle(lambda claim: claim.key.upper())).subscribe(got.append)
    queue.on_next(jobs(3))
    scheduler.advance_to(2)
    assert list(map(short, got)) == [(f"k00{i}", 1, "acked", f"K00{i}") for i in range(3)]
    assert {(outcome.error, outcome.delay) for outcome in got} == {(None, None)}
    queue.stop()
    faults._closed = False
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
    """What kills its process every time ends in the dead letters, unrun."""
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
    assert letter.reason == "its process died in attempt 2, and max_attempts is 2"


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
    assert [short(outcome) for outcome in got] == [("a", 1, "lost", True)]


# How much at once, and the leases meanwhile.


def test_no_more_work_is_under_way_than_may_be() -> None:
    queue, scheduler = virtual_queue()
    works = Works()
    got: list[Outcome[Any]] = []
    queue.claims().pipe(settle(works, max_concurrent=2)).subscribe(got.append)
    queue.on_next(jobs(5))
    scheduler.advance_to(2)
    assert list(works.begun) == ["k000", "k001"]
    works.done("k001")
    assert list(works.begun) == ["k000", "k001", "k002"]
    for key in ("k000", "k002", "k003", "k004"):
        works.done(key)
    assert [outcome.claim.key for outcome in got] == ["k001", "k000", "k002", "k003", "k004"]
    assert {outcome.verdict for outcome in got} == {"acked"}


def test_leases_are_renewed_of_those_too_that_wait_for_their_turn() -> None:
    queue, scheduler = virtual_queue()
    got: list[tuple[float, str, int, str, Any]] = []
    queue.claims(lease=3).pipe(settle(lambda _: rx.timer(10), max_concurrent=1)).subscribe(
        lambda outcome: got.append((scheduler.clock, *short(outcome)))
    )
    queue.on_next(jobs(4))
    scheduler.advance_to(60)
    assert got == [(11 + 10 * i, f"k00{i}", 1, "acked", 0) for i in range(4)]


def test_renewals_are_one_call_every_third_of_a_lease(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    queue.claims(lease=30).pipe(settle(lambda _: rx.never())).subscribe()
    queue.on_next(jobs(100))
    scheduler.advance_to(12)
    faults.commands.clear()
    scheduler.advance_to(312)
    assert len(faults.commands) == 30
    assert queue.size() == 0


def test_a_lease_lost_while_its_claim_waits_drops_it_unrun() -> None:
    queue, scheduler = virtual_queue()
    works = Works()
    got: list[Outcome[Any]] = []
    queue.claims(lease=3).pipe(settle(works, max_concurrent=1)).subscribe(got.append)
    queue.on_next(jobs(3))
    scheduler.advance_to(2)
    assert queue.cancel("k001")
    scheduler.advance_to(4)
    works.done("k000")
    works.done("k002")
    assert list(works.begun) == ["k000", "k002"]
    assert [outcome.claim.key for outcome in got] == ["k000", "k002"]


def test_a_lease_lost_while_work_runs_ends_it_and_its_outcome_says_so() -> None:
    queue, scheduler = virtual_queue()
    works = Works()
    got: list[Outcome[Any]] = []
    queue.claims(lease=3).pipe(settle(works, max_concurrent=1)).subscribe(got.append)
    queue.on_next(jobs(2))
    scheduler.advance_to(2)
    assert queue.cancel("k000")
    scheduler.advance_to(3.1)
    assert works.disposed == ["k000"]
    assert [short(outcome) for outcome in got] == [("k000", 1, "lost", None)]
    assert list(works.begun) == ["k000", "k001"]  # its place is free


def test_a_process_that_stood_still_beyond_its_leases_begins_nothing() -> None:
    """No thread of ours has heard of it yet when the next claim's turn has come: its lease is over all the same."""
    queue, scheduler = virtual_queue()
    begun: list[tuple[float, str, int]] = []

    def work(claim: Claim) -> None:
        begun.append((scheduler.clock, claim.key, claim.attempt))
        if len(begun) == 1:
            scheduler._clock += 100  # the clock goes on, and nothing else

    got: list[Outcome[None]] = []
    queue.claims(lease=3).pipe(settle(work, max_concurrent=1)).subscribe(got.append)
    queue.on_next(jobs(2))
    scheduler.advance_to(110)
    assert [(key, attempt) for _, key, attempt in begun] == [("k000", 1), ("k000", 2), ("k001", 2)]
    assert [short(outcome)[2] for outcome in got] == ["lost", "acked", "acked"]


def test_the_backlog_waits_in_redis_while_work_is_slow() -> None:
    queue, scheduler = virtual_queue()
    queue.claims(max_in_flight=10).pipe(settle(Works(), max_concurrent=2)).subscribe()
    queue.on_next(jobs(100))
    scheduler.advance_to(100)
    assert queue.size() == 90


def test_claims_of_several_sources_may_be_merged() -> None:
    one, scheduler = virtual_queue()
    other = RunAt("memory://", scheduler=scheduler, interval=None)
    got: list[Outcome[str]] = []
    claims = rx.merge(one.claims(lease=3), other.claims(lease=30))
    claims.pipe(settle(lambda claim: rx.timer(50).pipe(ops.map(lambda _: claim.key)))).subscribe(got.append)
    one.schedule("one", 1)
    other.schedule("other", 1)
    scheduler.advance_to(60)
    assert sorted(short(outcome) for outcome in got) == [("one", 1, "acked", "one"), ("other", 1, "acked", "other")]
    other.stop()


def test_a_claim_that_comes_twice_is_settled_once() -> None:
    queue, scheduler = virtual_queue()
    got: list[Any] = []
    claims = queue.claims()
    rx.merge(claims, claims).pipe(settle(lambda _: rx.timer(1))).subscribe(
        lambda outcome: got.append(outcome.verdict), on_completed=lambda: got.append("end")
    )
    queue.schedule("a", 1)
    scheduler.advance_to(5)
    queue.stop()
    assert got == ["acked", "lost", "end"]


def test_many_observables_that_end_at_once_are_not_many_calls_deep() -> None:
    queue, scheduler = virtual_queue()
    got: list[Outcome[str]] = []
    queue.claims(max_in_flight=3000).pipe(settle(lambda _: rx.just("x"))).subscribe(got.append)
    for _ in range(3):
        queue.on_next([Job(f"{len(got)}-{i}", PAST) for i in range(1000)])
    scheduler.advance_to(2)
    assert len(got) == 1000


# How the stream ends.


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


def test_disposal_breaks_off_what_runs_and_gives_back_what_was_not_begun() -> None:
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


def test_a_claim_that_comes_beside_the_end_goes_back_and_holds_nothing_open() -> None:
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


def test_stop_gives_back_and_completes() -> None:
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


# What goes wrong.


def test_what_is_not_a_claim_ends_the_stream_in_words() -> None:
    queue, scheduler = virtual_queue()
    errors: list[Exception] = []
    queue.pipe(settle(fail)).subscribe(on_error=errors.append)  # type: ignore[arg-type]
    queue.schedule("a", 1)
    scheduler.advance_to(2)
    assert [str(error) for error in errors] == ["settle takes claims, as `queue.claims()` gives them; got 'a' (str)"]


@pytest.mark.parametrize("backoff", [lambda attempt: 1 / 0, lambda attempt: -1, lambda attempt: "soon"])
def test_a_backoff_that_cannot_be_used_ends_the_stream_and_loses_nothing(backoff: Any) -> None:
    queue, scheduler = virtual_queue()
    errors: list[Exception] = []
    queue.claims().pipe(settle(fail, backoff=backoff)).subscribe(on_error=errors.append)
    queue.on_next(jobs(3))
    scheduler.advance_to(2)
    assert [type(error) for error in errors] in ([ZeroDivisionError], [InvalidSetting])
    assert queue.size() == 3


def test_a_coroutine_without_an_event_loop_ends_the_stream_and_loses_nothing() -> None:
    queue, scheduler = virtual_queue()
    errors: list[Exception] = []

    async def work(claim: Claim) -> None: ...

    queue.claims().pipe(settle(work)).subscribe(on_error=errors.append)
    queue.claims().pipe(settle(lambda claim: work(claim))).subscribe(on_error=errors.append)
    queue.schedule("a", 1)
    scheduler.advance_to(2)
    assert ["there is no event loop" in str(error) for error in errors] == [True, True]
    assert queue.size() == 1


def test_a_subscriber_that_raises_ends_with_its_own_on_error() -> None:
    queue, scheduler = virtual_queue()
    errors: list[Exception] = []
    queue.claims().pipe(settle(str)).subscribe(lambda _: 1 / 0, errors.append)
    queue.on_next(jobs(3))
    scheduler.advance_to(2)
    assert [type(error) for error in errors] == [ZeroDivisionError]
    assert queue.size() == 2


def test_system_exit_in_work_is_an_error_that_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, scheduler = virtual_queue()
    shown: list[type] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: shown.append(args.exc_type))
    got: list[Outcome[None]] = []

    def work(claim: Claim) -> None:
        raise SystemExit

    queue.claims().pipe(settle(work)).subscribe(got.append)
    queue.schedule("a", 1)
    scheduler.advance_to(1.1)
    assert (got[0].verdict, type(got[0].error), shown) == ("nacked", SystemExit, [SystemExit])


def test_work_whose_disposal_raises_is_broken_off_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, scheduler = virtual_queue()
    shown: list[type] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: shown.append(args.exc_type))
    got: list[Any] = []
    queue.claims(lease=3).pipe(
        settle(lambda claim: rx.never().pipe(ops.finally_action(lambda: int(claim.key))))  # type: ignore[arg-type, return-value]
    ).subscribe(lambda outcome: got.append(short(outcome)), on_completed=lambda: got.append("end"))
    queue.on_next(jobs(3))
    scheduler.advance_to(2)
    assert queue.cancel("k000")
    scheduler.advance_to(4)
    assert got == [("k000", 1, "lost", None)]
    queue.stop()
    assert (got[1:], shown) == (["end"], [ValueError] * 3)


def test_an_outage_shorter_than_the_lease_costs_nothing(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults, interval=1)
    works = Works()
    got: list[tuple[float, str, int, str, Any]] = []
    queue.claims(lease=30).pipe(settle(works)).subscribe(lambda o: got.append((round(scheduler.clock), *short(o))))
    queue.on_next(jobs(3))
    scheduler.advance_to(2)
    faults.away = True
    works.done("k000")
    scheduler.advance_to(20)
    works.done("k001")
    assert got == []
    faults.away = False
    scheduler.advance_to(25)
    works.done("k002")
    assert [each[1:] for each in got] == [(f"k00{i}", 1, "acked", None) for i in range(3)]


def test_an_outage_that_outlasts_the_lease_says_that_it_is_unknown(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults, interval=1)
    works = Works()
    got: list[Outcome[Any]] = []
    queue.claims(lease=10).pipe(settle(works)).subscribe(got.append)
    queue.on_next(jobs(2))
    scheduler.advance_to(2)
    faults.away = True
    works.done("k000")
    scheduler.advance_to(30)
    assert sorted(short(outcome) for outcome in got) == [("k000", 1, "unknown", None), ("k001", 1, "lost", None)]
    assert works.disposed == ["k000", "k001"]
    faults.away = False
    scheduler.advance_to(40)
    assert sorted(works.begun) == ["k000", "k001"]
    for key in works.begun:
        works.done(key)
    assert [short(outcome) for outcome in got[2:]] == [("k000", 2, "acked", None), ("k001", 2, "acked", None)]


@pytest.mark.parametrize("lost", [1, 2, 3, 5])
def test_an_answer_lost_on_the_wire_is_asked_for_until_it_is_known(faults: Faults, lost: int) -> None:
    queue, scheduler = virtual_queue(faults=faults, interval=1)
    works = Works()
    got: list[Outcome[Any]] = []
    queue.claims(lease=30).pipe(settle(works)).subscribe(got.append)
    queue.on_next(jobs(2))
    scheduler.advance_to(2)
    faults.lost = lost
    works.done("k000")
    works.begun["k001"].on_error(ValueError("no"))
    scheduler.advance_to(5)
    assert sorted(short(outcome) for outcome in got[:2]) == [("k000", 1, "acked", None), ("k001", 1, "nacked", "no")]


def test_renewals_whose_answers_are_lost_are_made_again(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults, interval=1)
    got: list[Outcome[int]] = []
    queue.claims(lease=3).pipe(settle(lambda _: rx.timer(30))).subscribe(got.append)
    queue.schedule("a", 1)
    for second in range(2, 40):
        scheduler.advance_to(second)
        faults.lost = 4
    assert [short(outcome) for outcome in got] == [("a", 1, "acked", 0)]


def test_a_redis_that_refuses_ends_the_stream(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    works = Works()
    errors: list[Exception] = []
    queue.claims().pipe(settle(works)).subscribe(on_error=errors.append)
    queue.schedule("a", 1)
    scheduler.advance_to(2)
    faults.refusal = "NOPERM"
    works.done("a")
    assert [type(error) for error in errors] == [Refused]


# Arguments.


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


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"first": -1}, "first: got -1 (int); it must be between 0 seconds and a year"),
        ({"longest": math.inf}, "longest: got inf (float); it must be between 0 seconds and a year"),
        ({"longest": "1 h"}, "longest: got '1 h' (str); it must be seconds, such as 30.0, or a timedelta"),
        ({"jitter": 1.5}, "jitter: got 1.5 (float); it must be between 0 and 1"),
        ({"jitter": math.nan}, "jitter: got nan (float); it must be between 0 and 1"),
    ],
)
def test_an_exponential_that_cannot_be(settings: dict[str, Any], said: str) -> None:
    """It says so at once, not when the first work fails."""
    with pytest.raises(InvalidSetting) as refused:
        exponential(**settings)
    assert str(refused.value) == said


def test_exponential_takes_a_timedelta() -> None:
    assert exponential(timedelta(minutes=1), timedelta(hours=1), jitter=0)(3) == 240


def test_exponential_stays_within_its_bounds() -> None:
    backoff = exponential(first=2, longest=60, jitter=0.25)
    for attempt in range(1, 100):
        most = min(2 * 2 ** (attempt - 1), 60)
        assert 0.75 * most <= backoff(attempt) <= most
    assert len({backoff(5) for _ in range(100)}) > 90
