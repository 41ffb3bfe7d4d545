"""Calls to Redis: each is sent once and replied to once, or raises an error that says whether it was done.

redis-py's own retries are off. Only `RedisClient.resend_lost`, which `send` uses, sends a request again, up to `TRIES`
times in all, because a `Request` knows what a reply means after an earlier one was lost.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (redis-py's connections are not annotated)
from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import redis
from redis.exceptions import NoScriptError

from rx_runat.errors import OutcomeUnknown, Refused, StoreError, Unavailable
from rx_runat.store.connection import BROKEN, DedicatedConnection, OwnPool, exchange, own_pool
from rx_runat.store.meaning import first_word, meaning, text_of
from rx_runat.store.request import Arg, Request, Script

T = TypeVar("T")

TRIES = 3  # a request is sent at most three times: a proxy that restarts may cut two replies in a row


class RedisClient:
    """Sends commands on connections of our own, from any thread.

    Args:
        pool: of connections that do not retry and do not decode; ours to close.
        where: the server's name in messages, without its password.
        hint: what the user can do when nothing answers; messages say it after the cause.
    """

    def __init__(self, pool: OwnPool, where: str, hint: str = "") -> None:
        self.where = where
        self.pool = pool
        self._hint = hint
        self._former: OwnPool | None = None  # the pool before `shorten_timeout`: calls may still use it
        self._dedicated: weakref.WeakSet[DedicatedConnection] = weakref.WeakSet()
        self._closed = False
        self._forked = ""  # why all calls are refused in a forked child; "": they are not

    def call(self, *command: Arg) -> Any:
        """Send a command, once.

        Raises:
            Unavailable: it was not done; trying again later can help.
            OutcomeUnknown: it was sent, and no reply came.
            Refused: it was not done, and trying again does not help.
        """
        pool = self.pool
        connection = self._connect(pool)
        try:
            return self._exchange(connection, *command)
        except Unavailable as error:
            if not isinstance(error, OutcomeUnknown):
                pool.disconnect(inuse_connections=False)  # the idle ones may lead to a demoted primary, too
            raise
        finally:
            pool.release(connection)
            if self._closed:
                connection.disconnect()  # redis-py may have connected it while `close` ran

    def run(self, script: Script, *args: Arg) -> Any:
        """Run a script, once; `args` begin with the number of keys. Raises as `call`."""
        try:
            return self.call("EVALSHA", script.sha, *args)
        except Refused as error:
            if not isinstance(error.__cause__, NoScriptError):
                raise
        return self.call("EVAL", script.body, *args)

    def send(self, request: Request[T], resent: bool = False) -> T:
        """Send a request, up to `TRIES` times if replies are lost.

        Args:
            request: what to send.
            resent: True if an earlier call with this request raised OutcomeUnknown.

        Raises:
            OutcomeUnknown: no reply came, or the reply does not show what an earlier sending did.
            StoreError: it was not done.
        """
        reply, resent = self.resend_lost(request, resent)
        return request.result(reply, resent, self.where)

    def resend_lost(self, request: Request[Any], resent: bool = False) -> tuple[Any, bool]:
        """Send a request, and again when the connection was cut before the reply, up to `TRIES` times in all.

        Returns:
            The reply, and whether an earlier sending of the request may have been done.

        Raises:
            OutcomeUnknown: it was sent at least once, and no sending was replied to.
            StoreError: the first sending was not done.
        """
        lost: OutcomeUnknown | None = None
        for _ in range(TRIES):
            words = request.to_send(resent)
            try:
                return self.call(*words) if request.script is None else self.run(request.script, *words), resent
            except OutcomeUnknown as error:
                if request.once or isinstance(error.__cause__, redis.TimeoutError):
                    raise  # on a server that hangs, three sendings would take three times as long
                lost, resent = error, True
            except StoreError:
                if lost is None:
                    raise
        assert lost is not None
        raise lost

    def open(self) -> DedicatedConnection:
        """Returns a connection for one caller, made at its first command; `close` ends it too.

        Raises:
            Unavailable: this client is closed, or this process can open no more files.
        """
        try:
            connection = DedicatedConnection(self._exchange, self.pool.make_connection())
        except BROKEN as error:  # to make one, redis-py reads a file
            raise self._not_done(error) from error
        self._dedicated.add(connection)
        if self._closed:
            connection.close()
            raise self._gone()
        return connection

    def error_of(self, message: str) -> StoreError:
        """Returns the error that a server's message means, which a script has caught and returned."""
        return self._not_done(redis.ResponseError(message))

    def shorten_timeout(self, seconds: float) -> None:
        """Wait no longer than `seconds` for a reply from now on; calls under way keep their timeout."""
        if self._former is None:
            self._former = self.pool
            settings = self.pool.connection_kwargs | {"socket_timeout": seconds, "socket_connect_timeout": seconds}
            self.pool = own_pool(self.pool.connection_class, settings, self.pool.join)
            self._former.disconnect(inuse_connections=False)

    def close(self) -> None:
        """Close all connections for good, which ends the calls under way. May be repeated."""
        self._closed = True
        for connection in tuple(self._dedicated):
            connection.close()
        for pool in (self._former, self.pool):
            if pool is not None:
                pool.disconnect(inuse_connections=True)

    def leave_to_parent(self, why: str) -> None:
        """In a forked child: refuse all calls from now on, and touch no connection: they are the parent's.

        Args:
            why: the message of the refusals.
        """
        self._closed = True
        self._forked = why

    def renewed(self, join: Callable[[], None] | None = None) -> RedisClient:
        """Returns a client of the same server with connections of its own, for a forked child.

        fakeredis lives in the process that made it: what the child wrote to its copy, nobody would read. So there all
        calls are refused.

        Args:
            join: called before each connection is made, to join the server; raises OSError if that fails.
        """
        former = self._former or self.pool
        pool = own_pool(former.connection_class, former.connection_kwargs, join)
        client = RedisClient(pool, self.where, self._hint)
        if former.connection_class.__module__.startswith("fakeredis"):
            client.leave_to_parent(
                f"{self.where} lives in the process that made it, and this process is a fork of that one; use "
                "embedded:// or a Redis of your own, or make the queue after the fork"
            )
        return client

    def _gone(self) -> StoreError:
        return Refused(self._forked) if self._forked else Unavailable(f"the connections to {self.where} are closed")

    def _exchange(self, connection: redis.Connection, *command: Arg, pushed: bool = False) -> Any:
        try:
            return exchange(connection, *command, pushed=pushed)
        except BROKEN as error:
            # LOADING and NOAUTH are ConnectionErrors too.
            if isinstance(error, redis.ResponseError) or first_word(error):
                not_done = self._not_done(error)
                if isinstance(not_done, Unavailable):
                    connection.disconnect()  # after a failover this address may lead to another server
                raise not_done from error
            connection.disconnect()
            raise OutcomeUnknown(f"{self.where} did not answer {command[0]!r}: {text_of(error)}") from error

    def _connect(self, pool: OwnPool) -> redis.Connection:
        if self._closed:
            raise self._gone()
        try:
            return pool.get_connection()
        except BROKEN as error:
            raise self._not_done(error) from error

    def _not_done(self, error: Exception) -> StoreError:
        return meaning(error, self.where, self.pool.connection_kwargs, self._hint)
