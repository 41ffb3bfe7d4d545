"""The dead letters in Redis: keys whose work was given up, until somebody revives or drops them. Knows no Rx."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial

from rx_runat.model.dead_letter import DeadLetter
from rx_runat.model.members import to_key, to_member
from rx_runat.model.times import EPOCH, from_score
from rx_runat.store.client import RedisClient
from rx_runat.store.keys import QueueKeys
from rx_runat.store.request import Request, Script

STEP = 500  # letters in one call: at a thousand bytes each, half a megabyte and some 2 ms of the server's time

REVIVE = Script("revive")


def size(keys: QueueKeys) -> Request[int]:
    """Count the dead letters. Redis: `HLEN`."""
    return Request(("HLEN", keys.dead), int)


def step(keys: QueueKeys, cursor: bytes) -> Request[tuple[bytes, dict[bytes, bytes]]]:
    """Read some 500 letters; the result: the cursor of the next step (0: none) and key -> letter. Redis: `HSCAN`."""
    return Request(("HSCAN", keys.dead, cursor, "COUNT", STEP), _to_step)


def revive(keys: QueueKeys, members: Sequence[bytes]) -> Request[int]:
    """Move dead letters back to the schedule; the result: how many there were. Redis: `revive.lua`.

    A lost reply: OutcomeUnknown if a letter is gone, because the earlier sending or somebody else may have moved it.
    """
    return Request((2, keys.schedule, keys.dead, *members), int, REVIVE, doubt=partial(_who_took, len(members)))


def drop(keys: QueueKeys, members: Sequence[bytes]) -> Request[int]:
    """Delete dead letters; the result: how many there were. A lost reply has the same effect as with `revive`.

    Redis: `HDEL`.
    """
    return Request(("HDEL", keys.dead, *members), int, doubt=partial(_who_took, len(members)))


class RedisDeadLetters:
    """The verbs on dead letters that may need many requests; each request is bounded.

    The letters are one hash: a key that is buried a second time replaces its letter. A letter stays whatever happens to
    its key in the schedule.

    Args:
        client: connections that do not retry.
        keys: of the queue.
    """

    def __init__(self, client: RedisClient, keys: QueueKeys) -> None:
        self._client = client
        self._keys = keys

    def peek(self, n: int) -> list[DeadLetter]:
        """Returns the n oldest letters, by time of burial and then by key.

        Redis: a hash has no order, so all of it is read, in one round trip for some 500 letters.
        """
        seen = {member: _letter(member, value) for found in self._steps() for member, value in found.items()}
        return heapq.nsmallest(n, seen.values(), key=lambda letter: (letter.time, letter.key))

    def revive(self, key: str | None) -> int:
        """Move the letter of a key back to the schedule, or all letters; returns how many.

        The keys get their own run_at, and their attempts count from one again. A key that was scheduled meanwhile keeps
        that schedule, and its letter is deleted all the same.

        Raises:
            OutcomeUnknown: a reply was lost, and now a letter is gone: this call or somebody else took it.
            StoreError: Redis did not reply; if key is None, some letters may be revived already.
        """
        return self._each(key, revive)

    def drop(self, key: str | None) -> int:
        """Delete the letter of a key, or all letters; returns how many. Raises as `revive`."""
        return self._each(key, drop)

    def _each(self, key: str | None, verb: Callable[[QueueKeys, Sequence[bytes]], Request[int]]) -> int:
        if key is not None:
            return self._client.send(verb(self._keys, [to_member(key)]))
        return sum(self._client.send(verb(self._keys, list(found))) for found in self._steps() if found)

    def _steps(self) -> Iterator[dict[bytes, bytes]]:
        """Yields every letter that exists from the first step to the last; a letter may come twice."""
        cursor = b"0"
        while True:
            cursor, found = self._client.send(step(self._keys, cursor))
            yield found
            if int(cursor) == 0:
                return


def _who_took(asked: int, taken: int) -> str | None:
    """The beginning of the message that `Request.result` completes with "is unknown, because ..."."""
    return "dead letters are gone; whether this call took them" if taken < asked else None


def _to_step(reply: tuple[bytes, list[bytes]]) -> tuple[bytes, dict[bytes, bytes]]:
    cursor, flat = reply
    return cursor, dict(zip(flat[::2], flat[1::2], strict=True))


def _letter(member: bytes, value: bytes) -> DeadLetter:
    time, attempts, run_at, reason = value.split(b" ", 3)
    moment = EPOCH + timedelta(milliseconds=int(time))
    return DeadLetter(to_key(member), from_score(run_at), int(attempts), reason.decode(errors="replace"), moment)
