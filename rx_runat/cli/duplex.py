"""One queue between two streams of lines: lines that come in are scheduled, keys that fall due go out.

    stdin  --> _batches --> parse_line --> queue.on_next       on the main thread
    stdout <-- PipeWriter <-- to_line <-- _print <-- queue     on the queue's thread

Without `--follow` the command ends when every key that it scheduled was printed, or was taken by another process.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Collection, Iterator

from rx_runat.cli.lines import parse_line, to_line
from rx_runat.cli.pipe import PipeWriter
from rx_runat.cli.standard import Progress, descriptor, print_error
from rx_runat.errors import InvalidJob, OutcomeUnknown, StoreError, Unavailable
from rx_runat.model.job import Due, Job
from rx_runat.queue import RunAt

_BATCH = 1000  # lines in one round trip, at most; fewer if they come slowly
_CHUNK = 65_536  # bytes: what a pipe holds
_CHECK_SECONDS = 0.1  # while no input comes, how long it may take to notice that the output has ended
_CHECKED = 100  # keys that are looked up each second, one round trip each, to see whether another process took them


class Duplex:
    """Schedules the lines of standard input, and prints due keys on standard output.

    Args:
        queue: the queue between the two.
        as_json: True to print key, run_at and lateness as JSON; False to print the key alone.
    """

    def __init__(self, queue: RunAt, as_json: bool) -> None:
        self._queue = queue
        self._as_json = as_json
        self._output = PipeWriter(descriptor(sys.stdout, "output"))
        self._expects = False  # whether the command ends when its keys have come out; else it keeps none in mind
        self._expected: set[str] = set()  # keys that were scheduled here and not printed yet
        # Of these, the keys that were scheduled more than once. When one is printed, a later schedule may still wait.
        self._rescheduled: set[str] = set()
        self._printed = 0
        self._writing = False
        self._read_all = False
        self._failed = False
        self._over = threading.Event()

    def run(self, *, reads: bool, prints: bool, follows: bool) -> int:
        """Run until all keys that were scheduled here have come out, and return the exit status.

        Args:
            reads: True to schedule the lines of standard input.
            prints: True to print keys that fall due.
            follows: True to go on for ever.
        """
        self._expects = prints and not follows
        try:
            if prints:
                self._queue.jobs.subscribe(self._print, self._end_with)
            if reads:
                self._read()
            self._read_all = not follows
            if prints:
                self._wait()
        finally:
            self._output.close()  # a write whose reader does not read must not block the end
        return 1 if self._failed else 0

    def _print(self, due: Due) -> None:
        if due.key not in self._rescheduled or self._is_gone(due.key):
            self._expected.discard(due.key)
        self._writing = True
        self._output.write(to_line(due, self._as_json))
        self._writing = False
        self._printed += 1
        if self._read_all and not self._expected:
            self._over.set()

    def _is_gone(self, key: str) -> bool:
        try:
            return self._queue.when(key) is None
        except Unavailable:  # the stream survives that; `_wait` looks again
            return False

    def _end_with(self, error: Exception) -> None:
        if not isinstance(error, BrokenPipeError):
            self._fail(str(error))
        self._over.set()

    def _fail(self, message: str) -> None:
        self._failed = True
        print_error(message)

    def _read(self) -> None:
        progress = Progress()
        for first, lines in self._batches():
            last = first + len(lines) - 1
            if not self._schedule_lines(first, last, dict(self._jobs(first, lines))):
                break
            progress.show(last)
        progress.clear()

    def _schedule_lines(self, first: int, last: int, jobs: dict[int, Job]) -> bool:
        """Schedule the jobs of some lines. Returns False after an error that ends the reading."""
        try:
            self._schedule(jobs.values())
        except InvalidJob as error:  # of a limit of the queue, such as that of data
            if len(jobs) > 1:
                return all(self._schedule_lines(number, number, {number: job}) for number, job in jobs.items())
            self._fail(f"line {next(iter(jobs))}: {error}")
        except StoreError as error:
            what = "may be scheduled, or not" if isinstance(error, OutcomeUnknown) else "were not scheduled"
            self._fail(f"lines {first} to {last} {what}; no line after them was scheduled: {error}")
            return False
        return True

    def _schedule(self, jobs: Collection[Job]) -> None:
        keys = {job.key for job in jobs} if self._expects else set[str]()
        again = self._expected & keys
        self._rescheduled |= again
        self._expected |= keys
        try:
            # One that is alone is no list, so that an error does not speak of its place there.
            self._queue.on_next(next(iter(jobs)) if len(jobs) == 1 else list(jobs))
        except (InvalidJob, StoreError):
            self._expected -= keys - again
            raise
        # A key in `again` may have come out by its earlier schedule during the write, which removed it from
        # `_expected`. Its new schedule is still to come.
        self._expected |= again

    def _jobs(self, first: int, lines: list[bytes]) -> Iterator[tuple[int, Job]]:
        for number, line in enumerate(lines, first):
            if line.strip():
                try:
                    yield number, parse_line(line.decode(errors="surrogateescape"))
                except InvalidJob as error:
                    self._fail(f"line {number}: {error}")

    def _batches(self) -> Iterator[tuple[int, list[bytes]]]:
        """Yield lines as soon as they come, up to 1,000 at a time, with the number of the first."""
        number = 1
        begun: list[bytes] = []  # the chunks of a line whose end has not come; joined once, because it may be long
        source = descriptor(sys.stdin, "input")
        while not self._over.is_set():
            ready, _, _ = select.select([source], [], [], _CHECK_SECONDS)
            if not ready:
                continue
            chunk = os.read(source, _CHUNK)
            if chunk and b"\n" not in chunk:
                begun.append(chunk)
                continue
            *lines, rest = b"".join((*begun, chunk or b"\n")).split(b"\n")
            begun = [rest]
            for start in range(0, len(lines), _BATCH):
                batch = lines[start : start + _BATCH]
                yield number, batch
                number += len(batch)
            if not chunk:
                return

    def _wait(self) -> None:
        """Wait until the command may end. A key that another process took will not come: stop expecting it.

        A key that is not in the schedule may also be in a claim of this process, on its way to the output. So it counts
        as taken only if it is missing at two checks, a second apart, and no line was printed or begun in between.
        """
        suspects: set[str] = set()
        printed = -1
        while not self._over.is_set() and not (self._read_all and not self._expected):
            self._over.wait(1.0)
            if not self._read_all or self._writing or printed != self._printed:
                suspects.clear()
                printed = self._printed
                continue
            try:
                missing = {key for key in sorted(self._expected)[:_CHECKED] if self._queue.when(key) is None}
            except Unavailable:  # the stream survives that, and so does this
                suspects.clear()
                continue
            self._expected -= missing & suspects
            suspects = missing
