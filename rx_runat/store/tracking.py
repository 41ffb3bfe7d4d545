"""Learns when the head of a schedule may have changed: a connection waits for a push of the server.

    read the head  -->  wait for a push  -->  read again
          |                    ^
          '-- Redis tracks the read: the next write to the queue by anybody, a bare ZADD too, makes Redis push once

Redis made client-side caching (`CLIENT TRACKING`) so that clients drop stale copies; here the copy is the head.
`CLIENT TRACKING` reports the writes of every client and needs no setting of the server. Where a server, a proxy or an
ACL refuses it, sinks publish each write on a channel of the queue, and the tracker subscribes to that channel. Claims
are not published. So on such a server a source learns of the end of another source's lease, or of a bare ZADD, only at
its heartbeat, or at the listener's next read, which comes within 5 s.

For sources of claims, the first end of a lease is read after the head. A claim of any source takes a key out of the
schedule and so makes Redis push, and then the deadline of that lease is read. So the sources of this process know the
deadline even if the lease's holder is killed. The read of the first lease itself is not tracked, because acks and
renewals would then wake every source for nothing.

The tracker takes no part in claims: what it reports is a hint, and a lost hint loses no key.
"""

from __future__ import annotations

import contextlib

from rx_runat.errors import Refused
from rx_runat.store import heads
from rx_runat.store.client import RedisClient
from rx_runat.store.connection import DedicatedConnection
from rx_runat.store.eviction import EvictionCheck
from rx_runat.store.keys import queue_keys, wake_channel

# Seconds. A primary that is silent and not dead pushes nothing, and only a read shows that. Where another primary takes
# its place, a source that sleeps is to be there within 2 s of it: a read each second, and the timeout of the last one.
_LONGEST_WAIT = 1.0


class RedisHeadTracker:
    """A `HeadTracker` on Redis. One thread reads and waits; any thread may close it.

    Args:
        client: makes the connection.
        queue_name: the name of the schedule.
        eviction: warns of a server that may evict the schedule; None: nothing does.
    """

    def __init__(self, client: RedisClient, queue_name: str, eviction: EvictionCheck | None = None) -> None:
        self._eviction = eviction
        self._client = client
        self._queue_name = queue_name
        self._keys = queue_keys(queue_name)
        self._connection: DedicatedConnection | None = None
        self._tracks = True  # whether the server tracks our reads; False: we subscribe to the channel
        self._closed = False

    def head(self, pushes: bool = True) -> float:
        """Read the time at which the next key is due.

        Args:
            pushes: from now on `wait` notices changes. False: it does not, and the server pushes nothing for this read.

        Returns:
            Whole epoch milliseconds, at which a claim brings something; inf: nothing is scheduled.

        Raises:
            StoreError: not read; the next call opens a new connection if this one was lost.
        """
        connection = self._connection
        if connection is None or not connection.is_open:
            connection = self._connection = self._open()
        # Some servers forbid other commands on a connection that subscribes: then a pooled connection reads.
        call = connection.call if self._tracks and pushes else self._client.call
        request = heads.head(self._keys)
        return request.read(call(*request.words))

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
        self._connection.listen(min(seconds, _LONGEST_WAIT) if self._client.fails_over else seconds)

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
            try:
                self._subscribe(connection)
            except Refused:
                connection.close()  # the next `head` asks once more
                raise
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
