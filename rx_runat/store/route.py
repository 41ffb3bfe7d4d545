"""Where Redis is at the moment. Only `RedisClient` uses a route, so nothing above it knows which form it has.

    Address          one server; a node of a cluster says at its first MOVED that it is one: then a SlotRoute goes on
    SlotRoute        the primary of the queue's slot in a cluster
    SentinelRoute    the primary that Sentinel names

A primary is replaced in a failover, or when its slot moves. Then all connections to the former one end, those in use
and those that listen included, and `generation` counts one more. A new primary may lack what the former one did last.
If a request is sent again to another generation, its reply does not prove what the first sending did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import redis
from redis.exceptions import MovedError

from rx_runat.store.connection import OwnPool, own_pool


class Settings(NamedTuple):
    """How connections of our own are made.

    Attributes:
        connection_class: of redis-py's.
        values: what it takes.
    """

    connection_class: type
    values: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"<Settings of {self.where}>"  # the values may hold a password

    def but(self, **values: Any) -> Settings:
        """Returns the settings with other values for these names."""
        return self._replace(values={**self.values, **values})

    def at(self, host: str, port: int) -> Settings:
        """Returns the settings of a connection to another address."""
        return self.but(host=host, port=port)

    def with_timeout(self, seconds: float, is_default: bool = False) -> Settings:
        """Returns the settings with a timeout for connecting and for each reply; a default changes none that is set."""
        timeouts = {"socket_timeout": seconds, "socket_connect_timeout": seconds}
        if is_default:
            timeouts |= {name: own for name in timeouts if (own := self.values.get(name)) is not None}
        return self.but(**timeouts)

    def pool(self, join: Callable[[], str] | None = None, protocol: int = 3) -> OwnPool:
        """Returns a pool; nothing connects yet. `join` is that of `OwnPool`, `protocol` the version of RESP."""
        return own_pool(self.connection_class, self.values, join, protocol)

    @property
    def scheme(self) -> str:
        """Of the URL of such a server."""
        return "rediss" if issubclass(self.connection_class, redis.SSLConnection) else "redis"

    @property
    def where(self) -> str:
        """The server's name for messages and a `repr`: without user and password."""
        db = f"/{self.values['db']}" if self.values.get("db") else ""
        if self.values.get("path"):
            return f"unix://{self.values['path']}{db}"
        return f"{self.scheme}://{self.values.get('host', 'localhost')}:{self.values.get('port', 6379)}{db}"


class Route(Protocol):
    """Gives connections to the primary of the moment. From any thread.

    Attributes:
        where: the name in messages, without a password.
        settings: of its connections.
        fails_over: True if another primary may take the place of the present one.
        is_cluster: True if the primary is a node of a cluster.
    """

    where: str
    settings: Settings
    fails_over: bool
    is_cluster: bool

    @property
    def generation(self) -> int:
        """How many primaries it has had before the one that `pool` would give now.

        So it is never more than that of a pool which is asked for afterwards.
        """
        ...

    def pool(self) -> OwnPool:
        """Returns the connections to the primary of the moment.

        Raises:
            StoreError: nobody says where it is.
        """
        ...

    def lost(self, pool: OwnPool) -> None:
        """Find the primary anew before the next call: this server does not answer, or was demoted."""
        ...

    def moved(self, error: MovedError, pool: OwnPool, /) -> Route | None:
        """Returns the route to use from now on, because a node has said where the slot is; None: it is not followed.

        Args:
            error: what the node said.
            pool: of the connection on which it said so. What a former primary says is not followed.
        """
        ...

    def shorten_timeout(self, seconds: float) -> None:
        """Wait no longer than `seconds` for a reply from now on; calls under way keep their timeout."""
        ...

    def close(self) -> None:
        """End all connections for good. May be repeated."""
        ...

    def renewed(self, join: Callable[[], str] | None = None, /) -> Route:
        """Returns a route to the same place with connections of its own, for a forked child.

        Args:
            join: joins an embedded server, and returns the path of its socket; raises OSError.
        """
        ...
