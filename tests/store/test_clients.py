"""Of a client that the user brings only the settings are taken: it is never used, changed or closed."""

from __future__ import annotations

import copy
import socket
import ssl
import traceback
from collections.abc import Callable
from typing import Any

import fakeredis
import pytest
import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.sentinel
import redis.cluster
import redis.sentinel
import valkey
import valkey.asyncio
import valkey.asyncio.cluster
import valkey.asyncio.sentinel
import valkey.cluster
import valkey.sentinel

from rx_runat import InvalidSetting, Job, RunAt, Unavailable
from rx_runat.store.clients import route_of
from rx_runat.store.connect import connect
from rx_runat.store.sentinel_route import SentinelRoute
from rx_runat.store.slot_route import SlotRoute
from tests.support.node import HOST, Node
from tests.support.servers import Server
from tests.support.waiting import wait_until

SECRET = "hunter2"
PAST = 1.0


@pytest.fixture
def node(shared_node: Node) -> Node:
    """An empty server on a port and on a socket."""
    shared_node.call("FLUSHALL")
    return shared_node


def path_of(node: Node) -> str:
    return str(node.home / "redis.sock")


class AsyncSubclass(redis.asyncio.Redis):
    """A client of asyncio that is told of its use."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        raise AssertionError(f"the user's client was used: {args}")


class ValkeySubclass(valkey.Valkey):
    def execute_command(self, *args: Any, **options: Any) -> Any:
        raise AssertionError(f"the user's client was used: {args}")


def logs_in(connection: Any) -> None:
    connection.on_connect()
    connection.send_command("CLIENT", "SETNAME", "logged-in")
    connection.read_response()


async def logs_in_later(connection: Any) -> None:
    raise AssertionError("a coroutine function of the user's was called on a thread of ours")


CLIENTS: dict[str, Callable[[Node], Any]] = {
    "asyncio": lambda node: redis.asyncio.Redis(port=node.port),
    "asyncio, from_url": lambda node: redis.asyncio.from_url(node.url, decode_responses=True),
    "asyncio, RESP2": lambda node: redis.asyncio.Redis(port=node.port, protocol=2),
    "asyncio, a socket": lambda node: redis.asyncio.Redis(unix_socket_path=path_of(node)),
    "asyncio, a socket's URL": lambda node: redis.asyncio.from_url(f"unix://{path_of(node)}"),
    "asyncio, a database": lambda node: redis.asyncio.Redis(port=node.port, db=3),
    "asyncio, a blocking pool": lambda node: redis.asyncio.Redis(
        connection_pool=redis.asyncio.BlockingConnectionPool(port=node.port, max_connections=1)
    ),
    "asyncio, a subclass": lambda node: AsyncSubclass(port=node.port),
    "asyncio, a function that connects": lambda node: redis.asyncio.Redis(
        port=node.port, redis_connect_func=logs_in_later
    ),
    "a function that connects": lambda node: redis.Redis(port=node.port, redis_connect_func=logs_in),
    "valkey": lambda node: valkey.Valkey(port=node.port),
    "valkey, from_url": lambda node: valkey.from_url(f"valkey://{HOST}:{node.port}/3"),
    "valkey that decodes": lambda node: valkey.Valkey(port=node.port, decode_responses=True),
    "valkey, a socket": lambda node: valkey.Valkey(unix_socket_path=path_of(node)),
    "valkey, a subclass": lambda node: ValkeySubclass(port=node.port),
    "valkey, asyncio": lambda node: valkey.asyncio.Valkey(port=node.port),
    "valkey, asyncio, a socket": lambda node: valkey.asyncio.Valkey(unix_socket_path=path_of(node)),
}


def state_of(client: Any) -> tuple[Any, ...]:
    """All that a client's pool is made of and holds."""
    pool = client.connection_pool
    in_use = len(getattr(pool, "_in_use_connections", ()))
    return dict(pool.connection_kwargs), pool.connection_class, list(pool._available_connections), in_use


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_clients_settings_are_taken_and_it_stays_as_it_was(kind: str, node: Node) -> None:
    client = CLIENTS[kind](node)
    db = client.connection_pool.connection_kwargs.get("db") or 0
    before = copy.copy(state_of(client))
    got: list[str] = []
    with RunAt(client) as queue, node.client(db=db) as admin:
        queue.on_next([Job("a", PAST), Job("🐢", PAST + 1)])
        assert admin.zcard("RunAt~default") == 2
        queue.subscribe(got.append)
        wait_until(lambda: len(got) == 2, "the keys came")
        assert all(
            each["resp"] == "3" for each in admin.client_list() if each["name"] != "admin" and each["cmd"] == "x"
        )
    assert got == ["a", "🐢"]
    assert state_of(client) == before
    assert before[2:] == ([], 0), "nothing was connected"


def test_a_function_that_connects_runs_on_our_connections(node: Node) -> None:
    with RunAt(redis.Redis(port=node.port, redis_connect_func=logs_in)) as queue, node.client() as admin:
        queue.size()
        assert "logged-in" in [each["name"] for each in admin.client_list()]


# The settings.

SETTINGS: dict[str, Any] = {
    "host": "example.com",
    "port": 6380,
    "db": 4,
    "username": "me",
    "password": SECRET,
    "client_name": "me",
    "socket_timeout": 12.5,
    "socket_connect_timeout": 1.5,
    "socket_keepalive": False,
    "socket_keepalive_options": {socket.TCP_KEEPIDLE: 30},
    "health_check_interval": 30,
}


def ours(target: object) -> Any:
    """A connection as we would make it; not connected."""
    return connect(target).client.route.settings.pool().make_connection()


@pytest.mark.parametrize("make", [redis.asyncio.Redis, valkey.Valkey, valkey.asyncio.Valkey])
@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_another_kind_of_client_are_kept(make: Any, name: str) -> None:
    assert getattr(ours(make(**{name: SETTINGS[name]})), name) == SETTINGS[name]


TLS: dict[str, Any] = {
    "ssl_keyfile": "/key.pem",
    "ssl_certfile": "/cert.pem",
    "ssl_ca_certs": "/ca.pem",
    "ssl_ca_data": "data",
    "ssl_check_hostname": False,
    "ssl_min_version": ssl.TLSVersion.TLSv1_3,
    "ssl_ciphers": "HIGH",
}


@pytest.mark.parametrize("make", [redis.asyncio.Redis, valkey.Valkey, valkey.asyncio.Valkey])
def test_settings_of_tls_are_kept(make: Any) -> None:
    connection = ours(make(ssl=True, **TLS))
    assert isinstance(connection, redis.SSLConnection)
    names = {"ssl_keyfile": "keyfile", "ssl_certfile": "certfile", "ssl_ca_certs": "ca_certs", "ssl_ca_data": "ca_data"}
    names |= {"ssl_check_hostname": "check_hostname"}
    for name, value in TLS.items():
        assert getattr(connection, names.get(name, name)) == value


def test_a_client_that_does_not_look_at_certificates_is_followed() -> None:
    assert ours(redis.asyncio.Redis(ssl=True, ssl_cert_reqs=None)).cert_reqs == ssl.CERT_NONE
    assert ours(redis.asyncio.Redis(ssl=True)).cert_reqs == ssl.CERT_REQUIRED
    assert ours(valkey.from_url("valkeys://example.com")).check_hostname is False
    assert ours(redis.asyncio.from_url("rediss://example.com")).check_hostname is True
    clusters = valkey.asyncio.ValkeyCluster("h", ssl=True), redis.asyncio.RedisCluster("h", ssl=True)
    assert [ours(client).check_hostname for client in clusters] == [False, True]


@pytest.mark.parametrize("value", [None, 12.5])
def test_a_timeout_of_asyncio_is_kept_and_none_means_none(value: float | None) -> None:
    connection = ours(redis.asyncio.Redis(socket_timeout=value, socket_connect_timeout=value))
    assert (connection.socket_timeout, connection.socket_connect_timeout) == (value, value)


def test_valkey_py_without_a_timeout_gets_one() -> None:
    assert valkey.Valkey().connection_pool.connection_kwargs["socket_timeout"] is None, "nobody has asked for it"
    assert ours(valkey.Valkey()).socket_timeout == 5


def test_changing_a_client_afterwards_changes_nothing_of_ours(node: Node) -> None:
    for client in (redis.Redis(port=node.port), redis.asyncio.Redis(port=node.port)):
        with RunAt(client) as queue:
            client.connection_pool.connection_kwargs.update(port=1, password=SECRET)
            queue._store._client.shorten_timeout(1)  # connections are made anew
            assert queue.size() == 0


# Sentinel.

SENTINELS = [("s1", 1), ("s2", 2)]


def sentinel_route(client: Any) -> SentinelRoute:
    route = route_of(client, "Q")
    assert isinstance(route, SentinelRoute)
    return route


MANAGERS = [redis.sentinel.Sentinel, redis.asyncio.sentinel.Sentinel, valkey.sentinel.Sentinel, valkey.asyncio.Sentinel]


@pytest.mark.parametrize("make", MANAGERS)
def test_a_client_by_sentinel_tells_the_sentinels_the_name_and_the_settings(make: Any) -> None:
    manager = make(SENTINELS, sentinel_kwargs={"username": "watcher", "password": "s3cret"}, password=SECRET)
    route = sentinel_route(manager.master_for("mymaster", db=2, socket_timeout=7, health_check_interval=3))
    assert route.where == "redis+sentinel://s1:1,s2:2/mymaster/2"
    assert (list(route._sentinels.addresses), route._sentinels.service) == (SENTINELS, "mymaster")
    primary, sentinel = route.settings.values, route._sentinels.settings.values
    assert (primary["password"], primary["db"], primary["health_check_interval"]) == (SECRET, 2, 3)
    assert (primary["socket_timeout"], primary["socket_connect_timeout"]) == (7, 2)
    assert (sentinel["username"], sentinel["password"]) == ("watcher", "s3cret")
    assert SECRET not in sentinel.values()
    assert sentinel["socket_timeout"] == 1
    assert not {"host", "port", "connection_pool"} & primary.keys()
    route.close()


@pytest.mark.parametrize("make", MANAGERS)
def test_the_sentinels_and_the_primary_may_speak_tls_each(make: Any) -> None:
    route = sentinel_route(make(SENTINELS).master_for("m", ssl=True, ssl_ca_certs="/ca.pem"))
    assert route.settings.connection_class is redis.SSLConnection
    assert route.settings.values["ssl_ca_certs"] == "/ca.pem"
    assert route._sentinels.settings.connection_class is redis.Connection
    assert route.where.startswith("rediss+sentinel://")
    watched = make(SENTINELS, sentinel_kwargs={"ssl": True, "ssl_ca_certs": "/other.pem"})
    route = sentinel_route(watched.master_for("m"))
    assert route._sentinels.settings.connection_class is redis.SSLConnection
    assert route._sentinels.settings.values["ssl_ca_certs"] == "/other.pem"
    assert route.settings.connection_class is redis.Connection


def test_a_function_that_connects_is_kept_by_sentinel() -> None:
    manager = redis.sentinel.Sentinel(SENTINELS, redis_connect_func=logs_in)
    assert sentinel_route(manager.master_for("m")).settings.values["redis_connect_func"] is logs_in
    later = redis.asyncio.sentinel.Sentinel(SENTINELS, redis_connect_func=logs_in_later)
    assert "redis_connect_func" not in sentinel_route(later.master_for("m")).settings.values


def test_a_failover_is_waited_for_no_longer_than_two_seconds_unless_the_user_says_so() -> None:
    for make in (redis.sentinel.Sentinel, redis.asyncio.sentinel.Sentinel, valkey.sentinel.Sentinel):
        values = sentinel_route(make(SENTINELS).master_for("m")).settings.values
        assert (values["socket_timeout"], values["socket_connect_timeout"]) == (2, 2)
        values = sentinel_route(make(SENTINELS).master_for("m", socket_timeout=7)).settings.values
        assert (values["socket_timeout"], values["socket_connect_timeout"]) == (7, 2)
    values = connect(redis.asyncio.RedisCluster("h1")).client.route.settings.values
    assert (values["socket_timeout"], values["socket_connect_timeout"]) == (2, 2)
    values = connect(redis.asyncio.RedisCluster("h1", socket_connect_timeout=7)).client.route.settings.values
    assert (values["socket_timeout"], values["socket_connect_timeout"]) == (2, 7)


# Cluster.


def nodes(kind: Any) -> list[Any]:
    return [kind("h1", 7001), kind("h2", 7002)]


LAZY_CLUSTERS: dict[str, Callable[..., Any]] = {
    "a host": lambda **settings: redis.asyncio.RedisCluster("h1", 7001, **settings),
    "startup_nodes": lambda **settings: redis.asyncio.RedisCluster(
        startup_nodes=nodes(redis.asyncio.cluster.ClusterNode), **settings
    ),
    "valkey": lambda **settings: valkey.asyncio.ValkeyCluster("h1", 7001, **settings),
}


@pytest.mark.parametrize("kind", LAZY_CLUSTERS)
def test_a_client_of_a_cluster_tells_nodes_and_settings(kind: str) -> None:
    client = LAZY_CLUSTERS[kind](username="me", password=SECRET, socket_timeout=7, ssl=True, ssl_ca_certs="/ca.pem")
    route = route_of(client, "Q")
    assert isinstance(route, SlotRoute)
    assert route._seeds[0] == ("h1", 7001)
    assert len(route._seeds) == (2 if kind == "startup_nodes" else 1)
    values = route.settings.values
    assert (values["username"], values["password"], values["socket_timeout"]) == ("me", SECRET, 7)
    assert (values["ssl_ca_certs"], values["socket_connect_timeout"]) == ("/ca.pem", 2)
    assert route.settings.connection_class is redis.SSLConnection
    assert "redis_connect_func" not in values
    assert route.where.startswith("rediss+cluster://h1:7001")


def test_a_cluster_by_url_tells_nodes_and_settings() -> None:
    route = route_of(redis.asyncio.RedisCluster.from_url(f"rediss://me:{SECRET}@h1:7001?ssl_ca_certs=/ca.pem"), "Q")
    assert isinstance(route, SlotRoute)
    assert (route.where, route.settings.values["password"]) == ("rediss+cluster://h1:7001", SECRET)
    assert route.settings.values["ssl_ca_certs"] == "/ca.pem"


# What cannot be used is refused in words.


class OwnConnection(redis.asyncio.connection.AbstractConnection):
    """A connection of neither kind."""


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "replicas": (lambda: redis.sentinel.Sentinel(SENTINELS).slave_for("m"), "a queue writes; pass master_for"),
    "replicas, asyncio": (lambda: redis.asyncio.sentinel.Sentinel(SENTINELS).slave_for("m"), "pass master_for"),
    "replicas, valkey": (lambda: valkey.sentinel.Sentinel(SENTINELS).slave_for("m"), "pass master_for"),
    "a Sentinel": (lambda: redis.sentinel.Sentinel(SENTINELS), "pass its master_for"),
    "a Sentinel, asyncio": (lambda: redis.asyncio.sentinel.Sentinel(SENTINELS), "pass its master_for"),
    "a Sentinel, valkey": (lambda: valkey.sentinel.Sentinel(SENTINELS), "pass its master_for"),
    "a forced address": (
        lambda: redis.sentinel.Sentinel(SENTINELS, force_master_ip="10.0.0.1").master_for("m"),
        "force_master_ip",
    ),
    "no Sentinel": (lambda: redis.sentinel.Sentinel([]).master_for("m"), "or by none at all"),
    "a Sentinel without a host": (
        lambda: redis.sentinel.Sentinel(SENTINELS, sentinel_kwargs={"unix_socket_path": "/s"}).master_for("m"),
        "one has no host",
    ),
    "remapped addresses": (
        lambda: redis.asyncio.RedisCluster("h", address_remap=lambda address: address),
        "address_remap",
    ),
    "fakeredis, asyncio": (fakeredis.FakeAsyncRedis, r"pass fakeredis\.FakeRedis\(server"),
    "fakeredis, valkey": (fakeredis.FakeValkey, r"pass fakeredis\.FakeRedis\(server"),
    "fakeredis, valkey, asyncio": (fakeredis.FakeAsyncValkey, r"pass fakeredis\.FakeRedis\(server"),
    "its own connections": (
        lambda: redis.asyncio.Redis(connection_pool=redis.asyncio.ConnectionPool(connection_class=OwnConnection)),
        "of a kind of its own, OwnConnection",
    ),
    "a pool of asyncio": (
        lambda: redis.Redis(connection_pool=redis.asyncio.ConnectionPool()),  # type: ignore[arg-type]
        "with a pool of asyncio; pass",
    ),
    "a pool of asyncio in a mapping": (lambda: {"connection_pool": redis.asyncio.ConnectionPool()}, "pool of asyncio"),
    "a subscription": (lambda: redis.Redis().pubsub(), "got a redis.client.PubSub; it must be"),
    "a subscription, asyncio": (lambda: redis.asyncio.Redis().pubsub(), "PubSub; it must be"),
    "a lock": (lambda: redis.Redis().lock("a"), "got a redis.lock.Lock; it must be"),
    "a module": (lambda: redis, "it must be"),
    "a class of asyncio": (lambda: redis.asyncio.Redis, "it must be"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_used_is_refused_in_words(kind: str) -> None:
    make, words = REFUSED[kind]
    with pytest.raises(InvalidSetting, match=words) as caught:
        RunAt(make())
    assert str(caught.value).startswith("redis: got ")


# Nothing connects before it must.


def targets(port: int) -> dict[str, Any]:
    here = [(HOST, port)]
    return {
        "redis": f"redis://{HOST}:{port}",
        "redis+sentinel": f"redis+sentinel://{HOST}:{port}/m",
        "redis+cluster": f"redis+cluster://{HOST}:{port}",
        "a mapping": {"host": HOST, "port": port},
        "a mapping of one connection": {"host": HOST, "port": port, "single_connection_client": True},
        "a client": redis.Redis(port=port),
        "asyncio": redis.asyncio.Redis(port=port),
        "valkey": valkey.Valkey(port=port),
        "by Sentinel": redis.sentinel.Sentinel(here).master_for("m"),
        "by Sentinel, asyncio": redis.asyncio.sentinel.Sentinel(here).master_for("m"),
        "cluster, asyncio": redis.asyncio.RedisCluster(HOST, port),
    }


@pytest.mark.parametrize("kind", targets(1))
def test_nothing_connects_before_it_must(kind: str) -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = int(listener.getsockname()[1])
        with RunAt(targets(port)[kind], interval=0.1) as queue:
            queue.claims()
            repr(queue)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


# Secrets stay secret.

WITH_PASSWORDS: dict[str, Callable[[], Any]] = {
    "asyncio": lambda: redis.asyncio.Redis(port=1, username="me", password=SECRET),
    "valkey": lambda: valkey.Valkey(port=1, password=SECRET),
    "by Sentinel": lambda: redis.sentinel.Sentinel(
        [(HOST, 1)], sentinel_kwargs={"password": SECRET}, password=SECRET
    ).master_for("m"),
    "cluster, asyncio": lambda: redis.asyncio.RedisCluster(HOST, 1, password=SECRET),
    "redis+sentinel": lambda: f"redis+sentinel://me:{SECRET}@{HOST}:1/m?sentinel_password={SECRET}",
    "redis+cluster": lambda: f"redis+cluster://me:{SECRET}@{HOST}:1",
}


@pytest.mark.parametrize("kind", WITH_PASSWORDS)
def test_a_password_is_nowhere_to_be_seen(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with RunAt(WITH_PASSWORDS[kind]()) as queue:
        route = connect(WITH_PASSWORDS[kind]()).client.route
        shown = [repr(queue), repr(route), repr(route.settings), str(route.settings)]
        with pytest.raises(Unavailable) as caught:
            queue.size()
        heard: list[Exception] = []
        queue.errors.subscribe(heard.append)
        queue.subscribe(lambda _: None)
        wait_until(lambda: heard, "the outage was told")
    shown += ["".join(traceback.format_exception(error)) for error in (caught.value, *heard)] + [caplog.text]
    assert f"{HOST}:1" in shown[0] or "localhost:1" in shown[0]
    for each in shown:
        assert SECRET not in each


def test_a_password_that_a_server_wants_is_presented_by_every_kind(own_server: Server) -> None:
    with own_server.client() as client:
        client.config_set("requirepass", SECRET)
    for make in (redis.asyncio.Redis, valkey.Valkey, valkey.asyncio.Valkey):
        with RunAt(make(unix_socket_path=own_server.path, password=SECRET)) as queue:
            assert queue.size() == 0
