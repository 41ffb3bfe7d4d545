"""What Redis answers to a verdict: superseded by a newer schedule, or refused; in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from rx_runat import Claim, Outcome, Refused, settle
from rx_runat.store.keys import dead_key, leases_key
from rx_runat.testing import Faults, virtual_queue
from tests.support.settling import Q, Works, jobs, short


def test_a_nack_where_a_newer_schedule_stands_is_superseded() -> None:
    queue, scheduler = virtual_queue()
    works = Works()
    got: list[Outcome[Any]] = []
    queue.claims().pipe(settle(works, backoff=lambda _: 1.0)).subscribe(got.append)
    queue.on_next(jobs(2))
    scheduler.advance_to(2)
    queue.schedule("k000", 500)
    for subject in works.begun.values():
        subject.on_error(ValueError("no"))
    assert [(short(outcome), outcome.delay) for outcome in got] == [
        (("k000", 1, "superseded", "no"), None),
        (("k001", 1, "nacked", "no"), 1.0),
    ]
    assert repr(got[0]) == "<Outcome 'k000', attempt 1, superseded: ValueError('no')>"
    assert repr(got[0].claim).endswith("nacked, and scheduled again>")
    scheduler.advance_to(501)
    works.done("k000")
    assert short(got[-1]) == ("k000", 1, "acked", None)


def test_by_hand_a_nack_that_is_superseded_was_still_ours() -> None:
    queue, scheduler = virtual_queue()
    got: list[Claim] = []
    queue.claims().subscribe(got.append)
    queue.schedule("a", 1)
    scheduler.advance_to(2)
    queue.schedule("a", 500)
    assert got[0].nack(1)
    assert queue.when("a").timestamp() == 500  # type: ignore[union-attr]


def test_a_verdict_that_is_refused_ends_the_stream(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    faults.call("SET", dead_key(Q), "not a hash")
    works = Works()
    got: list[Any] = []
    queue.claims().pipe(settle(works, max_attempts=1)).subscribe(
        lambda outcome: got.append(short(outcome)[:3]), lambda error: got.append(type(error))
    )
    queue.on_next(jobs(3))
    scheduler.advance_to(2)
    works.done("k000")
    works.begun["k001"].on_error(ValueError())
    assert got == [("k000", 1, "acked"), Refused]
    assert [due.key for due in queue.peek()] == ["k002"]
    assert faults.call("HEXISTS", leases_key(Q), "k001")  # left to the end of its lease


def test_by_hand_a_bury_that_is_refused_raises_and_changes_nothing(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    faults.call("SET", dead_key(Q), "not a hash")
    got: list[Claim] = []
    queue.claims().subscribe(got.append)
    queue.schedule("a", 1)
    scheduler.advance_to(2)
    with pytest.raises(Refused):
        got[0].bury("no")
    assert "its lease ends in" in repr(got[0])
    assert got[0].ack()
