"""`instrument`: from when to when a queue is measured, and what that may cost: nothing but time."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.trace import SpanProcessor
from reactivex import operators as ops

from rx_runat import InvalidSetting, Job, RunAt, settle
from rx_runat.otel import instrument
from rx_runat.queue import inside
from rx_runat.stream.taps import Taps
from rx_runat.testing import virtual_queue
from tests.support.forks import in_child
from tests.support.servers import Server
from tests.support.telemetry import Telemetry
from tests.support.waiting import wait_until

SENT = "messaging.client.sent.messages"
SYSTEM = "messaging.system"


def test_disposal_ends_it(telemetry: Telemetry) -> None:
    queue, scheduler = virtual_queue()
    instrumentation = instrument(queue, **telemetry.providers)
    queue.schedule("a", 1.0)
    before = telemetry.values(SENT, SYSTEM), len(telemetry.spans())
    instrumentation.dispose()
    instrumentation.dispose()
    queue.schedule("b", 1.0)
    queue.claims().pipe(settle(lambda _: None)).subscribe()
    scheduler.advance_by(5)
    assert queue.size() == 0
    assert (telemetry.values(SENT, SYSTEM), len(telemetry.spans())) == before
    assert not [name for name in telemetry.collect() if name.startswith("rx_runat.queue.")]


def test_what_is_under_way_at_disposal_is_recorded_at_its_end(telemetry: Telemetry) -> None:
    queue, scheduler = virtual_queue()
    instrumentation = instrument(queue, **telemetry.providers)
    queue.schedule("a", 1.0)
    queue.claims().pipe(settle(lambda _: instrumentation.dispose())).subscribe()
    scheduler.advance_by(5)
    assert len(telemetry.spans("process")) == 1


def test_disposal_at_any_moment_ends_no_stream_and_no_call(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes on another thread, perhaps between two steps of a claim or of a call."""
    queue, scheduler = virtual_queue()
    instrument(queue, **telemetry.providers)
    reads = itertools.cycle([inside(queue).sources.taps.monitor, None])
    monkeypatch.setattr(Taps, "monitor", property(lambda _: next(reads)))
    queue.on_next([Job("a", 1.0), Job("b", 1.0)])
    got: list[str] = []
    plain = queue.subscribe(got.append)
    scheduler.advance_by(2)
    plain.dispose()
    queue.on_next([Job("c", 1.0), Job("d", 1.0)])
    queue.claims().subscribe(lambda claim: got.append(claim.key) if claim.ack() else None)
    scheduler.advance_by(2)
    assert got == ["a", "b", "c", "d"]


def test_a_queue_has_one_instrumentation_and_the_last_call_counts(telemetry: Telemetry) -> None:
    """A notebook's cell that is run twice counts nothing twice."""
    queue, _ = virtual_queue()
    first = instrument(queue, **telemetry.providers)
    instrument(queue, **telemetry.providers)
    first.dispose()
    queue.schedule("a", 1.0)
    assert telemetry.values(SENT, SYSTEM) == {"rx_runat": 1}
    assert telemetry.values("rx_runat.queue.scheduled", SYSTEM) == {"rx_runat": 1}


def test_it_does_not_keep_the_queue_alive(telemetry: Telemetry) -> None:
    queue = RunAt("memory://")
    instrument(queue, **telemetry.providers)
    gone = weakref.ref(queue)
    del queue
    gc.collect()
    assert gone() is None


def test_only_a_queue_can_be_measured(queue: RunAt) -> None:
    wrong: Any = queue.jobs
    with pytest.raises(InvalidSetting, match="it must be a RunAt"):
        instrument(wrong)


class Broken(SpanProcessor):
    def on_start(self, span: Any, parent_context: Any = None) -> None:
        if span.name.startswith("process"):
            raise ValueError("broken at the start")

    def on_end(self, span: Any) -> None:
        raise ValueError("broken at the end")


def test_what_fails_in_the_sdk_fails_nothing_else(
    make: Callable[..., RunAt], telemetry: Telemetry, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = make()
    telemetry.tracer_provider.add_span_processor(Broken())
    instrument(queue, **telemetry.providers)
    recorder: Any = queue._sources.taps.monitor

    def fails(*_: object) -> None:
        raise ValueError("broken record")

    for each in ("consumed", "lateness", "sent", "operation_duration", "process_duration"):
        monkeypatch.setattr(getattr(recorder._instruments, each), "add", fails, raising=False)
        monkeypatch.setattr(getattr(recorder._instruments, each), "record", fails, raising=False)
    got: list[str] = []
    plain = queue.subscribe(got.append)
    queue.on_next([Job("a", 1), Job("b", 1)])
    wait_until(lambda: len(got) == 2, "both keys came")
    plain.dispose()
    queue.on_next([Job(f"k{n}", 1) for n in range(20)])
    outcomes = queue.claims().pipe(settle(lambda claim: claim.key), ops.take(20), ops.to_list()).run()
    assert sorted(outcome.result or "" for outcome in outcomes) == sorted(f"k{n}" for n in range(20))
    assert {outcome.verdict for outcome in outcomes} == {"acked"}
    faults = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in faults] == [f"metrics and traces of {queue!r} fail; the queue goes on"]


def test_a_forked_child_is_measured_too(make: Callable[..., RunAt], telemetry: Telemetry) -> None:
    queue = make()
    instrument(queue, **telemetry.providers)
    queue.schedule("parent", 4e9)

    def child() -> tuple[float, float, int]:
        queue.schedule("child", 4e9)
        sent = telemetry.values(SENT, SYSTEM)["rx_runat"]
        waits = telemetry.values("rx_runat.queue.scheduled", SYSTEM)["rx_runat"]
        queue.stop()
        return sent, waits, len(telemetry.spans("schedule"))

    assert in_child(child) == (2, 2, 2)
    assert telemetry.values(SENT, SYSTEM) == {"rx_runat": 1}


def run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**env, **environment},
    )


def test_the_sdk_may_be_configured_later(server: Server) -> None:
    script = """
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from rx_runat import RunAt
from rx_runat.otel import instrument
with RunAt(queue_name="before") as before, RunAt(queue_name="after") as after:
    instrument(before)
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))
    instrument(after)
    for queue in before, after:
        queue.schedule("a", 4e9)
    found = {
        (metric.name, point.attributes["messaging.destination.name"])
        for scope in reader.get_metrics_data().resource_metrics[0].scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }
for name in "messaging.client.sent.messages", "rx_runat.queue.scheduled":
    print(name, (name, "before") in found, (name, "after") in found)
"""
    done = run(script, REDIS_URL=server.url)
    assert (done.stdout, done.stderr) == (
        "messaging.client.sent.messages True True\nrx_runat.queue.scheduled True True\n",
        "",
    )


def test_without_its_extra_it_says_what_it_needs() -> None:
    done = run("""
import sys
sys.modules["opentelemetry"] = None
try:
    import rx_runat.otel
except ImportError as error:
    print(error)
""")
    assert done.stdout == "rx_runat.otel needs the API of OpenTelemetry; pip install 'rx-runat[otel]'\n", done.stderr
