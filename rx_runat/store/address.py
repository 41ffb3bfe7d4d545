"""One server, which stays where it is."""

from __future__ import annotations

from collections.abc import Callable

import redis
from redis.exceptions import MovedError

from rx_runat.model.safe_log import warn
from rx_runat.store.connection import OwnPool
from rx_runat.store.route import Route, Settings
from rx_runat.store.slot_route import SlotRoute


class Address:
    """A `Route` to one server.

    Args:
        settings: of the connections to it.
        queue_name: tells the slot, should the server be a node of a cluster.
        where: its name in messages; None: that of the settings.
        join: of an embedded server; see `OwnPool.join`.
    """

    fails_over = False
    is_cluster = False
    generation = 0

    def __init__(
        self,
        settings: Settings,
        queue_name: str = "",
        where: str | None = None,
        join: Callable[[], str] | None = None,
    ) -> None:
        self.where = where or settings.where
        self.settings = settings
        self._queue_name = queue_name
        self._join = join
        self._pool = settings.pool(join)
        self._former: OwnPool | None = None  # the pool before `shorten_timeout`: calls may still use it

    def pool(self) -> OwnPool:
        """Returns the connections to the server."""
        return self._pool

    def lost(self, pool: OwnPool) -> None:
        """There is no other server: the next connection leads to the same address."""

    def moved(self, error: MovedError, pool: OwnPool, /) -> Route | None:
        """Returns the route to the queue's slot in the cluster that this server is a node of."""
        warn("%s is one node of a cluster: from now on the queue follows its slot from node to node", self.where)
        kind, values = self.settings.connection_class, dict(self.settings.values)
        if values.pop("path", None) is not None:  # a node on this host, reached by its unix socket
            kind = redis.Connection
        here = values.get("host", "localhost"), int(values.get("port", 6379))
        # Of the next generation, because perhaps this node had the slot before, and a failover took it away.
        route = SlotRoute(Settings(kind, values), [here], self._queue_name, self.where, self.generation + 1)
        route.moved(error, pool)
        self.close()
        return route

    def shorten_timeout(self, seconds: float) -> None:
        """Wait no longer than `seconds` for a reply from now on; calls under way keep their timeout."""
        if self._former is None:
            self._former = self._pool
            self.settings = self.settings.with_timeout(seconds)
            self._pool = self.settings.pool(self._join)
            self._former.disconnect(inuse_connections=False)

    def close(self) -> None:
        """End all connections for good. May be repeated."""
        for pool in (self._former, self._pool):
            if pool is not None:
                pool.end()

    def renewed(self, join: Callable[[], str] | None = None, /) -> Address:
        """Returns a route to the same server with connections of its own."""
        return Address(self.settings, self._queue_name, self.where, join)
