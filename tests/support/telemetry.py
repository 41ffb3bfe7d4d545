"""Metrics and spans of OpenTelemetry, collected in memory."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

OURS = ("messaging.system", "messaging.destination.name", "server.address", "server.port")


class Telemetry:
    """Providers of the SDK that keep all that is recorded.

    Attributes:
        meter_provider: for metrics.
        tracer_provider: for spans.
    """

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self._exporter = InMemorySpanExporter()
        self.meter_provider = MeterProvider([self._reader], shutdown_on_exit=False)
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def providers(self) -> dict[str, Any]:
        """As `instrument` takes them."""
        return {"meter_provider": self.meter_provider, "tracer_provider": self.tracer_provider}

    def collect(self) -> dict[str, list[Any]]:
        """Collect all metrics once. Returns the data points of each by its name."""
        data = self._reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for resource in (data.resource_metrics if data else [])
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def values(self, name: str, *attributes: str) -> dict[Any, float]:
        """Collect, and return a metric's values, or counts of a histogram, by the values of some attributes."""
        found: dict[Any, float] = {}
        for point in self.collect().get(name, []):
            key = tuple(point.attributes.get(each) for each in attributes)
            found[key[0] if len(key) == 1 else key] = getattr(point, "value", None) or getattr(point, "count", 0)
        return found

    def spans(self, name: str = "") -> list[ReadableSpan]:
        """Returns the spans that have ended, in that order, whose names begin so."""
        return [span for span in self._exporter.get_finished_spans() if span.name.startswith(name)]

    def shutdown(self) -> None:
        """End the providers."""
        self.meter_provider.shutdown()
        self.tracer_provider.shutdown()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """Returns what a span says, without what all of its queue say."""
    return {name: value for name, value in (span.attributes or {}).items() if name not in OURS}


def parent_of(span: ReadableSpan) -> int | None:
    """Returns the id of a span's parent."""
    return None if span.parent is None else span.parent.span_id


def id_of(span: Any) -> int:
    """Returns the id of a span, ended or not."""
    return span.get_span_context().span_id
