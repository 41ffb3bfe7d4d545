"""Fixtures of the refusal matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.refusals import SHARE, Laboratory
from tests.support.servers import Server

MANY = ["all cells, valkey-9", "a share of the cells, redis-6.2", "a share of the cells, redis-7"]


@pytest.fixture(scope="module", params=["valkey-9", *(pytest.param(name, marks=pytest.mark.slow) for name in MANY)])
def laboratory(request: pytest.FixtureRequest, servers: Callable[[str], Server]) -> Iterator[Laboratory]:
    """Runs cells on one server. In the default run: on Valkey, and of the cells only those that differ most."""
    share = SHARE if "share" in request.param else 1
    laboratory = Laboratory(servers(request.param.split(", ")[-1]), thorough=request.param in MANY, share=share)
    yield laboratory
    laboratory.close()
