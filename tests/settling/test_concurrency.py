"""How much work is under way at once, and the leases meanwhile; in virtual time."""

from __future__ import annotations

from typing import Any

import reactivex as rx
from reactivex import operators as ops

from rx_runat import Claim, Job, Outcome, RunAt, settle
from rx_runat.testing import Faults, virtual_queue
from tests.support.settling import CLAIMED, PAST, Works, jobs, short


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


def test_leases_of_claims_that_wait_are_renewed_too(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    queue.claims(lease=30).pipe(settle(Works(), max_concurrent=1)).subscribe()
    queue.on_next(jobs(4))
    scheduler.advance_to(22)
    claimed = faults.call("ZRANGE", CLAIMED, 0, -1, "WITHSCORES")
    assert {score for _, score in claimed} == {51_000}
    assert len(claimed) == 4


def test_renewals_are_one_call_every_third_of_a_lease(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    queue.claims(lease=30).pipe(settle(lambda _: rx.never(), max_concurrent=100)).subscribe()
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
    scheduler.advance_to(3.5)
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
    """No renewal has found out yet that the lease of the next claim has ended: its work must not begin all the same."""
    queue, scheduler = virtual_queue()
    begun: list[tuple[float, str, int]] = []

    def work(claim: Claim) -> None:
        begun.append((scheduler.clock, claim.key, claim.attempt))
        if len(begun) == 2:  # the first claim takes one key
            scheduler._clock += 100  # the clock goes on, and nothing else

    got: list[Outcome[None]] = []
    queue.claims(lease=3).pipe(settle(work, max_concurrent=1)).subscribe(got.append)
    queue.on_next(jobs(3))
    scheduler.advance_to(110)
    assert [(key, attempt) for _, key, attempt in begun] == [("k000", 1), ("k001", 1), ("k001", 2), ("k002", 2)]
    assert [short(outcome)[2] for outcome in got] == ["acked", "lost", "acked", "acked"]


def test_the_backlog_waits_in_redis_while_work_is_slow() -> None:
    queue, scheduler = virtual_queue()
    queue.claims(max_in_flight=10).pipe(settle(Works(), max_concurrent=2)).subscribe()
    queue.on_next(jobs(100))
    scheduler.advance_to(20)
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
    assert got == ["acked", "acked", "end"]


def test_many_observables_that_end_at_once_are_not_many_calls_deep() -> None:
    queue, scheduler = virtual_queue()
    got: list[Outcome[str]] = []
    queue.claims(max_in_flight=3000).pipe(settle(lambda _: rx.just("x"))).subscribe(got.append)
    for _ in range(3):
        queue.on_next([Job(f"{len(got)}-{i}", PAST) for i in range(1000)])
    scheduler.advance_to(2)
    assert len(got) == 1000


def test_one_of_two_subscriptions_that_share_a_source_may_leave() -> None:
    """The leases of the other one are renewed for as long as before."""
    queue, scheduler = virtual_queue()
    got: list[tuple[float, str, int, str, Any]] = []
    claims = queue.claims(lease=3)
    pair = [
        claims.pipe(ops.filter(lambda claim, key=key: claim.key == key), settle(lambda _: rx.timer(50))).subscribe(
            lambda outcome: got.append((scheduler.clock, *short(outcome)))
        )
        for key in ("a", "b")
    ]
    queue.on_next([Job("a", 1), Job("b", 1)])
    scheduler.advance_to(20)
    pair[0].dispose()
    assert queue.when("a") is not None
    assert queue.cancel("a")
    scheduler.advance_to(60)
    assert got == [(51, "b", 1, "acked", 0)]
