"""What an error means is said in words, and whether it heals decides who is told: nobody waits for a wrong setting."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import redis
from redis._parsers.base import BaseParser

from rx_runat import OutcomeUnknown, Refused, RunAt, StoreError, Unavailable
from rx_runat.store.meaning import meaning
from tests.support.servers import Server
from tests.support.tls import TLSProxy, certificate
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
WHERE = "redis://there:6379"


def of(said: str) -> StoreError:
    """What a server's words mean, as redis-py passes them on."""
    return meaning(BaseParser.parse_error(said), WHERE, {})


# A server that has spoken.


@pytest.mark.parametrize(
    "said",
    [
        "LOADING Redis is loading the dataset in memory",
        "READONLY You can't write against a read only replica.",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "CLUSTERDOWN The cluster is down",
        "MOVED 9030 127.0.0.1:7002",
        "ASK 9030 127.0.0.1:7002",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "NOREPLICAS Not enough good replicas to write.",
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    ],
)
def test_what_heals_is_told_with_its_first_word_once(said: str) -> None:
    error = of(said)
    assert type(error) is Unavailable
    assert str(error) == f"{WHERE} cannot do it now: {said.rstrip('.')}"


@pytest.mark.parametrize(
    "said, told",
    [
        ("NOPERM this user has no permissions to run the 'zadd' command", "refuses: NOPERM this user has no perm"),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", "refuses: WRONGTYPE Operation against"),
        ("CROSSSLOT Keys in request don't hash to the same slot", "refuses: CROSSSLOT Keys in request don't hash"),
        ("WRONGPASS invalid username-password pair or user is disabled.", "our user or password: WRONGPASS invalid"),
        ("NOAUTH Authentication required.", "refuses our user or password: NOAUTH Authentication required"),
        ("ERR unknown command 'EVALSHA'", "refuses: unknown command 'EVALSHA'"),
    ],
)
def test_what_stays_is_told_with_the_word_that_says_what_it_is(said: str, told: str) -> None:
    error = of(said)
    assert type(error) is Refused
    assert told in str(error)
    assert not str(error).endswith(".")
    words = str(error).split()
    assert [one for one, next_one in pairwise(words) if one == next_one] == []


def test_what_an_old_server_wraps_is_told_by_its_own_words() -> None:
    said = (
        "ERR Error running script (call to f_0123): @user_script:9: @user_script: 9: -READONLY You can't write against "
        "a read only replica."
    )
    error = of(said)
    assert type(error) is Unavailable
    assert str(error) == f"{WHERE} cannot do it now: READONLY You can't write against a read only replica"


def test_a_busy_server_is_busy_once(own_server: Server) -> None:
    with own_server.client(socket_timeout=0.1) as client:
        client.config_set("busy-reply-threshold", 1)
        with pytest.raises((redis.TimeoutError, redis.ResponseError)):  # redis-py tries again, and then is told BUSY
            client.eval("while true do end", 0)  # type: ignore[no-untyped-call]
    with RunAt(own_server.url) as queue, pytest.raises(Unavailable, match=r"cannot do it now: BUSY [^B]") as caught:
        wait_until(lambda: not queue.size(), "the script is known as slow")
    assert "BUSY BUSY" not in str(caught.value)
    with own_server.client() as client:
        client.script_kill()


def test_what_nobody_answers_ends_with_one_full_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setattr("rx_runat.store.connect.DEFAULT_URL", "redis://localhost:1")
    with RunAt() as queue, pytest.raises(Unavailable, match=r"refused\. Start a server there"):
        queue.size()


# TLS: a wrong certificate stays wrong.


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with certificates for the server, for a stranger, and for a client."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("server", "stranger", "client"):
        certificate(folder, name)
    return folder


@pytest.fixture
def tls(server: Server, certificates: Path) -> Iterator[TLSProxy]:
    proxy = TLSProxy(server.path, certificates / "server.pem", certificates / "server.key")
    yield proxy
    proxy.end()


def is_refused(url: str) -> str:
    """Check that a verb raises Refused, and that a stream ends with it. Returns the message."""
    ended: list[Exception] = []
    with RunAt(url) as queue:
        with pytest.raises(Refused) as caught:
            queue.schedule("a", 1.0)
        queue.subscribe(lambda _: None, ended.append)
        wait_until(lambda: ended, "the stream has ended")
    assert type(ended[0]) is Refused
    assert str(ended[0]) == str(caught.value)
    return str(caught.value)


def test_a_server_with_a_certificate_that_we_trust_serves(tls: TLSProxy, certificates: Path) -> None:
    with RunAt(f"rediss://localhost:{tls.port}?ssl_ca_certs={certificates}/server.pem") as queue:
        queue.schedule("a", 1.0)
        assert queue.cancel("a")


@pytest.mark.parametrize("query", ["", "?ssl_ca_certs={}/stranger.pem"])
def test_a_certificate_of_an_unknown_authority_is_refused(query: str, tls: TLSProxy, certificates: Path) -> None:
    said = is_refused(f"rediss://localhost:{tls.port}{query.format(certificates)}")
    assert said.startswith(f"the certificate of rediss://localhost:{tls.port} is not trusted: self-signed certificate")
    assert "ssl_ca_certs" in said


def test_a_certificate_for_another_host_is_refused(tls: TLSProxy, certificates: Path) -> None:
    said = is_refused(f"rediss://127.0.0.1:{tls.port}?ssl_ca_certs={certificates}/server.pem")
    assert "is not trusted: IP address mismatch, certificate is not valid for '127.0.0.1'; it must name this h" in said


@pytest.mark.parametrize("option", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
def test_a_file_that_is_not_there_is_named(option: str, tls: TLSProxy, certificates: Path) -> None:
    settings = {"ssl_ca_certs": certificates / "server.pem", "ssl_certfile": certificates / "client.pem"}
    settings |= {"ssl_keyfile": certificates / "client.key", option: certificates / "none.pem"}
    query = "&".join(f"{name}={path}" for name, path in settings.items())
    said = is_refused(f"rediss://localhost:{tls.port}?{query}")
    assert f"cannot be reached by TLS: {option} cannot be read: " in said
    assert "No such file" in said


def test_a_file_that_holds_no_certificate_is_named(tls: TLSProxy, certificates: Path) -> None:
    said = is_refused(f"rediss://localhost:{tls.port}?ssl_ca_certs={certificates}/server.key")
    assert f"ssl_ca_certs is '{certificates}/server.key'" in said


def test_a_client_without_the_certificate_that_the_server_wants_is_refused(server: Server, certificates: Path) -> None:
    picky = TLSProxy(server.path, certificates / "server.pem", certificates / "server.key", certificates / "client.pem")
    try:
        url = f"rediss://localhost:{picky.port}?ssl_ca_certs={certificates}/server.pem"
        assert "cannot be reached by TLS" in is_refused(url)
        with RunAt(f"{url}&ssl_certfile={certificates}/client.pem&ssl_keyfile={certificates}/client.key") as queue:
            assert queue.size() == 0
    finally:
        picky.end()


def test_a_server_without_tls_is_refused_with_a_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:
        port = plain.getsockname()[1]

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = plain.accept()
                    with connection:
                        connection.recv(1000)
                        connection.sendall(b"-ERR Protocol error: unauthenticated multibulk length\r\n")

        answering = threading.Thread(target=answer)
        answering.start()
        try:
            said = is_refused(f"rediss://localhost:{port}")
        finally:
            plain.shutdown(socket.SHUT_RDWR)
            answering.join()
    assert "cannot be reached by TLS" in said
    assert "Without TLS its URL begins with redis://" in said


def test_an_outage_of_a_server_with_tls_is_an_outage(server: Server, certificates: Path) -> None:
    tls = TLSProxy(server.path, certificates / "server.pem", certificates / "server.key")
    url = f"rediss://localhost:{tls.port}?ssl_ca_certs={certificates}/server.pem"
    heard: list[StoreError] = []
    with RunAt(url) as queue:
        queue.errors.subscribe(heard.append)
        ended: list[Exception] = []
        queue.subscribe(lambda _: None, ended.append)
        queue.schedule("a", 4e9)
        tls.end()
        wait_until(lambda: heard, "the outage was told")
        with pytest.raises(Unavailable):
            queue.size()
    assert isinstance(heard[0], Unavailable)
    assert ended == []


# A process without a descriptor to spare.

FULL = """
    import os, resource, sys
    from rx_runat import RunAt, RunAtError
    made = RunAt(sys.argv[1])
    full = RunAt(sys.argv[1])
    heard = []
    full.errors.subscribe(heard.append)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    held = []
    try:
        while True:
            held.append(os.dup(0))
    except OSError:
        pass

    def what(call):
        try:
            return repr(call())
        except BaseException as error:
            return f"{type(error).__module__}.{type(error).__name__}: {error}"

    calls = {
        "size": lambda: full.size(),
        "schedule": lambda: full.schedule("a", 1.0),
        "cancel": lambda: full.cancel("a"),
        "dead": lambda: full.dead.peek(),
        "RunAt": lambda: RunAt(sys.argv[1]),
        "memory": lambda: RunAt("memory://"),
        "embedded": lambda: RunAt("embedded://"),
    }
    said = {name: what(call) for name, call in calls.items()}
    got = []
    full.subscribe(got.append, lambda error: got.append(error))
    full.claims().subscribe(lambda claim: got.append(claim.key), lambda error: got.append(error))
    while len(heard) < 2:
        pass
    said["stream"], said["claims"] = (f"{type(each).__module__}.{type(each).__name__}: {each}" for each in heard[:2])
    for each in held:
        os.close(each)
    made.schedule("b", 1.0)
    while not got:
        pass
    said["then"] = repr(got)
    full.stop()
    made.stop()
    for each in said.items():
        print(*each)
"""


def test_a_process_without_descriptors_is_told_so_and_goes_on_when_it_has_some(server: Server) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(FULL), server.url],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=30,
        check=False,
    )
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert said, done.stderr
    for name in ("size", "schedule", "cancel", "dead", "stream", "claims"):
        right = f"rx_runat.errors.Unavailable: this process can open no connection to {server.url}: Too many open files"
        assert said[name] == right
    for name in ("RunAt", "memory"):
        assert said[name].startswith("rx_runat.errors.Unavailable: no connection can be prepared: "), said[name]
    assert said["embedded"].startswith("rx_runat.errors."), said["embedded"]
    assert said["then"] == "['b']"
    assert "Traceback" not in done.stderr


# What a stopped queue could not hand back.


@pytest.mark.parametrize("url", ["redis://localhost:1", "rediss://localhost:1"])
def test_a_stream_that_was_never_connected_has_claimed_nothing(url: str, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Any] = []
    with RunAt(url) as queue:
        queue.errors.subscribe(heard.append)
        queue.subscribe(lambda _: None)
        wait_until(lambda: heard, "the outage was told")
    assert [type(each) for each in heard] == [Unavailable]
    assert "could not" not in caplog.text
    assert "unknown" not in caplog.text


def test_a_stream_that_was_refused_has_claimed_nothing(own_server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with own_server.client() as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">word", "~*", "+@read", "+ping", "+hello")
    heard: list[Any] = []
    ended: list[Any] = []
    with RunAt(f"unix://reader:word@{own_server.path}") as queue:
        queue.errors.subscribe(heard.append)
        queue.subscribe(lambda _: None, ended.append)
        wait_until(lambda: ended, "the stream has ended")
    assert [type(each) for each in heard] == [Refused]
    assert not isinstance(ended[0], OutcomeUnknown)
    assert "unknown" not in caplog.text
