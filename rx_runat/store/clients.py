"""What a client of the user's knows of its server: its settings are copied, and the client is never used.

redis.Redis, fakeredis.FakeRedis    its class of connections and all settings
what master_for() returns           the settings, and those of the Sentinels
RedisCluster                        the settings, and the nodes that it knows
the same of redis.asyncio, valkey   only settings that redis-py's own connections take, by name
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Protocol, TypeAlias

import redis
import redis.asyncio
from redis.asyncio.connection import AbstractConnection as AsyncConnection
from redis.connection import AbstractConnection

from rx_runat.errors import InvalidSetting
from rx_runat.store.address import Address
from rx_runat.store.route import Route, Settings
from rx_runat.store.sentinel_route import SentinelRoute
from rx_runat.store.slot_route import SlotRoute


class ValkeyClient(Protocol):
    """A client of valkey-py. It is not named by its class, because valkey-py need not be installed."""

    def get_encoder(self) -> Any:
        """Returns what encodes for Valkey; never called."""
        ...


Client: TypeAlias = redis.Redis | redis.RedisCluster | redis.asyncio.Redis | redis.asyncio.RedisCluster | ValkeyClient
"""What type checkers accept as a client; `route_of` looks at the object itself."""

# The settings of other kinds of clients that redis-py's own connections take, too, with the same meaning.
_SHARED = (
    *("db", "username", "password", "credential_provider", "client_name", "health_check_interval"),
    *("socket_timeout", "socket_connect_timeout", "socket_keepalive", "socket_keepalive_options", "socket_type"),
    *("ssl_keyfile", "ssl_certfile", "ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_data", "ssl_ca_path"),
    *("ssl_check_hostname", "ssl_password", "ssl_min_version", "ssl_ciphers"),
    *("ssl_validate_ocsp", "ssl_validate_ocsp_stapled", "ssl_ocsp_context", "ssl_ocsp_expected_cert"),
)
_OF_REDIS_PY = ("driver_info", "socket_read_size", "ssl_include_verify_flags", "ssl_exclude_verify_flags")
_TIMEOUTS = ("socket_timeout", "socket_connect_timeout")
_DEFAULT_TIMEOUT = 5  # seconds
_CLASSES = {
    "UnixDomainSocketConnection": redis.UnixDomainSocketConnection,
    "SSLConnection": redis.SSLConnection,
    "Connection": redis.Connection,
}


def route_of(client: Any, queue_name: str) -> Route | None:
    """Returns a route to the server of a client; None: this is no client that we know.

    Args:
        client: any object.
        queue_name: tells the slot in a cluster.

    Raises:
        InvalidSetting: it is a client that we know, and cannot be used.
    """
    if isinstance(client, redis.Redis):
        pool: Any = client.connection_pool
        if hasattr(pool, "sentinel_manager"):
            return _sentinel(pool, is_valkey=False)
        if issubclass(pool.connection_class, AsyncConnection):
            _refuse("a synchronous client with a pool of asyncio; pass redis.asyncio.Redis(connection_pool=...)")
        return Address(Settings(pool.connection_class, _set_by_user(pool.connection_kwargs)), queue_name)
    names = {(each.__module__.partition(".")[0], each.__name__) for each in type(client).__mro__}
    is_valkey = any(library == "valkey" for library, _ in names)
    if names & {("redis", "RedisCluster"), ("valkey", "ValkeyCluster")}:
        return _cluster(client, queue_name, is_valkey)
    if names & {("redis", "Sentinel"), ("valkey", "Sentinel")}:
        _refuse("a Sentinel, which does not say which primary is meant; pass its master_for(<name>)")
    if not names & {("redis", "Redis"), ("valkey", "Valkey")}:
        return None
    pool = client.connection_pool
    if any(module == "fakeredis" for module, _ in names):
        _refuse("this kind of fakeredis, which only its own library can talk to; pass fakeredis.FakeRedis(server=...)")
    if hasattr(pool, "sentinel_manager"):
        return _sentinel(pool, is_valkey)
    own = {name: pool.connection_kwargs[name] for name in ("host", "port", "path") if name in pool.connection_kwargs}
    return Address(_translated(pool.connection_class, pool.connection_kwargs, is_valkey).but(**own), queue_name)


def _refuse(what: str) -> NoReturn:
    raise InvalidSetting(f"redis: got {what}")


def _cluster(client: Any, queue_name: str, is_valkey: bool) -> Route:
    nodes = client.nodes_manager
    if getattr(nodes, "address_remap", None) is not None:
        _refuse("a client of a cluster with address_remap, which a queue does not follow; pass one without")
    values = getattr(client, "connection_kwargs", None) or nodes.connection_kwargs
    kind = values.get("connection_class") or (redis.SSLConnection if values.get("ssl") else redis.Connection)
    settings = _translated(kind, {**values, "redis_connect_func": None}, is_valkey)  # it is the client's own
    then = getattr(client, "user_on_connect_func", None)
    if then is not None:
        settings = settings.but(redis_connect_func=_logged_in(then))
    addresses = [(str(node.host), int(node.port)) for node in nodes.startup_nodes.values()]
    return SlotRoute(settings, addresses, queue_name)


def _logged_in(then: Callable[[Any], object]) -> Callable[[Any], None]:
    """Returns a function that logs in on a connection, and then calls another one, as RedisCluster does."""

    def on_connect(connection: Any) -> None:
        connection.on_connect()
        then(connection)

    return on_connect


def _sentinel(pool: Any, is_valkey: bool) -> Route:
    if not pool.is_master:
        _refuse("a client of replicas, and a queue writes; pass master_for(<name>)")
    manager = pool.sentinel_manager
    if getattr(manager, "_force_master_ip", None) is not None:
        _refuse("a client by a Sentinel with force_master_ip, which a queue does not follow; pass one without")
    asked = [each.connection_pool for each in manager.sentinels]
    if not asked or any("host" not in each.connection_kwargs for each in asked):
        _refuse("a client by Sentinels of which one has no host, or by none at all")
    addresses = [(str(each.connection_kwargs["host"]), int(each.connection_kwargs["port"])) for each in asked]
    return SentinelRoute(
        _translated(pool.connection_class, pool.connection_kwargs, is_valkey),
        _translated(asked[0].connection_class, asked[0].connection_kwargs, is_valkey),
        addresses,
        pool.service_name,
    )


def _set_by_user(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings without timeouts of 5 s, which is redis-py's default: each of its clients spells it out."""
    return {name: value for name, value in values.items() if name not in _TIMEOUTS or value != _DEFAULT_TIMEOUT}


def _translated(connection_class: type, values: Mapping[str, Any], is_valkey: bool) -> Settings:
    """Returns the settings for redis-py's own connections, without an address.

    Args:
        connection_class: of any library.
        values: what it takes.
        is_valkey: they are of valkey-py, some of whose defaults differ.
    """
    classes = connection_class.__mro__
    kind = next((_CLASSES[each.__name__] for each in classes if each.__name__ in _CLASSES), None)
    if kind is None:
        _refuse(f"a client whose connections are of a kind of its own, {connection_class.__name__}")
    names = _SHARED if is_valkey else (*_SHARED, *_OF_REDIS_PY)
    kept = {name: value for name, value in _set_by_user(values).items() if name in names}
    if is_valkey:
        # valkey-py waits for ever unless it is told otherwise, and does not compare the name of the host.
        kept = {name: value for name, value in kept.items() if value is not None or name not in _TIMEOUTS}
        kept.setdefault("ssl_check_hostname", False)
    elif issubclass(connection_class, AbstractConnection):
        kept["redis_connect_func"] = values.get("redis_connect_func")
    if kind is not redis.SSLConnection:
        kept = {name: value for name, value in kept.items() if not name.startswith("ssl_")}
    if kind is redis.UnixDomainSocketConnection:
        kept = {name: value for name, value in kept.items() if not name.startswith(("socket_keepalive", "socket_type"))}
    return Settings(kind, kept)
