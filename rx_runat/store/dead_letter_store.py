"""The dead letters in Redis: keys whose work was given up, until somebody revives or drops them. Knows no Rx."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from datetime import timedelta

from rx_runat.errors import OutcomeUnknown
from rx_runat.model.dead_letter import DeadLetter
from rx_runat.model.members import to_key, to_member
from rx_runat.model.times import EPOCH, from_score
from rx_runat.store.client import RedisClient, Script, resend_lost
from rx_runat.store.keys import dead_key

STEP = 500  # letters in one call: at a thousand bytes each, half a megabyte and some 2 ms of the server's time

_REVIVE = Script("revive")


class RedisDeadLetters:
    """A hash of them, key -> what is known. A key is in it once: who is buried again replaces its letter.

    A letter lies there whatever the schedule does with its key. Every call is bounded; those on all letters make many.

    Args:
        client: connections that do not retry.
        queue_name: the schedule's name.
    """

    def __init__(self, client: RedisClient, queue_name: str) -> None:
        self._client = client
        self._queue_name = queue_name
        self._dead = dead_key(queue_name)

    def peek(self, n: int) -> list[DeadLetter]:
        """The n letters that have lain there longest, in that order, then by key; changes nothing.

        Redis: a hash has no order, so it is read whole: `HSCAN`, one round trip for some 500 letters.
        """
        seen = {member: _letter(member, value) for found in self._steps() for member, value in found.items()}
        return heapq.nsmallest(n, seen.values(), key=lambda letter: (letter.time, letter.key))

    def size(self) -> int:
        """How many there are. Redis: `HLEN`."""
        return resend_lost(lambda _: self._client.call("HLEN", self._dead))

    def revive(self, key: str | None) -> int:
        """Bring the letter of a key back to the schedule, or all that lie there now; how many?

        With its own run_at, so it is due at once, and its next attempt is the first. Where the key has been scheduled
        meanwhile, that schedule stands, and the letter is gone all the same.

        Raises:
            OutcomeUnknown: an answer was lost, and now a letter is gone: this call or somebody else took it.
            StoreError: Redis did not answer; of all, some may be done.
        """
        return self._each(key, lambda members: self._client.run(_REVIVE, 2, self._queue_name, self._dead, *members))

    def drop(self, key: str | None) -> int:
        """Forget the letter of a key, or all that lie there now; how many? Raises as `revive`. Redis: `HDEL`."""
        return self._each(key, lambda members: self._client.call("HDEL", self._dead, *members))

    def _each(self, key: str | None, act: Callable[[list[bytes]], int]) -> int:
        if key is not None:
            return self._take([to_member(key)], act)
        return sum(self._take(list(found), act) for found in self._steps() if found)

    def _take(self, members: list[bytes], act: Callable[[list[bytes]], int]) -> int:
        lost = False

        def ask(again: bool) -> int:
            nonlocal lost
            lost = again
            return act(members)

        taken = resend_lost(ask)
        if lost and taken < len(members):
            raise OutcomeUnknown(
                f"dead letters are gone; whether this call took them is unknown, because {self._client.where} did not "
                "answer at once"
            )
        return taken

    def _steps(self) -> Iterator[dict[bytes, bytes]]:
        """All letters that lie there from the first step to the last; one may come twice."""
        cursor = b"0"
        while True:
            cursor, flat = self._scan(cursor)
            yield dict(zip(flat[::2], flat[1::2], strict=True))
            if int(cursor) == 0:
                return

    def _scan(self, cursor: bytes) -> tuple[bytes, list[bytes]]:
        return resend_lost(lambda _: self._client.call("HSCAN", self._dead, cursor, "COUNT", STEP))


def _letter(member: bytes, value: bytes) -> DeadLetter:
    time, attempts, run_at, reason = value.split(b" ", 3)
    moment = EPOCH + timedelta(milliseconds=int(time))
    return DeadLetter(to_key(member), from_score(run_at), int(attempts), reason.decode(errors="replace"), moment)
