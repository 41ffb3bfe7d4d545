"""A connection of one's own is closed by any thread at any time: who waits on it goes on at once, no socket is left."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis

from rx_runat import OutcomeUnknown, StoreError, Unavailable
from rx_runat.store.client import RedisClient
from rx_runat.store.connect import connect
from rx_runat.store.connection import DedicatedConnection
from tests.support.forks import in_child
from tests.support.servers import Server
from tests.support.tls import TLSProxy, certificate
from tests.support.waiting import wait_until

LONG = 3600  # seconds; what ends sooner was ended


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("certificates"), "server")


@pytest.fixture
def tcp_server() -> Iterator[Server]:
    """A server that listens on a port of this host as well."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Server("--port", str(port))
    server.url = f"redis://127.0.0.1:{port}"
    yield server
    server.end()


@pytest.fixture(params=["unix", "tcp", "tls"])
def ours(request: pytest.FixtureRequest) -> Iterator[RedisClient]:
    """A client of ours that waits for a reply for an hour, over each kind of socket."""
    server: Server = request.getfixturevalue("tcp_server" if request.param == "tcp" else "server")
    query = f"?socket_timeout={LONG}"
    if request.param != "tls":
        client = connect(server.url + query).client
        yield client
        client.close()
        return
    shown, key = request.getfixturevalue("certificates")
    proxy = TLSProxy(server.path, shown, key)
    client = connect(f"rediss://localhost:{proxy.port}{query}&ssl_ca_certs={shown}").client
    yield client
    client.close()
    with server.client() as killer:  # for them the proxy waits
        killer.client_kill_filter(_type="normal", skipme=True)
    proxy.end()


def goes_on(act: Callable[[], object], close: Callable[[], object], is_under_way: Callable[[], object]) -> Any:
    """Run an action on another thread, and close while it waits. Returns what it returned, or raised."""
    said: list[Any] = []

    def run() -> None:
        try:
            said.append(act())
        except StoreError as error:
            said.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(is_under_way, "it is under way")
    threading.Event().wait(0.02)  # in which it comes to wait
    close()
    thread.join(20)
    assert not thread.is_alive(), "it still waits"
    return said[0]


def test_close_ends_what_another_thread_waits_for_whatever_the_socket(ours: RedisClient) -> None:
    for act in (lambda own: own.listen(LONG), lambda own: own.call("BLPOP", "nobody", 0)):
        own = ours.open()
        own.call("PING")
        said = goes_on(lambda: act(own), own.close, lambda: own._is_used)  # noqa: B023
        assert type(said) is OutcomeUnknown
        assert own._connection._sock is None, "who waited has closed it"
        with pytest.raises(Unavailable):
            own.call("PING")
        own.close()


def test_closing_the_client_ends_it_too(ours: RedisClient) -> None:
    own = ours.open()
    own.call("PING")
    assert type(goes_on(lambda: own.listen(LONG), ours.close, lambda: own._is_used)) is OutcomeUnknown


def test_close_leaves_the_descriptor_to_the_thread_that_is_about_to_wait_on_it(server: Server) -> None:
    """Else the number soon names another socket, and the thread waits for that one: nobody would end its wait."""
    client = connect(server.url).client
    own = client.open()
    own.call("PING")
    inner = own._connection
    number = inner._sock.fileno()
    wait = inner.can_read
    others: list[socket.socket] = []

    def another_closes_it_and_then_wait(timeout: float) -> bool:
        closing = threading.Thread(target=own.close)
        closing.start()
        closing.join()
        others.extend(socket.socketpair())
        return wait(timeout)

    inner.can_read = another_closes_it_and_then_wait
    with pytest.raises(OutcomeUnknown):
        own.listen(LONG)
    assert number not in [other.fileno() for other in others]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
    for other in others:
        other.close()
    client.close()


def test_close_closes_the_socket_itself_if_nobody_uses_it(server: Server) -> None:
    client = connect(server.url).client
    own = client.open()
    own.call("PING")
    number = own._connection._sock.fileno()
    own.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
    client.close()


def test_what_is_closed_is_not_connected_anew(server: Server, client: redis.Redis) -> None:
    """By a thread that found it open, and begins its call only now."""
    ours = connect(server.url).client
    before = len(client.client_list())
    for connected in (True, False):
        own = ours.open()
        if connected:
            own.call("PING")

        def close_before(*args: Any, _own: DedicatedConnection = own, _to: Any = own._translate) -> Any:
            closing = threading.Thread(target=_own.close)
            closing.start()
            closing.join()
            return _to(*args)

        own._translate = close_before
        with pytest.raises(StoreError):
            own.call("PING")
        wait_until(lambda: len(client.client_list()) == before, "no connection is left")
    ours.close()


def test_a_connect_under_way_ends_at_its_timeout() -> None:
    """Only redis-py has that socket yet."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent:
        port = silent.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:  # until the queue of the silent host is full
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect(("127.0.0.1", port))
        ours = connect(f"redis://127.0.0.1:{port}?socket_connect_timeout=0.15&socket_timeout=0.15").client
        own = ours.open()
        said = goes_on(lambda: own.call("PING"), own.close, lambda: own._is_used)
        assert isinstance(said, Unavailable)
        assert own._connection._sock is None
        ours.close()
        for filler in fillers:
            filler.close()


def test_two_threads_that_open_listen_and_close_leave_no_descriptor(server: Server, client: redis.Redis) -> None:
    """One of them waits each time, and the other closes at another moment of its way."""
    ours = connect(f"{server.url}?socket_timeout={LONG}").client
    connections = len(client.client_list())
    before = len(os.listdir("/dev/fd"))
    for number in range(200):
        own = ours.open()

        def use(own: DedicatedConnection = own) -> None:
            with suppress(StoreError):
                own.call("PING")
                own.listen(LONG)

        thread = threading.Thread(target=use)
        thread.start()
        threading.Event().wait(number / 200 * 0.002)
        own.close()
        thread.join(20)
        assert not thread.is_alive(), "it still waits"
        del own, use
    wait_until(lambda: len(os.listdir("/dev/fd")) <= before, "no descriptor is left")
    wait_until(lambda: len(client.client_list()) == connections, "no connection is left")
    ours.close()


def test_24_a_forked_child_that_closes_it_leaves_the_parents_open(server: Server) -> None:
    ours = connect(server.url).client
    own = ours.open()
    own.call("PING")
    heard = threading.Event()

    def listen() -> None:
        own.listen(LONG)
        heard.set()

    own.call("SUBSCRIBE", "news", pushed=True)
    thread = threading.Thread(target=listen)
    thread.start()
    wait_until(lambda: own._is_used, "it listens")
    in_child(own.close)
    with server.client() as client:
        client.publish("news", "hello")
    assert heard.wait(20)
    thread.join()
    assert own.is_open
    ours.close()


def test_closed_in_the_middle_of_a_command_of_fakeredis_it_ends_after_that_command() -> None:
    """A socket of fakeredis cannot be shut down while another thread is in a command of its server."""
    server = fakeredis.FakeServer()
    connection = connect(fakeredis.FakeRedis(server=server)).client.open()
    connection.call("PING")
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.append(connection.call("PING")))
    parser = connection._connection._sock._parser
    with server.lock:
        thread.start()
        wait_until(lambda: parser.gi_running, "the command waits for its server")
        connection.close()
    thread.join()
    assert got == [b"PONG"]
    assert connection._connection._sock is None
    with pytest.raises(OutcomeUnknown):
        connection.call("PING")
