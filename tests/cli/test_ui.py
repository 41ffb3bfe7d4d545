"""`rx-runat ui`: where it serves, to whom, and how it ends."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.page import Command, commands
from tests.support.servers import Server


@pytest.fixture
def serve(server: Server) -> Iterator[Callable[..., Command]]:
    """Starts the command on the real server."""
    with commands(server.url) as serve:
        yield serve


def get(address: str, **settings: object) -> httpx.Response:
    return httpx.get(address, trust_env=False, verify=False, **settings)  # type: ignore[arg-type]


def test_on_loopback_it_wants_no_token_and_ends_by_a_signal_though_somebody_looks(
    serve: Callable[..., Command],
) -> None:
    command = serve()
    assert command.address == f"http://127.0.0.1:{command.port}/"
    assert get(command.address).status_code == 200
    assert get(f"http://127.0.0.1:{command.port}/", headers={"host": "evil.example"}).status_code == 421
    with httpx.stream("GET", f"{command.address}stream", trust_env=False, verify=False) as stream:
        events = stream.iter_lines()
        assert next(each for each in events if each.startswith("event:")) in ("event: frame", "event: tables")
        command.process.terminate()
        list(events)  # the stream ends in order
    assert command.end(signal.SIGTERM) == ("", 128 + signal.SIGTERM)


@pytest.mark.slow
def test_ctrl_c_ends_it(serve: Callable[..., Command]) -> None:
    assert serve().end(signal.SIGINT) == ("", 128 + signal.SIGINT)


@pytest.mark.slow
def test_a_viewer_who_never_reads_does_not_keep_it_from_ending(serve: Callable[..., Command]) -> None:
    command = serve()
    with socket.create_connection(("127.0.0.1", command.port)) as deaf:
        deaf.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert deaf.recv(15) == b"HTTP/1.1 200 OK"
        assert command.end()[1] == 128 + signal.SIGTERM


@pytest.mark.slow
def test_actions_want_a_token_which_is_another_one_at_each_start(serve: Callable[..., Command]) -> None:
    addresses = [serve("--actions").address for _ in range(2)]
    tokens = [urlsplit(each).query for each in addresses]
    assert len(set(tokens)) == 2
    assert all(len(each) > 40 for each in tokens)
    assert get(addresses[0].partition("?")[0]).status_code == 401
    with httpx.Client(trust_env=False, verify=False, follow_redirects=True) as client:
        page = client.get(addresses[0])
    assert page.status_code == 200
    assert 'data-actions="on"' in page.text


@pytest.mark.slow
def test_a_token_may_come_from_the_environment(serve: Callable[..., Command]) -> None:
    command = serve(RX_RUNAT_UI_TOKEN="a token & its signs")
    assert command.address.endswith("/?token=a%20token%20%26%20its%20signs")
    assert get(command.address).status_code == 303


@pytest.mark.slow
def test_off_loopback_it_wants_a_token_and_the_name_that_browsers_use(serve: Callable[..., Command]) -> None:
    command = serve("--host", "0.0.0.0", "--allow-host", "queue.example.org")
    assert command.address.startswith(f"http://queue.example.org:{command.port}/?token=")
    reply = get(f"http://127.0.0.1:{command.port}/", headers={"host": "queue.example.org"})
    assert reply.status_code == 401
    assert get(f"http://127.0.0.1:{command.port}/", headers={"host": "10.0.0.1"}).status_code == 421


@pytest.mark.slow
def test_a_name_of_loopback_does_not_spare_the_token_off_loopback(serve: Callable[..., Command]) -> None:
    command = serve("--host", "0.0.0.0", "--allow-host", "localhost")
    assert "/?token=" in command.address
    assert get(f"http://127.0.0.1:{command.port}/", headers={"host": "localhost"}).status_code == 401


@pytest.mark.parametrize(
    "args, said",
    [
        (("--host", "0.0.0.0"), "name"),
        (("--host", "::"), "--allow-host"),
        (("--window", "0"), "window: got 0"),
        (("--allow-host", "queue.example.org:80"), "hosts: got 'queue.example.org:80'"),
        (("--port", "70000"), "--port: got '70000'; it must be a port, from 0 to 65535"),
    ],
)
def test_wrong_usage_is_told(
    here: Callable[..., int], server: Server, capfd: pytest.CaptureFixture[str], args: tuple[str, ...], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        here("ui", "--redis", server.url, *args)
    assert ended.value.code == 2
    assert said in capfd.readouterr().err


def test_a_port_that_is_taken_is_told(
    here: Callable[..., int], server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert here("ui", "--redis", server.url, "--port", str(port)) == 1
    assert f"the page cannot be served on 127.0.0.1 port {port}: " in capfd.readouterr().err


def test_an_address_that_is_none_is_told(
    here: Callable[..., int], server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    for host in ("fe80::1%nowhere", "a..b"):
        assert here("ui", "--redis", server.url, "--host", host) == 1
        assert f"the page cannot be served on {host} port 8765: " in capfd.readouterr().err
