"""`/healthz`: whether Redis has answered within 30 s."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from rx_runat import Refused, Stopped, Unavailable
from rx_runat.cli import health
from rx_runat.cli.arguments import make_parser
from rx_runat.cli.health import Health, Pulse
from tests.support.cli_worker import working
from tests.support.servers import Server
from tests.support.waiting import wait_until


class Redis:
    """What `Pulse` asks, and its clock."""

    def __init__(self) -> None:
        self.time = 0.0
        self.error: Exception | None = None

    def ask(self) -> None:
        if self.error is not None:
            raise self.error


@pytest.fixture
def redis() -> Redis:
    return Redis()


@pytest.fixture
def pulse(redis: Redis) -> Pulse:
    return Pulse(redis.ask, lambda: redis.time)


def get(url: str, method: str = "GET") -> httpx.Response:
    # Without `verify=False` each call would read all certificates of the system's authorities, for 15 ms.
    return httpx.request(method, url, trust_env=False, verify=False, timeout=20)


def test_it_is_well_for_30_s_after_an_answer(redis: Redis, pulse: Pulse) -> None:
    assert pulse.beat()
    redis.time = 30
    assert pulse.state() == (200, "ok: Redis answered 30 s ago")
    redis.time = 31
    assert pulse.state() == (503, "Redis has not answered for 31 s: no answer has come yet")


def test_an_outage_shows_with_its_reason_and_heals_by_itself(redis: Redis, pulse: Pulse) -> None:
    pulse.beat()
    redis.error = Unavailable("nothing answers at redis://there")
    redis.time = 20
    assert not pulse.beat()
    assert pulse.state()[0] == 200, "a failover takes less than 30 s"
    redis.time = 42
    assert not pulse.beat()
    assert pulse.state() == (503, "Redis has not answered for 42 s: nothing answers at redis://there")
    redis.error = None
    assert pulse.beat()
    assert pulse.state()[0] == 200


def test_it_is_not_well_before_the_first_answer(redis: Redis, pulse: Pulse) -> None:
    redis.time = 1
    assert pulse.state() == (503, "Redis has not answered for 1 s: no answer has come yet")


def test_whatever_keeps_it_from_asking_heals_as_well(redis: Redis, pulse: Pulse) -> None:
    redis.error = RuntimeError("can't start new thread")
    assert not pulse.beat()
    redis.time = 1
    assert pulse.state() == (503, "Redis has not answered for 1 s: can't start new thread")
    redis.error = None
    assert pulse.beat()


def test_a_refusal_is_an_answer(redis: Redis, pulse: Pulse) -> None:
    redis.error = Refused("NOPERM")
    assert pulse.beat()
    assert pulse.state()[0] == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_it_is_served_on_the_host_that_is_named(host: str, redis: Redis) -> None:
    if host == "::1" and not _has_ipv6():
        pytest.skip("this host has no IPv6")
    with Health(redis.ask, host, 0) as health:
        wait_until(lambda: get(health.url).status_code == 200, "Redis has answered")
        reply = get(health.url)
        assert reply.text.startswith("ok: Redis answered ")
        assert reply.headers["cache-control"] == "no-store"
        assert (get(health.url, "HEAD").status_code, get(health.url, "HEAD").text) == (200, "")
        assert get(health.url + "?verbose").status_code == 200
        assert get(health.url.removesuffix("healthz")).status_code == 404
        assert get(health.url, "POST").status_code == 501
    with pytest.raises(httpx.ConnectError):
        get(health.url)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


def test_who_connects_and_says_nothing_keeps_nobody_else_waiting(redis: Redis) -> None:
    with Health(redis.ask, "127.0.0.1", 0) as health:
        port = int(health.url.split(":")[2].split("/")[0])
        with socket.create_connection(("127.0.0.1", port)):
            assert get(health.url).status_code in {200, 503}


def test_more_connections_than_it_serves_are_closed(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes a thread and a descriptor, which the work needs."""
    monkeypatch.setattr(health, "_MOST", 2)
    with Health(redis.ask, "127.0.0.1", 0) as served, ExitStack() as stack:
        address = httpx.URL(served.url).host, httpx.URL(served.url).port
        assert address[1] is not None
        silent = [stack.enter_context(socket.create_connection(address, 20)) for _ in range(3)]
        assert silent[2].recv(1) == b""
        for each in silent:
            each.close()
        wait_until(lambda: _is_served(served.url), "there is a place again")


def _is_served(url: str) -> bool:
    try:
        return get(url).status_code == 200
    except httpx.TransportError:
        return False


def test_a_redis_that_is_silent_keeps_no_probe_waiting() -> None:
    answers = threading.Event()
    with Health(lambda: answers.wait(20), "127.0.0.1", 0) as health:
        assert get(health.url).status_code == 503
        answers.set()
        wait_until(lambda: get(health.url).status_code == 200, "it is well")


def test_a_queue_that_was_stopped_is_asked_no_more(redis: Redis) -> None:
    redis.error = Stopped("it was stopped")
    with Health(redis.ask, "127.0.0.1", 0):
        wait_until(lambda: "rx_runat pulse" not in {each.name for each in threading.enumerate()}, "the pulse ends")


def test_a_worker_serves_it_on_loopback_unless_it_is_told_another_host() -> None:
    assert make_parser().parse_args(["work", "jobs:plain"]).health_host == "127.0.0.1"


@pytest.mark.slow  # it takes half a second to end
def test_a_worker_serves_it_on_loopback(server: Server, tmp_path: Path) -> None:
    with working(tmp_path, server.url, "jobs:plain", "--health-port", "0") as worker:
        url = worker.health
        assert url.startswith("http://127.0.0.1:")
        wait_until(lambda: get(url).status_code == 200, "Redis has answered")
        assert worker.end() == 0


def test_a_connection_that_gets_no_thread_keeps_no_place(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_MOST", 3)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with Health(redis.ask, "127.0.0.1", 0) as served:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            for _ in range(4):
                with pytest.raises(httpx.TransportError):
                    get(served.url)
        assert get(served.url).status_code == 200


def test_a_port_that_is_taken_is_an_error_in_words(server: Server, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with working(tmp_path, server.url, "jobs:plain", "--health-port", port) as worker:
            assert worker.wait() == 1
            (record,) = worker.records
            assert record["message"] == f"/healthz cannot be served on '127.0.0.1' port {port}: Address already in use"


@pytest.mark.parametrize("host", ["", "a..b", "no host"])
def test_a_host_that_is_none_is_an_error_in_words(host: str, redis: Redis) -> None:
    with pytest.raises(OSError, match=f"^/healthz cannot be served on '{host}' port 0: ."):
        Health(redis.ask, host, 0)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_an_outage_of_a_minute_shows_and_heals(own_server: Server, make: Callable[..., object], tmp_path: Path) -> None:
    with working(tmp_path, own_server.url, "jobs:plain", "--health-port", "0") as worker:
        url = worker.health
        wait_until(lambda: get(url).status_code == 200, "Redis has answered")
        own_server.kill()
        wait_until(lambda: get(url).status_code == 503, "the outage shows", 60)
        reason = get(url).text
        assert reason.startswith("Redis has not answered for 3")
        assert "nothing answers at unix://" in reason
        threading.Event().wait(30)
        assert worker.popen.poll() is None
        own_server.revive()
        wait_until(lambda: get(url).status_code == 200, "it heals")
        with own_server.client() as client:
            client.zadd("RunAt~default", {"a": 1})
        worker.wait_until_settled(1)
        assert worker.end() == 0
