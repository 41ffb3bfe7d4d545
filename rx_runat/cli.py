"""`rx-runat`: runat's Duplex as a Unix filter. Standard input is the sink, standard output the source."""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType

from rx_runat.errors import InvalidJob, RunAtError, StoreError
from rx_runat.job import Due, Job
from rx_runat.outlet import Outlet
from rx_runat.queue import RunAt
from rx_runat.text import parse_line, to_line

_BATCH = 1000  # lines in one round trip, at most; fewer where they come slowly
_CHUNK = 65_536

_EPILOG = """\
WHEN is a delay (+0.5, +10s, +5m), ISO 8601 with an offset, or epoch milliseconds (1700000000000ms); a line may also be
{"runAt": <epoch ms>, "key": <str>}. Exit status: 0, or 1 if a line or the queue failed, 2 for wrong usage.

  printf 'last +0.56\\nmiddle +0.41\\nfirst +0.33\\n' | rx-runat
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; answers its exit status."""
    options = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return _COMMANDS[options.command](options)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        return 0
    except RunAtError as error:
        _say(str(error))
        return 1


# The commands.


def _filter(options: argparse.Namespace) -> int:
    return Duplex(options).run(reads=True, follows=options.follow)


def _tail(options: argparse.Namespace) -> int:
    return Duplex(options).run(reads=False, follows=True)


def _schedule(options: argparse.Namespace) -> int:
    if not options.words:
        return Duplex(options).run(reads=True, follows=False, prints=False)
    job = parse_line(" ".join(options.words))
    with _open(options) as queue:
        sys.stdout.write(f"{queue.schedule(job.key, job.run_at).isoformat()}\n")
    return 0


def _peek(options: argparse.Namespace) -> int:
    with _open(options) as queue:
        outlet = Outlet(sys.stdout.fileno())
        for due in queue.peek(options.n):
            outlet.write(to_line(due, True) if options.json else f"{due.key} {due.run_at.isoformat()}")
    return 0


def _size(options: argparse.Namespace) -> int:
    with _open(options) as queue:
        sys.stdout.write(f"{queue.size()}\n")
    return 0


def _cancel(options: argparse.Namespace) -> int:
    with _open(options) as queue:
        missing = [key for key in options.keys if not queue.cancel(key)]
    for key in missing:
        _say(f"{key!r} did not wait")
    return 1 if missing else 0


_COMMANDS = {
    None: _filter,
    "tail": _tail,
    "schedule": _schedule,
    "peek": _peek,
    "size": _size,
    "cancel": _cancel,
}


class Duplex:
    """One queue between two streams: lines in are jobs, Dues out are lines.

    Args:
        options: of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._outlet = Outlet(sys.stdout.fileno())
        self._waiting: set[str] = set()  # what we scheduled and have not printed
        self._printed = 0
        self._writing = False
        self._read_all = False
        self._failed = False
        self._over = threading.Event()
        self._wake_reader, self._wake = os.pipe()

    def run(self, reads: bool, follows: bool, prints: bool = True) -> int:
        """Until all that was scheduled has come out, or for ever; answers the exit status."""
        with _open(self._options, alone=not (reads and prints)) as queue:
            if prints:
                queue.jobs.subscribe(self._print, self._end_with)
            if reads:
                self._read(queue)
            self._read_all = not follows
            if prints:
                self._wait(queue)
        return 1 if self._failed else 0

    def _print(self, due: Due) -> None:
        self._writing = True
        self._outlet.write(to_line(due, self._options.json))
        self._writing = False
        self._printed += 1
        self._waiting.discard(due.key)
        if self._read_all and not self._waiting:
            self._end()

    def _end_with(self, error: Exception) -> None:
        if not isinstance(error, BrokenPipeError):
            self._fail(str(error))
        self._end()

    def _end(self) -> None:
        self._over.set()
        os.write(self._wake, b".")

    def _fail(self, message: str) -> None:
        self._failed = True
        _say(message)

    def _read(self, queue: RunAt) -> None:
        progress = Progress()
        for first, lines in self._batches():
            jobs = list(self._jobs(first, lines))
            self._waiting.update(job.key for job in jobs)
            try:
                queue.on_next(jobs)
            except StoreError as error:
                self._waiting.difference_update(job.key for job in jobs)
                self._fail(
                    f"lines {first} to {first + len(lines) - 1} were not scheduled, nor those after them: {error}"
                )
                break
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
        source = sys.stdin.fileno()
        while not self._over.is_set():
            ready, _, _ = select.select([source, self._wake_reader], [], [])
            if self._wake_reader in ready:
                return
            chunk = os.read(source, _CHUNK)
            *lines, rest = (rest + chunk).split(b"\n") if chunk else [rest, b""]
            for start in range(0, len(lines), _BATCH):
                batch = lines[start : start + _BATCH]
                yield number, batch
                number += len(batch)
            if not chunk:
                return

    def _wait(self, queue: RunAt) -> None:
        """Until the end; a key of ours that another process took will not come, and is not waited for."""
        suspects: set[str] = set()
        printed = -1
        while not self._over.is_set() and not (self._read_all and not self._waiting):
            self._over.wait(1.0)
            if not self._read_all or self._writing or printed != self._printed:
                suspects.clear()
                printed = self._printed
                continue
            gone = {key for key in sorted(self._waiting)[:100] if queue.when(key) is None}
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


def _open(options: argparse.Namespace, alone: bool = True) -> RunAt:
    url = options.redis or os.environ.get("REDIS_URL") or "embedded://"
    if alone and url == "embedded://":
        raise RunAtError(
            f"{options.command}: a private server would be gone with this command; name one that stays with --redis "
            "or $REDIS_URL, such as redis://localhost:6379 or embedded:///absolute/dir"
        )
    return RunAt(url, queue_name=options.queue_name, interval=options.interval)


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--redis", metavar="URL", help="default: $REDIS_URL, else a private server (embedded://)")
    common.add_argument("--queue-name", metavar="NAME", help="default: RunAt~default")
    common.add_argument("--interval", type=float, metavar="SECONDS", help="between two looks, at most; default: 0.1")
    common.add_argument("--json", action="store_true", help="print key, run_at and lateness (seconds) as JSON")
    parser = argparse.ArgumentParser(
        prog="rx-runat",
        parents=[common],
        description="Schedule keys from standard input, print them as they fall due.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--follow", action="store_true", help="stay when all that was scheduled has come out")
    parser.set_defaults(redis=None, queue_name="RunAt~default", interval=0.1, json=False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="the halves alone")
    schedule = commands.add_parser("schedule", parents=[common], help="schedule KEY WHEN, or lines of standard input")
    schedule.add_argument("words", nargs="*", metavar="KEY WHEN")
    commands.add_parser("tail", parents=[common], help="print keys as they fall due, until stopped")
    peek = commands.add_parser("peek", parents=[common], help="print the next keys without taking them")
    peek.add_argument("n", nargs="?", type=int, default=10, help="how many; default: 10")
    commands.add_parser("size", parents=[common], help="print how many keys wait")
    cancel = commands.add_parser("cancel", parents=[common], help="take keys out of the schedule")
    cancel.add_argument("keys", nargs="+", metavar="KEY")
    return parser


def _say(message: str) -> None:
    sys.stderr.write(f"rx-runat: {message}\n")


def _terminate(signal_number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + signal_number)
