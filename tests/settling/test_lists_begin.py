"""Before the work on a list begins: which claims are left, which attempts count, and `again`; in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest
from reactivex import operators as ops
from reactivex.subject import Subject

from rx_runat import Claim, Due, Job, Outcome, RunAt, every, settle
from rx_runat.model.claim import lease_of
from rx_runat.store.keys import leases_key
from rx_runat.testing import Faults, virtual_queue
from tests.support.settling import PAST, Q, jobs, verdicts, wait_10


def attempt_in_redis(faults: Faults, key: str) -> int:
    """Negative: the attempt does not count yet."""
    return int((faults.call("HGET", leases_key(Q), key) or b"").decode().split()[1])


class Lists:
    """A pipeline whose lists end when the test says so; its work is done by hand from the second attempt on."""

    def __init__(
        self, queue: RunAt, lease: float = 30, before: Callable[[list[Claim]], None] = list, **how: Any
    ) -> None:
        self.ends: Subject[None] = Subject()
        self.claims: list[Claim] = []
        self.begun: list[list[tuple[str, int]]] = []
        self.futures: list[Future[None]] = []
        self.got: list[Outcome[Any]] = []
        self.errors: list[Exception] = []
        self.completed: list[str] = []
        self._before = before
        queue.claims(lease=lease).pipe(
            ops.do_action(self.claims.append), ops.buffer(self.ends), settle(self.work, backoff=wait_10, **how)
        ).subscribe(self.got.append, self.errors.append, lambda: self.completed.append("end"))

    def work(self, claims: list[Claim]) -> Any:
        self._before(claims)
        self.begun.append([(claim.key, claim.attempt) for claim in claims])
        if all(claim.attempt == 1 for claim in claims):
            raise ValueError("the first attempt")
        self.futures.append(Future())
        return self.futures[-1]

    def end_list(self) -> None:
        self.ends.on_next(None)


def at_second_attempt(queue: RunAt, scheduler: Any, new: bool = True, **how: Any) -> Lists:
    """Three claims at their second attempt, and one that comes new: they still lie in the buffer."""
    lists = Lists(queue, **how)
    queue.on_next(jobs(3))
    scheduler.advance_to(2)
    lists.end_list()
    if new:
        queue.schedule("new", PAST)
    scheduler.advance_to(13)
    lists.begun.clear()
    lists.got.clear()
    return lists


def test_23_later_attempts_of_a_list_all_count_before_the_first_line_of_its_work(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    at_work: list[list[int]] = []
    lists = at_second_attempt(
        queue,
        scheduler,
        before=lambda claims: at_work.append([attempt_in_redis(faults, claim.key) for claim in claims]),
    )
    assert [attempt_in_redis(faults, job.key) for job in jobs(3)] == [-2, -2, -2]
    lists.end_list()
    assert sorted(at_work[-1]) == [1, 2, 2, 2]


def test_a_claim_that_is_lost_before_it_counts_is_dropped_and_the_rest_is_worked_on() -> None:
    queue, scheduler = virtual_queue()
    lists = at_second_attempt(queue, scheduler)
    assert queue.cancel("k001")
    lists.end_list()
    assert list(map(sorted, lists.begun)) == [[("k000", 2), ("k002", 2), ("new", 1)]]
    lists.futures[0].set_result(None)
    assert verdicts(lists.got) == [("k000", 2, "acked"), ("k002", 2, "acked"), ("new", 1, "acked")]
    queue.stop()
    assert lists.completed == ["end"]


def test_a_list_whose_claims_are_all_lost_is_not_begun_and_leaves_its_place() -> None:
    queue, scheduler = virtual_queue()
    lists = at_second_attempt(queue, scheduler, new=False, max_concurrent=1)
    for job in jobs(3):
        assert queue.cancel(job.key)
    lists.end_list()
    assert (lists.begun, lists.got) == ([], [])
    queue.schedule("new", PAST)
    scheduler.advance_to(14)
    lists.end_list()
    assert lists.begun == [[("new", 1)]]
    queue.stop()
    assert lists.completed == ["end"]


@pytest.mark.parametrize("lost", [1, 2, 3, 5])
def test_begins_of_a_list_whose_answer_is_lost_are_asked_again_and_count_once(faults: Faults, lost: int) -> None:
    queue, scheduler = virtual_queue(faults=faults, interval=1)
    lists = at_second_attempt(queue, scheduler)
    faults.lost = lost
    lists.end_list()
    scheduler.advance_to(25)
    assert len(lists.begun) == 1
    assert [attempt_in_redis(faults, job.key) for job in jobs(3)] == [2, 2, 2]


def test_an_outage_longer_than_the_lease_begins_no_list_and_counts_nothing(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults, interval=1)
    lists = at_second_attempt(queue, scheduler, lease=5)
    faults.away = True
    lists.end_list()
    scheduler.advance_to(30)
    faults.away = False
    scheduler.advance_to(33)
    assert lists.begun == []
    again = {claim.key: claim.attempt for claim in lists.claims[-4:]}
    assert again == {"k000": 2, "k001": 2, "k002": 2, "new": 2}


def test_claims_beyond_max_attempts_are_buried_without_work_and_the_rest_is_worked_on() -> None:
    queue, scheduler = virtual_queue()
    crashed = queue.claims(lease=10).subscribe()  # its process is killed
    queue.on_next([Job("a", PAST), Job("b", PAST)])
    scheduler.advance_to(15)
    crashed.dispose()
    lists = Lists(queue, max_attempts=2)
    queue.schedule("new", 22)
    for moment in (21, 22, 23):
        scheduler.advance_to(moment)
        lists.end_list()
    assert lists.begun == [[("new", 1)]]
    assert verdicts(lists.got) == [("a", 3, "buried"), ("b", 3, "buried"), ("new", 1, "nacked")]
    assert sorted(letter.key for letter in queue.dead.peek()) == ["a", "b"]


def test_a_claim_whose_attempt_counts_too_early_goes_back_and_the_rest_of_the_list_is_worked_on() -> None:
    """The first claim, of one key, is made before `settle` is known."""
    queue, scheduler = virtual_queue()
    queue.on_next(jobs(3))
    dead = queue.claims(lease=3).subscribe()
    scheduler.advance_to(2)
    dead.dispose()
    scheduler.advance_to(10)
    lists = Lists(queue, lease=30)
    scheduler.advance_to(11)
    assert lease_of(lists.claims[0]).counts == "now"
    lists.end_list()
    assert lists.claims[0].key not in [key for begun in lists.begun for key, _ in begun]
    scheduler.advance_to(12)
    lists.end_list()
    begun = [each for begun in lists.begun for each in begun]
    assert sorted(begun) == [(job.key, 2) for job in jobs(3)]


def suspects(queue: RunAt, scheduler: Any) -> tuple[dict[str, Future[None]], list[Exception]]:
    """Three lists of two keys each, whose process stood still in their first attempt: to Redis it died.

    Returns:
        The work that has begun since, by the first keys of the lists; and how the stream ended.
    """
    futures: dict[str, Future[None]] = {}
    errors: list[Exception] = []

    def work(claims: list[Claim]) -> Any:
        if claims[0].attempt == 1 and claims[0].key == "k004":
            scheduler._clock += 100
        future: Future[None] = Future()
        if claims[0].attempt == 2 or claims[0].key == "new":
            futures[claims[0].key] = future
        return future

    queue.claims(lease=3).pipe(ops.buffer_with_count(2), settle(work, max_concurrent=5)).subscribe(
        on_error=errors.append
    )
    queue.on_next(jobs(6))
    scheduler.advance_to(102)
    return futures, errors


def test_23_lists_with_a_suspect_are_worked_on_one_after_the_other_beside_others() -> None:
    queue, scheduler = virtual_queue()
    futures, _ = suspects(queue, scheduler)
    assert list(futures) == ["k000"]
    queue.on_next([Job("new", 1), Job("newer", 2)])
    scheduler.advance_to(103)
    assert list(futures) == ["k000", "new"]
    futures["k000"].set_result(None)
    assert list(futures) == ["k000", "new", "k002"]
    futures["k002"].set_result(None)
    assert list(futures) == ["k000", "new", "k002", "k004"]


@pytest.mark.parametrize("lost", [["k002"], ["k002", "k003"]])
def test_a_suspect_that_is_lost_before_its_list_begins_holds_up_no_other(lost: list[str]) -> None:
    queue, scheduler = virtual_queue()
    futures, errors = suspects(queue, scheduler)
    for key in lost:
        assert queue.cancel(key)
    futures["k000"].set_result(None)
    if len(lost) == 1:
        assert list(futures) == ["k000", "k003"]
        futures["k003"].set_result(None)
    assert list(futures)[-1] == "k004"
    scheduler.advance_to(200)
    assert errors == []


def test_again_gives_each_claim_its_own_next_run() -> None:
    queue, scheduler = virtual_queue()
    got: list[Outcome[Any]] = []
    ends: Subject[None] = Subject()
    queue.claims().pipe(ops.buffer(ends), settle(len, again=every(100))).subscribe(got.append)
    queue.on_next([Job("a", 10, data=[1]), Job("b", 20)])
    scheduler.advance_to(25)
    ends.on_next(None)
    assert [(each.claim.key, each.next and each.next.timestamp()) for each in got] == [("a", 110.0), ("b", 120.0)]
    assert [(due.key, due.run_at.timestamp(), due.data) for due in queue.peek()] == [
        ("a", 110.0, [1]),
        ("b", 120.0, None),
    ]


@pytest.mark.parametrize("bug", [ValueError("no"), None])
def test_if_again_fails_for_one_claim_no_work_is_done_and_all_go_back(bug: Exception | None) -> None:
    queue, scheduler = virtual_queue()

    def again(due: Due) -> Any:
        if due.key != "k001":
            return timedelta(hours=1)
        if bug is None:
            return "soon"
        raise bug

    lists = Lists(queue, again=again)
    queue.on_next([Job(f"k00{i}", PAST, data=i) for i in range(3)])
    scheduler.advance_to(2)
    lists.end_list()
    assert (lists.begun, len(lists.errors), lists.got) == ([], 1, [])
    assert [(due.key, due.run_at.timestamp(), due.data) for due in queue.peek()] == [
        (f"k00{i}", PAST, i) for i in range(3)
    ]
