"""When an attempt counts: the first one at the claim, later ones when their work begins; in virtual time.

A process that stands still beyond its leases is to Redis as one that died: the test moves the clock, and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import reactivex as rx
from reactivex import operators as ops

from rx_runat import Claim, Outcome, RunAt, settle
from rx_runat.model.claim import lease_of
from rx_runat.store.keys import leases_key
from rx_runat.testing import Faults, virtual_queue
from tests.support.settling import Q, Works, fail, jobs, reopen, short, verdicts, wait_10


def record(faults: Faults, key: str) -> str:
    return (faults.call("HGET", leases_key(Q), key) or b"").decode()


def attempt_in_redis(faults: Faults, key: str) -> int:
    """Negative: the attempt does not count yet."""
    return int(record(faults, key).split()[1])


@pytest.mark.parametrize("max_attempts", [2, 5])
def test_23_a_poison_key_buries_only_itself(max_attempts: int) -> None:
    """Its process dies whenever its work begins, with four other works under way and 15 claims behind them."""
    queue, scheduler = virtual_queue()
    attempts: Counter[str] = Counter()

    def work(claim: Claim) -> Any:
        attempts[claim.key] += 1
        if claim.key == "k007":
            scheduler._clock += 100
        return rx.timer(0.5)

    got: list[Outcome[Any]] = []
    queue.claims(lease=3, max_in_flight=20).pipe(settle(work, max_attempts=max_attempts, max_concurrent=5)).subscribe(
        got.append
    )
    queue.on_next(jobs(40))
    scheduler.advance_to(3000)
    assert [(letter.key, letter.attempts) for letter in queue.dead.peek()] == [("k007", max_attempts + 1)]
    assert attempts.pop("k007") == max_attempts
    assert max(attempts.values()) == 2
    innocent = {job.key for job in jobs(40)} - {"k007"}
    acked = {outcome.claim.key: outcome.claim.attempt for outcome in got if outcome.verdict == "acked"}
    assert acked.keys() == innocent
    assert max(acked.values()) == 2


def first_attempts_die(scheduler: Any, works: Works) -> Callable[[Claim], Any]:
    """Work of four keys: when the last of them begins its first attempt, so much time passes that all leases end."""

    def work(claim: Claim) -> Any:
        if claim.attempt == 1 and claim.key == "k003":
            scheduler._clock += 100
        return rx.never() if claim.attempt == 1 and claim.key != "new" else works(claim)

    return work


def test_keys_whose_process_died_work_one_at_a_time_beside_others() -> None:
    queue, scheduler = virtual_queue()
    works = Works()
    queue.claims(lease=3).pipe(settle(first_attempts_die(scheduler, works), max_concurrent=5)).subscribe()
    queue.on_next(jobs(4))
    scheduler.advance_to(102)
    assert list(works.begun) == ["k000"]
    queue.schedule("new", 1)
    scheduler.advance_to(103)
    assert list(works.begun) == ["k000", "new"]
    for job in jobs(4):
        works.done(job.key)
    assert list(works.begun) == ["k000", "new", "k001", "k002", "k003"]


def test_23_a_process_that_starts_after_the_leases_ended_works_on_the_first_key_alone_too() -> None:
    """The first claim, of one key, is made before `settle` is known."""
    queue, scheduler = virtual_queue()
    queue.on_next(jobs(4))
    dead = queue.claims(lease=3).subscribe()
    scheduler.advance_to(2)
    dead.dispose()
    scheduler.advance_to(10)
    works = Works()
    got: list[Outcome[Any]] = []
    queue.claims(lease=3).pipe(settle(works, max_concurrent=5)).subscribe(got.append)
    scheduler.advance_to(11)
    assert list(works.begun) == ["k000"]
    for job in jobs(4):
        works.done(job.key)
    assert verdicts(got) == [(job.key, 2, "acked") for job in jobs(4)]


def test_work_that_is_stuck_holds_up_the_keys_whose_process_died_for_a_lease_at_most() -> None:
    queue, scheduler = virtual_queue()
    works = Works()
    queue.claims(lease=3).pipe(settle(first_attempts_die(scheduler, works), max_concurrent=4)).subscribe()
    queue.on_next(jobs(4))
    scheduler.advance_to(104)
    assert list(works.begun) == ["k000"]
    scheduler.advance_to(130)
    assert list(works.begun) == ["k000", "k001", "k002", "k003"]


def test_keys_that_were_nacked_work_beside_each_other() -> None:
    queue, scheduler = virtual_queue()
    works = Works()
    queue.claims().pipe(
        settle(lambda claim: fail(claim) if claim.attempt == 1 else works(claim), backoff=wait_10)
    ).subscribe()
    queue.on_next(jobs(4))
    scheduler.advance_to(20)
    assert list(works.begun) == [job.key for job in jobs(4)]


def test_23_a_key_that_waits_loses_no_attempt_but_its_first() -> None:
    queue, scheduler = virtual_queue()
    begun: list[tuple[str, int]] = []

    def work(claim: Claim) -> None:
        begun.append((claim.key, claim.attempt))
        if claim.key == "k001" and claim.attempt < 4:  # k002 waits behind it
            scheduler._clock += 100

    queue.claims(lease=3, max_in_flight=2).pipe(settle(work, max_concurrent=1)).subscribe()
    queue.on_next(jobs(3))
    scheduler.advance_to(1000)
    assert begun == [("k000", 1), *(("k001", attempt) for attempt in (1, 2, 3, 4)), ("k002", 2)]


@pytest.mark.parametrize("max_attempts, counted", [(1, [1, -1, -1]), (5, [1, 1, 1])])
def test_the_first_attempt_counts_at_the_claim_unless_it_is_the_last(
    faults: Faults, max_attempts: int, counted: list[int]
) -> None:
    """The first claim, of one key, is made before `settle` is known."""
    queue, scheduler = virtual_queue(faults=faults)
    works = Works()
    queue.claims(lease=30).pipe(settle(works, max_concurrent=1, max_attempts=max_attempts)).subscribe()
    queue.on_next(jobs(3))
    scheduler.advance_to(2)
    assert [attempt_in_redis(faults, job.key) for job in jobs(3)] == counted
    works.done("k000")
    assert attempt_in_redis(faults, "k001") == 1


def test_a_later_attempt_counts_before_the_first_line_of_its_work(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    at_claim: list[int] = []
    at_work: list[int] = []

    def work(claim: Claim) -> None:
        at_work.append(attempt_in_redis(faults, claim.key))
        if len(at_work) < 3:
            raise ValueError

    queue.claims().pipe(
        ops.do_action(lambda claim: at_claim.append(attempt_in_redis(faults, claim.key))),
        settle(work, backoff=wait_10),
    ).subscribe()
    queue.schedule("a", 1)
    scheduler.advance_to(30)
    assert (at_claim, at_work) == ([1, -2, -3], [1, 2, 3])


def test_without_settle_every_attempt_counts_at_the_claim_again(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    claims = queue.claims(lease=3)
    subscription = claims.pipe(settle(fail, backoff=wait_10)).subscribe()
    queue.schedule("a", 1)
    scheduler.advance_to(2)
    subscription.dispose()
    got: list[int] = []
    claims.subscribe(lambda claim: got.append(attempt_in_redis(faults, claim.key)))
    scheduler.advance_to(15)
    assert got == [2, 3]


def test_claims_that_count_ask_nothing_more(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    queue.claims(max_in_flight=1).pipe(settle(str)).subscribe()
    queue.on_next(jobs(1))
    scheduler.advance_to(2)
    queue.on_next(jobs(10))
    faults.commands.clear()
    scheduler.advance_to(3)
    assert len(faults.commands) == 10 + 10  # claims and acks


def leased_again(queue: RunAt, scheduler: Any, **settings: Any) -> tuple[Works, list[Any], list[Claim]]:
    """Two keys at their second attempt: `k000` is under way, `k001` waits behind it."""
    works = Works()
    got: list[Any] = []
    claims: list[Claim] = []

    def work(claim: Claim) -> Any:
        return fail(claim) if claim.attempt == 1 else works(claim)

    queue.claims(**settings).pipe(
        ops.do_action(claims.append), settle(work, max_concurrent=1, backoff=wait_10)
    ).subscribe(lambda outcome: got.append(short(outcome)[:3]), got.append, lambda: got.append("end"))
    queue.on_next(jobs(2))
    scheduler.advance_to(12)
    assert (list(works.begun), len(claims)) == (["k000"], 4)
    got.clear()
    return works, got, claims


def test_a_key_cancelled_before_it_counts_is_dropped_unrun() -> None:
    queue, scheduler = virtual_queue()
    works, got, claims = leased_again(queue, scheduler)
    assert queue.cancel("k001")
    works.done("k000")
    assert lease_of(claims[-1]).ending == "its lease was lost"
    queue.stop()
    assert (list(works.begun), got) == (["k000"], [("k000", 2, "acked"), "end"])


def test_an_outage_delays_the_begin_and_loses_nothing(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults, interval=1)
    works, got, _ = leased_again(queue, scheduler)
    faults.away = True
    works.done("k000")
    scheduler.advance_to(20)
    assert list(works.begun) == ["k000"]
    faults.away = False
    scheduler.advance_to(25)
    assert list(works.begun) == ["k000", "k001"]
    assert got == [("k000", 2, "acked")]


@pytest.mark.parametrize("lost", [1, 2, 3, 5])
def test_a_begin_whose_answer_is_lost_is_asked_again_and_counts_once(faults: Faults, lost: int) -> None:
    queue, scheduler = virtual_queue(faults=faults, interval=1)
    works, _, __ = leased_again(queue, scheduler)
    works.done("k000")
    scheduler.advance_to(13)
    works.begun["k001"].on_error(ValueError())
    faults.lost = lost
    scheduler.advance_to(30)
    assert attempt_in_redis(faults, "k001") == 3


def test_an_outage_longer_than_the_lease_begins_nothing_and_counts_nothing(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults, interval=1)
    works, _, claims = leased_again(queue, scheduler, lease=5)
    faults.away = True
    works.done("k000")
    scheduler.advance_to(30)
    assert list(works.begun) == ["k000"]
    faults.away = False
    scheduler.advance_to(33)
    assert [(claim.key, claim.attempt) for claim in claims[4:]] == [("k000", 3), ("k001", 2)]


def test_stop_while_the_begin_is_asked_hands_back_uncounted(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults, interval=0.1)  # so long, in real time, `stop` tries to return keys
    works, got, _ = leased_again(queue, scheduler)
    faults.away = True
    works.begun["k000"].on_error(ValueError())
    scheduler.advance_to(12.5)
    queue.stop()
    scheduler.advance_to(15)
    assert got[-1] == "end"
    assert list(works.begun) == ["k000"]
    faults.away = False
    reopen(faults)
    assert attempt_in_redis(faults, "k001") == -2
