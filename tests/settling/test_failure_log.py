"""`settle` tells the log of each attempt that failed, and of each key that was buried."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis

from rx_runat import Claim, Outcome, Refused, RunAt, settle
from rx_runat.settling.failures import WorkFailed
from rx_runat.store.keys import claimed_key
from rx_runat.testing import Faults, virtual_queue
from tests.support.waiting import wait_until


def run(work: Callable[[Claim], Any], seconds: float = 10, **settings: Any) -> None:
    """Work on one key in virtual time."""
    queue, scheduler = virtual_queue()
    queue.claims(lease=3).pipe(settle(work, backoff=lambda attempt: 2 * attempt, **settings)).subscribe()
    queue.schedule("a", 1)
    scheduler.advance_by(seconds)


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(each.levelname, each.getMessage()) for each in caplog.records if each.name == "rx_runat"]


def fails(claim: Claim) -> None:
    raise ValueError("no route")


def test_21_a_failed_attempt_and_a_burial_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    run(fails, max_attempts=2)
    assert said(caplog) == [
        ("WARNING", "attempt 1 of 'a' failed, again in 2 s: ValueError: no route"),
        ("ERROR", "'a' was buried: attempt 2 failed: ValueError: no route"),
    ]
    assert caplog.records[0].exc_info is None
    assert 'raise ValueError("no route")' in caplog.text, "the burial shows the traceback"


def test_21_success_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    run(lambda claim: claim.key)
    assert said(caplog) == []


def test_21_a_key_that_the_work_buries_by_hand_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    run(lambda claim: claim.bury("no such address"))
    assert said(caplog) == [("ERROR", "'a' was buried by hand in attempt 1")]


def test_21_a_key_that_is_buried_without_being_run_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    queue, scheduler = virtual_queue()
    claims = queue.claims(lease=1)
    queue.schedule("a", 1)
    crashed = claims.subscribe(lambda claim: None)  # the claim is forgotten, as by a process that dies
    scheduler.advance_to(1.5)
    crashed.dispose()
    claims.pipe(settle(fails, max_attempts=1)).subscribe()
    scheduler.advance_to(9)
    assert said(caplog) == [
        (
            "ERROR",
            "'a' was buried before attempt 2: its last attempt was not settled (perhaps its process died)",
        )
    ]


def test_21_a_failure_beside_a_new_schedule_or_a_lost_lease_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    queue, scheduler = virtual_queue()

    def work(claim: Claim) -> None:
        if claim.key == "cancelled":
            queue.cancel(claim.key)
        else:
            queue.schedule(claim.key, 99)
        raise ValueError("no route")

    queue.claims().pipe(settle(work)).subscribe()
    queue.schedule("cancelled", 1)
    queue.schedule("moved", 2)
    scheduler.advance_to(3)
    moved = "it was scheduled again meanwhile, and that schedule stands"
    assert said(caplog) == [
        ("WARNING", "attempt 1 of 'cancelled' failed; its lease was lost before that: ValueError: no route"),
        ("WARNING", f"attempt 1 of 'moved' failed; {moved}: ValueError: no route"),
    ]


def test_21_a_log_handler_that_blocks_delays_no_lease_and_no_work(make: Callable[..., RunAt]) -> None:
    queue, worked = make(), []
    begun, go_on = threading.Event(), threading.Event()

    class Blocks(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            begun.set()
            go_on.wait(20)

    def work(claim: Claim) -> None:
        worked.append(claim.key)
        if claim.key == "fails":
            raise ValueError

    handler = Blocks(logging.WARNING)
    logging.getLogger("rx_runat").addHandler(handler)
    try:
        queue.claims().pipe(settle(work, max_concurrent=2, backoff=lambda _: 3600)).subscribe()
        queue.schedule("fails", 0)
        begun.wait(20)
        for i in range(20):
            queue.schedule(f"k{i}", 0)
        wait_until(lambda: len(worked) == 21, "the others are worked on")
        wait_until(lambda: queue._store.snapshot(1).claimed == 0, "their claims are acked")
    finally:
        go_on.set()
        logging.getLogger("rx_runat").removeHandler(handler)


@pytest.mark.parametrize("reason", ["refused", "backoff"])
def test_21_the_error_of_work_that_cannot_be_settled_is_logged(
    reason: str, faults: Faults, caplog: pytest.LogCaptureFixture
) -> None:
    """The stream ends with another error: that of Redis, or of the user's `backoff`."""
    queue, scheduler = virtual_queue(faults=faults)
    errors: list[Exception] = []

    def work(claim: Claim) -> None:
        if reason == "refused":
            faults.refusal = "NOPERM"
        raise ValueError("no route")

    backoff: Any = (lambda _: 1) if reason == "refused" else (lambda _: 1 / 0)
    queue.claims().pipe(settle(work, backoff=backoff)).subscribe(on_error=errors.append)
    queue.schedule("a", 1)
    scheduler.advance_to(2)
    assert [type(error) for error in errors] == [Refused if reason == "refused" else ZeroDivisionError]
    expected = ("WARNING", "attempt 1 of 'a' failed, and could not be settled: ValueError: no route")
    assert said(caplog).count(expected) == 1


def test_21_a_log_handler_that_blocks_stops_no_renewals(make: Callable[..., RunAt], client: redis.Redis) -> None:
    """The log tells of work that takes ten leases, while that work goes on."""
    queue = make()
    outcomes: list[Outcome[Any]] = []
    was_renewed = threading.Event()

    def lease_end() -> float:
        return client.zscore(claimed_key("RunAt~default"), "a") or 0.0

    class Blocks(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            before = lease_end()
            wait_until(lambda: lease_end() > before, "the lease is renewed")
            was_renewed.set()

    handler = Blocks(logging.WARNING)
    logging.getLogger("rx_runat").addHandler(handler)
    try:
        queue.claims(lease=0.1).pipe(settle(lambda claim: was_renewed.wait(20))).subscribe(outcomes.append)
        queue.schedule("a", 0)
        wait_until(lambda: outcomes, "the work has ended")
    finally:
        logging.getLogger("rx_runat").removeHandler(handler)
    assert (outcomes[0].verdict, outcomes[0].result) == ("acked", True)


def test_a_record_brings_its_outcome_for_handlers_that_write_fields(caplog: pytest.LogCaptureFixture) -> None:
    run(fails, max_attempts=2)
    outcomes = [vars(each)["outcome"] for each in caplog.records]
    assert [(each.claim.key, each.claim.attempt, each.verdict) for each in outcomes] == [
        ("a", 1, "nacked"),
        ("a", 2, "buried"),
    ]


def test_work_that_failed_for_a_reason_in_words_has_these_words_alone(caplog: pytest.LogCaptureFixture) -> None:
    queue, scheduler = virtual_queue()

    def work(claim: Claim) -> None:
        raise WorkFailed("no route")

    queue.claims().pipe(settle(work, max_attempts=1)).subscribe()
    queue.schedule("a", 1)
    scheduler.advance_by(2)
    assert said(caplog) == [("ERROR", "'a' was buried: attempt 1 failed: no route")]
    assert caplog.records[0].exc_info is None
    assert [letter.reason for letter in queue.dead.peek()] == ["no route"]
