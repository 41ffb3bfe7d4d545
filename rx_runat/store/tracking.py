"""An eye on the head of a schedule, on a connection of its own; the claim is kept out of it.

    read the head  -->  wait for a push  -->  read again
          |                    ^
          '-- Redis tracks the read: whoever writes to the queue next, a bare ZADD too, sets off one push

For a source of claims the first end of a lease is read with the head, whoever holds that lease: its claim sets off a
push too, and so the end is known in time, even if the holder is killed.

Client-side caching (`CLIENT TRACKING`) was made to drop stale copies; here the copy is the head. It hears every
writer and needs no setting of the server. Where a server, a proxy or an ACL refuses it, sinks publish on a channel of
the queue, and this listens there. Claims are not published: there the leases of others are found by the next read,
whatever it was made for, or by the heartbeat.

The read of the first lease is not tracked, or acks and renewals would wake everybody for nothing: a lease begins where
a key leaves the schedule, and that sets off the push.
"""

from __future__ import annotations

import math
from typing import Any

from rx_runat.errors import Refused
from rx_runat.store.client import RedisClient
from rx_runat.store.connection import Line
from rx_runat.store.keys import claimed_key, wake_channel


class RedisHeadTracker:
    """A `HeadTracker` on Redis. One thread looks and waits; any may close.

    Args:
        client: where connections come from.
        queue_name: of the schedule.
        leases: whether ends of leases count, for those who bring them back; else a read stays a bare ZRANGE.
    """

    def __init__(self, client: RedisClient, queue_name: str, leases: bool = False) -> None:
        self._client = client
        self._queue_name = queue_name
        self._leases = leases
        self._line: Line | None = None
        self._tracks = True
        self._closed = False

    def head(self) -> float:
        """Read the head, or the first end of a lease if that is earlier. From now on `wait` hears of changes.

        In whole epoch milliseconds, at which it is due; inf: nothing is scheduled, nor out.

        Raises:
            StoreError: not read; the next call tries on a new connection.
        """
        line = self._line
        if line is None or not line.is_open:
            line = self._line = self._open()
        # A connection that subscribes may do nothing else on some servers: then any other reads.
        ask = line.ask if self._tracks else self._client.call
        name = self._queue_name
        head = _score(ask("ZRANGE", name, 0, 0, "WITHSCORES"))
        if self._leases:
            head = min(head, _score(self._client.call("ZRANGE", claimed_key(name), 0, 0, "WITHSCORES")))
        return math.ceil(head) if math.isfinite(head) else head

    def wait(self, seconds: float) -> None:
        """Return when the schedule may have changed, or after so many seconds.

        Raises:
            OutcomeUnknown: the connection is gone; `head` opens a new one.
        """
        assert self._line is not None, "a head is read before anything is waited for"
        self._line.listen(seconds)

    def close(self) -> None:
        """Break off what is under way and let go; from any thread, may be repeated."""
        self._closed = True
        line = self._line
        if line is not None:
            line.close()

    def _open(self) -> Line:
        line = self._line = self._client.open()
        if self._closed:  # beside our opening
            line.close()
        try:
            line.ask("CLIENT", "TRACKING", "ON")
            self._tracks = True
        except Refused:
            self._tracks = False
            line.ask("SUBSCRIBE", wake_channel(self._queue_name), pushed=True)
        return line


def _score(found: list[Any]) -> float:
    """The score in an answer to ZRANGE WITHSCORES, which RESP3 nests; inf if there is none."""
    first: Any = found[0] if found else None
    if isinstance(first, list):
        return float(first[1])  # pyright: ignore[reportUnknownArgumentType]
    return float(found[1]) if found else math.inf
