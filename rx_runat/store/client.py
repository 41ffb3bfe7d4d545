"""Calls to Redis: each is sent once and replied to once, or raises an error that says whether it was done.

redis-py's own retries are off. Only `RedisClient.resend_lost`, which `send` uses, sends a request again, up to `TRIES`
times in all, because a `Request` knows what a reply means after an earlier one was lost.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (redis-py's connections are not annotated)
from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Any, TypeVar

import redis
from redis.exceptions import AskError, MovedError, NoScriptError, TryAgainError

from rx_runat.errors import OutcomeUnknown, Refused, StoreError, Unavailable
from rx_runat.model.monotonic import monotonic
from rx_runat.store.connection import BROKEN, DedicatedConnection, OwnPool, exchange, exchange_many
from rx_runat.store.meaning import first_word, meaning, own_copy, text_of
from rx_runat.store.request import Arg, Request, Script
from rx_runat.store.route import Route

T = TypeVar("T")

_LONGEST_REDIRECTION = 1.0  # seconds; a slot with a million keys takes longer to migrate, and then streams back off
_REDIRECTION_PAUSE = 0.02  # seconds; a key takes a cluster less time to migrate
_LONGEST_PAUSE = 0.2  # seconds; nodes that know different things of a slot are in step within some 0.1 s, or not soon

TRIES = 3  # a request is sent at most three times: a proxy that restarts may cut two replies in a row


class Sending:
    """A request that is sent together with others, and what came of it.

    Args:
        request: what to send.
        sent_at: as in `RedisClient.send`.

    Attributes:
        result: of the request.
        error: what `RedisClient.send` would have raised; None: nothing.
    """

    __slots__ = ("error", "is_over", "request", "result", "sent_at")

    def __init__(self, request: Request[Any], sent_at: int | None = None) -> None:
        self.request = request
        self.sent_at = sent_at
        self.result: Any = None
        self.error: BaseException | None = None
        self.is_over = False

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """Note what came of it."""
        self.result, self.error, self.is_over = result, error, True


class Redirected(Unavailable):
    """Another node of the cluster has the slot, or it is on its way there: nothing was done, so it can be sent again.

    Attributes:
        moved: the error that names the node; None: the slot is on its way.
        pool: of the connection to the node that said so; None: it is not known.
    """

    moved: MovedError | None = None
    pool: OwnPool | None = None


class Overtaken(Unavailable):
    """The primary has changed since the command was made: nothing was sent."""


class RedisClient:
    """Sends commands on connections of our own, from any thread.

    Args:
        route: leads to the server, by connections that do not retry and do not decode; ours to close.
        where: the server's name in messages, without its password; None: that of the route.
        hint: what the user can do when nothing answers; messages say it after the cause.

    Attributes:
        where: as above.
    """

    def __init__(self, route: Route, where: str | None = None, hint: str = "") -> None:
        self.where = where or route.where
        self._route = route
        self._hint = hint
        self._move_lock = threading.RLock()  # guards the change of `_route`; a log handler may call us meanwhile
        self._closed = False
        self._forked = ""  # why all calls are refused in a forked child; "": they are not

    @property
    def route(self) -> Route:
        """Leads to the server."""
        return self._route

    def call(self, *command: Arg, generation: int | None = None) -> Any:
        """Send a command, once; in a cluster to the node that has the queue's slot.

        Args:
            command: its words.
            generation: the command is for the primary of this generation; None: for any.

        Raises:
            Unavailable: it was not done; trying again later can help.
            OutcomeUnknown: it was sent, and no reply came.
            Refused: it was not done, and trying again does not help.
        """
        try:
            return self._call(command, generation)
        except Redirected as error:
            return self._follow(error, command, generation)

    def _call(self, command: tuple[Arg, ...], generation: int | None) -> Any:
        pool, connection = self._connect()
        try:
            # A pool that has ended leads to a former primary: it connects anew if it was got before its end.
            if pool.has_ended or (generation is not None and generation != pool.generation):
                raise self._gone() if self._closed else Overtaken(f"{self.where} has another primary now")
            return self._exchange(connection, *command)
        except Redirected as error:
            error.pool = pool
            raise
        except Overtaken:
            raise
        except Unavailable as error:
            if not isinstance(error, OutcomeUnknown):
                pool.disconnect(inuse_connections=False)  # the idle ones may lead to a demoted primary, too
            self._route.lost(pool)
            raise
        finally:
            pool.release(connection)

    def _follow(self, error: Redirected, command: tuple[Arg, ...], generation: int | None) -> Any:
        """Send a command again that a node of a cluster did not do, for a second at most.

        While a slot migrates key by key, some of a script's keys are here and some there, and no node runs the script.
        """
        until, pause = monotonic() + _LONGEST_REDIRECTION, _REDIRECTION_PAUSE
        while True:
            self._note_move(error)
            if monotonic() > until:
                raise Unavailable(str(error)) from error
            if error.moved is None:
                threading.Event().wait(_REDIRECTION_PAUSE)
            try:
                return self._call(command, generation)
            except Redirected as again:
                if again.moved is not None and error.moved is not None:
                    # Two nodes that each name the other. With each turn the calls of all other threads are cut.
                    threading.Event().wait(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
                error = again

    def _note_move(self, error: Redirected) -> None:
        if error.moved is not None and error.pool is not None:
            with self._move_lock:
                self._route = self._route.moved(error.moved, error.pool) or self._route

    def run(self, script: Script, *args: Arg, generation: int | None = None) -> Any:
        """Run a script, once; `args` begin with the number of keys. Raises as `call`."""
        try:
            return self.call("EVALSHA", script.sha, *args, generation=generation)
        except Refused as error:
            if not isinstance(error.__cause__, NoScriptError):
                raise
        return self.call("EVAL", script.body, *args, generation=generation)

    def send(self, request: Request[T], sent_at: int | None = None) -> T:
        """Send a request, up to `TRIES` times if replies are lost.

        Args:
            request: what to send.
            sent_at: the generation before an earlier call with this request, which raised OutcomeUnknown; None: there
                was no such call.

        Raises:
            OutcomeUnknown: no reply came, or the reply does not show what an earlier sending did.
            StoreError: it was not done.
        """
        reply, sent_at = self.resend_lost(request, sent_at)
        return request.result(reply, sent_at is not None, self.where)

    def resend_lost(self, request: Request[Any], sent_at: int | None = None) -> tuple[Any, int | None]:
        """Send a request, and again when the connection was cut before the reply, up to `TRIES` times in all.

        Returns:
            The reply, and the generation before the first sending that may have been done without a reply, or None.

        Raises:
            OutcomeUnknown: it was sent at least once, and no sending was replied to.
            StoreError: the first sending was not done.
        """
        lost: OutcomeUnknown | None = None
        for _ in range(TRIES):
            generation = self._route.generation
            words, only = request.words, None
            if request.depends_on_primary(sent_at):
                words, only = request.to_send(generation, sent_at), generation
            try:
                if request.script is None:
                    return self.call(*words, generation=only), sent_at
                return self.run(request.script, *words, generation=only), sent_at
            except OutcomeUnknown as error:
                if request.once or isinstance(error.__cause__, redis.TimeoutError):
                    raise  # on a server that hangs, three sendings would take three times as long
                lost, sent_at = error, generation if sent_at is None else sent_at
            except Overtaken:
                continue
            except StoreError:
                if lost is None:
                    raise
        raise lost or Unavailable(f"{self.where} changes its primary all the time")

    def send_many(self, sendings: Sequence[Sending]) -> None:
        """Send requests in one round trip, in this order. Each gets its own result or error.

        What is not replied to, or is to go elsewhere, is sent again by itself, in the same order.
        """
        away: StoreError | None = None
        for is_resent, group in groupby(sendings, _is_resent):
            part = list(group)
            if not is_resent and len(part) > 1 and away is None:
                away = self._send_together(part)
            for sending in part:
                if sending.is_over:
                    continue
                if away is None:
                    away = self._send_alone(sending)
                else:  # to find out once is enough: it may take seconds
                    kind = Unavailable if sending.sent_at is None else OutcomeUnknown
                    sending.end(error=kind(str(away)))

    def _send_alone(self, sending: Sending) -> StoreError | None:
        """Send one request. Returns its error if that is about the connection, and so about all requests."""
        try:
            reply, sent_at = self.resend_lost(sending.request, sending.sent_at)
        except Unavailable as error:
            sending.end(error=error)
            return None if isinstance(error.__cause__, redis.ResponseError) else error
        except BaseException as error:
            sending.end(error=error)
            return None
        _note_result(sending, reply, sent_at is not None, self.where)
        return None

    def _send_together(self, sendings: Sequence[Sending]) -> StoreError | None:
        """Send requests in one round trip. Returns the error if none can be sent now, or the server hangs."""
        try:
            pool, connection = self._connect()
        except StoreError as error:
            for sending in sendings:
                sending.end(error=own_copy(error))
            return error
        unread = deque(sendings)
        is_demoted = False
        try:
            if pool.has_ended:  # as in `_call`: each is sent again by itself
                return None
            known: set[str] = set()
            commands = [_words(sending.request, known) for sending in sendings]
            for reply, refusal in exchange_many(connection, commands):
                sending = unread.popleft()
                if refusal is None:
                    _note_result(sending, reply, False, self.where)
                else:
                    is_demoted = self._note_refusal(sending, refusal, pool) or is_demoted
        except BROKEN as error:
            connection.disconnect()
            self._route.lost(pool)
            hangs = isinstance(error, redis.TimeoutError)  # then nothing is sent again; see `resend_lost`
            lost = OutcomeUnknown(f"{self.where} did not answer: {text_of(error)}")
            for sending in unread:
                sending.sent_at = pool.generation
                if hangs:
                    sending.end(error=own_copy(lost))
            return lost if hangs else None
        finally:
            if is_demoted:  # as in `_call`
                connection.disconnect()
                pool.disconnect(inuse_connections=False)
                self._route.lost(pool)
            pool.release(connection)
        return None

    def _note_refusal(self, sending: Sending, error: Exception, pool: OwnPool) -> bool:
        """Note an error. A request that was not done, but can be done elsewhere or in another form, stays open.

        Returns:
            True if another server may have become the primary.
        """
        not_done = self._not_done(error)
        if isinstance(not_done, Redirected):
            not_done.pool = pool
            self._note_move(not_done)
            return False
        if not isinstance(error, NoScriptError):
            sending.end(error=not_done)
        return isinstance(not_done, Unavailable)

    def publish(self, channel: str) -> None:
        """Publish an empty message. Raises as `call`."""
        if self.is_cluster:
            try:
                self.call("SPUBLISH", channel, "")
                return
            except Refused:
                pass  # Redis 6.2 has no channels of shards: there a message goes to all nodes
        self.call("PUBLISH", channel, "")

    def open(self, protocol: int | None = None) -> DedicatedConnection:
        """Returns a connection for one caller, made at its first command; `close` ends it too.

        Args:
            protocol: the version of RESP; None: that of all our connections.

        Raises:
            Unavailable: this client is closed, or this process can open no more files.
        """
        if self._closed:
            raise self._gone()
        try:
            pool = self._route.pool()
            return pool.dedicate(partial(self._translate_apart, pool), protocol)
        except BROKEN as error:  # to make one, redis-py reads a file
            raise self._not_done(error) from error

    def error_of(self, message: str) -> StoreError:
        """Returns the error that a server's message means, which a script has caught and returned."""
        return self._not_done(redis.ResponseError(message))

    @property
    def generation(self) -> int:
        """How many primaries there were before the present one: a number that changes with each failover."""
        return self._route.generation

    @property
    def fails_over(self) -> bool:
        """True if another primary may take the place of the present one."""
        return self._route.fails_over

    @property
    def is_cluster(self) -> bool:
        """True if the server is a node of a cluster."""
        return self._route.is_cluster

    @property
    def has_sockets(self) -> bool:
        """False if the server is fakeredis, which lives in this process."""
        classes = self._route.settings.connection_class.__mro__
        return not any(each.__module__.startswith("fakeredis") for each in classes)

    def shorten_timeout(self, seconds: float) -> None:
        """Wait no longer than `seconds` for a reply from now on; calls under way keep their timeout."""
        self._route.shorten_timeout(seconds)

    def close(self) -> None:
        """Close all connections for good, which ends the calls under way. May be repeated."""
        self._closed = True
        self._route.close()

    def leave_to_parent(self, why: str) -> None:
        """In a forked child: refuse all calls from now on, and touch no connection: they are the parent's.

        Args:
            why: the message of the refusals.
        """
        self._closed = True
        self._forked = why

    def renewed(self, join: Callable[[], str] | None = None) -> RedisClient:
        """Returns a client of the same server with connections of its own, for a forked child.

        fakeredis lives in the process that made it: what the child wrote to its copy, nobody would read. So there all
        calls are refused.

        Args:
            join: of an embedded server; see `OwnPool.join`.
        """
        route = self._route
        client = RedisClient(route.renewed(join), self.where, self._hint)
        if not self.has_sockets:
            client.leave_to_parent(
                f"{self.where} lives in the process that made it, and this process is a fork of that one; use "
                "embedded:// or a Redis of your own, or make the queue after the fork"
            )
        return client

    def _gone(self) -> StoreError:
        return Refused(self._forked) if self._forked else Unavailable(f"the connections to {self.where} are closed")

    def _exchange(self, connection: redis.Connection, *command: Arg, pushed: bool = False) -> Any:
        return self._translate(connection, partial(exchange, connection, *command, pushed=pushed), command[0])

    def _translate(self, connection: redis.Connection, act: Callable[[], T], name: Arg) -> T:
        """Call a function that uses a connection, and raise what its error means, for a command of this name."""
        try:
            return act()
        except BROKEN as error:
            # LOADING and NOAUTH are ConnectionErrors too.
            if isinstance(error, redis.ResponseError) or first_word(error):
                not_done = self._not_done(error)
                if isinstance(not_done, Unavailable) and not isinstance(not_done, Redirected):
                    connection.disconnect()  # after a failover this address may lead to another server
                raise not_done from error
            connection.disconnect()
            raise OutcomeUnknown(f"{self.where} did not answer {name!r}: {text_of(error)}") from error

    def _translate_apart(self, pool: OwnPool, connection: redis.Connection, act: Callable[[], T], name: Arg) -> T:
        """As `_translate`, on a dedicated connection: the next one is opened where the primary is."""
        try:
            return self._translate(connection, act, name)
        except Redirected as error:
            error.pool = pool
            self._note_move(error)
            raise
        except Unavailable:
            self._route.lost(pool)
            raise

    def _connect(self) -> tuple[OwnPool, redis.Connection]:
        """Returns a connection to the primary, or to another one, if one is known already."""
        if self._closed:
            raise self._gone()
        pool = self._route.pool()
        try:
            return pool, pool.get_connection()
        except BROKEN as error:
            return self._connect_elsewhere(pool, error)

    def _connect_elsewhere(self, lost: OwnPool, error: Exception) -> tuple[OwnPool, redis.Connection]:
        """The primary cannot be reached. Returns a connection to another one, if one is known already."""
        self._route.lost(lost)
        pool = self._route.pool()
        if pool is lost:
            raise self._not_done(error) from error
        try:
            return pool, pool.get_connection()
        except BROKEN as again:
            self._route.lost(pool)
            raise self._not_done(again) from again

    def _not_done(self, error: Exception) -> StoreError:
        means = meaning(error, self.where, self._route.settings.values, self._hint)
        if not isinstance(error, AskError | TryAgainError):  # a MovedError is an AskError, too
            return means
        redirected = Redirected(str(means))
        redirected.moved = error if isinstance(error, MovedError) else None
        return redirected


def _is_resent(sending: Sending) -> bool:
    return sending.sent_at is not None


def _note_result(sending: Sending, reply: Any, is_resent: bool, where: str) -> None:
    try:
        sending.end(sending.request.result(reply, is_resent, where))
    except Exception as unreadable:
        sending.end(error=unreadable)


def _words(request: Request[Any], known: set[str]) -> tuple[Arg, ...]:
    """Returns the words of a first sending. A script goes with its text the first time in each round trip.

    The server may have forgotten it. NOSCRIPT would come when the requests behind it are done already, and the order
    would be lost.
    """
    if request.script is None:
        return tuple(request.words)
    if request.script.sha in known:
        return ("EVALSHA", request.script.sha, *request.words)
    known.add(request.script.sha)
    return ("EVAL", request.script.body, *request.words)
