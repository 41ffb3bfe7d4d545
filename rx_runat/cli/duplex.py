"""One queue between two streams of lines: what comes in is scheduled, what falls due goes out."""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections.abc import Iterator
from typing import TextIO

from rx_runat.cli.lines import parse_line, to_line
from rx_runat.cli.pipe import PipeWriter
from rx_runat.errors import InvalidJob, StoreError
from rx_runat.model.job import Due, Job
from rx_runat.queue import RunAt

_BATCH = 1000  # lines in one round trip, at most; fewer where they come slowly
_CHUNK = 65_536  # bytes: what a pipe holds
_LOOK_SECONDS = 0.1  # how long the end of the output may go unnoticed while no input comes


def say(message: str) -> None:
    """Tell the user, on standard error."""
    sys.stderr.write(f"rx-runat: {message}\n")


def descriptor(stream: TextIO | None, name: str) -> int:
    """The file descriptor of a standard stream.

    Raises:
        OSError: the shell has closed it.
    """
    if stream is None:
        raise OSError(f"standard {name} is closed")
    return stream.fileno()


class Duplex:
    """Standard input as a sink's producer, standard output as a source's subscriber.

    Args:
        queue: between the two.
        as_json: print key, run_at and lateness, not the key alone.
    """

    def __init__(self, queue: RunAt, as_json: bool) -> None:
        self._queue = queue
        self._as_json = as_json
        self._outlet = PipeWriter(descriptor(sys.stdout, "output"))
        self._waiting: set[str] = set()  # what we scheduled and have not printed
        self._again: set[str] = set()  # of these, what we scheduled again: one in hand may not be the last
        self._printed = 0
        self._writing = False
        self._read_all = False
        self._failed = False
        self._over = threading.Event()

    def run(self, *, reads: bool, prints: bool, follows: bool) -> int:
        """Until all that was scheduled has come out, or for ever; answers the exit status."""
        try:
            if prints:
                self._queue.jobs.subscribe(self._print, self._end_with)
            if reads:
                self._read()
            self._read_all = not follows
            if prints:
                self._wait()
        finally:
            self._outlet.close()  # a reader that does not read must not keep us
        return 1 if self._failed else 0

    def _print(self, due: Due) -> None:
        if due.key not in self._again or self._queue.when(due.key) is None:
            self._waiting.discard(due.key)
        self._writing = True
        self._outlet.write(to_line(due, self._as_json))
        self._writing = False
        self._printed += 1
        if self._read_all and not self._waiting:
            self._over.set()

    def _end_with(self, error: Exception) -> None:
        if not isinstance(error, BrokenPipeError):
            self._fail(str(error))
        self._over.set()

    def _fail(self, message: str) -> None:
        self._failed = True
        say(message)

    def _read(self) -> None:
        progress = Progress()
        for first, lines in self._batches():
            jobs = list(self._jobs(first, lines))
            again = self._waiting.intersection(job.key for job in jobs)
            self._again |= again
            self._waiting.update(job.key for job in jobs)
            try:
                self._queue.on_next(jobs)
            except StoreError as error:
                self._waiting.difference_update(job.key for job in jobs)
                self._fail(
                    f"lines {first} to {first + len(lines) - 1} were not scheduled, nor those after them: {error}"
                )
                break
            self._waiting |= again  # an earlier one may have come out while we wrote
            progress.show(first + len(lines) - 1)
        progress.clear()

    def _jobs(self, first: int, lines: list[bytes]) -> Iterator[Job]:
        for number, line in enumerate(lines, first):
            if line.strip():
                try:
                    yield parse_line(line.decode(errors="surrogateescape"))
                except InvalidJob as error:
                    self._fail(f"line {number}: {error}")

    def _batches(self) -> Iterator[tuple[int, list[bytes]]]:
        """The lines that have come, with the number of the first: as soon as they come, many at a time if they do."""
        number, rest = 1, b""
        source = descriptor(sys.stdin, "input")
        while not self._over.is_set():
            ready, _, _ = select.select([source], [], [], _LOOK_SECONDS)
            if not ready:
                continue
            chunk = os.read(source, _CHUNK)
            *lines, rest = (rest + chunk).split(b"\n") if chunk else [rest, b""]
            for start in range(0, len(lines), _BATCH):
                batch = lines[start : start + _BATCH]
                yield number, batch
                number += len(batch)
            if not chunk:
                return

    def _wait(self) -> None:
        """Until the end; a key of ours that another process took will not come, and is not waited for."""
        suspects: set[str] = set()
        printed = -1
        while not self._over.is_set() and not (self._read_all and not self._waiting):
            self._over.wait(1.0)
            if not self._read_all or self._writing or printed != self._printed:
                suspects.clear()
                printed = self._printed
                continue
            gone = {key for key in sorted(self._waiting)[:100] if self._queue.when(key) is None}
            self._waiting -= gone & suspects  # missing twice, and nothing printed between: not in our hand
            suspects = gone


class Progress:
    """How many lines were read: on a terminal, where the input is not typed there, and only if it takes long."""

    def __init__(self) -> None:
        self._shows = sys.stderr.isatty() and not sys.stdin.isatty()
        self._next = time.monotonic() + 0.5
        self._shown = False

    def show(self, lines: int) -> None:
        """Show a count, at most ten times a second."""
        if self._shows and time.monotonic() >= self._next:
            self._next = time.monotonic() + 0.1
            self._shown = True
            sys.stderr.write(f"\r{lines:,} lines scheduled")
            sys.stderr.flush()

    def clear(self) -> None:
        """Leave the line empty."""
        if self._shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
