"""Fixtures of the refusal matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.refusals import Laboratory
from tests.support.servers import Server

ALL = [f"all cells, {name}" for name in ("valkey-9", "redis-6.2", "redis-7")]


@pytest.fixture(scope="module", params=["valkey-9", *(pytest.param(name, marks=pytest.mark.slow) for name in ALL)])
def laboratory(request: pytest.FixtureRequest, servers: Callable[[str], Server]) -> Iterator[Laboratory]:
    """Runs cells on one server. In the default run: on Valkey, and of the cells only those that differ most."""
    laboratory = Laboratory(servers(request.param.removeprefix("all cells, ")), thorough=request.param in ALL)
    yield laboratory
    laboratory.close()
