"""What workers note while they work, and what it proves: evidence that lies outside of the queue.

PID out KEY ATTEMPT BEGAN ENDS       the claim came; its lease, in epoch ms on Redis's clock
PID begun KEY ATTEMPT BEGAN ENDS     its work has begun
PID done KEY ATTEMPT BEGAN ENDS      the work has had its effect; there may be more of it before the ack
PID ANSWER KEY ATTEMPT BEGAN ENDS    what the ack answered: yes, no, unknown (perhaps done), away (not done)
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import NamedTuple

from rx_runat import Claim

ANSWERS = ("yes", "no", "unknown", "away")


class Note(NamedTuple):
    """A line of the ledger; of the lease it is right where the word is `out`, before it was extended."""

    pid: int
    word: str
    key: str
    attempt: int
    began: int
    ends: int


class Ledger:
    """A file that many processes append to, a whole line each time: a kill leaves what was written until then.

    Attributes:
        notes: those read so far, in the order in which they were written.
        done: the keys whose work has had its effect.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self._rest = b""
        self.notes: list[Note] = []
        self.done: set[str] = set()
        self._in_hand: dict[int, dict[tuple[str, int], Note]] = defaultdict(dict)

    def write(self, word: str, claim: Claim) -> None:
        ends = round(claim.deadline.timestamp() * 1000)
        began = ends - round(claim.lease * 1000)
        os.write(self._file, f"{os.getpid()} {word} {claim.key} {claim.attempt} {began} {ends}\n".encode())

    def read(self) -> list[Note]:
        """All notes until now."""
        while data := os.read(self._file, 1 << 20):
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                pid, word, key, *numbers = line.decode().split()
                self._take(Note(int(pid), word, key, *map(int, numbers)))
        return self.notes

    def _take(self, note: Note) -> None:
        self.notes.append(note)
        if note.word == "out":
            self._in_hand[note.pid][note.key, note.attempt] = note
        elif note.word == "done":
            self.done.add(note.key)
        elif note.word in ANSWERS:
            self._in_hand[note.pid].pop((note.key, note.attempt))

    def in_hand(self, pid: int) -> list[Note]:
        """The claims of a process whose ack is not answered yet."""
        self.read()
        return list(self._in_hand[pid].values())

    def of(self, pid: int, word: str) -> list[Note]:
        """What a process noted under a word."""
        return [note for note in self.read() if (note.pid, note.word) == (pid, word)]

    def close(self) -> None:
        os.close(self._file)


class Figures(NamedTuple):
    """What a run came to.

    Attributes:
        keys: how many were done.
        claims: how many claims came to somebody.
        killed_in_hand: claims that a killed process had in hand.
        twice: keys done more than once,
        by_kill: of these, those that a process had done which was killed before it knew the answer to its ack,
        by_lease: and the others: somebody outlived the lease, or could not reach the server.
        late_ms: how long after the end of a killed process's lease its keys came to somebody: median and longest.
    """

    keys: int
    claims: int
    killed_in_hand: int
    twice: int
    by_kill: int
    by_lease: int
    late_ms: tuple[int, int]

    def show(self, record: Callable[[str, object], None], **more: object) -> None:
        """In the output of a test, and in a JUnit report."""
        for name, value in (self._asdict() | more).items():
            record(name, value)
            print(f"{name:>14}  {value}")


def judge(ledger: Ledger, keys: Collection[str], killed: Collection[int], forgetful: bool = False) -> Figures:
    """Assert of a run that has ended what claims promise, and count the rest.

    Every key is done. No claim comes to two. No key is out twice while its lease lives. The answers are true: a yes is
    the end; who is told no was overtaken; where nothing was done, it is done again.

    Args:
        ledger: of the run.
        keys: those that were scheduled, once each.
        killed: processes that were.
        forgetful: the server may have forgotten what it had answered: then every key is done, and no more is sure.
    """
    out: dict[str, dict[int, Note]] = defaultdict(dict)
    done: dict[str, list[int]] = defaultdict(list)
    answers: dict[tuple[str, int], str] = {}
    for note in ledger.read():
        if note.word == "out":
            assert forgetful or note.attempt not in out[note.key], f"one claim, twice: {note}"
            out[note.key][note.attempt] = note
        elif note.word == "done":
            done[note.key].append(note.attempt)
        elif note.word != "begun":
            assert note.word in ANSWERS
            answers[note.key, note.attempt] = note.word
    assert not set(keys) - done.keys(), "lost"
    assert not done.keys() - set(keys), "made up"

    late: list[int] = []
    for key, claims in out.items() if not forgetful else ():
        in_order = [claims[attempt] for attempt in sorted(claims)]
        for earlier, later in pairwise(in_order):
            after = later.began - earlier.ends
            assert after >= 0, f"out twice: {earlier}, {later}"
            if (key, earlier.attempt) not in answers and later.attempt == earlier.attempt + 1:
                late.append(after)
        *overtaken, last = [answers.get((key, claim.attempt)) for claim in in_order]
        assert "yes" not in overtaken, f"{key} came again after a yes: {overtaken}"
        assert last in ("yes", "unknown") or (last is None and in_order[-1].pid in killed), f"{key}, at last: {last}"

    twice = {key: attempts for key, attempts in done.items() if len(attempts) > 1}
    by_kill = {key for key, attempts in twice.items() if any((key, attempt) not in answers for attempt in attempts)}
    words = Counter((note.word, note.pid in killed) for note in ledger.notes)
    return Figures(
        keys=len(done),
        claims=words["out", True] + words["out", False],
        killed_in_hand=words["out", True] - sum(words[answer, True] for answer in ANSWERS),
        twice=len(twice),
        by_kill=len(by_kill),
        by_lease=len(twice) - len(by_kill),
        late_ms=(round(median(late)), max(late)) if late else (0, 0),
    )
