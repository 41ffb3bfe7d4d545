"""The metrics of what a queue does: names, units and buckets."""

from __future__ import annotations

from opentelemetry.metrics import Meter

# As the conventions want them for both durations.
_DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

# A quiet queue is about a millisecond late; a backlog is late by minutes or hours.
_LATENESS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)


class Instruments:
    """The counters and histograms of one meter. Queues may share them, because each measurement names its queue.

    Args:
        meter: makes them; made twice, they are the same.
    """

    def __init__(self, meter: Meter) -> None:
        self.sent = meter.create_counter(
            "messaging.client.sent.messages",
            unit="{message}",
            description="Number of messages producer attempted to send to the broker.",
        )
        self.consumed = meter.create_counter(
            "messaging.client.consumed.messages",
            unit="{message}",
            description="Number of messages that were delivered to the application.",
        )
        self.operation_duration = meter.create_histogram(
            "messaging.client.operation.duration",
            unit="s",
            description="Duration of messaging operation initiated by a producer or consumer client.",
            explicit_bucket_boundaries_advisory=_DURATIONS,
        )
        self.process_duration = meter.create_histogram(
            "messaging.process.duration",
            unit="s",
            description="Duration of processing operation.",
            explicit_bucket_boundaries_advisory=_DURATIONS,
        )
        self.lateness = meter.create_histogram(
            "rx_runat.key.lateness",
            unit="s",
            description="How late keys were when they were claimed.",
            explicit_bucket_boundaries_advisory=_LATENESS,
        )
