"""The metrics of what a queue does: sent and consumed messages, durations, lateness."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import reactivex as rx
from reactivex import operators as ops
from reactivex.testing import TestScheduler

from rx_runat import Claim, InvalidJob, Job, RunAt, Unavailable, settle
from rx_runat.model.claim import Lease, lease_of
from rx_runat.otel import instrument
from rx_runat.testing import Faults, virtual_queue
from tests.support.telemetry import Telemetry

NAME, TYPE, ERROR = "messaging.operation.name", "messaging.operation.type", "error.type"
SENT, CONSUMED = "messaging.client.sent.messages", "messaging.client.consumed.messages"
OPERATION, PROCESS, LATENESS = (
    "messaging.client.operation.duration",
    "messaging.process.duration",
    "rx_runat.key.lateness",
)


def measured(telemetry: Telemetry, faults: Faults | None = None) -> tuple[RunAt, TestScheduler]:
    queue, scheduler = virtual_queue(queue_name="mail", faults=faults)
    instrument(queue, **telemetry.providers)
    return queue, scheduler


def test_each_job_that_is_written_is_a_sent_message(telemetry: Telemetry) -> None:
    queue, _ = measured(telemetry)
    queue.schedule("a", 1e9)
    queue.on_next([Job("b", 1e9), Job("c", 1e9)])
    queue.sink(keep="first").on_next(Job("d", 1e9))
    rx.of(Job("e", 1e9)).subscribe(queue)
    queue.reschedule("e", 2e9)
    queue.on_next([])
    assert telemetry.values(SENT, "messaging.system", "messaging.destination.name", NAME, TYPE, ERROR) == {
        ("rx_runat", "mail", "schedule", "send", None): 6
    }


def test_a_job_that_was_sent_in_vain_is_counted_with_the_error(telemetry: Telemetry, faults: Faults) -> None:
    queue, _ = measured(telemetry, faults)
    faults.away = True
    with pytest.raises(Unavailable):
        queue.schedule("a", 1e9)
    assert telemetry.values(SENT, ERROR) == {"rx_runat.errors.Unavailable": 1}
    assert telemetry.values(OPERATION, NAME, ERROR) == {("schedule", "rx_runat.errors.Unavailable"): 1}


def test_a_job_that_was_refused_before_it_was_sent_is_not_counted(telemetry: Telemetry) -> None:
    queue, _ = measured(telemetry)
    with pytest.raises(InvalidJob):
        queue.schedule("a", 1e9, data="x" * 100_000)
    assert telemetry.values(SENT) == {}


def test_each_key_that_is_received_is_a_consumed_message(telemetry: Telemetry) -> None:
    queue, scheduler = measured(telemetry)
    queue.on_next([Job(key, 1.0) for key in "abc"])
    queue.subscribe()
    scheduler.advance_by(1)
    assert telemetry.values(CONSUMED, "messaging.destination.name", NAME, TYPE) == {("mail", "claim", "receive"): 3}


def test_a_key_that_goes_back_is_neither_consumed_nor_late(telemetry: Telemetry) -> None:
    queue, scheduler = measured(telemetry)
    queue.on_next([Job(key, 1.0) for key in "abc"])
    queue.pipe(ops.take(2)).subscribe()
    scheduler.advance_by(1)
    assert queue.size() == 1
    assert telemetry.values(CONSUMED, NAME) == {"claim": 2}
    assert telemetry.values(LATENESS, "messaging.system") == {"rx_runat": 2}


def test_lateness_is_how_late_keys_were_claimed(telemetry: Telemetry) -> None:
    queue, scheduler = measured(telemetry)
    queue.on_next([Job("a", 1.0), Job("b", 4.0)])
    scheduler.advance_by(6)
    queue.claims().subscribe()
    scheduler.advance_by(1)
    (point,) = telemetry.collect()[LATENESS]
    assert (point.count, point.sum, point.min, point.max) == (2, 7.0, 2.0, 5.0)


def test_a_later_attempt_is_no_late_key(telemetry: Telemetry) -> None:
    """It would be late by its backoff, which tells nothing of the queue."""
    queue, scheduler = measured(telemetry)
    queue.schedule("a", 1.0)
    queue.claims().subscribe(lambda claim: claim.nack(10))
    scheduler.advance_by(15)
    (point,) = telemetry.collect()[LATENESS]
    assert (point.count, point.sum) == (1, 0.0)
    assert telemetry.values(CONSUMED, NAME) == {"claim": 2}


def test_of_a_large_claim_ten_keys_are_recorded_the_oldest_and_the_newest_among_them(telemetry: Telemetry) -> None:
    queue, scheduler = measured(telemetry)
    queue.on_next([Job(f"{n:03}", 1.0 + n) for n in range(100)])
    scheduler.advance_by(200)
    queue.claims(max_in_flight=100).subscribe()
    scheduler.advance_by(1)
    (point,) = telemetry.collect()[LATENESS]
    assert (point.min, point.max) == (100.0, 199.0)
    first = 1  # the first claim for those who subscribe takes one key
    assert point.count == first + 10
    assert telemetry.values(CONSUMED, NAME) == {"claim": 100}


def test_each_kind_of_call_to_redis_has_its_duration(telemetry: Telemetry) -> None:
    queue, scheduler = measured(telemetry)
    queue.on_next([Job(key, 1.0) for key in "abcd"])

    def by_hand(claim: Claim) -> None:
        {"a": claim.ack, "b": claim.nack, "c": lambda: claim.bury("no"), "d": lambda: claim.extend(60)}[claim.key]()

    queue.claims().pipe(ops.take(4)).subscribe(by_hand)
    scheduler.advance_by(1)
    assert telemetry.values(OPERATION, NAME, TYPE, ERROR) == {
        ("schedule", "send", None): 1,
        ("claim", "receive", None): 2,
        ("ack", "settle", None): 1,
        ("nack", "settle", None): 1,
        ("bury", "settle", None): 1,
        ("extend", None, None): 1,
    }


def test_a_claim_that_settle_gives_back_is_handed_back(telemetry: Telemetry) -> None:
    queue, scheduler = measured(telemetry)
    queue.schedule("a", 1.0)
    queue.claims().pipe(settle(lambda _: None, max_attempts=1)).subscribe()
    scheduler.advance_by(1)
    assert telemetry.values(OPERATION, NAME, TYPE) == {
        ("schedule", "send"): 1,
        ("claim", "receive"): 2,
        ("hand_back", "settle"): 1,
        ("begin", None): 1,
        ("ack", "settle"): 1,
    }


def test_several_verbs_in_one_call_are_one_operation(telemetry: Telemetry) -> None:
    queue, scheduler = measured(telemetry)
    queue.on_next([Job(key, 1.0) for key in "ab"])
    leases: list[Lease] = []
    queue.claims().subscribe(lambda claim: leases.append(lease_of(claim)))
    scheduler.advance_by(1)
    leases[0].manager.settle([(leases[0], "ack", ""), (leases[1], "nack", 0)])
    assert telemetry.values(OPERATION, NAME, TYPE)["settle", "settle"] == 1


def test_the_work_of_settle_has_its_duration_and_its_error(telemetry: Telemetry) -> None:
    queue, scheduler = measured(telemetry)
    queue.on_next([Job("good", 1.0), Job("bad", 1.0), Job("slow", 1.0)])

    def work(claim: Claim) -> object:
        if claim.key == "bad":
            raise KeyError
        return rx.timer(3.0 if claim.key == "good" else 60.0, scheduler=scheduler)

    queue.claims(lease=100).pipe(settle(work, timeout=10, max_attempts=1)).subscribe()
    scheduler.advance_by(50)
    points = {point.attributes.get(ERROR): (point.count, point.sum) for point in telemetry.collect()[PROCESS]}
    assert points == {None: (1, 3.0), "KeyError": (1, 0.0), "TimeoutError": (1, 10.0)}


def test_a_delivery_of_plain_keys_is_processed_and_one_of_claims_is_not(telemetry: Telemetry) -> None:
    queue, scheduler = measured(telemetry)
    queue.on_next([Job(key, 1.0) for key in "abc"])
    plain = queue.subscribe(lambda _: scheduler.advance_to(scheduler.clock))
    scheduler.advance_by(1)
    plain.dispose()
    assert telemetry.values(PROCESS, NAME, TYPE) == {("process", "process"): telemetry.values(OPERATION, NAME)["claim"]}
    queue.schedule("d", 2.0)
    queue.claims().subscribe()
    before = telemetry.values(PROCESS, NAME)
    scheduler.advance_by(1)
    assert telemetry.values(PROCESS, NAME) == before


def test_a_refused_settlement_has_its_error(telemetry: Telemetry, faults: Faults) -> None:
    queue, scheduler = measured(telemetry, faults)
    queue.schedule("a", 1.0)
    claims: list[Claim] = []
    queue.claims().subscribe(claims.append)
    scheduler.advance_by(1)
    faults.away = True
    with pytest.raises(Unavailable):
        claims[0].ack()
    assert telemetry.values(OPERATION, NAME, ERROR)["ack", "rx_runat.errors.Unavailable"] == 1


def test_no_metric_names_a_key(telemetry: Telemetry) -> None:
    queue, scheduler = measured(telemetry)
    queue.on_next([Job("secret", 1.0), Job("secret too", 2.0)])
    queue.claims().pipe(settle(lambda _: None)).subscribe()
    scheduler.advance_by(5)
    points = [point for each in telemetry.collect().values() for point in each]
    assert len(points) > 8
    assert "secret" not in repr([dict(point.attributes) for point in points])


def test_metrics_tell_the_server_where_there_is_one(make: Callable[..., RunAt], telemetry: Telemetry) -> None:
    queue = make()
    instrument(queue, **telemetry.providers)
    queue.schedule("a", 1e9)
    path = queue._store.where.removeprefix("unix://")
    assert telemetry.values(SENT, "server.address") == {path: 1}
