"""Keys that the next claim takes if nobody writes to the queue before: optimistic locking, as Redis calls it.

    round trip 1    a claim by the script     measure
    round trip 2    a claim by the script     WATCH, measure, ZRANGE: a b c, MULTI
    round trip 3    take 3, EXEC: done        WATCH, measure, ZRANGE: d e f, MULTI
    round trip 4    take 3, EXEC: nil         WATCH, measure, ZRANGE: d g f, MULTI     somebody has written meanwhile

To hand keys and scores to Lua costs a server more than all else that a claim does. Here Lua sees none of them, and the
client has them when the transaction takes them. It pays where one process drains a backlog and few others write. Where
a transaction fails, the script makes the claim: that costs more and always succeeds.

To measure is to read how many keys are due and how large the first ones are. ZRANGE is not bounded in bytes, so it
reads only what was measured one round trip before. If somebody has scheduled large keys since then, what it read is
dropped, and the script makes the claim.

WATCH covers the schedule; `claimed`, `leases` and `data`, because only without them is a claim a mere removal; and the
receipt: a transaction that arrives late then does nothing, because the resent claim has written one.

MULTI goes one round trip ahead, and the commands follow only after its OK. Sent together, they would be done at once if
MULTI were refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from rx_runat.store import wire
from rx_runat.store.keys import QueueKeys
from rx_runat.store.receipts import CLAIM_BYTES, RECEIPT_TTL_MS
from rx_runat.store.request import Arg, Script
from rx_runat.store.wire import Command, ErrorReply

MARK = b"+"
"""What a receipt has behind its token where a transaction took the keys: the client knows them."""

MEASURE = Script("measure", "prelude")
TAKE = Script("take")

_FEWEST = 64  # keys; for so few the script is as fast
_LONGEST_PAUSE = 64  # claims; so where many write, or where something is forbidden, one attempt of 64 is in vain


class Candidates:
    """Keys that were read under WATCH.

    Args:
        now: Redis's clock, epoch microseconds.
        wait: microseconds until the next key is due; 0: it is; -1: nothing is scheduled.
        count: how many of the keys that were read are due.
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
    """Makes the commands that read candidates and take them, and reads the replies. `AheadLine` sends them.

    Args:
        keys: of the queue.
    """

    def __init__(self, keys: QueueKeys) -> None:
        self._schedule = keys.schedule
        self._watched = keys.schedule, keys.claimed, keys.leases, keys.data
        self._known: set[Script] = set()  # the scripts that this server has run
        # What was measured in the last round trip:
        self._mean_size = -1  # bytes; -1: nothing was
        self._samples = 0
        self._below = b""
        self._count = 0  # how many keys may be read, if they are not too large
        self._reads = False  # whether ZRANGE was sent
        self._pause = 0  # so many claims come before the next candidates
        self._next_pause = 0

    def forget_server(self) -> None:
        """Forget what the server knew: another connection may lead to another one."""
        self._known.clear()
        self.forget_measure()

    def forget_measure(self) -> None:
        """Forget how large the first keys are, because somebody else may take them."""
        self._mean_size = -1

    def pause_long(self) -> None:
        """Read none for a long time, and then try again: keys may be smaller then, and permissions may be back."""
        self._pause = _LONGEST_PAUSE

    def commands_to_read(self, receipt: str, limit: int) -> tuple[list[Command], list[Command]]:
        """Returns the commands that measure, and those that read candidates; perhaps none. MULTI follows the latter.

        Args:
            receipt: the key of the receipt.
            limit: this claim and the next one take at most so many keys each.
        """
        size, samples, count, below = self._mean_size, self._samples, self._count, self._below
        self._mean_size, self._reads = -1, False
        if self._pause:
            self._pause -= 1
            return [], []
        # The claim in this round trip takes the first ones of the keys that were measured, and ZRANGE reads others of
        # them. A fifth of the room stays free, because each measurement has another mean.
        self._count = min(limit, 4 * CLAIM_BYTES // (5 * size) - limit) if size > 0 else limit
        if self._count <= _FEWEST:
            self.pause_long()
            return [], []
        self._samples = limit + self._count + 1  # the score of the last one is the bound of ZRANGE
        measure = self._run(MEASURE, self._watched, self._samples)
        self._reads = size > 0 and samples * size <= CLAIM_BYTES and limit + count < samples
        if not self._reads:
            return [measure], []
        # Whoever claims meanwhile, all keys with a score below the bound were measured, unless they came later. Where
        # all have the same score there is no bound; then ZRANGE may read keys that were not measured, if others claim.
        reach: Command = (0, count - 1) if not below else ("-inf", below, "BYSCORE", "LIMIT", 0, count)
        return [("WATCH", *self._watched, receipt), measure], [("ZRANGE", self._schedule, *reach, "WITHSCORES")]

    def read(self, replies: Sequence[Any], reply: bytes, has_begun: bool) -> Candidates | None:
        """Read the replies to `commands_to_read`.

        Args:
            replies: to those that measure; an error is in its place.
            reply: to ZRANGE, as it came.
            has_begun: whether MULTI was permitted.

        Returns:
            The candidates, perhaps none; None if nothing is known.
        """
        for error in replies:
            if isinstance(error, ErrorReply):
                self._known.clear()
                if not str(error).startswith("NOSCRIPT"):
                    self.pause_long()
                return None
        if not replies:
            return None
        self._known.add(MEASURE)
        now, due, wait, self._mean_size, self._below = replies[-1]
        if due and self._mean_size < 0:  # there are leases or data, or MEMORY is forbidden
            self.pause_long()
        if not self._reads:
            return Candidates(now, wait, 0, reply)
        if not has_begun or len(reply) > CLAIM_BYTES:
            self.pause_long()
            return None
        return Candidates(now, wait, max(0, min(due, wire.count_of(reply) // 2)), reply)

    def commands_to_take(self, candidates: Candidates, receipt: str, token: str) -> list[Command]:
        """Returns the commands that take candidates, to be sent after the OK of MULTI."""
        mark = token.encode() + MARK
        return [self._run(TAKE, (self._schedule, receipt), mark, RECEIPT_TTL_MS, candidates.count), ("EXEC",)]

    def note_taken(self, candidates: Candidates, reply: Any) -> bool:
        """Returns True if EXEC replied that they are taken. After a failure candidates are read more seldom."""
        if reply == [candidates.count]:
            self._known.add(TAKE)
            self._next_pause //= 2
            return True
        self._known.discard(TAKE)
        self._pause, self._next_pause = self._next_pause, min(_LONGEST_PAUSE, 2 * self._next_pause + 1)
        return False

    def _run(self, script: Script, keys: tuple[str, ...], *args: Arg) -> Command:
        how: Command = ("EVALSHA", script.sha) if script in self._known else ("EVAL", script.body)
        return (*how, len(keys), *keys, *args)
