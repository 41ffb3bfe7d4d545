"""`instrument_by_environment`: measures a queue if the SDK's own environment variables ask for it."""

from __future__ import annotations

import os
from typing import Any

from opentelemetry import metrics, trace
from reactivex import abc
from reactivex.disposable import CompositeDisposable, Disposable

from rx_runat.model.safe_log import warn
from rx_runat.otel.guard import Guard
from rx_runat.otel.instrumentation import instrument
from rx_runat.queue import RunAt

# Without one of these the SDK of Python exports nothing. Others, such as OTEL_SERVICE_NAME, are often set for all
# processes of a machine.
_WHERE = ("OTEL_METRICS_EXPORTER", "OTEL_TRACES_EXPORTER", "OTEL_CONFIG_FILE")


def _is_asked_for() -> bool:
    """True if an environment variable of the SDK's names an exporter, and none switches the SDK off."""
    values = {name: os.environ.get(name, "").strip().lower() for name in ("OTEL_SDK_DISABLED", *_WHERE)}
    return values.pop("OTEL_SDK_DISABLED") != "true" and bool(set(values.values()) - {"", "none"})


def instrument_by_environment(queue: RunAt) -> abc.DisposableBase:
    """Measure a queue if an SDK is configured, or environment variables of the SDK's say that it should be.

    If the program runs under `opentelemetry-instrument`, the SDK is configured already. If not, and a variable such as
    `OTEL_METRICS_EXPORTER=otlp` names an exporter, this configures the SDK as that command does. It is for programs
    such as `rx-runat work`, which nobody writes code for; in code of your own, configure the SDK and call `instrument`.

    Args:
        queue: the queue.

    Returns:
        Dispose of it to end this; what was recorded is exported first. Metrics that cannot be exported are no reason to
        do no work: then nothing is measured, and the log tells why.
    """
    if not _is_configured():
        if not _is_asked_for():
            return Disposable()
        _configure()
        if not _is_configured():
            return Disposable()
    return CompositeDisposable(Disposable(_flush), instrument(queue))  # the gauges are read once more


def _is_configured() -> bool:
    """True if somebody has set a global provider, of metrics or of traces, that can export."""
    return any(hasattr(provider, "force_flush") for provider in _providers())


def _providers() -> tuple[Any, Any]:
    """Returns the global providers. Those of the SDK have `force_flush`; the API knows no such method."""
    return trace.get_tracer_provider(), metrics.get_meter_provider()


def _configure() -> None:
    try:
        from opentelemetry.sdk import _configuration
    except ImportError:
        warn("no metrics and traces: OpenTelemetry's environment variables are set; pip install opentelemetry-sdk")
        return
    try:
        # The SDK means this class to be derived from, by whoever configures it from the environment.
        configurator: Any = type("_Configurator", (_configuration._OTelSDKConfigurator,), {})()  # pyright: ignore[reportPrivateUsage]
        configurator.configure()
    except Exception as error:  # an exporter is not installed, for example
        warn("no metrics and traces: OpenTelemetry cannot be configured by its environment variables: %s", error)


def _flush() -> None:
    guard = Guard("the worker")
    for provider in _providers():
        if hasattr(provider, "force_flush"):
            guard(provider.force_flush)
