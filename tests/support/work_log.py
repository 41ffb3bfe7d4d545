"""The log that worker processes write while they work, and the check of what it proves.

The evidence lies outside of the queue, in a file. A line is `PID EVENT KEY ATTEMPT BEGAN ENDS`; the last two are the
begin and the end of the claim's lease, in epoch milliseconds on Redis's clock. The events of a claim, in order:

    claimed    the worker received the claim
    begun      its work has begun
    done       its work has had its effect; more of the work may follow before the ack
    acked      the ack returned True
    lost       the ack returned False: the lease was no longer the worker's
    unknown    the reply to the ack was lost: it may be done
    away       the server was away: the ack was not done
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

VERDICTS = ("acked", "lost", "unknown", "away")
"""The events that say what became of an ack; one of them is the last event of a claim."""


class LogLine(NamedTuple):
    """A line of the log. `began` and `ends` are exact where `event` is `claimed`: later, the lease may be extended."""

    pid: int
    event: str
    key: str
    attempt: int
    began: int
    ends: int


class WorkLog:
    """A file that many processes append to. Each line is one write, so a killed process leaves whole lines.

    Attributes:
        path: of the file.
        lines: those that were read so far, in the order in which they were written.
        done: the keys whose work has had its effect.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self._rest = b""
        self.lines: list[LogLine] = []
        self.done: set[str] = set()
        self._unsettled: dict[int, dict[tuple[str, int], LogLine]] = defaultdict(dict)

    def write(self, event: str, claim: Claim) -> None:
        """Append a line for this process."""
        ends = round(claim.deadline.timestamp() * 1000)
        began = ends - round(claim.lease * 1000)
        os.write(self._file, f"{os.getpid()} {event} {claim.key} {claim.attempt} {began} {ends}\n".encode())

    def read(self) -> list[LogLine]:
        """All lines until now."""
        while data := os.read(self._file, 1 << 20):
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                pid, event, key, *numbers = line.decode().split()
                self._add(LogLine(int(pid), event, key, *map(int, numbers)))
        return self.lines

    def _add(self, line: LogLine) -> None:
        self.lines.append(line)
        if line.event == "claimed":
            self._unsettled[line.pid][line.key, line.attempt] = line
        elif line.event == "done":
            self.done.add(line.key)
        elif line.event in VERDICTS:
            # There may be nothing to remove: a server that lost a claim can lease the same attempt again, which then
            # has two verdicts.
            self._unsettled[line.pid].pop((line.key, line.attempt), None)

    def unsettled(self, pid: int) -> list[LogLine]:
        """The `claimed` lines of a process for claims that have no verdict yet."""
        self.read()
        return list(self._unsettled[pid].values())

    def lines_of(self, pid: int, event: str) -> list[LogLine]:
        """The lines of a process with this event."""
        return [line for line in self.read() if (line.pid, line.event) == (pid, event)]

    def close(self) -> None:
        os.close(self._file)


class Summary(NamedTuple):
    """The counts of a run.

    Attributes:
        keys: keys that were done.
        claims: claims that were received.
        unsettled_by_kill: claims that a killed process had received and not settled.
        twice: keys that were done more than once,
        by_kill: of these, the keys whose process was killed between the work and the reply to its ack,
        by_lease: and the others: the work took longer than the lease, or the server was away.
        late_ms: how long after the end of a killed process's lease its keys were claimed again: median and longest.
    """

    keys: int
    claims: int
    unsettled_by_kill: int
    twice: int
    by_kill: int
    by_lease: int
    late_ms: tuple[int, int]

    def show(self, record: Callable[[str, object], None], **more: object) -> None:
        """Print the counts in the output of a test, and record them in its JUnit report."""
        for name, value in (self._asdict() | more).items():
            record(name, value)
            print(f"{name:>17}  {value}")


def check_work_log(
    log: WorkLog, keys: Collection[str], killed: Collection[int], server_forgot: bool = False
) -> Summary:
    """Assert that a finished run kept the promises of claims, and count the rest.

    The promises: every key is done. No claim is received by two workers. No key is claimed while its lease lives. The
    verdicts are true: after `acked` the key does not come again; before `lost` another attempt took it over; after
    `away` it is done again. An attempt comes again only if its work had not begun.

    Args:
        log: of the run.
        keys: those that were scheduled, once each.
        killed: the pids of the processes that were killed.
        server_forgot: True if the server may have lost writes that it had acknowledged. Then only the first promise
            holds, and only it is asserted.
    """
    claimed: dict[str, list[LogLine]] = defaultdict(list)
    begun: set[tuple[int, str, int]] = set()
    done: dict[str, list[int]] = defaultdict(list)
    verdicts: dict[tuple[str, int], str] = {}
    firsts: dict[int, LogLine] = {}  # the first claim of each process
    for line in log.read():
        if line.event == "claimed":
            # An attempt that has not begun does not count, so it may come again. `settle` gives back the first claim of
            # a process, if that is a later attempt: it counted at the claim, because the source did not know `settle`.
            unbegun = [each for each in claimed[line.key] if (each.pid, each.key, each.attempt) not in begun]
            for each in unbegun:
                if each is firsts[each.pid] and each.attempt == line.attempt > 1:
                    claimed[line.key].remove(each)
            firsts.setdefault(line.pid, line)
            for each in claimed[line.key]:
                comes_again = each.ends <= line.began and each in unbegun
                assert server_forgot or each.attempt != line.attempt or comes_again, f"one claim came twice: {line}"
            claimed[line.key].append(line)
        elif line.event == "begun":
            begun.add((line.pid, line.key, line.attempt))
        elif line.event == "done":
            begun.add((line.pid, line.key, line.attempt))
            done[line.key].append(line.attempt)
        else:
            assert line.event in VERDICTS
            verdicts[line.key, line.attempt] = line.event
    assert not set(keys) - done.keys(), "keys are missing"
    assert not done.keys() - set(keys), "keys came that nobody scheduled"

    late: list[int] = []
    for key, claims in claimed.items() if not server_forgot else ():
        for earlier, later in pairwise(sorted(claims, key=lambda claim: (claim.attempt, claim.began))):
            after = later.began - earlier.ends
            assert after >= 0, f"claimed during a lease: {earlier}, {later}"
            is_unsettled = later.attempt == earlier.attempt or (key, earlier.attempt) not in verdicts
            if is_unsettled and later.attempt <= earlier.attempt + 1:
                late.append(after)
        attempts = {claim.attempt: claim for claim in claims}  # the last claim of each attempt
        in_order = [attempts[attempt] for attempt in sorted(attempts)]
        *earlier_verdicts, last = [verdicts.get((key, claim.attempt)) for claim in in_order]
        assert "acked" not in earlier_verdicts, f"{key} came again after its ack: {earlier_verdicts}"
        is_killed = last is None and in_order[-1].pid in killed
        assert last in ("acked", "unknown") or is_killed, f"the last verdict on {key}: {last}"

    twice = {key: attempts for key, attempts in done.items() if len(attempts) > 1}
    by_kill = {key for key, attempts in twice.items() if any((key, attempt) not in verdicts for attempt in attempts)}
    counts = Counter((line.event, line.pid in killed) for line in log.lines)
    return Summary(
        keys=len(done),
        claims=counts["claimed", True] + counts["claimed", False],
        unsettled_by_kill=counts["claimed", True] - sum(counts[verdict, True] for verdict in VERDICTS),
        twice=len(twice),
        by_kill=len(by_kill),
        by_lease=len(twice) - len(by_kill),
        late_ms=(round(median(late)), max(late)) if late else (0, 0),
    )
