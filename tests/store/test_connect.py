"""Connections by whatever form the user passes; the user's own objects stay untouched, and no secret is shown."""

from __future__ import annotations

import importlib
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import fakeredis
import pytest
import redis
import redis.asyncio
import redis.cluster
import redis.sentinel
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from rx_runat import InvalidSetting, Job, OutcomeUnknown, Refused, RunAt, Unavailable
from rx_runat.store.client import RedisClient
from rx_runat.store.connect import connect
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"
SECRET = "hunter2"
PAST = 1.0


class Place(NamedTuple):
    """Where the same server answers."""

    path: str
    port: int

    @property
    def url(self) -> str:
        return f"redis://localhost:{self.port}"


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def tcp_server() -> Iterator[tuple[Server, Place]]:
    port = a_free_port()
    server = Server("--port", str(port), "--bind", "127.0.0.1")
    yield server, Place(server.path, port)
    server.end()


@pytest.fixture
def place(tcp_server: tuple[Server, Place]) -> Place:
    """A server that listens on a socket and on a port, empty."""
    server, place = tcp_server
    with server.client() as client:
        client.flushall()
    return place


@pytest.fixture
def locked(own_server: Server) -> Server:
    """A server that wants SECRET for a password, and has a user `reader` who may not write."""
    with own_server.client() as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", f">{SECRET}", "~*", "+@read", "+ping", "+hello")
        client.config_set("requirepass", SECRET)
    return own_server


def text_of(error: BaseException) -> str:
    """All that a log would show of an error: with its causes and the lines that it passed."""
    return "".join(traceback.format_exception(error))


def ours(target: object) -> Any:
    """A connection as we would make it; not connected."""
    return connect(target).client.route.pool().make_connection()


def stream_of(target: Any) -> list[str]:
    """What comes out of a queue on a target: a key of ours, one of others that is no UTF-8, an emoji."""
    got: list[str] = []
    with RunAt(target) as queue:
        queue.on_next([Job("b", PAST), Job("🐢", PAST + 1)])
        queue._store._client.call("ZADD", Q, "500", b"\xff")
        queue.subscribe(got.append)
        wait_until(lambda: len(got) == 3, "three keys came")
    return got


class Subclass(redis.Redis):
    """A client that is told of its use."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        raise AssertionError(f"the user's client was used: {args}")

    def close(self) -> None:
        raise AssertionError("the user's client was closed")

    def __del__(self) -> None:
        pass


FORMS: dict[str, Callable[[Place], Any]] = {
    "a redis:// URL": lambda place: place.url,
    "a URL with a database": lambda place: f"{place.url}/3",
    "a URL that decodes": lambda place: f"{place.url}?decode_responses=True&protocol=2",
    "a unix:// URL": lambda place: f"unix://{place.path}",
    "a mapping": lambda place: {"host": "localhost", "port": place.port},
    "a mapping of a socket": lambda place: {"unix_socket_path": place.path},
    "a client": lambda place: redis.Redis(port=place.port),
    "a client that decodes": lambda place: redis.Redis(port=place.port, decode_responses=True),
    "a client of another encoding": lambda place: redis.Redis(port=place.port, encoding="latin-1"),
    "a client of RESP2": lambda place: redis.Redis(port=place.port, protocol=2),
    "a client of RESP3": lambda place: redis.Redis(port=place.port, protocol=3),
    "a client of RESP2 that decodes": lambda place: redis.Redis(
        unix_socket_path=place.path, protocol=2, decode_responses=True
    ),
    "a client of RESP3 that decodes": lambda place: redis.Redis(
        unix_socket_path=place.path, protocol=3, decode_responses=True
    ),
    "a client with one connection": lambda place: redis.Redis(port=place.port, single_connection_client=True),
    "a client of a blocking pool": lambda place: redis.Redis(
        connection_pool=redis.BlockingConnectionPool(port=place.port, max_connections=1, timeout=1)
    ),
    "a client of a full pool": lambda place: redis.Redis(port=place.port, max_connections=1),
    "a client without timeouts": lambda place: redis.Redis(
        port=place.port, socket_timeout=None, socket_connect_timeout=None
    ),
    "a client's subclass": lambda place: Subclass(port=place.port),
    "fakeredis": lambda place: fakeredis.FakeRedis(server=fakeredis.FakeServer()),
    "fakeredis that decodes": lambda place: fakeredis.FakeRedis(
        server=fakeredis.FakeServer(), decode_responses=True, protocol=2
    ),
    "strict fakeredis": lambda place: fakeredis.FakeStrictRedis(server=fakeredis.FakeServer(), version=(7, 4)),
    "memory://": lambda place: "memory://",
    "memory://name": lambda place: f"memory://forms-{place.port}",
    "embedded://": lambda place: "embedded://",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_stream(form: str, place: Place) -> None:
    target = FORMS[form](place)
    assert stream_of(target) == ["\udcff", "b", "🐢"]
    if isinstance(target, redis.Redis) and not isinstance(target, Subclass):
        target.close()


def test_nothing_named_is_redis_url(monkeypatch: pytest.MonkeyPatch, place: Place) -> None:
    monkeypatch.setenv("REDIS_URL", f"unix://{place.path}")
    assert stream_of(None) == ["\udcff", "b", "🐢"]


def test_redis_url_may_be_one_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "memory://")
    with RunAt() as queue:
        assert repr(queue) == "<RunAt 'RunAt~default' on memory://>"


@pytest.mark.parametrize("url", [None, ""])
def test_nothing_named_and_no_redis_url_is_localhost(monkeypatch: pytest.MonkeyPatch, url: str | None) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    if url is not None:
        monkeypatch.setenv("REDIS_URL", url)
    with RunAt() as queue:
        assert repr(queue) == "<RunAt 'RunAt~default' on redis://localhost:6379>"


def test_no_connection_is_made_before_it_is_needed(place: Place) -> None:
    with redis.Redis(port=place.port) as client:
        before = len(client.client_list())
        with RunAt(place.url):
            assert len(client.client_list()) == before


def test_a_database_is_kept(place: Place) -> None:
    with RunAt(f"{place.url}/3") as queue, redis.Redis(port=place.port, db=3) as client:
        queue.schedule("a", PAST)
        assert client.zcard(Q) == 1


@pytest.mark.parametrize(
    "target, shown",
    [
        ("redis://example.com", "redis://example.com:6379"),
        ("redis://example.com:6380/2", "redis://example.com:6380/2"),
        ("rediss://example.com:6380/2", "rediss://example.com:6380/2"),
        ("rediss://example.com?ssl_cert_reqs=none", "rediss://example.com:6379"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("unix:///run/redis.sock?db=2", "unix:///run/redis.sock/2"),
        ("memory://", "memory://"),
        ("memory://shown", "memory://shown"),
        ({"host": "example.com", "port": 6380}, "redis://example.com:6380"),
        ({"host": "example.com", "ssl": True}, "rediss://example.com:6379"),
        ({}, "redis://localhost:6379"),
    ],
)
def test_the_address_is_shown(target: Any, shown: str) -> None:
    with RunAt(target) as queue:
        assert repr(queue) == f"<RunAt 'RunAt~default' on {shown}>"


def test_rediss_is_encrypted() -> None:
    assert isinstance(ours("rediss://example.com:6380?ssl_cert_reqs=none"), redis.SSLConnection)


# The user's client stays the user's.


def state_of(client: redis.Redis) -> tuple[dict[str, Any], list[int], int]:
    pool = client.connection_pool
    return dict(pool.connection_kwargs), list(map(id, pool._available_connections)), len(pool._in_use_connections)


@pytest.mark.parametrize("settings", [{}, {"decode_responses": True, "protocol": 2}, {"health_check_interval": 7}])
def test_the_users_client_is_as_it_was(place: Place, settings: dict[str, Any]) -> None:
    with redis.Redis(port=place.port, **settings) as client:
        number = client.client_id()
        before = state_of(client)
        stream_of(client)
        assert state_of(client) == before
        assert client.client_id() == number, "the same connection works on"


def test_a_client_that_was_never_used_has_no_connection_afterwards(place: Place) -> None:
    with redis.Redis(port=place.port) as client:
        stream_of(client)
        assert state_of(client)[1:] == ([], 0)


def test_a_client_that_closes_leaves_the_queue_alone(place: Place) -> None:
    client = redis.Redis(port=place.port)
    with RunAt(client) as queue:
        queue.schedule("a", PAST)
        client.close()
        assert queue.size() == 1


def test_changing_a_client_afterwards_changes_nothing_of_ours(place: Place) -> None:
    with redis.Redis(port=place.port) as client, RunAt(client) as queue:
        client.connection_pool.connection_kwargs["port"] = 1
        assert queue.size() == 0


def test_stop_closes_what_we_opened_and_nothing_else(place: Place) -> None:
    with redis.Redis(port=place.port) as client:
        number = client.client_id()
        stream_of(client)
        wait_until(lambda: [int(each["id"]) for each in client.client_list()] == [number], "our connections are closed")


# Our connections.


@pytest.mark.parametrize("settings", [{}, {"decode_responses": True}, {"protocol": 2}])
def test_our_connections_speak_resp3_and_bytes(place: Place, settings: dict[str, Any]) -> None:
    with redis.Redis(port=place.port, **settings) as client:
        store_client = connect(client).client
        assert b" resp=3 " in store_client.call("CLIENT", "INFO")
        assert store_client.call("ECHO", "ü") == "ü".encode()
        store_client.close()


@pytest.mark.parametrize(
    "settings", [{}, {"retry": Retry(ConstantBackoff(0), 5), "retry_on_error": [ConnectionError, redis.TimeoutError]}]
)
def test_a_lost_answer_is_not_asked_for_behind_our_back(proxy: Proxy, settings: dict[str, Any]) -> None:
    store_client = connect(redis.Redis(unix_socket_path=proxy.path, **settings)).client
    store_client.call("PING")
    proxy.of, proxy.cut = b"INCR", 100
    with pytest.raises(OutcomeUnknown):
        store_client.call("INCR", "times")
    assert store_client.call("GET", "times") == b"1"
    assert proxy.cuts == 1
    store_client.call("DEL", "times")
    store_client.close()


@pytest.mark.parametrize("target", ["redis://example.com", {}, redis.Redis(), fakeredis.FakeRedis()])
def test_our_connections_have_their_own_settings(target: Any) -> None:
    connection = ours(target)
    assert connection.retry._retries == 0
    assert connection.encoder.decode_responses is False
    assert connection.encoder.encoding == "utf-8"
    assert int(connection.protocol) == 3


@pytest.mark.parametrize(
    "name, value",
    [
        ("host", "example.com"),
        ("port", 6380),
        ("db", 4),
        ("socket_timeout", 12.5),
        ("socket_timeout", None),
        ("socket_connect_timeout", 1.5),
        ("socket_connect_timeout", None),
        ("client_name", "me"),
        ("username", "me"),
        ("password", SECRET),
        ("socket_keepalive", True),
        ("socket_keepalive", False),
        ("health_check_interval", 30),
    ],
)
def test_a_clients_settings_are_kept(name: str, value: Any) -> None:
    theirs = redis.Redis(**{name: value}).connection_pool.make_connection()
    assert getattr(ours(redis.Redis(**{name: value})), name) == getattr(theirs, name)


def test_a_clients_own_class_of_connections_is_kept(place: Place) -> None:
    class Tunnel(redis.Connection):
        pass

    pool = redis.ConnectionPool(connection_class=Tunnel, port=place.port)
    assert isinstance(ours(redis.Redis(connection_pool=pool)), Tunnel)


def test_a_clients_provider_of_passwords_is_kept(locked: Server) -> None:
    provider = redis.UsernamePasswordCredentialProvider("default", SECRET)
    with RunAt(redis.Redis(unix_socket_path=locked.path, credential_provider=provider)) as queue:
        assert queue.size() == 0


# What cannot work says so.


def fails_with(queue: RunAt) -> Exception:
    """What ends the stream."""
    ends: list[Exception] = []
    queue.subscribe(lambda _: None, ends.append)
    wait_until(lambda: ends, "the stream ended")
    return ends[0]


@pytest.mark.parametrize("login, words", [("default:wrong", "password"), ("nobody:wrong", "password"), ("", "auth")])
def test_a_wrong_password_is_refused_in_words(locked: Server, login: str, words: str) -> None:
    with RunAt(f"unix://{login + '@' if login else ''}{locked.path}") as queue:
        with pytest.raises(Refused) as caught:
            queue.schedule("a", PAST)
        error = fails_with(queue)
    assert isinstance(error, Refused)
    assert words in str(error).lower()
    assert words in str(caught.value).lower()
    assert locked.path in str(error)


def test_the_right_password_lets_in(locked: Server) -> None:
    with RunAt(f"unix://:{SECRET}@{locked.path}") as queue:
        assert queue.size() == 0


def test_a_user_without_permission_is_refused_in_words(locked: Server) -> None:
    with RunAt(f"unix://reader:{SECRET}@{locked.path}") as queue:
        assert queue.size() == 0
        with pytest.raises(Refused, match=r"permission.*zadd"):
            queue.schedule("a", PAST)
        with pytest.raises(Refused, match=r"permission.*eval"):
            raise fails_with(queue)


def test_a_user_without_permission_inside_a_script_is_refused_in_words(own_server: Server) -> None:
    with own_server.client() as client:
        client.zadd(Q, {"a": PAST})
        client.execute_command("ACL", "SETUSER", "half", "on", f">{SECRET}", "~*", "+@all", "-zremrangebyrank")
    with RunAt(f"unix://half:{SECRET}@{own_server.path}") as queue:
        error = fails_with(queue)
    assert isinstance(error, Refused)
    assert "zremrangebyrank" in str(error)
    assert SECRET not in text_of(error)


def test_a_key_of_another_type_is_refused_in_words(queue: RunAt, client: redis.Redis) -> None:
    client.set(Q, "mine")
    verbs: list[Callable[[], object]] = [
        lambda: queue.schedule("a", PAST),
        lambda: queue.schedule("a", PAST, keep="first"),
        lambda: queue.on_next([Job("a", PAST)]),
        lambda: queue.cancel("a"),
        lambda: queue.when("a"),
        lambda: queue.peek(),
        lambda: queue.size(),
        lambda: queue.size(until=PAST),
    ]
    for verb in verbs:
        with pytest.raises(Refused, match="wrong kind of value"):
            verb()
    with pytest.raises(Refused, match="wrong kind of value"):
        raise fails_with(queue)
    assert client.get(Q) == b"mine"
    assert client.keys() == [Q.encode()]
    client.delete(Q)


def test_a_stream_that_was_refused_begins_afresh(queue: RunAt, client: redis.Redis) -> None:
    client.set(Q, "mine")
    fails_with(queue)
    client.delete(Q)
    got: list[str] = []
    queue.schedule("a", PAST)
    queue.subscribe(got.append)
    wait_until(lambda: got == ["a"], "the key came")


@pytest.mark.parametrize("host", ["no-such-host.invalid:6379", "127.0.0.1:1"])
def test_a_server_that_is_not_there_is_unavailable(host: str) -> None:
    with RunAt(f"redis://:{SECRET}@{host}") as queue:
        with pytest.raises(Unavailable, match=f"nothing answers at redis://{host}: ") as caught:
            queue.size()
        assert not isinstance(caught.value, OutcomeUnknown)
        assert SECRET not in text_of(caught.value)
        heard: list[Exception] = []
        ended: list[Exception] = []
        queue.errors.subscribe(heard.append)
        queue.subscribe(lambda _: None, ended.append)
        wait_until(lambda: heard, "the outage was told")
        assert isinstance(heard[0], Unavailable)
    assert ended == []


def test_a_socket_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with RunAt(f"unix://{tmp_path}/none.sock") as queue, pytest.raises(Unavailable, match=r"none\.sock"):
        queue.size()


def test_the_dead_default_names_the_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setattr("rx_runat.store.connect.DEFAULT_URL", f"redis://localhost:{a_free_port()}")
    with RunAt() as queue, pytest.raises(Unavailable) as caught:
        queue.size()
    for way in ("$REDIS_URL", "embedded://", "rx-runat[embedded]", "memory://", "rx-runat[memory]"):
        assert way in str(caught.value)


def test_a_server_that_was_named_needs_no_ways_out() -> None:
    with RunAt(f"redis://localhost:{a_free_port()}") as queue, pytest.raises(Unavailable) as caught:
        queue.size()
    assert "embedded" not in str(caught.value)


# Secrets stay secret.

WITH_PASSWORDS: dict[str, Any] = {
    "a URL": f"redis://me:{SECRET}@127.0.0.1:1/0",
    "a URL without a user": f"redis://:{SECRET}@127.0.0.1:1",
    "a password in the query": f"redis://127.0.0.1:1?password={SECRET}",
    "a user in the query": f"redis://127.0.0.1:1?username=me&password={SECRET}",
    "an encrypted one": f"rediss://me:{SECRET}@127.0.0.1:1",
    "a socket": f"unix://me:{SECRET}@/nowhere/at/all.sock?db=1",
    "a mapping": {"host": "127.0.0.1", "port": 1, "password": SECRET},
    "a mapping with a user": {"host": "127.0.0.1", "port": 1, "username": "me", "password": SECRET},
    "a client": redis.Redis(host="127.0.0.1", port=1, username="me", password=SECRET),
    "a decoding client": redis.Redis(host="127.0.0.1", port=1, password=SECRET, decode_responses=True),
    "a client with a provider": redis.Redis(
        host="127.0.0.1", port=1, credential_provider=redis.UsernamePasswordCredentialProvider("me", SECRET)
    ),
}

MALFORMED: dict[str, Any] = {
    "no such scheme": f"http://me:{SECRET}@127.0.0.1",
    "no scheme": f"me:{SECRET}@127.0.0.1:6379",
    "one slash": f"redis:/me:{SECRET}@127.0.0.1",
    "a port of words": f"redis://me:{SECRET}@127.0.0.1:port",
    "a port too high": f"redis://me:{SECRET}@127.0.0.1:99999999",
    "an open bracket": f"redis://me:{SECRET}@[::1",
    "a hash in the password": f"redis://me:{SECRET}#x@127.0.0.1",
    "a slash in the password": f"redis://me:{SECRET}/x@127.0.0.1",
    "a question mark in the password": f"redis://me:{SECRET}?x@127.0.0.1",
    "a setting that is no number": f"redis://me:{SECRET}@127.0.0.1?socket_timeout=soon",
    "a setting that is none": f"redis://me:{SECRET}@127.0.0.1:1?no_such_setting=1",
    "embedded with a host": f"embedded://me:{SECRET}@127.0.0.1/dir",
    "embedded with a query": f"embedded:///dir?password={SECRET}",
    "a mapping of what is none": {"host": "127.0.0.1", "password": SECRET, "no_such_setting": 1},
    "a mapping of a port in words": {"host": "127.0.0.1", "password": SECRET, "port": "port"},
    "a password alone": SECRET,
}


@pytest.mark.parametrize("what", WITH_PASSWORDS)
def test_a_password_is_nowhere_to_be_seen(what: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with RunAt(WITH_PASSWORDS[what]) as queue:
        shown = [repr(queue), str(queue), repr(queue._store), repr(connect(WITH_PASSWORDS[what]))]
        for each in (queue, queue.jobs, queue.errors, queue.dead, queue.claims()):
            shown += [repr(each), each._repr_html_()]  # type: ignore[union-attr]
        with pytest.raises(Unavailable) as caught:
            queue.schedule("a", PAST)
        shown.append(text_of(caught.value))
        heard: list[Exception] = []
        queue.errors.subscribe(heard.append)
        queue.subscribe(lambda _: None)
        wait_until(lambda: heard, "the outage was told")
    shown += [*map(text_of, heard), caplog.text]
    assert "127.0.0.1:1" in "".join(shown) or "nowhere" in "".join(shown)
    for each in shown:
        assert SECRET not in each


@pytest.mark.parametrize("what", MALFORMED)
def test_a_target_that_cannot_be_read_is_refused_at_once_and_not_shown(what: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        connect(MALFORMED[what])
    assert SECRET not in text_of(caught.value)
    assert str(caught.value).startswith("redis: ")


@pytest.mark.parametrize("login", [f"default:{SECRET}x", f"reader:{SECRET}x", f"{SECRET}x:y"])
def test_a_password_that_the_server_refuses_is_nowhere_to_be_seen(
    locked: Server, login: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with RunAt(f"unix://{login}@{locked.path}") as queue:
        with pytest.raises(Refused) as caught:
            queue.size()
        error = fails_with(queue)
    for shown in (text_of(caught.value), text_of(error), caplog.text, repr(queue)):
        assert SECRET not in shown


# What is none of the forms.

ODD: dict[str, Callable[[], object]] = {
    "an asyncio pool": redis.asyncio.ConnectionPool,
    "a pool": redis.ConnectionPool,
    "a class": lambda: redis.Redis,
    "an int": lambda: 6379,
    "a bool": lambda: True,
    "a list": lambda: ["localhost", 6379],
    "bytes": lambda: b"redis://localhost",
    "a path": lambda: Path("/tmp"),
    "an object": object,
    "an empty str": lambda: "",
    "a relative dir": lambda: "embedded://dir",
}


@pytest.mark.parametrize("what", ODD)
def test_what_is_none_of_the_forms_is_refused(what: str) -> None:
    with pytest.raises(InvalidSetting, match=r"^redis: .*embedded:.*"):
        RunAt(ODD[what]())  # type: ignore[arg-type]


# memory://


def test_memory_is_private() -> None:
    with RunAt("memory://") as one, RunAt("memory://") as other:
        one.schedule("a", PAST)
        assert other.size() == 0


def test_memory_with_a_name_is_shared_in_this_process() -> None:
    with RunAt("memory://shared-shelf") as one, RunAt("memory://shared-shelf") as other:
        one.schedule("a", PAST)
        assert other.size() == 1
        assert other.cancel("a")
    with RunAt("memory://another-shelf") as another:
        assert another.size() == 0


def test_memory_with_a_name_keeps_what_it_has_while_nobody_uses_it() -> None:
    with RunAt("memory://kept-shelf") as queue:
        queue.schedule("a", PAST)
    with RunAt("memory://kept-shelf") as queue:
        assert queue.cancel("a")


def test_memory_without_fakeredis_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fakeredis", None)
    with pytest.raises(InvalidSetting, match=r"rx-runat\[memory\]"):
        connect("memory://")


def test_memory_without_lua_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """fakeredis installs without its scripts, and would refuse every verb as an unknown command."""
    monkeypatch.setitem(sys.modules, "lupa", None)
    with pytest.raises(InvalidSetting, match=r"fakeredis with Lua; pip install 'rx-runat\[memory\]'"):
        connect("memory://")


def test_testing_without_fakeredis_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fakeredis", None)
    monkeypatch.delitem(sys.modules, "rx_runat.testing")
    with pytest.raises(ImportError, match=r"rx_runat\.testing needs fakeredis; pip install 'rx-runat\[memory\]'"):
        importlib.import_module("rx_runat.testing")


def test_what_is_connected_already_is_taken_as_it_is() -> None:
    connected = connect("memory://")
    assert connect(connected) is connected
    assert isinstance(connected.client, RedisClient)
