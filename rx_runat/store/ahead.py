"""Asks for a claim before its reply is wanted: the server works on it while the claim before is delivered.

    ask      ---- a claim; what reads the candidates for the next claim ---->  the server works
    receive  <--- all replies ----------------------------------------------
    ask      ---- the next claim; ... -------------------------------------->  before the keys are decoded

A claim is made by the script, or by a transaction that takes the candidates; see `candidates`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis

from rx_runat.errors import OutcomeUnknown
from rx_runat.store import wire
from rx_runat.store.candidates import MARK, CandidateReader, Candidates
from rx_runat.store.client import RedisClient
from rx_runat.store.connection import DedicatedConnection
from rx_runat.store.keys import QueueKeys
from rx_runat.store.request import Arg, Script, new_token
from rx_runat.store.wire import Command, ErrorReply

_OK = b"+OK\r\n"


class AheadLine:
    """A connection on which one claim at a time is asked for, and read later.

    All replies are received before any of them is parsed, so that the next claim can be asked for at once. The server
    echoes a random word at their end, which is part of no key: then they are complete.

    It speaks RESP2, where ZRANGE WITHSCORES is one flat list. In RESP3 each pair is a list of its own, and to make a
    thousand lists costs as much time as all else that is done with the reply.

    Args:
        client: makes the connection.
        keys: of the queue.
        script: claims.

    Attributes:
        is_asked: True from `ask` to `receive`.
        generation: of the primary, before the last `ask`.
        to_take: what the last `ask` wants a transaction to take; None: it used the script.
    """

    def __init__(self, client: RedisClient, keys: QueueKeys, script: Script) -> None:
        self.is_asked = False
        self.generation = 0
        self.to_take: Candidates | None = None
        self._client = client
        self._script = script
        self._reader = CandidateReader(keys)
        self._candidates: Candidates | None = None
        self._connection: DedicatedConnection | None = None
        self._has_unread = False  # whether replies may still come that nobody will read
        self._is_in_transaction = False  # whether MULTI was replied to
        # Of the last `ask`:
        self._token = b""
        self._claims = 0  # how many commands claim
        self._measures = 0  # how many measure
        self._count = 0  # how many there are
        self._head_end = b""  # what is received behind those that claim and measure
        self._end = b""  # what is received at the end

    @property
    def count(self) -> int:
        """How many candidates there are, for the next `ask` to take; 0: it uses the script."""
        return 0 if self._candidates is None else self._candidates.count

    def forget_candidates(self) -> None:
        """Drop the candidates, because we are about to write to the queue."""
        self._candidates = None
        self._reader.forget_measure()

    def ask(self, words: Sequence[Arg], receipt: str, token: str, limit: int) -> None:
        """Ask for a claim.

        Args:
            words: of the script, without its name.
            receipt: the key of the receipt.
            token: of the claim.
            limit: the most keys that it may take.

        Raises:
            OutcomeUnknown: it was sent perhaps, and no reply will come.
            StoreError: it was not sent.
        """
        connection = self._open()
        self.to_take = self._candidates if 0 < self.count <= limit else None
        self._candidates = None
        if self.to_take is None:
            claims: list[Command] = [("EXEC",)] if self._is_in_transaction else []  # an empty one, which ends WATCH
            claims.append(("EVALSHA", self._script.sha, *words))
        else:
            claims = self._reader.commands_to_take(self.to_take, receipt, token)
        measures, reads = self._reader.commands_to_read(receipt, limit)
        middle, last = new_token().encode(), new_token().encode()
        commands: list[Command] = [*claims, *measures, ("ECHO", middle)]
        self._head_end = self._end = wire.bulk(middle)
        if reads:
            commands += [*reads, ("ECHO", last), ("MULTI",)]
            self._end = wire.bulk(last) + _OK
        self._token, self._claims, self._measures, self._count = (
            token.encode(),
            len(claims),
            len(measures),
            len(commands),
        )
        packed = wire.pack(commands)
        self._has_unread = True
        connection.send(packed, "EVALSHA")
        self.is_asked = True

    def _open(self) -> DedicatedConnection:
        self.generation = self._client.generation
        if self._connection is not None and self._has_unread:  # something was raised between sending and receiving
            self._connection.close()
        if self._connection is None or not self._connection.is_open:
            self._connection = self._client.open(protocol=2)
            self._has_unread = self._is_in_transaction = False
            self._candidates = None
            self._reader.forget_server()
        return self._connection

    def receive(self) -> Sequence[Any] | None:
        """Returns the reply to the claim, in the form of the script's; None: nothing was claimed.

        Where a transaction took `to_take`, `MARK` is in the place of the keys.

        Raises:
            OutcomeUnknown: no reply came.
        """
        assert self._connection is not None, "what is received was asked for"
        self.is_asked = False
        try:
            received = self._connection.receive_until(self._is_complete, "EVALSHA")
            head, _, rest = received.partition(self._head_end)
            replies = wire.replies(head, self._claims + self._measures)
        except redis.InvalidResponse as error:
            self._connection.close()
            raise OutcomeUnknown(f"what {self._client.where} replied cannot be read: {error}") from error
        self._has_unread = False
        reply: Any = replies[self._claims - 1]
        if isinstance(reply, ErrorReply | bytes):  # bytes: QUEUED, because EXEC was refused
            self._connection.close()  # another server may be the primary now, or have the slot
            reply = None
        else:
            self._is_in_transaction = rest.endswith(_OK)
            self._candidates = self._reader.read(replies[self._claims :], rest, self._is_in_transaction)
        if not received.endswith(self._end):  # an echo was refused, or MULTI
            self._reader.pause_long()
        if self.to_take is None:
            return reply
        if not self._reader.note_taken(self.to_take, reply):
            return None
        now, wait = (self._candidates.now, self._candidates.wait) if self._candidates else (self.to_take.now, 0)
        return now, wait, self._token + MARK, 0, None

    def _is_complete(self, received: bytearray) -> bool:
        """True if all replies have come: what is expected at the end, or an error or QUEUED instead."""
        if received.endswith(self._end):
            return True
        if not received.endswith(b"\r\n"):
            return False
        last_line = received.rfind(b"\r\n", 0, -2) + 2
        if not received.startswith((b"-", b"+"), last_line):
            return False
        return len(wire.replies(received, self._count)) == self._count

    def close(self) -> None:
        """Close the connection; `ask` opens another one."""
        if self._connection is not None:
            self._connection.close()
