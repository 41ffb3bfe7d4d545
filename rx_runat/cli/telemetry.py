"""Metrics and traces of a command that runs for long, where the environment asks for them."""

from __future__ import annotations

import os

from reactivex import abc
from reactivex.disposable import Disposable

from rx_runat.model.safe_log import warn
from rx_runat.queue import RunAt


def telemetry(queue: RunAt) -> abc.DisposableBase:
    """Measure a queue as the environment variables of OpenTelemetry say; see `instrument_by_environment`.

    Returns:
        Dispose of it at the end of the command: it exports what was recorded.
    """
    if not any(name.startswith("OTEL_") for name in os.environ):
        return Disposable()  # nobody asks: spare the import
    try:
        from rx_runat.otel import instrument_by_environment
    except ImportError as error:
        warn("no metrics and traces: %s", error)
        return Disposable()
    return instrument_by_environment(queue)
