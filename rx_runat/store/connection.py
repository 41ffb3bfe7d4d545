"""Connections of our own: their settings, when a pool may use one again, and those that one caller keeps."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (redis-py's connections are not annotated)
from __future__ import annotations

import contextlib
import os
import socket
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from rx_runat.errors import OutcomeUnknown, Refused
from rx_runat.store import wire
from rx_runat.store.credentials import AskedProvider, renew_with
from rx_runat.store.request import Arg

# What redis-py raises when a connection breaks. It raises the last three when another thread closes the connection
# during a call.
BROKEN = (redis.RedisError, OSError, TypeError, AttributeError, ValueError)

_OURS: dict[str, Any] = {
    "retry": Retry(NoBackoff(), 0),
    "retry_on_error": [],
    "decode_responses": False,
    "encoding": "utf-8",
    "protocol": 3,
    "maint_notifications_config": MaintNotificationsConfig(enabled=False),
}
_NOT_OURS = {  # settings of a client that we do not copy: they belong to its own pool, or would decode, retry or cache
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


class OwnPool(redis.ConnectionPool):
    """A pool that keeps a connection only if the last reply on it was read, and closes any other.

    A signal handler may raise between any two instructions of a call: after the request was sent, or after the
    connection was made and before its database was selected. redis-py closes the connection where it waits at that
    moment, and not elsewhere: then the next caller would read the reply to somebody else's request. So nothing is done
    when an exception comes. A connection proves that it can be used, by `exchange`: the socket of its last reply is the
    socket that it has now.

    Attributes:
        join: called before each connection is made: joins an embedded server, and returns the path of its socket. It
            raises OSError if that fails. None: the server is not ours.
        has_ended: True after `end`.
        generation: of the primary that they lead to; see `Route`.
    """

    generation = 0
    join: Callable[[], str] | None = None
    has_ended = False

    def make_connection(self) -> Any:
        """Make a connection, which is not open yet."""
        if self.join is not None:
            self.connection_kwargs["path"] = self.join()
        return super().make_connection()

    def reset(self) -> None:
        """Forget all connections."""
        super().reset()
        # Weak: a call that an exception ended before it could release its connection leaves none open.
        self._in_use_connections: Any = weakref.WeakSet(self._in_use_connections)
        self._dedicated: weakref.WeakSet[DedicatedConnection] = weakref.WeakSet()

    def dedicate(self, translate: Translate, protocol: int | None = None) -> DedicatedConnection:
        """Returns a connection for one caller, made at its first command. It ends with this pool.

        Args:
            translate: see `DedicatedConnection`.
            protocol: the version of RESP; None: that of the pool.
        """
        raw = self.make_connection()
        if protocol is not None:
            raw.protocol = protocol  # read when it connects
        connection = DedicatedConnection(translate, raw)
        with self._lock:
            self._dedicated.add(connection)
        if self.has_ended:
            connection.close()
        return connection

    @property
    def has_listeners(self) -> bool:
        """True while a dedicated connection is open."""
        return any(connection.is_open for connection in self._listeners())

    def _listeners(self) -> tuple[DedicatedConnection, ...]:
        with self._lock:
            return tuple(self._dedicated)

    def release(self, connection: Any) -> None:
        """Take a connection back."""
        marks = connection.__dict__
        with self._lock:  # so that `renew` sees it either in use or idle
            if marks.get("replied_on") is not connection._sock or self.has_ended or marks.get("is_outdated"):
                connection.disconnect()
                connection.is_outdated = False
            super().release(connection)
        if self.has_ended:  # since the first look at it: then `end` saw this connection neither in use nor idle
            connection.disconnect()

    def renew(self) -> None:
        """Connect anew from now on, because what was presented at the beginning of each connection has changed.

        Calls under way end first. Who listens is woken, and opens another connection.
        """
        with self._lock:
            for connection in self._in_use_connections:
                connection.is_outdated = True
            self.disconnect(inuse_connections=False)
        for listener in self._listeners():
            listener.close()

    def end(self) -> None:
        """Close all connections for good, which ends the calls under way. May be repeated."""
        self.has_ended = True
        for connection in self._listeners():
            connection.close()
        with self._lock:
            idle: list[Any] = [*self._available_connections]
            in_use = tuple(self._in_use_connections)
        for connection in idle:
            connection.disconnect()
        for connection in in_use:
            cut(connection)


def own_pool(
    connection_class: type, settings: Mapping[str, Any], join: Callable[[], str] | None = None, protocol: int = 3
) -> OwnPool:
    """Returns a pool of our own, by a client's settings: without hidden retries, and with bytes.

    Args:
        connection_class: of redis-py's.
        settings: of each connection.
        join: see `OwnPool.join`.
        protocol: the version of RESP.
    """
    kept: dict[str, Any] = {name: value for name, value in settings.items() if name not in _NOT_OURS}
    kept |= _OURS
    kept["protocol"] = protocol
    provider = kept.get("credential_provider")
    if provider is not None:
        kept["credential_provider"] = AskedProvider(provider)
    pool = OwnPool(connection_class=connection_class, max_connections=2**31, **kept)
    pool.join = join
    renew_with(provider, pool)
    return pool


def cut(connection: Any) -> None:
    """End a call under way on a connection, from another thread.

    Only who uses the socket closes it. If another thread closed it, its number could be given to a new file at once,
    and the call would go on there.
    """
    sock = connection._sock
    if isinstance(sock, socket.socket) and os.getpid() == connection.pid:  # in a forked child, the parent uses it
        with contextlib.suppress(OSError):  # the server, or who uses it, was quicker
            # Not the method of an SSLSocket: that one also drops the encryption, while the other thread may send.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)


def exchange(connection: Any, *command: Arg, pushed: bool = False) -> Any:
    """Send a command and return the reply. Only after a reply, an error too, the connection can be used again.

    Args:
        connection: from a pool, or of one's own.
        command: its words.
        pushed: True for a command whose reply is itself a push.
    """
    _send(connection, [command])
    try:
        reply = connection.read_response(push_request=pushed)
    except redis.ResponseError:
        connection.replied_on = connection._sock
        raise
    connection.replied_on = connection._sock
    return reply


def _send(connection: Any, commands: Sequence[Sequence[Arg]]) -> None:
    connection.replied_on = None
    # redis-py looks at each word for a bytearray first, which takes as long as to pack it.
    packed = [wire.pack(map(tuple, commands))] if wire.HAS_HIREDIS else connection.pack_commands(commands)
    connection.send_packed_command(packed)


def exchange_many(connection: Any, commands: Sequence[Sequence[Arg]]) -> Iterator[tuple[Any, Exception | None]]:
    """Send commands together. Yields each reply, or the error that the server replied with, in order."""
    _send(connection, commands)
    for _ in commands:
        try:
            reply, refusal = connection.read_response(), None
        except redis.RedisError as error:
            if not isinstance(error, redis.ResponseError) and not getattr(error, "status_code", None):
                raise  # the connection is gone; LOADING is a ConnectionError, too
            reply, refusal = None, error
        yield reply, refusal
    connection.replied_on = connection._sock


def _receive_until(connection: Any, is_complete: Callable[[bytearray], bool]) -> bytes:
    received = bytearray()
    sock: socket.socket = connection._sock
    while not is_complete(received):
        try:
            part = sock.recv(1 << 18)
        except TimeoutError as error:
            raise redis.TimeoutError("timeout while receiving") from error
        if not part:
            raise redis.ConnectionError("the server closed the connection")
        received += part
    return bytes(received)


Translate = Callable[[Any, Callable[[], Any], Arg], Any]
"""Calls a function that uses a connection, and raises what its error means; the last argument names the command."""


class DedicatedConnection:
    """A connection that one caller keeps: to be told of changes by pushes, or to ask for claims ahead.

    `close` from another thread only shuts down a socket that is in use, which ends the wait at once. The thread that
    uses the socket closes it:

        listening thread     takes the descriptor 7  ........................  polls 7  -->  closed, ends
        `close` elsewhere                             shuts the socket down

    See `cut` for what would happen if `close` closed it.

    Args:
        translate: called with each use of the connection.
        connection: ours to close.
    """

    def __init__(self, translate: Translate, connection: Any) -> None:
        self._translate = translate
        self._connection = connection
        # A user sets the first and then reads the second; `close` does it the other way round. So of two that meet, at
        # least one sees the other.
        self._is_used = False
        self.is_open = True

    def call(self, *command: Arg, pushed: bool = False) -> Any:
        """Send a command, once. Raises as `RedisClient.call`.

        Args:
            command: its words.
            pushed: True for a command whose reply is itself a push, as that of SUBSCRIBE; for any other, pushes that
                come before the reply are dropped.
        """
        return self._use(partial(exchange, self._connection, *command, pushed=pushed), command[0])

    def send(self, packed: bytes, name: Arg) -> None:
        """Send commands in the form of the protocol. Then `receive_until` must read the replies.

        Raises as `call`; `name` is that of the command in messages.
        """
        self._use(partial(self._connection.send_packed_command, [packed], check_health=False), name)

    def receive_until(self, is_complete: Callable[[bytearray], bool], name: Arg) -> bytes:
        """Returns what is received, in the form of the protocol, once it is complete. Raises as `call`."""
        return self._use(partial(_receive_until, self._connection, is_complete), name)

    def _use(self, act: Callable[[], Any], name: Arg) -> Any:
        try:
            self._is_used = True
            if not self.is_open:
                raise OutcomeUnknown("this connection was closed")
            return self._translate(self._connection, act, name)
        except Refused:
            raise
        except BaseException:  # of a signal handler, too: the reply may still come, and is nobody's
            self.close()
            raise
        finally:
            self._end_use()

    def listen(self, seconds: float) -> None:
        """Return when the server pushes a message, or after so many seconds.

        Raises:
            OutcomeUnknown: the connection is gone.
        """
        try:
            self._is_used = True
            while self.is_open and self._connection.can_read(timeout=seconds):
                self._connection.read_response(push_request=True)
                seconds = 0
        except BROKEN as error:
            self.close()
            raise OutcomeUnknown(f"the connection is gone: {error}") from error
        except BaseException:
            self.close()
            raise
        finally:
            self._end_use()

    def close(self) -> None:
        """Close the connection and so end a call under way on it. Any thread may call it, and repeat it.

        A call that is still connecting ends when it has connected, or at its timeout.
        """
        self.is_open = False
        connection = self._connection
        # Because redis-py connects anew where it finds a connection closed.
        connection.connect = connection.connect_check_health = _refuse
        sock = connection._sock
        # A socket of fakeredis has no descriptor, and cannot be shut down.
        if self._is_used and isinstance(sock, socket.socket | None):
            cut(connection)
            return
        try:
            connection.disconnect()
        except ValueError:  # fakeredis is in a command of another thread, which disconnects at its end
            connection._sock = sock

    def _end_use(self) -> None:
        self._is_used = False
        if not self.is_open:
            self._connection.disconnect()


def _refuse(*_: object, **__: object) -> None:
    raise redis.ConnectionError("this connection was closed")
