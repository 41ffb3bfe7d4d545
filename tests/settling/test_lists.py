"""`settle` on lists of claims: what becomes of each claim of a list, in virtual time."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest
import reactivex as rx
from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.subject import Subject

from rx_runat import Claim, Job, Outcome, RunAt, settle
from rx_runat.testing import Faults, virtual_queue
from tests.support.settling import PAST, jobs, reopen, short, verdicts, wait_10


def in_lists(queue: RunAt, scheduler: abc.SchedulerBase, n: int = 3) -> Observable[list[Claim]]:
    return queue.claims().pipe(ops.buffer_with_time_or_count(0.5, n, scheduler))


def keys(claims: list[Claim]) -> list[str]:
    return [claim.key for claim in claims]


def test_success_acks_all_and_each_claim_has_an_outcome_with_the_result(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    got: list[Outcome[list[str]]] = []
    queue.on_next(jobs(5))
    in_lists(queue, scheduler).pipe(settle(keys)).subscribe(got.append)
    scheduler.advance_to(3)
    first, second = ["k000", "k001", "k002"], ["k003", "k004"]
    assert list(map(short, got)) == [
        *((key, 1, "acked", first) for key in first),
        *((key, 1, "acked", second) for key in second),
    ]
    assert got[0].result is got[2].result
    queue.stop()
    reopen(faults)
    assert faults.call("KEYS", "*") == []


def test_an_error_nacks_each_claim_by_its_own_attempt_and_buries_the_last_ones() -> None:
    queue, scheduler = virtual_queue()
    ends_list: Subject[None] = Subject()
    got: list[tuple[str, int, str, float | None]] = []

    def work(claims: list[Claim]) -> None:
        raise ValueError("no")

    queue.claims().pipe(
        ops.buffer(ends_list), settle(work, max_attempts=2, backoff=lambda attempt: 10 * attempt)
    ).subscribe(lambda each: got.append((each.claim.key, each.claim.attempt, each.verdict, each.delay)))
    queue.on_next([Job("a", 1), Job("b", 20), Job("c", 20)])
    for moment in (2, 21):
        scheduler.advance_to(moment)
        ends_list.on_next(None)
    assert got == [
        ("a", 1, "nacked", 10.0),
        ("a", 2, "buried", None),
        ("b", 1, "nacked", 10.0),
        ("c", 1, "nacked", 10.0),
    ]
    assert [(letter.key, letter.attempts, letter.reason) for letter in queue.dead.peek()] == [
        ("a", 2, "ValueError: no")
    ]
    scheduler.advance_to(40)
    ends_list.on_next(None)
    assert got[4:] == [("b", 2, "buried", None), ("c", 2, "buried", None)]


@pytest.mark.parametrize("fails", [False, True])
def test_what_the_work_settled_by_hand_stays_and_the_rest_shares_its_fate(fails: bool) -> None:
    queue, scheduler = virtual_queue()
    got: list[Outcome[Any]] = []

    def work(claims: list[Claim]) -> str:
        acked, nacked, buried, superseded, extended, _ = claims
        assert acked.ack()
        assert nacked.nack(100)
        assert buried.bury("by hand")
        queue.schedule(superseded.key, 500)
        assert superseded.nack()
        assert extended.extend(60)
        if fails:
            raise ValueError("no")
        return "done"

    in_lists(queue, scheduler, 6).pipe(settle(work, backoff=wait_10)).subscribe(got.append)
    queue.on_next(jobs(6))
    scheduler.advance_to(2)
    rest = "nacked" if fails else "acked"
    assert [each.verdict for each in got] == ["acked", "nacked", "buried", "superseded", rest, rest]
    assert {short(each)[3] for each in got} == {"no" if fails else "done"}
    assert [each.delay for each in got] == [None] * 4 + ([10.0] * 2 if fails else [None] * 2)
    assert [letter.reason for letter in queue.dead.peek()] == ["by hand"]
    waits = {due.key: due.run_at.timestamp() for due in queue.peek(9)}
    assert (round(waits.pop("k001")), waits.pop("k003")) == (101, 500)
    assert set(waits) == ({"k004", "k005"} if fails else set())


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("by_hand", ["acked", "nacked", "superseded", "buried"])
def test_what_the_work_of_a_single_claim_settled_by_hand_stays(by_hand: str, fails: bool) -> None:
    queue, scheduler = virtual_queue()
    got: list[Outcome[Any]] = []

    def work(claim: Claim) -> None:
        if by_hand == "superseded":
            queue.schedule(claim.key, 500)
        ended = {"acked": claim.ack, "buried": lambda: claim.bury("by hand")}.get(by_hand, lambda: claim.nack(500))
        assert ended()
        if fails:
            raise ValueError("no")

    queue.claims().pipe(settle(work, backoff=wait_10)).subscribe(got.append)
    queue.on_next(jobs(1))
    scheduler.advance_to(20)
    assert list(map(short, got)) == [("k000", 1, by_hand, "no" if fails else None)]
    assert queue.size() == (by_hand in ("nacked", "superseded"))
    assert len(queue.dead.peek()) == (by_hand == "buried")


def test_an_empty_list_is_nothing_to_do() -> None:
    queue, scheduler = virtual_queue()
    got: list[Any] = []
    called: list[list[str]] = []

    def work(claims: list[Claim]) -> None:
        called.append(keys(claims))

    lists = in_lists(queue, scheduler).pipe(ops.filter(bool), ops.take(1))
    rx.concat(rx.of(list[Claim]()), lists, rx.of(list[Claim]())).pipe(settle(work)).subscribe(
        lambda each: got.append(each.claim.key), got.append, lambda: got.append("end")
    )
    queue.on_next(jobs(2))
    scheduler.advance_to(5)
    assert (called, got) == ([["k000", "k001"]], ["k000", "k001", "end"])


def test_the_stream_completes_after_an_empty_list_as_the_only_item() -> None:
    got: list[Any] = []
    rx.of(list[Claim]()).pipe(settle(keys)).subscribe(got.append, got.append, lambda: got.append("end"))
    assert got == ["end"]


@pytest.mark.parametrize(
    "work, said",
    [
        (lambda claims: rx.timer(2).pipe(ops.map(lambda _: len(claims))), ("acked", 3)),
        (lambda _: rx.empty(), ("acked", None)),
        (lambda _: rx.timer(2).pipe(ops.concat(rx.throw(ValueError("no")))), ("nacked", "no")),
    ],
)
def test_the_work_on_a_list_may_be_an_observable(work: Any, said: tuple[str, Any]) -> None:
    queue, scheduler = virtual_queue()
    got: list[Outcome[Any]] = []
    in_lists(queue, scheduler).pipe(settle(work)).subscribe(got.append)
    queue.on_next(jobs(3))
    scheduler.advance_to(5)
    assert [short(each)[2:] for each in got] == [said] * 3


@pytest.mark.parametrize("fails", [False, True])
def test_the_work_on_a_list_may_be_a_future(fails: bool) -> None:
    queue, scheduler = virtual_queue()
    future: Future[str] = Future()
    got: list[Outcome[str]] = []
    in_lists(queue, scheduler).pipe(settle(lambda _: future)).subscribe(got.append)
    queue.on_next(jobs(3))
    scheduler.advance_to(100)
    assert got == []
    if fails:
        future.set_exception(ValueError("no"))
    else:
        future.set_result("done")
    assert [short(each) for each in got] == [
        (f"k00{i}", 1, "nacked" if fails else "acked", "no" if fails else "done") for i in range(3)
    ]


def test_what_is_settled_by_hand_while_the_work_goes_on_stays() -> None:
    queue, scheduler = virtual_queue()
    future: Future[str] = Future()
    taken: list[Claim] = []
    got: list[Outcome[str]] = []

    def work(claims: list[Claim]) -> Future[str]:
        taken.extend(claims)
        return future

    in_lists(queue, scheduler).pipe(settle(work)).subscribe(got.append)
    queue.on_next(jobs(3))
    scheduler.advance_to(100)
    assert taken[1].bury("no good")
    scheduler.advance_to(300)  # many leases later
    future.set_result("done")
    assert verdicts(got) == [("k000", 1, "acked"), ("k001", 1, "buried"), ("k002", 1, "acked")]


def test_the_claims_of_two_queues_may_be_in_one_list() -> None:
    queue, scheduler = virtual_queue()
    other = RunAt("memory://", queue_name="other", scheduler=scheduler)
    ends_list: Subject[None] = Subject()
    got: list[Any] = []
    rx.merge(queue.claims(), other.claims()).pipe(ops.buffer(ends_list), settle(keys)).subscribe(
        lambda each: got.append((each.claim.key, each.verdict, len(each.result)))
    )
    queue.on_next(jobs(2))
    other.on_next([Job("o1", PAST), Job("o2", PAST)])
    scheduler.advance_to(3)
    ends_list.on_next(None)
    assert sorted(got) == [(key, "acked", 4) for key in ("k000", "k001", "o1", "o2")]
    scheduler.advance_to(100)
    ends_list.on_next(None)
    assert len(got) == 4  # nothing comes again
    other.stop()


def test_a_list_counts_once_for_max_concurrent() -> None:
    queue, scheduler = virtual_queue()
    futures: list[Future[None]] = []
    begun: list[list[str]] = []

    def work(claims: list[Claim]) -> Future[None]:
        begun.append(keys(claims))
        futures.append(Future())
        return futures[-1]

    in_lists(queue, scheduler).pipe(settle(work, max_concurrent=2)).subscribe()
    queue.on_next(jobs(9))
    scheduler.advance_to(3)
    assert begun == [["k000", "k001", "k002"], ["k003", "k004", "k005"]]
    futures[1].set_result(None)
    assert begun[2:] == [["k006", "k007", "k008"]]


def test_the_timeout_is_that_of_the_whole_list() -> None:
    queue, scheduler = virtual_queue()
    got: list[Any] = []
    in_lists(queue, scheduler).pipe(settle(lambda _: rx.never(), timeout=5, backoff=wait_10)).subscribe(
        lambda each: got.append((scheduler.clock, *short(each)[:3], type(each.error)))
    )
    queue.on_next(jobs(3))
    scheduler.advance_to(8)
    (moment,) = {each[0] for each in got}
    assert got == [(moment, f"k00{i}", 1, "nacked", TimeoutError) for i in range(3)]


def test_one_claim_twice_in_a_list_is_one_claim() -> None:
    queue, scheduler = virtual_queue()
    got: list[Outcome[list[str]]] = []
    ends: list[str] = []
    queue.claims().pipe(ops.take(1), ops.map(lambda claim: [claim, claim]), settle(keys)).subscribe(
        got.append, on_completed=lambda: ends.append("end")
    )
    queue.on_next(jobs(1))
    scheduler.advance_to(2)
    assert (list(map(short, got)), ends) == ([("k000", 1, "acked", ["k000"])], ["end"])


@pytest.mark.parametrize(
    "spoil, said",
    [
        (tuple, "got .*<Claim 'k000'"),
        (lambda _: None, "got None"),
        (lambda claims: [*claims, "k003"], "got 'k003'"),
        (lambda claims: [None, *claims], "got None"),
        (lambda claims: [claims], "got .*<Claim 'k000'"),
    ],
)
def test_what_is_neither_claim_nor_list_ends_the_stream_and_what_was_taken_goes_back(spoil: Any, said: str) -> None:
    queue, scheduler = virtual_queue()
    errors: list[Exception] = []
    called: list[Any] = []
    in_lists(queue, scheduler).pipe(ops.filter(bool), ops.map(spoil), settle(called.append)).subscribe(
        on_error=errors.append
    )
    queue.on_next([Job(f"k00{i}", PAST, data={"n": i}) for i in range(3)])
    scheduler.advance_to(3)
    (error,) = errors
    with pytest.raises(type(error), match=f"^settle takes claims, .*or lists of them; {said}"):
        raise error
    assert called == []
    if spoil([1]) is not None:
        assert [(due.key, due.data) for due in queue.peek(9)] == [(f"k00{i}", {"n": i}) for i in range(3)]
