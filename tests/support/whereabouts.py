"""Where each key of a queue is: written to Redis by name of a place, and read back as a value that tests compare.

    due ----- claim ----> taken, or leased --ack--> gone        The names of `PLACES` are states of one key; what lies
    coming                 |  |                                 in Redis for each is as `prelude.lua` describes it.
                 lease ends  --bury--> dead

A lease that has ended is read as what it means: its key waits again, with that attempt counted if it had begun. So a
key that some script has meanwhile brought back compares equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import redis

from rx_runat.store.keys import queue_keys
from tests.support.stores import Q

NAMES = queue_keys(Q)
HOUR = 3_600_000
FENCE = "\x1ffence00"
DATA = '{"to":"é"}'  # what the keys carry, as text
EARLY, NEWER, RETRY, ENDED, FAR = 1000, 2000, 3000, 5000, 4_000_000_000_000  # epoch ms; FAR: in the year 2096

_RECORD = re.compile(rb"(\S+) (-?\d+) (\S+) (\S+) (\S+)")
_NUMBER = re.compile(rb"-?\d+(\.\d+)?(e[+-]?\d+)?|-?inf")
_LETTER = re.compile(rb"\d+ (\d{1,15}) (\S+) (.*?)(?:\x1f([^\x1f]*))?", re.DOTALL)

Time: TypeAlias = "float | str"
"""Epoch ms; a time within some hours of the clock is spelled relative to it, as in `+1 h`."""


class Raw(NamedTuple):
    """What lies in Redis for one key; None: nothing."""

    score: float | str | None = None
    deadline: float | str | None = None
    record: str | bytes | None = None
    letter: str | bytes | None = None
    data: str | None = None


class Waits(NamedTuple):
    """A key in the schedule: when it is due, how many attempts it had, and the run_at of the run that it belongs to."""

    at: Time
    attempts: int
    run_at: Time


class Out(NamedTuple):
    """A key under a living lease. `attempt` is negative until it counts."""

    fence: str
    attempt: int
    run_at: Time
    deadline: Time


class Letter(NamedTuple):
    """A dead letter, without its date."""

    attempts: int
    run_at: float
    reason: bytes
    data: bytes


class Where(NamedTuple):
    """Where one key is; it may wait for its next run while this one is out, and have a dead letter beside both.

    `letter` is bytes where it cannot be read.
    """

    waits: Waits | None = None
    out: Out | None = None
    letter: Letter | bytes | None = None
    data: bytes | None = None


Whole: TypeAlias = dict[bytes, Where]


def spell(number: float) -> str:
    return format(number, ".17g")


def _places(now: int) -> dict[str, Raw]:
    lease, mark = now + HOUR, now + HOUR - 0.5
    letter = f"{now} 3 {EARLY} no such address\x1f{DATA}"
    places = {
        "absent": Raw(),
        "due": Raw(EARLY),
        "coming": Raw(FAR),
        "leased": Raw(None, lease, f"{FENCE} 1 {EARLY} - -"),
        "leased again": Raw(None, lease, f"{FENCE} 2 {EARLY} - -"),
        "leased, not begun": Raw(None, lease, f"{FENCE} -2 {EARLY} - -"),
        "leased, newer coming": Raw(FAR, lease, f"{FENCE} 1 {EARLY} - -"),
        "leased, newer due": Raw(NEWER, lease, f"{FENCE} 1 {EARLY} - -"),
        "parked": Raw(spell(mark), lease, f"{FENCE} 1 {EARLY} {spell(mark)} {NEWER}"),
        "ended": Raw(None, ENDED, f"{FENCE} 1 {EARLY} - -"),
        "ended, not begun": Raw(None, ENDED, f"{FENCE} -2 {EARLY} - -"),
        "ended, newer coming": Raw(FAR, ENDED, f"{FENCE} 1 {EARLY} - -"),
        "ended, parked": Raw(ENDED - 0.5, ENDED, f"{FENCE} 1 {EARLY} {ENDED - 0.5} {NEWER}"),
        "between attempts, due": Raw(RETRY, None, f"- 2 {EARLY} {RETRY} -"),
        "between attempts, coming": Raw(FAR, None, f"- 2 {EARLY} {FAR} -"),
        "dead": Raw(None, None, None, letter),
        "dead, due": Raw(EARLY, None, None, letter),
    }
    without = ("absent", "coming", "dead")
    return {name: raw if name in without else raw._replace(data=DATA) for name, raw in places.items()}


PLACES = tuple(_places(0))


def place(now: int, name: str) -> Raw:
    """Returns what lies in Redis for a key at a place; leases end in an hour from `now`, or have ended long ago."""
    return _places(now)[name]


def writes(keys: Mapping[bytes, Raw]) -> list[tuple[Any, ...]]:
    """Returns the commands that put keys where they are to be."""
    found: dict[tuple[str, str], list[Any]] = {}
    for key, raw in keys.items():
        for command, name, words in (
            ("ZADD", NAMES.schedule, None if raw.score is None else (raw.score, key)),
            ("ZADD", NAMES.claimed, None if raw.deadline is None else (raw.deadline, key)),
            ("HSET", NAMES.leases, None if raw.record is None else (key, raw.record)),
            ("HSET", NAMES.dead, None if raw.letter is None else (key, raw.letter)),
            ("HSET", NAMES.data, None if raw.data is None else (key, raw.data)),
        ):
            if words is not None:
                found.setdefault((command, name), []).extend(words)
    return [(*head, *words) for head, words in found.items()]


def batch(admin: Any, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Run commands in one round trip, on a connection; raises the error of the first that failed."""
    admin.send_packed_command(admin.pack_commands(commands))
    replies: list[Any] = []
    for _ in commands:
        try:
            replies.append(admin.read_response())
        except redis.ResponseError as error:
            replies.append(error)
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


READ: list[tuple[Any, ...]] = [
    ("TIME",),
    ("ZRANGE", NAMES.schedule, 0, -1, "WITHSCORES"),
    ("ZRANGE", NAMES.claimed, 0, -1, "WITHSCORES"),
    ("HGETALL", NAMES.leases),
    ("HGETALL", NAMES.dead),
    ("HGETALL", NAMES.data),
    ("KEYS", "*"),
]


def to_whole(replies: Sequence[Any]) -> tuple[Whole, list[bytes]]:
    """Returns what the replies to READ tell: where each key is, and the names of the receipts."""
    time, schedule, claimed, leases, dead, data, names = replies
    now = int(time[0]) * 1000 + int(time[1]) // 1000
    scores, ends = dict(schedule), dict(claimed)
    keys = {*scores, *ends, *leases, *dead, *data}
    whole = {
        key: _where(now, scores.get(key), ends.get(key), leases.get(key), dead.get(key))._replace(data=data.get(key))
        for key in keys
    }
    ours = {name.encode() for name in NAMES}
    return {key: where for key, where in whole.items() if where != Where()}, sorted(set(names) - ours)


def _where(now: int, score: float | None, end: float | None, record: bytes | None, letter: bytes | None) -> Where:
    when = relative_to(now)
    found = _RECORD.fullmatch(record or b"")
    fence, attempt, run_at, mark, waiting = found.groups() if found else (b"", b"1", b"", b"-", b"-")
    if not _NUMBER.fullmatch(run_at):
        fence, attempt, run_at, mark, waiting = (
            b"",
            b"1",
            spell(now).encode(),
            b"-",
            b"-",
        )  # a record that cannot be read is none
    number = int(attempt)
    marked = score is not None and _NUMBER.fullmatch(mark) and score == float(mark)
    waits = None if score is None else Waits(when(score), 0, when(score))
    if fence == b"-" and marked:
        waits = Waits(when(score), abs(number), when(float(run_at)))
    elif marked and _NUMBER.fullmatch(waiting):
        waits = Waits(when(float(waiting)), 0, when(float(waiting)))
    out = None
    if end is not None and end > now:
        out = Out(fence.decode(), number, when(float(run_at)), when(end)) if fence != b"-" else None
    elif end is not None and waits is None:
        counted = number if number > 0 else -number - 1
        waits = Waits(when(float(run_at)), counted, when(float(run_at)))
    return Where(waits, out, _letter(letter))


def relative_to(now: int) -> Callable[[float], Time]:
    """Returns a function that spells a time near the clock relative to it, and leaves any other as it is."""

    def spelled(time: float) -> Time:
        return f"+{round((time - now) / HOUR)} h" if abs(time - now) < 3.5 * HOUR else time

    return spelled


def _letter(value: bytes | None) -> Letter | bytes | None:
    found = _LETTER.fullmatch(value or b"")
    if not found or not _NUMBER.fullmatch(found.group(2)):
        return value
    return Letter(int(found.group(1)), float(found.group(2)), found.group(3), found.group(4) or b"")


def is_due(where: Where) -> bool:
    """True if a claim takes the key now."""
    at = where.waits.at if where.waits else "never"
    return where.out is None and (at == "+0 h" if isinstance(at, str) else at < FAR / 2)
