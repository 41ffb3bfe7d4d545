"""The spans: what they say, and which belong together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import reactivex as rx
import redis
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode
from reactivex import operators as ops

from rx_runat import Claim, Job, RunAt, Unavailable, settle
from rx_runat.otel import instrument
from rx_runat.testing import Faults, virtual_queue
from tests.support.telemetry import Telemetry, attributes, id_of, parent_of
from tests.support.waiting import wait_until


@pytest.fixture
def measured(make: Callable[..., RunAt], telemetry: Telemetry) -> RunAt:
    queue = make(queue_name="mail")
    instrument(queue, **telemetry.providers)
    return queue


def test_a_write_is_a_span_that_names_its_key_or_their_number(measured: RunAt, telemetry: Telemetry) -> None:
    measured.schedule("a", 1e9)
    measured.on_next([Job("b", 1e9), Job("c", 1e9)])
    common = {"messaging.operation.name": "schedule", "messaging.operation.type": "send"}
    assert [(span.name, span.kind, attributes(span)) for span in telemetry.spans()] == [
        ("schedule mail", SpanKind.CLIENT, {**common, "messaging.message.id": "a"}),
        ("schedule mail", SpanKind.CLIENT, {**common, "messaging.batch.message_count": 2}),
    ]


def test_a_write_belongs_to_what_is_current(measured: RunAt, telemetry: Telemetry) -> None:
    tracer = telemetry.tracer_provider.get_tracer("test")
    with tracer.start_as_current_span("request") as request:
        measured.schedule("a", 1e9)

    async def main() -> int:
        with tracer.start_as_current_span("request") as other:
            await measured.aio.schedule("b", 1e9)
        return id_of(other)

    other = asyncio.run(main())
    assert [parent_of(span) for span in telemetry.spans("schedule")] == [id_of(request), other]


def test_a_write_that_fails_is_a_span_with_the_error(telemetry: Telemetry) -> None:
    faults = Faults()
    queue, _ = virtual_queue(faults=faults)
    instrument(queue, **telemetry.providers)
    faults.away = True
    with pytest.raises(Unavailable):
        queue.schedule("a", 1e9)
    (span,) = telemetry.spans()
    assert span.status.status_code == StatusCode.ERROR
    assert "away on demand" in (span.status.description or "")
    assert attributes(span)["error.type"] == "rx_runat.errors.Unavailable"
    assert [event.name for event in span.events] == ["exception"]


def test_work_is_a_span_with_its_key_attempt_and_lateness(telemetry: Telemetry) -> None:
    queue, scheduler = virtual_queue(queue_name="mail")
    instrument(queue, **telemetry.providers)
    queue.schedule("a", 1.0)
    scheduler.advance_by(3)

    def work(claim: Claim) -> None:
        if claim.attempt == 1:
            raise ValueError("no")

    queue.claims().pipe(settle(work, backoff=lambda _: 10.0)).subscribe()
    scheduler.advance_by(20)
    said = [(span.name, span.kind, span.status.description, attributes(span)) for span in telemetry.spans("process")]
    common = {
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.message.id": "a",
    }
    names = "messaging.rx_runat.attempt", "messaging.rx_runat.lateness"
    assert said == [
        (
            *("process mail", SpanKind.CONSUMER, "ValueError: no"),
            {**common, names[0]: 1, names[1]: 2.0, "error.type": "ValueError"},
        ),
        ("process mail", SpanKind.CONSUMER, None, {**common, names[0]: 2, names[1]: 12.0}),
    ]


def test_work_on_a_list_is_one_span(telemetry: Telemetry) -> None:
    queue, scheduler = virtual_queue()
    instrument(queue, **telemetry.providers)
    queue.on_next([Job(key, 1.0) for key in "abc"])
    queue.claims().pipe(ops.buffer_with_count(3), settle(lambda _: None)).subscribe()
    scheduler.advance_by(5)
    (span,) = telemetry.spans("process")
    assert attributes(span)["messaging.batch.message_count"] == 3


def function(span_of: Callable[[], Any]) -> Callable[[Claim], Any]:
    return lambda claim: span_of()


def coroutine(span_of: Callable[[], Any]) -> Callable[[Claim], Any]:
    async def work(claim: Claim) -> Any:
        await asyncio.sleep(0.001)
        return span_of()

    return work


def observable(span_of: Callable[[], Any]) -> Callable[[Claim], Any]:
    return lambda claim: rx.defer(lambda _: rx.just(span_of()))


@pytest.mark.parametrize("kind", [function, coroutine, observable])
def test_the_span_of_work_is_current_in_it(
    kind: Callable[..., Callable[[Claim], Any]], measured: RunAt, telemetry: Telemetry
) -> None:
    """So the spans of whatever the work calls become its children."""
    measured.schedule("a", 1.0)

    async def main() -> Any:
        work = kind(lambda: id_of(trace.get_current_span()))
        return await measured.claims().pipe(settle(work), ops.first())

    outcome = asyncio.run(main())
    assert outcome.verdict == "acked"
    (span,) = telemetry.spans("process")
    assert outcome.result == id_of(span)
    assert not trace.get_current_span().get_span_context().is_valid


def test_the_span_of_a_coroutine_lasts_until_its_end(measured: RunAt, telemetry: Telemetry) -> None:
    measured.schedule("a", 1.0)
    open_spans: list[int] = []

    async def work(claim: Claim) -> None:
        await asyncio.sleep(0.02)
        open_spans.append(len(telemetry.spans("process")))

    async def main() -> None:
        await measured.claims().pipe(settle(work), ops.first())

    asyncio.run(main())
    assert open_spans == [0]
    assert len(telemetry.spans("process")) == 1


def test_the_span_of_a_delivery_is_current_in_on_next(measured: RunAt, telemetry: Telemetry) -> None:
    current: list[int] = []
    measured.subscribe(lambda _: current.append(id_of(trace.get_current_span())))
    measured.schedule("a", 1.0)
    wait_until(lambda: telemetry.spans("process"), "the delivery is over")
    (span,) = telemetry.spans("process")
    assert current == [id_of(span)]
    assert attributes(span)["messaging.message.id"] == "a"


def test_a_claim_that_is_settled_by_hand_belongs_to_what_is_current(measured: RunAt, telemetry: Telemetry) -> None:
    tracer = telemetry.tracer_provider.get_tracer("test")
    mine: list[int] = []

    def handle(claim: Claim) -> None:
        with tracer.start_as_current_span("mine") as span:
            mine.append(id_of(span))
            claim.ack()

    measured.claims().subscribe(handle)
    measured.schedule("a", 1.0)
    wait_until(lambda: telemetry.spans("ack"), "it was acked")
    (span,) = telemetry.spans("ack")
    assert parent_of(span) == mine[0]
    assert (span.kind, attributes(span)["messaging.message.id"]) == (SpanKind.CLIENT, "a")


def test_claims_that_are_settled_in_bulk_are_one_span(measured: RunAt, telemetry: Telemetry) -> None:
    measured.on_next([Job(f"k{n}", 1.0) for n in range(50)])
    measured.claims().pipe(settle(lambda _: None), ops.take(50)).run()
    counts = [attributes(span).get("messaging.batch.message_count", 1) for span in telemetry.spans("ack")]
    assert sum(counts) == 50
    assert len(counts) < 50


def test_every_key_can_be_exported(measured: RunAt, telemetry: Telemetry, client: redis.Redis) -> None:
    """Exporters send UTF-8, and one span that holds anything else, or millions of bytes, loses the whole batch."""
    client.zadd("mail", {b"\xff\xfe": 1, b"long" * 100_000: 2})
    measured.claims().pipe(settle(lambda _: None), ops.take(2)).run()
    keys = [attributes(span)["messaging.message.id"] for span in telemetry.spans("process")]
    assert len(keys) == 2
    assert all(len(key.encode()) < 1000 for key in keys)


def failed(telemetry: Telemetry, error: BaseException) -> ReadableSpan:
    """Let work fail with an error; returns its span. The claim must be settled all the same."""
    queue, scheduler = virtual_queue()
    instrument(queue, **telemetry.providers)
    queue.schedule("a", 1.0)
    verdicts: list[str] = []
    queue.claims().pipe(settle(lambda _: rx.throw(error), max_attempts=1)).subscribe(
        lambda outcome: verdicts.append(outcome.verdict)
    )
    scheduler.advance_by(1)
    assert verdicts == ["buried"]
    (span,) = telemetry.spans("process")
    assert span.status.status_code == StatusCode.ERROR
    return span


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit])
def test_an_error_without_a_text_ends_its_span_all_the_same(telemetry: Telemetry, kind: type[BaseException]) -> None:
    class Unreadable(Exception):
        def __str__(self) -> str:
            raise kind

    span = failed(telemetry, Unreadable())
    assert attributes(span)["error.type"].endswith("Unreadable")
    assert [event.name for event in span.events] == ["exception"]


def test_every_error_can_be_exported(telemetry: Telemetry) -> None:
    """As every key: the text of an error may hold the bytes of a file's name, or a whole page."""
    span = failed(telemetry, ValueError("naïve \udcff" + "x" * 1_000_000))
    (event,) = span.events
    said = event.attributes or {}
    texts = [span.status.description or "", str(said["exception.message"]), str(said["exception.stacktrace"])]
    assert [text.count("naïve \\udcffxxx") for text in texts] == [1, 1, 1]
    assert sum(len(text.encode()) for text in texts) < 20_000
    assert said["exception.type"] == "ValueError"
