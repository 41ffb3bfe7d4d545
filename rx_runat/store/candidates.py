"""Keys that the next claim takes if nobody writes to the queue before: optimistic locking, as Redis calls it.

    round trip 1    a claim by the script     measure
    round trip 2    a claim by the script     WATCH, measure, ZRANGE: a b c, MULTI
    round trip 3    remove 3, EXEC: done      WATCH, measure, ZRANGE: d e f, MULTI
    round trip 4    remove 3, EXEC: nil       WATCH, measure, ZRANGE: d g f, MULTI     somebody has written meanwhile

To hand keys and scores to Lua costs a server more than all else that a claim does. Here Lua sees none of them, and the
client has them when the transaction takes them. It pays where one process drains a backlog and few others write. Where
a transaction fails, the script makes the claim: that costs more and always succeeds.

Watched are the schedule, the leases and the data, because a claim is a mere removal only where there are none, and the
receipt. So a delayed duplicate of the transaction does nothing: the resent claim has written a receipt by then.

MULTI is sent a round trip early. Where it is refused, what was meant for the transaction would be done at once, however
the queue has changed; so it is sent only after MULTI was replied to.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from rx_runat.store import wire
from rx_runat.store.keys import QueueKeys
from rx_runat.store.receipts import CLAIM_BYTES, RECEIPT_TTL_MS
from rx_runat.store.request import Script
from rx_runat.store.wire import Command, ErrorReply

MARK = b"+"
"""What a receipt has behind its token where a transaction took the keys: the client knows them."""

MEASURE = Script("candidates", "prelude")

_FEWEST = 64  # keys; a claim of so few the script makes as fast

# ZRANGE is not bounded in bytes, so it reads only keys that were measured one round trip before. Two claims may come in
# between: the one that is asked for in that round trip, and one by the script after a transaction failed. If others
# have claimed as well, keys may come that nobody measured; but then the next transaction fails, and a pause follows.
_CLAIMS_MEASURED = 3

_LONGEST_PAUSE = 64  # claims; so a queue to which many write pays for no more than a failure in 64 claims


class Candidates:
    """Keys that were read under WATCH.

    Args:
        now: Redis's clock, epoch microseconds.
        wait: microseconds until the next key is due; 0: it is; -1: nothing is scheduled.
        count: so many of the keys that were read are due.
        reply: to ZRANGE, as it came.

    Attributes:
        now, wait, count: as above.
    """

    def __init__(self, now: int, wait: int, count: int, reply: bytes) -> None:
        self.now = now
        self.wait = wait
        self.count = count
        self._reply = reply

    @cached_property
    def items(self) -> list[str]:
        """Key, score, key, score, ..., each decoded as `to_key` does it."""
        return wire.texts(self._reply)[: 2 * self.count]


class CandidateReader:
    """Reads candidates and takes them. It makes commands and reads replies; another one sends them.

    Args:
        keys: of the queue.
    """

    def __init__(self, keys: QueueKeys) -> None:
        self._schedule = keys.schedule
        self._watched = keys.schedule, keys.claimed, keys.leases, keys.data
        self._is_permitted = True
        self._is_loaded = False  # whether the server knows the script
        self._size = -1  # of the keys that were measured in the last round trip; -1: none were
        self._most = 0  # so many keys ZRANGE may read, if they are not too large
        self._reads = False  # whether ZRANGE was sent
        self._pause = 0  # so many claims come before the next candidates
        self._next_pause = 0

    def forget_server(self) -> None:
        """Forget what the server knew: another connection may lead to another one."""
        self._is_loaded, self._size = False, -1

    def reading(self, receipt: str, limit: int) -> tuple[list[Command], list[Command]]:
        """Returns the commands that measure keys, and those that read candidates, at most `limit`; perhaps none.

        Behind the latter, MULTI is to be sent.
        """
        size, measured, self._size = self._size, self._most, -1
        self._reads = False
        self._most = min(limit, CLAIM_BYTES // (_CLAIMS_MEASURED * size)) if size > 0 else limit
        if self._pause or self._most <= _FEWEST or not self._is_permitted:
            self._pause = max(0, self._pause - 1)
            return [], []
        script = ("EVALSHA", MEASURE.sha) if self._is_loaded else ("EVAL", MEASURE.body)
        measure = (*script, len(self._watched), *self._watched, _CLAIMS_MEASURED * self._most)
        self._reads = size > 0 and measured <= self._most
        if not self._reads:
            return [measure], []
        read = "ZRANGE", self._schedule, 0, measured - 1, "WITHSCORES"
        return [("WATCH", *self._watched, receipt), measure], [read]

    def read(self, replies: Sequence[Any], reply: bytes, has_begun: bool) -> Candidates | None:
        """Read the replies to `reading`.

        Args:
            replies: to what measures; an error is in its place.
            reply: to ZRANGE, as it came.
            has_begun: whether MULTI was permitted.

        Returns:
            The candidates, perhaps none; None if nothing is known.
        """
        for error in replies:
            if isinstance(error, ErrorReply):
                self._is_permitted = not str(error).startswith(("NOPERM", "ERR"))  # ERR: an unknown command
                self._is_loaded = False
                return None
        if self._reads and not has_begun:
            self._is_permitted = False
        if not replies or not self._is_permitted:
            return None
        self._is_loaded = True
        now, due, wait, self._size = replies[-1]
        return Candidates(now, wait, min(due, wire.count_of(reply) // 2), reply)

    def taking(self, candidates: Candidates, receipt: str, token: str) -> list[Command]:
        """Returns the commands that take candidates, after MULTI."""
        return [
            ("SET", receipt, token.encode() + MARK, "PX", RECEIPT_TTL_MS),
            ("ZREMRANGEBYRANK", self._schedule, 0, candidates.count - 1),
            ("EXEC",),
        ]

    def took(self, candidates: Candidates, reply: Any) -> bool:
        """Returns True if EXEC replied that they are taken. After a failure candidates are read more seldom."""
        if isinstance(reply, list) and reply[1] == candidates.count:
            self._next_pause //= 2
            return True
        self._pause, self._next_pause = self._next_pause, min(_LONGEST_PAUSE, 2 * self._next_pause + 1)
        return False
