"""What a client of the user's knows of its server: its settings are copied, and the client is never used.

redis.Redis, fakeredis              its class of connections and all settings
what master_for() returns           the settings, and those of the Sentinels
RedisCluster                        the settings, and the nodes that it was given
the same of redis.asyncio, valkey   only settings that redis-py's own connections take, by name
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis

from rx_runat.errors import InvalidSetting
from rx_runat.store.address import Address
from rx_runat.store.route import Route, Settings
from rx_runat.store.sentinel_route import SentinelRoute
from rx_runat.store.slot_route import SlotRoute

# The settings of other libraries that mean the same in redis-py.
_SHARED = (
    *("db", "username", "password", "credential_provider", "client_name", "health_check_interval"),
    *("socket_timeout", "socket_connect_timeout", "socket_keepalive", "socket_keepalive_options"),
    *("ssl_keyfile", "ssl_certfile", "ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_data", "ssl_ca_path"),
    *("ssl_check_hostname", "ssl_password", "ssl_min_version", "ssl_ciphers"),
)
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
    if not type(client).__module__.startswith(("redis", "fakeredis", "valkey")) and not isinstance(client, redis.Redis):
        return None
    nodes = getattr(client, "nodes_manager", None)
    if nodes is not None:
        return _cluster(client, nodes, queue_name)
    pool = getattr(client, "connection_pool", None)
    if pool is None:
        return None
    if hasattr(pool, "sentinel_manager"):
        return _sentinel(pool)
    if isinstance(client, redis.Redis):
        return Address(Settings(pool.connection_class, pool.connection_kwargs), queue_name)
    own = {name: pool.connection_kwargs[name] for name in ("host", "port", "path") if name in pool.connection_kwargs}
    settings = _translated(pool.connection_class, pool.connection_kwargs)
    return Address(settings.but(**own), queue_name)


def _cluster(client: Any, nodes: Any, queue_name: str) -> Route:
    values = getattr(client, "connection_kwargs", None) or nodes.connection_kwargs
    kind = values.get("connection_class") or (redis.SSLConnection if values.get("ssl") else redis.Connection)
    addresses = [(node.host, int(node.port)) for node in nodes.startup_nodes.values()]
    return SlotRoute(_translated(kind, values), addresses, queue_name)


def _sentinel(pool: Any) -> Route:
    if not pool.is_master:
        raise InvalidSetting("redis: a client of replicas cannot be used, because a queue writes; pass master_for(...)")
    asked = [each.connection_pool for each in pool.sentinel_manager.sentinels]
    addresses = [(each.connection_kwargs["host"], int(each.connection_kwargs["port"])) for each in asked]
    return SentinelRoute(
        _translated(pool.connection_class, pool.connection_kwargs),
        _translated(asked[0].connection_class, asked[0].connection_kwargs),
        addresses,
        pool.service_name,
    )


def _translated(connection_class: type, values: Mapping[str, Any]) -> Settings:
    """Returns the settings for redis-py's own connections, without an address."""
    names = {each.__name__ for each in connection_class.__mro__}
    kind = next(ours for name, ours in _CLASSES.items() if name in names)
    kept = {name: values[name] for name in _SHARED if values.get(name) is not None}
    if not isinstance(kept.get("socket_keepalive_options"), Mapping):  # a mark of redis-py's for its own defaults
        kept.pop("socket_keepalive_options", None)
    if kind is not redis.SSLConnection:
        kept = {name: value for name, value in kept.items() if not name.startswith("ssl_")}
    return Settings(kind, kept)
