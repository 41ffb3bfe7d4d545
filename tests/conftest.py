"""Fixtures: one real server for the whole run, empty at each test; no test may leave a thread."""

from __future__ import annotations

import functools
import gc
import os
import signal
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import redis.utils

from rx_runat import RunAt
from rx_runat.cli import main
from rx_runat.store import batches
from rx_runat.store.connect import connect
from rx_runat.store.redis_store import RedisStore
from rx_runat.stream import hold_timer
from rx_runat.testing import Faults
from tests.support import teardown_limit
from tests.support.proxy import Proxy
from tests.support.servers import Server, program
from tests.support.stores import Clock, FlakyClient
from tests.support.waiting import wait_until

pytest_runtest_teardown = teardown_limit.pytest_runtest_teardown
pytest_unconfigure = teardown_limit.pytest_unconfigure

# Two hundred processes import the package: the first one compiles it for all, though container images often forbid it.
# The tests themselves are compiled for the next run: that takes two seconds, most of them for the asserts.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# No test trusts an authority of the system, whose certificates each connection with TLS would read for 25 ms.
ssl.SSLContext.set_default_verify_paths = lambda context: None  # type: ignore[method-assign]

# redis-py reads its own version from its metadata for each connection, which takes half a millisecond. A test run opens
# some ten thousand connections.
redis.utils.get_lib_version = functools.cache(redis.utils.get_lib_version)


def pytest_collection() -> None:
    """Nothing of what is made until the tests begin is garbage soon."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Keep the modules and the ten thousand tests out of all later collections, which take 0.3 s each otherwise."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)  # else a twentieth of the run is spent on collections
    gc.enable()


# Nobody kills the servers that many tests share, and a third of the time of a write goes to an append-only file.
LEAN = ("--appendonly", "no")


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Server]:
    server = Server(*LEAN)
    yield server
    server.end()


@pytest.fixture(scope="session")
def servers(shared_server: Server) -> Iterator[Callable[[str], Server]]:
    """Starts a server of `PROGRAMS` when a test first asks for it by name; it runs until the end of the session."""
    running = {"valkey-9": shared_server}

    def start(name: str) -> Server:
        if name not in running:
            running[name] = Server(*LEAN, program=program(name))
        return running[name]

    yield start
    for name in running.keys() - {"valkey-9"}:
        running[name].end()


@pytest.fixture(params=["valkey-9", *(pytest.param(name, marks=pytest.mark.slow) for name in ("redis-6.2", "redis-7"))])
def any_server(request: pytest.FixtureRequest, servers: Callable[[str], Server]) -> Server:
    """Each kind of server in turn, emptied before the test; only Valkey runs in the default run."""
    server = servers(request.param)
    server.flush()
    return server


@pytest.fixture
def server(shared_server: Server) -> Server:
    """A real server, which is emptied before the test."""
    shared_server.flush()
    return shared_server


@pytest.fixture(scope="session")
def spare_server() -> Iterator[list[Server]]:
    """One that starts while other tests run: a Valkey measures its clock for a thirtieth of a second at first."""
    spare = [Server(waits=False)]
    yield spare
    spare[0].end()


@pytest.fixture
def own_server(spare_server: list[Server]) -> Iterator[Server]:
    """A real server that the test may kill, freeze or configure."""
    server, spare_server[0] = spare_server[0], Server(waits=False)
    server.wait()
    yield server
    server.thaw()
    server.end()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    proxy = Proxy(server)
    yield proxy
    proxy.end()


@pytest.fixture
def client(server: Server) -> Iterator[redis.Redis]:
    """A client that is not ours, as npm runat or redis-cli."""
    with server.client() as client:
        yield client


@pytest.fixture
def make(server: Server) -> Iterator[Callable[..., RunAt]]:
    """Makes queues on the real server, and stops them."""
    made: list[RunAt] = []

    def make(redis: Any = None, **settings: Any) -> RunAt:
        made.append(RunAt(server.url if redis is None else redis, **settings))
        return made[-1]

    yield make
    for queue in made:
        queue.stop()


@pytest.fixture
def queue(make: Callable[..., RunAt]) -> RunAt:
    """A queue on the real server."""
    return make()


@pytest.fixture
def go_on(make: Callable[..., RunAt]) -> Iterator[threading.Event]:
    """What a handler waits for; it is set before the queues are stopped, also when the test has failed."""
    go_on = threading.Event()
    yield go_on
    go_on.set()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Runs the command `rx-runat` in this process, which is faster than a process of its own."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    before = signal.getsignal(signal.SIGTERM)
    yield lambda *args: main(args)
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture(params=["fakeredis", "server"])
def flaky(request: pytest.FixtureRequest) -> Iterator[FlakyClient]:
    """A client of an empty Redis: fakeredis, and a real server."""
    url = "memory://" if request.param == "fakeredis" else request.getfixturevalue("server").url
    flaky = FlakyClient(connect(url).client)
    yield flaky
    flaky.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(flaky: FlakyClient, clock: Clock) -> RedisStore:
    """A store whose clock stands still."""
    return RedisStore(flaky, "RunAt~default", clock)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The kinds of the errors that were reported to one of the interpreter's two hooks."""
    shown: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: shown.append(args.exc_type))
    monkeypatch.setattr(sys, "excepthook", lambda kind, *_: shown.append(kind))
    return shown


@pytest.fixture(autouse=True)
def no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(batches, "_IDLE_SECONDS", 0.2)  # of a queue that a test does not stop
    yield
    hold_timer.timer().end_if_idle()  # it ends by itself, but a tenth of a second later
    wait_until(
        lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("rx_runat")],
        "the queues' threads have ended",
    )
