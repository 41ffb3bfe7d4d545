"""From what the user has (a URL, a mapping, a client) to the settings of connections of our own.

    None                     $REDIS_URL, else redis://localhost:6379
    redis:// rediss:// unix://   as redis-py reads them
    embedded://              a private server, gone with its owner
    embedded:///some/dir     a durable server, shared by every process that names the dir
    memory:// memory://name  fakeredis in this process
    {"host": ..., ...}       what redis.Redis takes
    a redis.Redis            copied, never used, changed or closed

Our connections differ from the user's in three things: no hidden retries (only `RedisClient` sends a request again, up
to three times in all, if replies were lost), RESP3, and bytes.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import quote, unquote, urlsplit

import redis

from rx_runat.errors import InvalidSetting, Unavailable
from rx_runat.model.forks import in_child
from rx_runat.store.client import RedisClient
from rx_runat.store.connection import own_pool
from rx_runat.store.urls import client_of

if TYPE_CHECKING:
    from rx_runat.store.embedded import EmbeddedServer

DEFAULT_URL = "redis://localhost:6379"

_FORMS = (
    "a URL (redis://, rediss://, unix://, embedded://, memory://), a mapping such as "
    '{"host": "localhost", "port": 6379}, or a redis.Redis'
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
        if self.server is None:
            return Connected(self.client.renewed())
        self.server.leave_to_parent()
        return Connected(self.client.renewed(self.server.rejoin), self.server)


def connect(target: object) -> Connected:
    """Prepare connections to what the user named; none are opened yet. An embedded server is started or joined.

    Raises:
        InvalidSetting: the target has none of the forms above; the message says what was passed, without secrets.
        ServerError: an embedded server could not be started or joined.
        Unavailable: this process can open no file.
    """
    if isinstance(target, Connected):
        return target
    try:
        return _prepare(target)
    except OSError as error:  # what redis-py or fakeredis reads from their own files
        raise Unavailable(f"no connection can be prepared: {error}") from error


def _prepare(target: object) -> Connected:
    if target is None:
        url = os.environ.get("REDIS_URL")
        return _prepare(url) if url else _connected(_from_url(DEFAULT_URL), hint=_WAYS_OUT)
    if isinstance(target, str):
        scheme = target.split("://", 1)[0] if "://" in target else ""
        if scheme == "embedded":
            from rx_runat.store.embedded import EmbeddedServer  # its file locks exist on POSIX only

            server = EmbeddedServer(_embedded_dir(target))
            client = _from_url(f"unix://{quote(server.socket)}")
            return Connected(_connected(client, server.where).client, server)
        if scheme == "memory":
            return _memory(target)
        return _connected(_from_url(target))
    if isinstance(target, Mapping):
        return _connected(_from_mapping(cast("Mapping[str, Any]", target)))
    if isinstance(target, redis.Redis):
        return _connected(target)
    raise InvalidSetting(f"redis: got {_kind(target)}; it must be {_FORMS}")


def _connected(client: redis.Redis, where: str | None = None, hint: str = "") -> Connected:
    pool = client.connection_pool
    if hasattr(pool, "sentinel_manager"):
        raise InvalidSetting(f"redis: a client with a {type(pool).__name__} is not supported yet; pass {_FORMS}")
    ours = own_pool(pool.connection_class, pool.connection_kwargs)
    return Connected(RedisClient(ours, where or _where(pool), hint))


def _where(pool: redis.ConnectionPool) -> str:
    """Returns the server's name for messages and a `repr`: without user and password."""
    settings = pool.connection_kwargs
    db = f"/{settings['db']}" if settings.get("db") else ""
    if settings.get("path"):
        return f"unix://{settings['path']}{db}"
    scheme = "rediss" if issubclass(pool.connection_class, redis.SSLConnection) else "redis"
    return f"{scheme}://{settings.get('host', 'localhost')}:{settings.get('port', 6379)}{db}"


def _from_url(url: str) -> redis.Redis:
    return client_of(url, _tried, _FORMS)


def _from_mapping(settings: Mapping[str, Any]) -> redis.Redis:
    try:
        return _tried(redis.Redis(**settings))
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
    return _connected(fakeredis.FakeRedis(server=server), where=url)


def _kind(target: object) -> str:
    kind = type(target)
    if kind.__module__.startswith(("redis.asyncio", "redis.cluster")):
        return f"a {kind.__module__}.{kind.__name__}, which is not supported yet"
    return f"a {kind.__module__}.{kind.__name__}"
