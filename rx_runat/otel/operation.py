"""One operation of a queue, from its begin to its end: a span, and a record of how long it took."""

from __future__ import annotations

from functools import partial

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from rx_runat.otel.attributes import Attributes, OperationType, exportable, of_error, of_exception, of_operation
from rx_runat.otel.guard import Guard
from rx_runat.settling.failures import error_text, named


class Operation:
    """One operation that is under way. No method raises.

    Args:
        name: of the operation.
        kind: of the operation.
        common: what the queue's metrics and spans say.
        special: what this span says besides.
        durations: where its length is recorded.
        tracer: begins its span.
        span_kind: of its span.
        parent: the context in which it begins; None: the present one.
        guard: calls what may fail.

    Attributes:
        context: the one with its span; None if there is none.
    """

    __slots__ = ("_durations", "_guard", "_span", "attributes", "context")

    def __init__(
        self,
        name: str,
        kind: OperationType | None,
        common: Attributes,
        special: Attributes,
        durations: Histogram,
        tracer: Tracer,
        span_kind: SpanKind,
        parent: Context | None,
        guard: Guard,
    ) -> None:
        self.attributes = {**common, **of_operation(name, kind)}
        self._durations = durations
        self._guard = guard
        title = f"{name} {common['messaging.destination.name']}"
        self._span: Span | None = guard(
            lambda: tracer.start_span(title, parent, span_kind, {**self.attributes, **special})
        )
        self.context = None if self._span is None else guard(partial(set_span_in_context, self._span, parent))

    def end(self, seconds: float, error: BaseException | None) -> None:
        """The operation is over after so many seconds, with an error or with None."""
        if self._span is not None:
            self._guard(partial(_end, self._span, error))
        self._guard(lambda: self._durations.record(seconds, self.attributes | of_error(error), self.context))


def _end(span: Span, error: BaseException | None) -> None:
    try:
        if error is not None and span.is_recording():
            span.set_attributes(of_error(error))
            span.set_status(Status(StatusCode.ERROR, exportable(named(error, error_text(error)))))
            span.add_event("exception", of_exception(error))  # `record_exception` spells it as it is, or raises
    finally:
        span.end()
