"""What the routes with failovers share: one pool to the primary of the moment, which gives way to another."""

# pyright: reportUnknownMemberType=false
# (redis-py's pools are not annotated)
from __future__ import annotations

import threading
from typing import Any

from redis.exceptions import MovedError

from rx_runat.errors import Refused, StoreError, Unavailable
from rx_runat.model.safe_log import warn
from rx_runat.store.connection import BROKEN, OwnPool, exchange
from rx_runat.store.meaning import meaning
from rx_runat.store.request import Arg
from rx_runat.store.route import Route, Settings

# Seconds without a reply until a primary counts as silent, unless the user has set another timeout. A claim's reply
# takes a few milliseconds, and another primary is there soon after Sentinel or the cluster calls the former one dead.
FAILOVER_TIMEOUT = 2.0

HostPort = tuple[str, int]
"""A host and a port."""


class PrimaryRoute:
    """The part of a `Route` that holds the connections to the primary, and ends them when another takes its place.

    Args:
        settings: of the connections, without an address.
        where: the name in messages, without a password.
        first_generation: of the first primary.
    """

    fails_over = True
    is_cluster = False

    def __init__(self, settings: Settings, where: str, first_generation: int = 0) -> None:
        self.where = where
        self.settings = settings.with_timeout(FAILOVER_TIMEOUT, is_default=True)
        self._first_generation = first_generation
        self._lock = threading.Lock()  # guards the four below
        self._primary: HostPort | None = None
        self._pool: OwnPool | None = None
        self._former: list[OwnPool] = []  # pools to this primary from before `shorten_timeout`: calls may use them
        self._is_closed = False

    def _use(self, primary: HostPort, is_back: bool = False) -> OwnPool:
        """Returns the connections to what is the primary now. If it is another one, those to the former one end.

        Args:
            primary: where it is.
            is_back: True if another one was the primary meanwhile, even if this one has the address of the former one.
        """
        with self._lock:
            if primary == self._primary and self._pool is not None and not is_back:
                return self._pool
            former, is_another = self._pools, self._primary is not None
            self._former = []
            self._primary = primary
            pool = self._pool = self._new_pool(primary, self.generation + is_another)
        for each in former:
            each.end()
        if is_another:  # last, and outside of the lock: a handler of the log may block, or use the queue
            warn("the primary of %s is now %s:%d", self.where, *primary)
        return pool

    @property
    def generation(self) -> int:
        """How many primaries there were before the present one. It changes at the same moment as the connections."""
        pool = self._pool
        return self._first_generation if pool is None else pool.generation

    @property
    def _pools(self) -> list[OwnPool]:
        """All pools to this primary."""
        return [*self._former, *([] if self._pool is None else [self._pool])]

    def _new_pool(self, primary: HostPort, generation: int) -> OwnPool:
        pool = self.settings.at(*primary).pool()
        pool.generation = generation
        if self._is_closed:
            pool.end()
        return pool

    def moved(self, error: MovedError, pool: OwnPool, /) -> Route | None:
        """Returns None: this route does not follow MOVED."""

    def shorten_timeout(self, seconds: float) -> None:
        """Wait no longer than `seconds` for a reply from now on; calls under way keep their timeout."""
        with self._lock:
            if seconds >= self.settings.values["socket_timeout"]:
                return
            self.settings = self.settings.with_timeout(seconds)
            if self._primary is not None and self._pool is not None:
                self._former.append(self._pool)
                self._pool.disconnect(inuse_connections=False)
                self._pool = self._new_pool(self._primary, self.generation)

    def close(self) -> None:
        """End all connections for good. May be repeated."""
        with self._lock:
            self._is_closed = True
            pools = self._pools
        for pool in pools:
            pool.end()


def ask(pool: OwnPool, where: str, *commands: tuple[Arg, ...]) -> list[Any]:
    """Send commands on a connection of a pool. Returns the replies.

    Args:
        pool: of the server.
        where: its name in messages.
        commands: each with its words.

    Raises:
        StoreError: a command was not replied to, or refused.
    """
    try:
        connection = pool.get_connection()
        try:
            return [exchange(connection, *command) for command in commands]
        finally:
            pool.release(connection)
    except BROKEN as error:
        raise meaning(error, where, pool.connection_kwargs) from error


def none_answers(errors: list[StoreError], where: str) -> StoreError:
    """Returns the error to raise when no server named a primary: a `Refused` if any server gave one."""
    refused = next((error for error in errors if isinstance(error, Refused)), None)
    return refused or Unavailable(f"nobody at {where} says where the primary is: {errors[-1]}")
