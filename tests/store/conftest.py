"""Fixtures of the store alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rx_runat.store import claimers, receipts
from rx_runat.store.connect import connect
from rx_runat.store.redis_store import RedisStore
from tests.support.failovers import FailoverClient
from tests.support.node import Node
from tests.support.redis_content import put
from tests.support.scripts import SCRIPTS
from tests.support.servers import Server
from tests.support.stores import MS, FlakyClient, Q


@pytest.fixture
def real(flaky: FlakyClient) -> RedisStore:
    """A store that goes by Redis's own clock."""
    return RedisStore(flaky, Q)


@pytest.fixture
def failing(flaky: FlakyClient) -> FailoverClient:
    """A client of a server that fails over: fakeredis, and a real server."""
    return FailoverClient(flaky)


@pytest.fixture
def two_keys(failing: FailoverClient) -> None:
    """Two due keys, a and b, on that server."""
    put(failing, ("a", MS - 2))
    put(failing, ("b", MS - 1))


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receipt is read in pieces of some two keys."""
    for module in (claimers, receipts):
        monkeypatch.setattr(module, "PIECE_BYTES", 40)


@pytest.fixture(scope="module")
def shared_node() -> Iterator[Node]:
    """A server for one module, on a port and on the socket `redis.sock` in its home."""
    node = Node("--unixsocket", "redis.sock")
    node.start()
    yield node
    node.end()


@pytest.fixture
def real_flaky(server: Server) -> Iterator[FlakyClient]:
    """RedisClient to a real server only."""
    flaky = FlakyClient(connect(server.url).client)
    yield flaky
    flaky.close()


@pytest.fixture
def taught(server: Server) -> Server:
    """A server that knows the scripts."""
    with server.client() as client:
        for script in SCRIPTS.values():
            client.script_load(script.body)
    return server
