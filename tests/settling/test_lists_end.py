"""The end of lists in `settle`: stop, disposal, `until`, lost leases and long waits; in virtual time."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest
from reactivex import operators as ops
from reactivex.subject import Subject

from rx_runat import Claim, Job, Outcome, RunAt, settle
from rx_runat.testing import Faults, virtual_queue
from tests.support.settling import CLAIMED, PAST, jobs, reopen, verdicts, wait_10


class Pairs:
    """A pipeline with lists of two claims; the test ends the work on each by hand."""

    def __init__(self, queue: RunAt, lease: float = 30, **how: Any) -> None:
        self.futures: list[Future[str]] = []
        self.claims: list[list[Claim]] = []
        self.got: list[Outcome[str]] = []
        self.ends: list[object] = []
        self.subscription = (
            queue.claims(lease=lease)
            .pipe(ops.buffer_with_count(2), settle(self.work, backoff=wait_10, **how))
            .subscribe(self.got.append, self.ends.append, lambda: self.ends.append("end"))
        )

    def work(self, claims: list[Claim]) -> Future[str]:
        self.claims.append(claims)
        self.futures.append(Future())
        return self.futures[-1]

    @property
    def begun(self) -> list[list[str]]:
        return [[claim.key for claim in claims] for claims in self.claims]


def with_data(n: int) -> list[Job]:
    return [Job(f"k00{i}", PAST, data={"n": i}) for i in range(n)]


WAITED = [(f"k00{i}", PAST, {"n": i}) for i in range(2, 6)]


@pytest.mark.parametrize("end", ["stop", "dispose", "until"])
def test_lists_that_were_not_begun_go_back_each_claim_with_its_time_and_data(end: str, faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    until: Subject[str] = Subject()
    pairs = Pairs(queue, max_concurrent=1, until=until)
    queue.on_next(with_data(6))
    scheduler.advance_to(2)
    assert pairs.begun == [["k000", "k001"]]
    pairs.futures[0].set_running_or_notify_cancel()
    {"stop": queue.stop, "dispose": pairs.subscription.dispose, "until": lambda: until.on_next("now")}[end]()
    if end != "stop":
        waits = [(due.key, due.run_at.timestamp(), due.data) for due in queue.peek(9)]
        assert waits == WAITED
    pairs.futures[0].set_result("done")
    assert pairs.begun == [["k000", "k001"]]
    acked = [("k000", 1, "acked"), ("k001", 1, "acked")]
    assert (verdicts(pairs.got), pairs.ends) == (([], []) if end == "dispose" else (acked, ["end"]))
    queue.stop()
    reopen(faults)
    assert sorted(faults.call("ZRANGE", "RunAt~default", 0, -1)) == [key.encode() for key, _, __ in WAITED]
    assert faults.call("ZCARD", CLAIMED) == 0


@pytest.mark.parametrize("end", ["stop", "dispose"])
def test_a_list_whose_work_is_cancelled_goes_back(end: str) -> None:
    queue, scheduler = virtual_queue()
    pairs = Pairs(queue)
    queue.on_next(with_data(2))
    scheduler.advance_to(2)
    waits: list[Any] = []
    pairs.futures[0].add_done_callback(lambda _: waits.append(pairs.futures[0].cancelled()))
    {"stop": queue.stop, "dispose": pairs.subscription.dispose}[end]()
    assert (waits, pairs.got) == ([True], [])
    if end == "dispose":
        assert [(due.key, due.data) for due in queue.peek()] == [("k000", {"n": 0}), ("k001", {"n": 1})]


def test_until_lets_the_list_under_way_end_as_its_work_does() -> None:
    queue, scheduler = virtual_queue()
    until: Subject[str] = Subject()
    pairs = Pairs(queue, until=until)
    queue.on_next(jobs(2))
    scheduler.advance_to(2)
    until.on_next("now")
    pairs.futures[0].set_exception(ValueError("no"))
    assert verdicts(pairs.got) == [("k000", 1, "nacked"), ("k001", 1, "nacked")]
    assert pairs.ends == ["end"]


def test_lists_that_wait_and_the_list_at_work_are_renewed() -> None:
    queue, scheduler = virtual_queue(interval=1)
    elsewhere: list[str] = []
    pairs = Pairs(queue, lease=6, max_concurrent=1)
    queue.on_next(jobs(4))
    scheduler.advance_to(2)
    queue.claims().subscribe(lambda claim: elsewhere.append(claim.key))
    for second in (5, 7):  # the second list waits for less than a lease in all
        scheduler.advance_to(second - 0.5)
    pairs.futures[0].set_result("done")
    scheduler.advance_to(40)
    pairs.futures[1].set_result("done")
    assert elsewhere == []
    assert verdicts(pairs.got) == [(job.key, 1, "acked") for job in jobs(4)]


def test_lists_behind_stuck_work_go_back_after_a_lease_with_no_attempt_counted() -> None:
    queue, scheduler = virtual_queue(interval=1)
    pairs = Pairs(queue, lease=6, max_concurrent=1)
    queue.on_next(with_data(6))
    scheduler.advance_to(5)
    assert queue.size() == 0
    scheduler.advance_to(9)
    assert pairs.begun == [["k000", "k001"]]
    assert [(due.key, due.run_at.timestamp(), due.data) for due in queue.peek(9)] == WAITED
    pairs.futures[0].set_result("done")
    scheduler.advance_to(10)
    assert [claim.attempt for claim in pairs.claims[1]] == [1, 1]


def test_if_one_lease_is_lost_in_the_work_the_others_are_settled() -> None:
    queue, scheduler = virtual_queue()
    pairs = Pairs(queue, lease=6)
    queue.on_next(jobs(2))
    scheduler.advance_to(2)
    assert queue.cancel("k001")
    scheduler.advance_to(20)
    assert not pairs.futures[0].cancelled()
    pairs.futures[0].set_result("done")
    assert verdicts(pairs.got) == [("k000", 1, "acked"), ("k001", 1, "lost")]


def test_the_work_is_cancelled_when_all_leases_are_lost() -> None:
    queue, scheduler = virtual_queue()
    pairs = Pairs(queue, lease=6)
    queue.on_next(jobs(2))
    scheduler.advance_to(2)
    assert queue.cancel("k000")
    scheduler.advance_to(10)
    assert not pairs.futures[0].cancelled()
    assert queue.cancel("k001")
    scheduler.advance_to(20)
    assert pairs.futures[0].cancelled()
    assert verdicts(pairs.got) == [("k000", 1, "lost"), ("k001", 1, "lost")]


def test_the_work_goes_on_when_it_has_settled_one_by_hand_and_the_other_is_lost() -> None:
    queue, scheduler = virtual_queue()
    pairs = Pairs(queue, lease=6)
    queue.on_next(jobs(2))
    scheduler.advance_to(2)
    assert pairs.claims[0][0].ack()
    assert queue.cancel("k001")
    scheduler.advance_to(20)
    pairs.futures[0].set_result("done")
    assert verdicts(pairs.got) == [("k000", 1, "acked"), ("k001", 1, "lost")]


def test_acks_of_a_list_are_asked_again_through_an_outage(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults, interval=1)
    pairs = Pairs(queue)
    queue.on_next(jobs(2))
    scheduler.advance_to(2)
    faults.away = True
    pairs.futures[0].set_result("done")
    scheduler.advance_to(10)
    assert pairs.got == []
    faults.away = False
    scheduler.advance_to(15)
    assert verdicts(pairs.got) == [("k000", 1, "acked"), ("k001", 1, "acked")]
