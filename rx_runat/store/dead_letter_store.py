"""The dead letters in Redis: keys whose work was given up, until somebody revives or drops them. Knows no Rx."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from rx_runat.errors import StoreError
from rx_runat.model.checks import show
from rx_runat.model.dead_letter import DeadLetter
from rx_runat.model.members import to_key, to_member
from rx_runat.model.safe_log import warn
from rx_runat.model.times import EPOCH, from_score
from rx_runat.store.keys import QueueKeys
from rx_runat.store.request import Arg, Plan, Request, Script, new_token

STEP = 500  # letters in one call: at a thousand bytes each, half a megabyte and some 2 ms of the server's time
LONGEST_RAW = 1000  # characters of a letter that cannot be read: as many as a reason has

# time, attempts, run_at, reason. The run_at is a score as Redis spells it, and so may be infinite. No script of ours
# has counted attempts to more than 15 digits, because Lua counts in doubles.
LETTER = re.compile(
    rb"(\d+) (\d{1,15}) ([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?inf(?:inity)?) (.*)", re.DOTALL | re.IGNORECASE
)

REVIVE = Script("revive", "prelude")


class Moved(NamedTuple):
    """What a request did with dead letters.

    Attributes:
        done: how many were revived or dropped.
        stayed: how many are still there, because they cannot be read.
    """

    done: int
    stayed: int


def size(keys: QueueKeys) -> Request[int]:
    """Count the dead letters. Redis: `HLEN`."""
    return Request(("HLEN", keys.dead), int)


def step(keys: QueueKeys, cursor: bytes) -> Request[tuple[bytes, dict[bytes, bytes]]]:
    """Read some 500 letters; the result: the cursor of the next step (0: none) and key -> letter. Redis: `HSCAN`."""
    return Request(("HSCAN", keys.dead, cursor, "COUNT", STEP), _to_step)


def revive(keys: QueueKeys, members: Sequence[bytes]) -> Request[Moved]:
    """Move dead letters back to the schedule, except those that cannot be read. Redis: `revive.lua`.

    A lost reply: OutcomeUnknown if a letter is gone, because the earlier sending or somebody else may have moved it.
    """
    words: list[Arg] = [2, keys.schedule, keys.dead, new_token(), *members]
    return Request(words, _to_moved, REVIVE, doubt=partial(_who_took, len(members)))


def drop(keys: QueueKeys, members: Sequence[bytes]) -> Request[Moved]:
    """Delete dead letters. A lost reply has the same effect as with `revive`. Redis: `HDEL`."""
    return Request(("HDEL", keys.dead, *members), _to_dropped, doubt=partial(_who_took, len(members)))


class _Place(NamedTuple):
    """Where the next step begins.

    Attributes:
        cursor: of HSCAN.
        generation: of the primary that the cursor belongs to.
    """

    cursor: bytes
    generation: int


class RedisDeadLetters:
    """The plans on dead letters, which may need many requests; each request is bounded.

    The letters are one hash: a key that is buried a second time replaces its letter. A letter stays whatever happens to
    its key in the schedule.

    Args:
        keys: of the queue.
        generation: returns how many primaries there were before the present one.
    """

    def __init__(self, keys: QueueKeys, generation: Callable[[], int]) -> None:
        self._keys = keys
        self._generation = generation
        self._warned = False  # of a letter that cannot be read: once, because every `peek` finds it again

    def size(self) -> Plan[int]:
        """Count the letters."""
        return (yield size(self._keys))

    def peek(self, n: int) -> Plan[list[DeadLetter]]:
        """List the n oldest letters, by time of burial and then by key.

        A letter that cannot be read, because another client wrote it, is shown raw, and a warning is logged once: its
        text is the reason, it has 0 attempts, and its times are the beginning of 1970, so that it comes first.

        Redis: a hash has no order, so all of it is read, in one round trip for some 500 letters.
        """
        seen: dict[bytes, DeadLetter] = {}
        at: _Place | None = self._start
        while at is not None:
            at, found = yield from self._step(at)
            seen |= {member: self._letter(member, value) for member, value in found.items()}
        return heapq.nsmallest(n, seen.values(), key=lambda letter: (letter.time, letter.key))

    def revive(self, key: str | None) -> Plan[int]:
        """Move the letter of a key back to the schedule, or all letters; returns how many.

        The keys get their own run_at, and their attempts count from one again. A key that was scheduled meanwhile keeps
        that schedule, and its letter is deleted all the same. A letter that cannot be read stays and does not count.

        If another primary takes over meanwhile, a letter that was revived and is there again counts twice.

        Raises:
            OutcomeUnknown: a reply was lost, and now a letter is gone: this call or somebody else took it.
            StoreError: nothing was done. If key is None, that holds for the step of some 500 letters that failed, and
                the message says how many letters the steps before it revived.
        """
        return self._each(key, revive, "revived")

    def drop(self, key: str | None) -> Plan[int]:
        """Delete the letter of a key, or all letters; returns how many. Raises as `revive`."""
        return self._each(key, drop, "dropped")

    def _each(
        self, key: str | None, verb: Callable[[QueueKeys, Sequence[bytes]], Request[Moved]], past: str
    ) -> Plan[int]:
        if key is not None:
            moved: Moved = yield verb(self._keys, [to_member(key)])
            return moved.done
        done = 0
        at: _Place | None = self._start
        try:
            while at is not None:
                at, found = yield from self._step(at)
                if found:
                    moved = yield verb(self._keys, list(found))
                    done += moved.done
        except StoreError as error:
            if done:
                error.args = (f"{error}; {done:,} dead letters were {past} before that",)
            raise
        return done

    def _letter(self, member: bytes, value: bytes) -> DeadLetter:
        fields = LETTER.fullmatch(value)
        if fields:
            time, attempts, run_at, reason = fields.groups()
            text = reason.decode(errors="replace")
            return DeadLetter(to_key(member), from_score(run_at), int(attempts), text, from_score(time))
        if not self._warned:
            self._warned = True
            warn(
                "the dead letter of %s in %r cannot be read, because another client wrote it: peek shows it raw, "
                "revive leaves it, drop deletes it; of further ones nothing is logged",
                show(to_key(member)),
                self._keys.dead,
            )
        text = value.decode(errors="replace")
        raw = text if len(text) <= LONGEST_RAW else text[: LONGEST_RAW - 1] + "…"
        return DeadLetter(to_key(member), EPOCH, 0, raw, EPOCH)

    @property
    def _start(self) -> _Place:
        return _Place(b"0", self._generation())

    def _step(self, at: _Place) -> Plan[tuple[_Place | None, dict[bytes, bytes]]]:
        """Read some letters: in all steps each that exists from the first to the last; a letter may come twice.

        A cursor is a place in the table of one server, and another one has the same letters in other places. So when
        another primary takes over, all begins anew.

        Returns where the next step begins, or None after the last one, and the letters.
        """
        following, found = yield step(self._keys, at.cursor)
        start = self._start
        if start.generation != at.generation:
            return start, found
        return (start._replace(cursor=following) if int(following) else None), found


def _who_took(asked: int, moved: Moved) -> str | None:
    """The beginning of the message that `Request.result` completes with "is unknown, because ..."."""
    return "dead letters are gone; whether this call took them" if sum(moved) < asked else None


def _to_moved(reply: tuple[int, int]) -> Moved:
    return Moved(*reply)


def _to_dropped(reply: int) -> Moved:
    return Moved(reply, 0)


def _to_step(reply: tuple[bytes, list[bytes]]) -> tuple[bytes, dict[bytes, bytes]]:
    cursor, flat = reply
    return cursor, dict(zip(flat[::2], flat[1::2], strict=True))
