"""Metrics and traces as the SDK's own environment variables ask for them: real processes, with the SDK's exporters."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.servers import Server

SCRIPT = """
import logging, sys
logging.basicConfig(format="%(name)s %(levelname)s %(message)s")
from opentelemetry import trace
from rx_runat import RunAt
from rx_runat.cli.telemetry import telemetry
with RunAt(sys.argv[1]) as queue:
    measured = telemetry(queue)
    queue.schedule("the-key", 4e9)
    measured.dispose()
print("the end", "rx_runat.otel" in sys.modules, type(trace.get_tracer_provider()).__name__)
"""


def run(server: Server, script: str = SCRIPT, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script, server.url],
        capture_output=True,
        text=True,
        check=False,
        env={**env, **environment},
    )


def test_an_exporter_that_a_variable_names_gets_metrics_and_spans(server: Server) -> None:
    """What was recorded is exported at the end."""
    done = run(server, OTEL_METRICS_EXPORTER="console", OTEL_TRACES_EXPORTER="console", OTEL_SERVICE_NAME="mailer")
    assert done.returncode == 0, done.stderr
    said, end = done.stdout.split("the end")
    for word in ("messaging.client.sent.messages", "rx_runat.queue.scheduled", "schedule RunAt~default", "mailer"):
        assert word in said
    assert end.split()[:2] == ["True", "TracerProvider"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_SERVICE_NAME": "mailer"},
        {"OTEL_METRICS_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_METRICS_EXPORTER": "none", "OTEL_TRACES_EXPORTER": "none"},
    ],
    ids=str,
)
def test_nothing_is_recorded_where_no_variable_names_an_exporter(server: Server, environment: dict[str, str]) -> None:
    done = run(server, **environment)
    assert done.stdout in [f"the end {imported} ProxyTracerProvider\n" for imported in (True, False)]
    assert done.stderr == ""


def test_a_program_without_any_such_variable_does_not_pay_for_the_import(server: Server) -> None:
    assert run(server).stdout == "the end False ProxyTracerProvider\n"


def test_an_exporter_that_is_not_installed_is_a_warning_and_the_work_goes_on(server: Server) -> None:
    done = run(server, OTEL_METRICS_EXPORTER="strange")
    assert done.returncode == 0
    assert done.stdout.startswith("the end")
    assert "rx_runat WARNING no metrics and traces: OpenTelemetry cannot be configured" in done.stderr
    assert "strange" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["opentelemetry", "opentelemetry.sdk"])
def test_a_package_that_is_not_installed_is_a_warning_and_the_work_goes_on(server: Server, missing: str) -> None:
    script = f"import sys\nsys.modules[{missing!r}] = None\n{SCRIPT}".replace("from opentelemetry import trace\n", "")
    script = script.partition("print(")[0] + "print('the end')"
    done = run(server, script, OTEL_METRICS_EXPORTER="console")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("the end")
    assert "rx_runat WARNING no metrics and traces: " in done.stderr
    assert "pip install" in done.stderr


METRICS = """
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(ConsoleMetricExporter())]))
"""


@pytest.mark.parametrize(
    "traces",
    [
        pytest.param("", id="metrics alone"),
        pytest.param("trace.set_tracer_provider(TracerProvider())", id="both", marks=pytest.mark.slow),
    ],
)
def test_an_sdk_that_is_configured_already_is_used(server: Server, traces: str) -> None:
    """As under `opentelemetry-instrument`, or by a module of the user's. Its configuration must not be replaced."""
    done = run(server, METRICS + traces + SCRIPT, OTEL_METRICS_EXPORTER="strange")
    assert done.returncode == 0, done.stderr
    assert "messaging.client.sent.messages" in done.stdout
    assert done.stderr == ""
