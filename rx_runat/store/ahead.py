"""Asks for a claim before its reply is wanted: the server works on it while the claim before is delivered."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from redis.utils import HIREDIS_AVAILABLE

from rx_runat.errors import OutcomeUnknown, Refused, StoreError
from rx_runat.store.client import RedisClient
from rx_runat.store.connection import DedicatedConnection
from rx_runat.store.request import Arg, Script

CAN_COPY = HIREDIS_AVAILABLE
"""Whether to let the server copy large claims. Their reply is a list, and redis-py's own parser loses more time on
2,000 strings than the copy saves."""


class AheadLine:
    """A connection on which one script at a time is asked for, and read later.

        ask      ---- script, ZRANGE, PEXPIRE ---->  the server works
        receive  <--- three replies ---------------

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

    def ask(self, words: Sequence[Arg], copies: str, ttl: int) -> None:
        """Send the script, ZRANGE of the key to which it may copy what it takes, and PEXPIRE of that key.

        Args:
            words: of the script, without its name.
            copies: that key.
            ttl: of that key, ms. It begins after ZRANGE, because a full server may evict what expires.

        Raises:
            OutcomeUnknown: it was sent perhaps, and no reply will come.
            StoreError: it was not sent.
        """
        self.generation = self._client.generation
        if self._connection is None or not self._connection.is_open:
            self._connection = self._client.open(protocol=2)
        script = "EVALSHA", self._script.sha, *words
        self._connection.send(script, ("ZRANGE", copies, 0, -1, "WITHSCORES"), ("PEXPIRE", copies, ttl))
        self.is_asked = True

    def receive(self) -> tuple[Sequence[Any], list[bytes]]:
        """Returns the reply of the script, and the copied members, each with its score.

        Raises:
            OutcomeUnknown: no reply came, or the script was done and what it copied cannot be read.
            StoreError: it was not done.
        """
        assert self._connection is not None, "what is received was asked for"
        self.is_asked = False
        try:
            reply = self._connection.receive("EVALSHA")
            try:
                copied = self._connection.receive("ZRANGE")
                with contextlib.suppress(Refused):  # then the script was refused it as well, and has copied nothing
                    self._connection.receive("PEXPIRE")
            except StoreError as error:
                raise OutcomeUnknown(str(error)) from error.__cause__
        except BaseException:
            self._connection.close()  # the replies that were not read are nobody's
            raise
        return reply, copied

    def close(self) -> None:
        """Close the connection; `ask` opens another one."""
        if self._connection is not None:
            self._connection.close()
