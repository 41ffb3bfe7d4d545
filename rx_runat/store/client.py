"""One call to Redis: sent once, answered once, or an error that tells what became of it.

redis-py's own retries are off: a command whose answer was lost is asked again only by those who know how to ask.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (redis-py's connections are not annotated)
from __future__ import annotations

import hashlib
import re
import weakref
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthorizationError, NoScriptError
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from rx_runat.errors import OutcomeUnknown, Refused, StoreError, Unavailable
from rx_runat.store.connection import BROKEN, Arg, Line

_T = TypeVar("_T")

TRIES = 3  # an answer that was lost is asked for twice more: a proxy's restart may cut two in a row

_HEALS = {
    "LOADING",
    "READONLY",
    "OOM",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "MASTERDOWN",
    "NOREPLICAS",
    "BUSY",
    "MISCONF",
    "UNBLOCKED",
}
_INSIDE = re.compile(r"@user_script[^A-Z]*?-?([A-Z]{3,}) ")  # servers before 7 wrap what a script met in an ERR

_OURS: dict[str, Any] = {
    "retry": Retry(NoBackoff(), 0),
    "retry_on_error": [],
    "decode_responses": False,
    "encoding": "utf-8",
    "protocol": 3,
    "maint_notifications_config": MaintNotificationsConfig(enabled=False),
}
_NOT_OURS = {  # of a client's settings: what belongs to its own pool, or would decode, retry or cache
    "retry_on_timeout",
    "parser_class",
    "cache",
    "cache_config",
    "event_dispatcher",
    "himport_registry",
    "maint_notifications_pool_handler",
    "oss_cluster_maint_notifications_handler",
    "orig_host_address",
    "orig_socket_timeout",
    "orig_socket_connect_timeout",
    "max_connections",
}


class Script:
    """A script of `lua/`, known to the server by its hash."""

    def __init__(self, name: str) -> None:
        self.body = files("rx_runat.store").joinpath("lua", f"{name}.lua").read_bytes()
        self.sha = hashlib.sha1(self.body, usedforsecurity=False).hexdigest()


class RedisClient:
    """RedisClient on connections of our own, from any thread.

    Args:
        pool: of connections that do not retry and do not decode; ours to close.
        where: the server's name in messages, without its password.
        hint: what to do when nobody answers, said after the cause.
    """

    def __init__(self, pool: redis.ConnectionPool, where: str, hint: str = "") -> None:
        self.where = where
        self.pool = pool
        self._hint = hint
        self._former: redis.ConnectionPool | None = None  # of before `shorten_timeout`, with calls under way
        self._lines: weakref.WeakSet[Line] = weakref.WeakSet()
        self._closed = False

    def call(self, *command: Arg) -> Any:
        """Send a command, once.

        Raises:
            Unavailable: it was not done, and this heals.
            OutcomeUnknown: it was sent, and no answer came.
            Refused: it was not done, and asking again would not help.
        """
        pool = self.pool
        connection = self._connect(pool)
        try:
            return self._ask(connection, *command)
        finally:
            pool.release(connection)
            if self._closed:
                connection.disconnect()  # it may have been opened beside our closing

    def run(self, script: Script, *args: Arg) -> Any:
        """Run a script, once; `args` begin with the number of keys. Raises as `call`."""
        try:
            return self.call("EVALSHA", script.sha, *args)
        except Refused as error:
            if not isinstance(error.__cause__, NoScriptError):
                raise
        return self.call("EVAL", script.body, *args)

    def open(self) -> Line:
        """A connection of the caller's own, made at its first command; `close` ends it too.

        Raises:
            Unavailable: we are closed.
        """
        line = Line(self._ask, self.pool.make_connection())
        self._lines.add(line)
        if self._closed:
            line.close()
            raise Unavailable(f"the connections to {self.where} are closed")
        return line

    def shorten_timeout(self, seconds: float) -> None:
        """From now on give up on an answer after so many seconds; calls under way go on as they were."""
        if self._former is None:
            self._former = self.pool
            settings = self.pool.connection_kwargs | {"socket_timeout": seconds, "socket_connect_timeout": seconds}
            self.pool = own_pool(self.pool.connection_class, settings)
            self._former.disconnect(inuse_connections=False)

    def close(self) -> None:
        """Close the connections, for good, and so break off the calls under way; may be repeated."""
        self._closed = True
        for line in tuple(self._lines):
            line.close()
        for pool in (self._former, self.pool):
            if pool is not None:
                pool.disconnect(inuse_connections=True)

    def _ask(self, connection: redis.Connection, *command: Arg, pushed: bool = False) -> Any:
        try:
            connection.send_command(*command)
            return connection.read_response(push_request=pushed)
        except BROKEN as error:
            if isinstance(error, redis.ResponseError) or _code(error):  # LOADING and NOAUTH are ConnectionErrors too
                answer = self._answered(error)
                if isinstance(answer, Unavailable):
                    connection.disconnect()  # after a failover this address may lead to another server
                raise answer from error
            connection.disconnect()
            raise OutcomeUnknown(f"{self.where} did not answer {command[0]!r}: {error}") from error

    def _connect(self, pool: redis.ConnectionPool) -> redis.Connection:
        if self._closed:
            raise Unavailable(f"the connections to {self.where} are closed")
        try:
            return pool.get_connection()
        except BROKEN as error:
            raise self._answered(error) from error

    def _answered(self, error: Exception) -> StoreError:
        """What an error means, of which it is known that nothing was done: judged by its first word."""
        code = _code(error) or str(error).split(" ", 1)[0]
        inside = _INSIDE.search(str(error))
        if inside and code not in _HEALS:
            code = inside.group(1)
        if code in _HEALS:
            return Unavailable(f"{self.where} cannot do it now: {code} {error}")
        if isinstance(error, redis.AuthenticationError | AuthorizationError):
            return Refused(f"{self.where} refuses our user or password: {error}")
        if isinstance(error, redis.ConnectionError | redis.TimeoutError) or not isinstance(error, redis.RedisError):
            return Unavailable(f"nothing answers at {self.where}: {error}{self._hint}")
        return Refused(f"{self.where} refuses: {error}")


def own_pool(connection_class: type, settings: Mapping[str, Any]) -> redis.ConnectionPool:
    """A pool of connections of ours, by a client's settings: without hidden retries, RESP3, and bytes."""
    kept = {name: value for name, value in settings.items() if name not in _NOT_OURS}
    return redis.ConnectionPool(connection_class=connection_class, max_connections=2**31, **(kept | _OURS))


def _code(error: Exception) -> str | None:
    """The first word of an error that the server sent, which redis-py takes off the ones that it knows."""
    return getattr(error, "status_code", None)


def resend_lost(ask: Callable[[bool], _T]) -> _T:
    """Ask again when the connection was cut before the answer, a few times; `ask` learns whether it was asked before.

    Raises:
        OutcomeUnknown: an asking was sent, and neither it nor those after it were answered, or it timed out.
        StoreError: what the first asking raised, where nothing was left open.
    """
    lost: OutcomeUnknown | None = None
    for _ in range(TRIES):
        try:
            return ask(lost is not None)
        except OutcomeUnknown as error:
            if isinstance(error.__cause__, redis.TimeoutError):
                raise  # a server that hangs would hang us thrice as long
            lost = error
        except StoreError:
            if lost is None:
                raise
    assert lost is not None
    raise lost
