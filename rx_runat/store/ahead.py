"""Asks for a claim before its reply is wanted: the server works on it while the claim before is delivered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.utils import HIREDIS_AVAILABLE

from rx_runat.store.client import RedisClient
from rx_runat.store.connection import DedicatedConnection
from rx_runat.store.request import Arg, Script

CAN_COPY = HIREDIS_AVAILABLE
"""Whether a large claim is copied, and so comes as a list: redis-py's own parser needs longer for 2,000 strings
than the server saves."""


class AheadLine:
    """A connection on which one script at a time is asked for, and read later.

        ask      ---- script, ZRANGE ---->  the server works
        receive  <--- two replies --------

    It speaks RESP2, where ZRANGE WITHSCORES is one flat list. In RESP3 each pair is a list of its own, and to make a
    thousand lists costs as much time as all else that is done with the reply.

    Args:
        client: makes the connection.
        script: what is asked for.

    Attributes:
        is_asked: True from `ask` to `receive`.
        generation: of the primary, before the last `ask`.
    """

    def __init__(self, client: RedisClient, script: Script) -> None:
        self.is_asked = False
        self.generation = 0
        self._client = client
        self._script = script
        self._connection: DedicatedConnection | None = None

    def ask(self, words: Sequence[Arg], copies: str) -> None:
        """Send the script, and ZRANGE of the key to which it may copy what it takes.

        Raises:
            OutcomeUnknown: it was sent perhaps, and no reply will come.
            StoreError: it was not sent.
        """
        self.generation = self._client.generation
        if self._connection is None or not self._connection.is_open:
            self._connection = self._client.open(protocol=2)
        script = "EVALSHA", self._script.sha, *words
        self._connection.send(script, ("ZRANGE", copies, 0, -1, "WITHSCORES"))
        self.is_asked = True

    def receive(self) -> tuple[Sequence[Any], list[bytes]]:
        """Returns both replies: that of the script, and the copied members, each with its score.

        Raises:
            OutcomeUnknown: no reply came.
            StoreError: it was not done.
        """
        assert self._connection is not None, "what is received was asked for"
        self.is_asked = False
        try:
            reply = self._connection.receive("EVALSHA")
        except BaseException:
            self._connection.close()  # the second reply is nobody's
            raise
        return reply, self._connection.receive("ZRANGE")

    def close(self) -> None:
        """Close the connection; `ask` opens another one."""
        if self._connection is not None:
            self._connection.close()
