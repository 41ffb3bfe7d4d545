"""Learns when the head of a schedule may have changed: a connection waits for a push of the server.

    read the head  -->  wait for a push  -->  read again
          |                    ^
          '-- Redis tracks the read: the next write to the queue by anybody, a bare ZADD too, makes Redis push once

Redis made client-side caching (`CLIENT TRACKING`) so that clients drop stale copies; here the copy is the head.
`CLIENT TRACKING` reports the writes of every client and needs no setting of the server. Where a server, a proxy or an
ACL refuses it, sinks publish each write on a channel of the queue, and the tracker subscribes to that channel. Claims
are not published. So on such a server a source learns of the end of another source's lease only at its next read,
whatever causes that read, or at its heartbeat.

For sources of claims, the first end of a lease is read after the head. A claim of any source takes a key out of the
schedule and so makes Redis push, and then the deadline of that lease is read. So the sources of this process know the
deadline even if the lease's holder is killed. The read of the first lease itself is not tracked, because acks and
renewals would then wake every source for nothing.

Under many writes a push is worth nothing: it comes long before the listener's pause is over, and then the listener
reads anyway. So most reads are not tracked then, which saves the server a third of what a listener costs it:

    writes   ------w-w-w-w-w-w-w-w-w-w-w-w-w-w-w-w-w-w------------------w--->
    reads    t-----t-t--t---t---t---r---r---r---r---t---r---r---r---r---t---t     t is tracked, r is not
    pushes   ------p-p--p---p---p--------------------p-------------------p-->

The tracker takes no part in claims: what it reports is a hint, and a lost hint loses no key.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable

from rx_runat.errors import Refused
from rx_runat.model.monotonic import monotonic
from rx_runat.store import heads
from rx_runat.store.client import RedisClient
from rx_runat.store.connection import DedicatedConnection
from rx_runat.store.eviction import EvictionCheck
from rx_runat.store.keys import queue_keys, wake_channel

# Seconds. A primary that is silent and not dead pushes nothing, and only a read shows that. Where another primary takes
# its place, a source that sleeps is to be there within 2 s of it: a read each second, and the timeout of the last one.
_LONGEST_WAIT = 1.0

# Seconds: the longest pause of the listener (see `stream/listener.py`). A push that comes sooner after a read changes
# nothing, once the pauses are that long.
_SOON = 0.08
_MANY = 10  # pushes in a row that come so soon: with each useless read the pause doubles, and 8 lead from 1 ms to 80
_POLLS = 9  # reads without a push, then one with it. More would save little: a tenth of the pushes is left


class RedisHeadTracker:
    """A `HeadTracker` on Redis. One thread reads and waits; any thread may close it.

    Args:
        client: makes the connection.
        queue_name: the name of the schedule.
        eviction: warns of a server that may evict the schedule; None: nothing does.
        now: returns monotonic seconds.
    """

    def __init__(
        self,
        client: RedisClient,
        queue_name: str,
        eviction: EvictionCheck | None = None,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._eviction = eviction
        self._client = client
        self._queue_name = queue_name
        self._keys = queue_keys(queue_name)
        self._connection: DedicatedConnection | None = None
        self._tracks = True  # whether the server tracks our reads; False: we subscribe to the channel
        self._closed = False
        self._now = now
        self._head = math.inf  # as it was read last
        self._read_at = 0.0
        self._soon = 0  # how many pushes in a row came soon after a read
        self._polls = 0  # how many of the next reads need no push
        self._is_polled = False  # whether the last read needs none

    def head(self) -> float:
        """Read the time at which the next key is due. From now on `wait` notices changes, or returns at once.

        Returns:
            Whole epoch milliseconds, at which a claim brings something; inf: nothing is scheduled.

        Raises:
            StoreError: not read; the next call opens a new connection if this one was lost.
        """
        connection = self._connection
        if connection is None or not connection.is_open:
            connection = self._connection = self._open()
        self._is_polled = self._polls > 0
        self._polls -= self._is_polled
        self._read_at = self._now()
        # Some servers forbid other commands on a connection that subscribes: then a pooled connection reads.
        call = connection.call if self._tracks and not self._is_polled else self._client.call
        request = heads.head(self._keys)
        head = request.read(call(*request.words))
        if head < self._head:  # the listener makes no pause, so it needs a push
            self._soon = self._polls = 0
        self._head = head
        return head

    def lease_end(self) -> float:
        """Read the time at which the first lease ends, on a connection that does not track.

        Returns:
            Whole epoch milliseconds; inf: nothing is leased.

        Raises:
            StoreError: not read.
        """
        return self._client.send(heads.lease_end(self._keys))

    def wait(self, seconds: float) -> None:
        """Return when the schedule may have changed since `head`, or after so many seconds, or sooner.

        Raises:
            OutcomeUnknown: the connection is gone; `head` opens a new one.
        """
        assert self._connection is not None, "a head is read before anything is waited for"
        if self._is_polled:
            return
        self._connection.listen(min(seconds, _LONGEST_WAIT) if self._client.fails_over else seconds)
        self._soon = self._soon + 1 if self._now() - self._read_at < _SOON else 0
        if self._tracks and self._soon >= _MANY:
            self._polls = _POLLS

    def close(self) -> None:
        """Close the connection, which ends a call under way. Any thread may call it, and repeat it."""
        self._closed = True
        connection = self._connection
        if connection is not None:
            connection.close()

    def _open(self) -> DedicatedConnection:
        connection = self._connection = self._client.open()
        if self._closed:  # `close` ran before it could see this connection
            connection.close()
        if self._eviction is not None:
            self._eviction.warn_once(connection)
        try:
            connection.call("CLIENT", "TRACKING", "ON")
            self._tracks = True
        except Refused:
            self._tracks = False
            self._subscribe(connection)
            return connection
        if self._client.is_cluster:
            # Tracking says nothing when a slot without the queue goes to another node. The end of a subscription does.
            with contextlib.suppress(Refused):
                self._subscribe_to_shard(connection)
        return connection

    def _subscribe(self, connection: DedicatedConnection) -> None:
        """Subscribe to both kinds of channel: a sink in another process may not know yet that this is a cluster."""
        is_subscribed = False
        with contextlib.suppress(Refused):  # as in `RedisClient.publish`
            self._subscribe_to_shard(connection)
            is_subscribed = True
        try:
            connection.call("SUBSCRIBE", wake_channel(self._queue_name), pushed=True)
        except Refused:
            if not is_subscribed:
                raise

    def _subscribe_to_shard(self, connection: DedicatedConnection) -> None:
        connection.call("SSUBSCRIBE", wake_channel(self._queue_name), pushed=True)
