"""The gauges: how a queue stands, read from Redis when metrics are collected."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from rx_runat import Job, RunAt
from rx_runat.model.stats import Stats
from rx_runat.otel import gauges, instrument, instrumentation
from rx_runat.otel.gauges import Reading
from rx_runat.otel.guard import Guard
from rx_runat.testing import Faults, virtual_queue
from tests.support.telemetry import Telemetry
from tests.support.waiting import wait_until

NAMES = ("scheduled", "due", "claimed", "dead", "lateness")
QUEUE = "messaging.destination.name"


def shown(telemetry: Telemetry) -> dict[str, dict[str, float]]:
    """Collect once; returns what the gauges show, by queue and name."""
    found: dict[str, dict[str, float]] = {}
    for name, points in telemetry.collect().items():
        if name.startswith("rx_runat.queue."):
            for point in points:
                found.setdefault(point.attributes[QUEUE], {})[name.removeprefix("rx_runat.queue.")] = point.value
    return found


def test_they_show_how_the_queue_stands_at_each_collection(telemetry: Telemetry) -> None:
    queue, scheduler = virtual_queue(queue_name="mail")
    instrument(queue, **telemetry.providers)
    queue.on_next([Job("a", 10.0), Job("b", 12.0), Job("c", 99.0), Job("d", 1.0), Job("e", 1.0)])
    scheduler.advance_by(1)
    queue.claims().subscribe(lambda claim: claim.bury("no") if claim.key == "d" else None).dispose()
    assert shown(telemetry) == {"mail": {"scheduled": 5, "due": 2, "claimed": 0, "dead": 0, "lateness": 0.0}}
    claims = queue.claims().subscribe(lambda claim: claim.bury("no") if claim.key == "d" else None)
    scheduler.advance_by(1)
    claims.dispose()
    scheduler.advance_to(13)
    assert shown(telemetry) == {"mail": {"scheduled": 3, "due": 2, "claimed": 1, "dead": 1, "lateness": 3.0}}


def test_one_collection_asks_redis_once(telemetry: Telemetry, faults: Faults) -> None:
    queue, _ = virtual_queue(faults=faults)
    instrument(queue, **telemetry.providers)
    telemetry.collect()
    faults.commands.clear()
    telemetry.collect()
    assert len(faults.commands) == 1


def test_all_queues_share_the_gauges(telemetry: Telemetry) -> None:
    """A meter makes each gauge once, and would ignore the callback of a second one."""
    mail, _ = virtual_queue(queue_name="mail")
    sms, _ = virtual_queue(queue_name="sms")
    instrument(mail, **telemetry.providers)
    instrument(sms, **telemetry.providers)
    mail.schedule("a", 9.0)
    assert {name: each["scheduled"] for name, each in shown(telemetry).items()} == {"mail": 1, "sms": 0}


def test_during_an_outage_they_have_no_value_and_the_other_metrics_stay(telemetry: Telemetry, faults: Faults) -> None:
    queue, _ = virtual_queue(faults=faults)
    instrument(queue, **telemetry.providers)
    queue.schedule("a", 9.0)
    faults.away = True
    found = telemetry.collect()
    assert "messaging.client.sent.messages" in found
    assert not [name for name in found if name.startswith("rx_runat.queue.")]
    faults.away = False
    assert set(shown(telemetry)["RunAt~default"]) == set(NAMES)


def test_a_refusal_is_logged_once(telemetry: Telemetry, faults: Faults, caplog: pytest.LogCaptureFixture) -> None:
    """Only `stats` may need that permission, so nobody else would tell why the gauges have no value."""
    queue, _ = virtual_queue(faults=faults)
    instrument(queue, **telemetry.providers)
    faults.refusal = "NOPERM"
    assert shown(telemetry) == shown(telemetry) == {}
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "NOPERM" in caplog.text


def test_a_silent_redis_delays_a_collection_by_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "_PATIENCE", 0.05)
    answers, asked = threading.Event(), 0

    def read() -> Stats:
        nonlocal asked
        asked += 1
        answers.wait()
        return Stats(1, 2, 3, 4, 5.0)

    reading = Reading({}, read, Guard("a queue"))
    assert [reading.take(name) for name in NAMES] == [None] * 5
    assert [reading.take(name) for name in NAMES] == [None] * 5
    assert asked == 1  # while a question is open, no other is asked
    answers.set()
    assert reading._thread is not None
    reading._thread.join()
    assert [reading.take(name) for name in NAMES] == [1, 2, 3, 4, 5.0]


def test_a_stopped_queue_and_one_that_is_gone_have_no_gauges(make: Callable[..., RunAt], telemetry: Telemetry) -> None:
    stopped = make(queue_name="stopped")
    instrument(stopped, **telemetry.providers)
    gone = RunAt("memory://", queue_name="gone")
    instrument(gone, **telemetry.providers)
    assert set(shown(telemetry)) == {"stopped", "gone"}
    stopped.stop()
    del gone
    gc.collect()
    assert shown(telemetry) == {}
    assert shown(telemetry) == {}


def test_a_queue_that_is_gone_leaves_nothing_even_if_nobody_collects() -> None:
    """As in a service that makes a queue for each request, and has no SDK."""
    queue = RunAt("memory://")
    instrument(queue)
    (shared,) = instrumentation._global_gauges
    before = len(shared._readings)
    del queue
    gc.collect()
    assert len(shared._readings) == before - 1


def test_they_show_a_real_queue(queue: RunAt, telemetry: Telemetry) -> None:
    instrument(queue, **telemetry.providers)
    queue.schedule("a", timedelta(hours=-1))
    wait_until(lambda: queue.stats().lateness > 0, "the millisecond has passed in which it was scheduled")
    (values,) = shown(telemetry).values()
    assert (values["scheduled"], values["due"]) == (1, 1)
    assert values["lateness"] > 0
