"""Work that never returns: the claims behind it go back after a lease, so that other processes get them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import reactivex as rx
import redis

from rx_runat import Claim, Job, RunAt, settle
from rx_runat.settling.backlog import Allowance
from rx_runat.testing import virtual_queue
from tests.support.settling import CLAIMED, PAST, Works, jobs
from tests.support.waiting import wait_until


def test_claims_behind_stuck_work_go_back_after_a_lease_and_are_asked_for_no_more() -> None:
    queue, scheduler = virtual_queue(interval=1)
    works = Works()
    got: list[Any] = []
    queue.claims(lease=30, max_in_flight=50).pipe(settle(works)).subscribe(got.append)
    queue.on_next(jobs(60))
    scheduler.advance_to(30)
    assert queue.size() == 10  # 50 are out
    scheduler.advance_to(32)
    assert queue.size() == 52  # the 8 that work is stuck on are out
    scheduler.advance_to(1000)
    assert (queue.size(), len(works.begun), got) == (52, 8, [])


def test_keys_that_stuck_work_held_up_go_to_another_source_with_no_attempt_counted() -> None:
    queue, scheduler = virtual_queue()
    queue.claims(lease=30, max_in_flight=50).pipe(settle(Works())).subscribe()
    queue.on_next(jobs(50))
    scheduler.advance_to(2)
    got: list[tuple[str, int]] = []
    queue.claims(max_in_flight=50).pipe(settle(lambda claim: got.append((claim.key, claim.attempt)))).subscribe()
    scheduler.advance_to(32)
    assert sorted(got) == [(job.key, 1) for job in jobs(50)[8:]]


def test_a_worker_that_is_free_again_gets_the_next_key_at_once() -> None:
    """There is no heartbeat: the end of the work wakes the source."""
    queue, scheduler = virtual_queue()
    works = Works()
    queue.claims(lease=30).pipe(settle(works, max_concurrent=2)).subscribe()
    queue.on_next(jobs(20))
    scheduler.advance_to(100)
    assert list(works.begun) == ["k000", "k001"]
    works.done("k001")
    scheduler.advance_to(100.01)
    assert list(works.begun) == ["k000", "k001", "k002"]


def test_a_source_finds_back_to_its_pace_when_work_goes_on() -> None:
    queue, scheduler = virtual_queue()
    works = Works()
    done: list[str] = []

    def work(claim: Claim) -> Any:
        return works(claim) if claim.key < "k002" else done.append(claim.key)

    queue.claims(lease=30, max_in_flight=10).pipe(settle(work, max_concurrent=2)).subscribe()
    queue.on_next(jobs(20))
    scheduler.advance_to(100)
    assert queue.size() == 18
    works.done("k000")
    scheduler.advance_to(101)
    assert done == [job.key for job in jobs(20)[2:]]
    queue.on_next([Job(f"x{i}", PAST) for i in range(20)])
    works.done("k001")
    scheduler.advance_to(102)
    assert queue.size() == 0


def test_a_subscriber_that_is_stuck_keeps_no_claims_either(
    make: Callable[..., RunAt], client: redis.Redis, go_on: threading.Event
) -> None:
    queue = make(interval=0.05)
    worked: list[str] = []
    queue.claims(lease=0.2, max_in_flight=50).pipe(
        settle(lambda claim: worked.append(claim.key), max_concurrent=2)
    ).subscribe(lambda _: go_on.wait(20))
    queue.on_next(jobs(400))
    wait_until(lambda: len(worked) >= 100, "outcomes wait for the subscriber")
    wait_until(lambda: (queue.size(), client.zcard(CLAIMED)) == (400 - len(worked), 0), "the rest went back")
    assert len(worked) <= 150  # besides those that were in flight when a hundred outcomes waited
    go_on.set()
    wait_until(lambda: queue.size() == 0, "it goes on")


@pytest.mark.parametrize("seconds", [4.0, 10.0, 100.0])
def test_slow_work_makes_progress_whatever_the_lease(seconds: float) -> None:
    queue, scheduler = virtual_queue()
    got: list[tuple[str, int, str]] = []
    queue.claims(lease=3).pipe(settle(lambda _: rx.timer(seconds), max_concurrent=2)).subscribe(
        lambda outcome: got.append((outcome.claim.key, outcome.claim.attempt, outcome.verdict))
    )
    queue.on_next(jobs(10))
    scheduler.advance_to(1.1 + 5 * seconds)
    assert sorted(got) == [(job.key, 1, "acked") for job in jobs(10)]


def test_an_allowance_grows_only_by_claims_that_waited_for_a_short_time() -> None:
    allowance = Allowance()
    allowance.note_begun(0.0, 10.0)
    assert allowance.claims == float("inf")
    allowance.note_given_back()
    allowance.note_begun(2.6, 10.0)
    assert allowance.claims == 0
    allowance.note_begun(2.4, 10.0)
    allowance.note_begun(0.0, 10.0)
    assert allowance.claims == 2
