"""The dead letters in Redis: keys whose work was given up, until somebody revives or drops them. Knows no Rx."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from rx_runat.errors import StoreError
from rx_runat.model.checks import show
from rx_runat.model.data import from_text
from rx_runat.model.dead_letter import DeadLetter
from rx_runat.model.members import to_key, to_member
from rx_runat.model.safe_log import warn
from rx_runat.model.times import EPOCH, from_score
from rx_runat.store.keys import QueueKeys
from rx_runat.store.request import Arg, Plan, Request, Script, new_token
from rx_runat.store.scan import Scan

LONGEST_RAW = 1000  # characters of a letter that cannot be read: as many as a reason has

# time, attempts, run_at, reason, and behind the last separator the data. Letters of earlier versions have no separator.
# The run_at is a score as Redis spells it, and so may be infinite. Lua counts exactly up to 15 digits, so no letter of
# ours has more attempts.
LETTER = re.compile(
    rb"(\d+) (\d{1,15}) ([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?inf(?:inity)?) (.*?)(?:\x1f([^\x1f]*))?",
    re.DOTALL | re.IGNORECASE,
)

REVIVE = Script("revive", "prelude")


class Moved(NamedTuple):
    """What a request did with dead letters.

    Attributes:
        done: how many were revived or dropped.
        stayed: how many are still there, because they cannot be read, or their keys wait or are out.
    """

    done: int
    stayed: int


def size(keys: QueueKeys) -> Request[int]:
    """Count the dead letters. Redis: `HLEN`."""
    return Request(("HLEN", keys.dead), int)


def revive(keys: QueueKeys, members: Sequence[bytes]) -> Request[Moved]:
    """Move dead letters back to the schedule, with their data. Redis: `revive.lua`.

    Those stay that cannot be read, and those whose keys wait or are out under a lease.

    A lost reply: OutcomeUnknown if a letter is gone, because the earlier sending or somebody else may have moved it.
    """
    words: list[Arg] = [4, keys.schedule, keys.dead, keys.claimed, keys.data, new_token(), *members]
    return Request(words, _to_moved, REVIVE, doubt=partial(_who_took, len(members)))


def drop(keys: QueueKeys, members: Sequence[bytes]) -> Request[Moved]:
    """Delete dead letters. A lost reply has the same effect as with `revive`. Redis: `HDEL`."""
    return Request(("HDEL", keys.dead, *members), _to_dropped, doubt=partial(_who_took, len(members)))


class RedisDeadLetters:
    """The plans on dead letters, which may need many requests; each request is bounded.

    The letters are one hash: a key that is buried a second time replaces its letter. A letter stays whatever happens to
    its key in the schedule.

    Args:
        keys: of the queue.
        generation: of the present primary; see `Route`.
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

        Redis: a hash has no order, so all of it is read, in one round trip for at most some 500 letters.
        """
        seen: dict[bytes, DeadLetter] = {}
        scan = Scan(self._keys.dead, self._generation)
        while not scan.is_over():
            found = yield from scan.step()
            seen |= {member: self._letter(member, value) for member, value in found.items()}
        return heapq.nsmallest(n, seen.values(), key=lambda letter: (letter.time, letter.key))

    def revive(self, key: str | None) -> Plan[int]:
        """Move the letter of a key back to the schedule, or all letters; returns how many.

        The keys get their own run_at and data, and their attempts count from one again. A letter whose key waits or is
        out under a lease stays and does not count; so does a letter that cannot be read.

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
        scan = Scan(self._keys.dead, self._generation)
        try:
            while not scan.is_over():
                found = yield from scan.step()
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
            time, attempts, run_at, reason, data = fields.groups()
            key, text = to_key(member), reason.decode(errors="replace")
            carried = from_text(to_key(data or b""), key)
            return DeadLetter(key, from_score(run_at), int(attempts), text, from_score(time), carried)
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


def _who_took(asked: int, moved: Moved) -> str | None:
    """The beginning of the message that `Request.result` completes with "is unknown, because ..."."""
    return "dead letters are gone; whether this call took them" if sum(moved) < asked else None


def _to_moved(reply: tuple[int, int]) -> Moved:
    return Moved(*reply)


def _to_dropped(reply: int) -> Moved:
    return Moved(reply, 0)
