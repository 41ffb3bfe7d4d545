"""Two calls that end one claim: each brings its own next run, and what fails leaves nothing for the other one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rx_runat import Claim, Outcome, RunAt, Unavailable, every, settle
from rx_runat.model.batch import SettleReply
from rx_runat.testing import Faults, virtual_queue

HOUR = timedelta(hours=1)


def claim_of(queue: RunAt, scheduler: Any) -> Claim:
    got: list[Claim] = []
    queue.claims().subscribe(got.append)
    queue.schedule("a", 1, data="x")
    scheduler.advance_to(1)
    (claim,) = got
    return claim


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def test_27_a_call_that_failed_leaves_no_next_run_to_the_one_that_ends_the_claim(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    claim = claim_of(queue, scheduler)
    faults.away = True
    with pytest.raises(Unavailable):
        claim.ack(again=HOUR)
    faults.away = False
    assert claim.ack()
    assert (queue.when("a"), queue.peek()) == (None, [])


def test_27_a_call_that_waits_for_its_turn_writes_its_own_next_run(faults: Faults) -> None:
    """Awaits share round trips, so one may wait for its turn; another call, which fails, names another next run."""
    queue, scheduler = virtual_queue(faults=faults)
    claim = claim_of(queue, scheduler)
    manager = claim._lease.manager
    send = manager.settle_async

    async def wait_for_its_turn(requests: Any) -> SettleReply:
        faults.away = True
        with pytest.raises(Unavailable):
            claim.ack(again=HOUR)
        faults.away = False
        return await send(requests)

    async def ack() -> bool:
        return await claim.aio.ack(again=timedelta(days=1))

    manager.settle_async = wait_for_its_turn  # type: ignore[method-assign]
    assert asyncio.run(ack())
    assert queue.when("a") == moment(86_401)


def test_27_a_call_by_hand_that_failed_changes_nothing_of_what_settle_has_planned(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    outcomes: list[Outcome[Any]] = []

    def work(claim: Claim) -> None:
        faults.away = True
        with pytest.raises(Unavailable):
            claim.ack(again=None)
        faults.away = False

    queue.claims().pipe(settle(work, again=every(10))).subscribe(outcomes.append)
    queue.schedule("a", 1)
    scheduler.advance_to(1)
    assert [(outcome.verdict, outcome.next) for outcome in outcomes] == [("acked", moment(11))]
