"""Asks for a claim before its reply is wanted: the server works on it while the claim before is delivered.

    ask      ---- a claim; what reads the candidates for the next claim ---->  the server works
    receive  <--- all replies ----------------------------------------------
    ask      ---- the next claim; ... -------------------------------------->  before the keys are decoded

A claim is made by the script, or by a transaction that takes the candidates; see `candidates`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
        taken: what the last `ask` wanted a transaction to take; None: it used the script.
    """

    def __init__(self, client: RedisClient, keys: QueueKeys, script: Script) -> None:
        self.is_asked = False
        self.generation = 0
        self.taken: Candidates | None = None
        self._client = client
        self._script = script
        self._reader = CandidateReader(keys)
        self._candidates: Candidates | None = None
        self._connection: DedicatedConnection | None = None
        self._token = b""
        self._is_in_transaction = False  # MULTI was replied to
        self._claims = self._measures = self._count = 0  # commands of the last `ask`: that claim; that measure; all
        self._middle = self._end = b""  # what is received behind those two, and at the end

    @property
    def count(self) -> int:
        """How many keys the next `ask` is for that were read already; 0: it is for what the script finds."""
        return 0 if self._candidates is None else self._candidates.count

    def forget_candidates(self) -> None:
        """Drop the candidates, because we are about to write to the queue."""
        self._candidates = None

    def ask(self, words: Sequence[Arg], receipt: str, token: str, limit: int) -> None:
        """Ask for a claim.

        Args:
            words: of the script, without its name.
            receipt: the key of the receipt.
            token: of the claim.
            limit: keys of a claim.

        Raises:
            OutcomeUnknown: it was sent perhaps, and no reply will come.
            StoreError: it was not sent.
        """
        self.generation = self._client.generation
        if self._connection is None or not self._connection.is_open:
            self._connection = self._client.open(protocol=2)
            self._candidates, self._is_in_transaction = None, False
            self._reader.forget_server()
        self._token = token.encode()
        self.taken = self._candidates if self.count else None
        self._candidates = None
        if self.taken is None:
            claims: list[Command] = [("EXEC",)] if self._is_in_transaction else []  # an empty one, which ends WATCH
            claims.append(("EVALSHA", self._script.sha, *words))
        else:
            claims = self._reader.taking(self.taken, receipt, token)
        measures, reads = self._reader.reading(receipt, limit)
        self._claims, self._measures = len(claims), len(measures)
        middle, last = new_token().encode(), new_token().encode()
        commands: list[Command] = [*claims, *measures, ("ECHO", middle)]
        self._middle = self._end = wire.bulk(middle)
        if reads:
            commands += [*reads, ("ECHO", last), ("MULTI",)]
            self._end = wire.bulk(last) + _OK
        self._count = len(commands)
        self._connection.send(wire.pack(commands), "EVALSHA")
        self.is_asked = True

    def receive(self) -> Sequence[Any] | None:
        """Returns the reply to the claim, in the form of the script's; None: nothing was claimed.

        Where a transaction took `taken`, `MARK` is in the place of the keys.

        Raises:
            OutcomeUnknown: no reply came.
        """
        assert self._connection is not None, "what is received was asked for"
        self.is_asked = False
        received = self._connection.receive_until(self._is_complete, "EVALSHA")
        head, _, rest = received.partition(self._middle)
        replies = wire.replies(head, self._claims + self._measures)
        reply: Any = replies[self._claims - 1]
        if isinstance(reply, ErrorReply | bytes):  # bytes: QUEUED, because EXEC was refused
            self._connection.close()  # another server may be the primary now, or have the slot
        else:
            self._is_in_transaction = rest.endswith(_OK)
            self._candidates = self._reader.read(replies[self._claims :], rest, self._is_in_transaction)
        if self.taken is None:
            return None if isinstance(reply, ErrorReply | bytes) else reply
        if not self._reader.took(self.taken, reply):
            return None
        now, wait = (self._candidates.now, self._candidates.wait) if self._candidates else (self.taken.now, 0)
        return now, wait, self._token + MARK, 0, None

    def _is_complete(self, received: bytearray) -> bool:
        """True if all replies have come: what is expected at the end, or an error or QUEUED instead."""
        if received.endswith(self._end):
            return True
        last_line = received.rfind(b"\r\n", 0, -2) + 2
        if not received.startswith((b"-", b"+"), last_line):
            return False
        return len(wire.replies(received, self._count)) == self._count

    def close(self) -> None:
        """Close the connection; `ask` opens another one."""
        if self._connection is not None:
            self._connection.close()
