"""Fixtures of the refusal matrix, of deployments that fail over, and of JupyterLab in a browser."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import Browser, Lab, chromium, jupyterlab
from tests.support.clusters import Cluster
from tests.support.refusals import SHARE, Laboratory
from tests.support.sentinels import Sentinels
from tests.support.servers import Server

MANY = ["all cells, valkey-9", "a share of the cells, redis-6.2", "a share of the cells, redis-7"]


@pytest.fixture(scope="module", params=["valkey-9", *(pytest.param(name, marks=pytest.mark.slow) for name in MANY)])
def laboratory(request: pytest.FixtureRequest, servers: Callable[[str], Server]) -> Iterator[Laboratory]:
    """Runs cells on one server. In the default run: on Valkey, and of the cells only those that differ most."""
    share = SHARE if "share" in request.param else 1
    laboratory = Laboratory(servers(request.param.split(", ")[-1]), thorough=request.param in MANY, share=share)
    yield laboratory
    laboratory.close()


@pytest.fixture(scope="session")
def shared_sentinels() -> Iterator[Sentinels]:
    sentinels = Sentinels()
    yield sentinels
    sentinels.end()


@pytest.fixture
def sentinels(shared_sentinels: Sentinels) -> Sentinels:
    """A primary, two replicas and three Sentinels, in step and empty. The test may kill, freeze and fail over."""
    shared_sentinels.reset()
    return shared_sentinels


@pytest.fixture
def own_sentinels() -> Iterator[Callable[..., Sentinels]]:
    """Starts Sentinels with options of the test's choice: see `Sentinels`."""
    started: list[Sentinels] = []

    def start(*options: str, **settings: Any) -> Sentinels:
        started.append(Sentinels(*options, **settings))
        return started[-1]

    yield start
    for sentinels in started:
        sentinels.end()


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    cluster.end()


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Cluster:
    """Three primaries and three replicas, in step and empty. The test may kill, freeze, fail over and move slots."""
    shared_cluster.reset()
    return shared_cluster


@pytest.fixture
def own_cluster() -> Iterator[Callable[..., Cluster]]:
    """Starts a cluster with options of the test's choice: see `Cluster`."""
    started: list[Cluster] = []

    def start(*options: str, **settings: Any) -> Cluster:
        started.append(Cluster(*options, **settings))
        return started[-1]

    yield start
    for cluster in started:
        cluster.end()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab that has a copy of our notebooks."""
    with jupyterlab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A page of 1200 px. Pictures of it go to pytest's temporary directory, or to `$RX_RUNAT_SCREENSHOTS`."""
    with chromium(Path(os.environ.get("RX_RUNAT_SCREENSHOTS", tmp_path))) as browser:
        yield browser
