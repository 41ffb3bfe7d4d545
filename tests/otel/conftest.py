"""Fixtures: OpenTelemetry in all processes, and providers that keep all that is recorded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import hidden_telemetry
from tests.support.telemetry import Telemetry


@pytest.fixture(autouse=True)
def is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """In processes that the tests start, too."""
    hidden_telemetry.show(monkeypatch)


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    telemetry = Telemetry()
    yield telemetry
    telemetry.shutdown()
