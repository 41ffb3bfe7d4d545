"""Fixtures: providers that keep all that is recorded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.telemetry import Telemetry


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    telemetry = Telemetry()
    yield telemetry
    telemetry.shutdown()
