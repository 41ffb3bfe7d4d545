"""The command `rx-runat`: its arguments, and what each of its commands does."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from types import FrameType

from rx_runat.cli.duplex import Duplex
from rx_runat.cli.lines import parse_data, parse_line, to_line, with_data
from rx_runat.cli.pipe import PipeWriter
from rx_runat.cli.standard import descriptor, keep_closed, print_error
from rx_runat.cli.work_options import add_options
from rx_runat.errors import RunAtError
from rx_runat.model.dead_letter import DeadLetter
from rx_runat.model.job import KEEP, check_keep
from rx_runat.queue import RunAt, inside

_EPILOG = """\
WHEN is a delay (+0.5, +10s, +5m), ISO 8601 with an offset, or epoch milliseconds (1700000000000ms); a line may also be
{"runAt": <epoch ms>, "key": <str>, "data": <any JSON value>}, where "data" may be left out. With --json, only
a key that has data prints "data". Exit status: 0; 1 if a line or the queue failed; 2 for wrong usage.

  printf 'last +0.56\\nmiddle +0.41\\nfirst +0.33\\n' | rx-runat
  rx-runat schedule mail +10m --data '{"to": "ann"}' --redis redis://localhost:6379
"""

_SCHEDULE_EPILOG = """\
Prints the moment for which the key is scheduled afterwards, or nothing if --keep absent finds it out under a lease.
Data belongs to its key: without --data the key keeps what it has, and --data null removes that.
"""

_GC_DESCRIPTION = """\
Delete data whose keys are neither scheduled nor out under a lease, and print of how many. npm runat leaves such data,
because it takes keys and does not know of their data.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    keep_closed()
    options = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return _COMMANDS[options.command](options)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        return 0
    except (RunAtError, OSError) as error:
        print_error(str(error))
        return 1


# The commands.


def _filter(options: argparse.Namespace) -> int:
    with _open(options, needs_lasting_server=False) as queue:
        return Duplex(queue, options.json).run(reads=True, prints=True, follows=options.follow)


def _tail(options: argparse.Namespace) -> int:
    with _open(options) as queue:
        return Duplex(queue, options.json).run(reads=False, prints=True, follows=True)


def _schedule(options: argparse.Namespace) -> int:
    if options.words:
        job = parse_line(" ".join(options.words))
        data = job.data if options.data is None else parse_data(options.data)
        with _open(options) as queue:
            run_at = queue.schedule(job.key, job.run_at, check_keep(options.keep or "last"), data=data)
        if run_at is not None:
            _print(run_at.isoformat())
        return 0
    if options.data is not None or options.keep is not None:
        options.refuse("--data and --keep belong to KEY WHEN; a line of standard input names its data itself")
    with _open(options) as queue:
        return Duplex(queue, options.json).run(reads=True, prints=False, follows=False)


def _peek(options: argparse.Namespace) -> int:
    with _open(options) as queue:
        dues = queue.peek(options.n)
    _print(*(to_line(due, True) if options.json else f"{due.key} {due.run_at.isoformat()}" for due in dues))
    return 0


def _size(options: argparse.Namespace) -> int:
    with _open(options) as queue:
        _print(str(queue.size()))
    return 0


def _gc(options: argparse.Namespace) -> int:
    with _open(options) as queue:
        _print(str(inside(queue).store.gc()))
    return 0


def _cancel(options: argparse.Namespace) -> int:
    with _open(options) as queue:
        missing = [key for key in options.keys if not queue.cancel(key)]
    for key in missing:
        print_error(f"{key!r} was not scheduled")
    return 1 if missing else 0


def _dead(options: argparse.Namespace) -> int:
    with _open(options) as queue:
        if options.verb == "peek":
            letters = queue.dead.peek(options.n)
            _print(*(_letter(letter, options.json) for letter in letters))
            return 0
        act = queue.dead.revive if options.verb == "revive" else queue.dead.drop
        if options.all:
            _print(str(act(None)))
            return 0
        missing = [key for key in options.keys if not act(key)]
    what = "is no dead letter that can be revived" if options.verb == "revive" else "is no dead letter"
    for key in missing:
        print_error(f"{key!r} {what}")
    return 1 if missing else 0


def _work(options: argparse.Namespace) -> int:
    from rx_runat.cli.work import work  # imports asyncio's subprocesses and more, which the other commands do not need

    return work(options, partial(_open, options))


def _letter(letter: DeadLetter, as_json: bool) -> str:
    run_at, time = letter.run_at.isoformat(), letter.time.isoformat()
    if not as_json:
        return f"{letter.key} {run_at} {letter.attempts} {time} {letter.reason!r}"
    fields = {"key": letter.key, "run_at": run_at, "attempts": letter.attempts, "time": time, "reason": letter.reason}
    return json.dumps(with_data(fields, letter.data))


_COMMANDS = {
    None: _filter,
    "tail": _tail,
    "schedule": _schedule,
    "peek": _peek,
    "size": _size,
    "cancel": _cancel,
    "dead": _dead,
    "gc": _gc,
    "work": _work,
}


def _print(*lines: str) -> None:
    output = PipeWriter(descriptor(sys.stdout, "output"))
    for line in lines:
        output.write(line)


def _open(options: argparse.Namespace, needs_lasting_server: bool = True) -> RunAt:
    url = options.redis or os.environ.get("REDIS_URL") or "embedded://"
    if needs_lasting_server and url == "embedded://":
        raise RunAtError(
            f"{options.command}: a private server would end with this command; name a lasting one by --redis or "
            "$REDIS_URL, such as redis://localhost:6379 or embedded:///absolute/dir"
        )
    return RunAt(url, queue_name=options.queue_name, interval=options.interval)


def _options() -> argparse.ArgumentParser:
    """Return the options that may stand before the command or after it.

    Each parser needs a copy of its own, because argparse writes defaults into it.
    """
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--redis", metavar="URL", help="default: $REDIS_URL, else a private server (embedded://)")
    common.add_argument("--queue-name", metavar="NAME", help="default: RunAt~default")
    common.add_argument(
        "--interval", type=float, metavar="SECONDS", help="longest time between two looks at Redis; default: 0.1"
    )
    common.add_argument("--json", action="store_true", help="print key, run_at, lateness (seconds) and data as JSON")
    return common


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rx-runat",
        parents=[_options()],
        description="Schedule keys from standard input, print them as they fall due.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--follow", action="store_true", help="go on when all scheduled keys were printed")
    parser.set_defaults(redis=None, queue_name="RunAt~default", interval=0.1, json=False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_schedule(
        commands.add_parser(
            "schedule",
            parents=[_options()],
            help="schedule KEY WHEN, or the lines of standard input",
            epilog=_SCHEDULE_EPILOG,
        )
    )
    commands.add_parser("tail", parents=[_options()], help="print keys as they fall due, until stopped")
    peek = commands.add_parser("peek", parents=[_options()], help="print the next keys without taking them")
    peek.add_argument("n", nargs="?", type=int, default=10, help="how many; default: 10")
    commands.add_parser("size", parents=[_options()], help="print how many keys wait")
    cancel = commands.add_parser("cancel", parents=[_options()], help="take keys out of the schedule")
    cancel.add_argument("keys", nargs="+", metavar="KEY")
    _add_dead(commands.add_parser("dead", parents=[_options()], help="peek at, revive or drop keys that were given up"))
    commands.add_parser(
        "gc", parents=[_options()], help="delete data that no key has any more", description=_GC_DESCRIPTION
    )
    add_options(commands.add_parser("work", parents=[_options()], help="work on keys by a function or by a command"))
    return parser


def _add_schedule(schedule: argparse.ArgumentParser) -> None:
    schedule.set_defaults(refuse=schedule.error)
    schedule.add_argument("words", nargs="*", metavar="KEY WHEN")
    schedule.add_argument("--data", metavar="JSON", help="what KEY carries: any JSON value")
    schedule.add_argument(
        "--keep",
        choices=KEEP,
        help="which schedule stands if KEY has one already; default: last, which is this one. absent: schedule KEY "
        "only if it neither waits nor is out under a lease",
    )


def _add_dead(dead: argparse.ArgumentParser) -> None:
    dead.set_defaults(verb="peek", n=10)
    verbs = dead.add_subparsers(metavar="VERB", title="verbs (default: peek)")
    peek = verbs.add_parser(
        "peek", parents=[_options()], help="print key, run_at, attempts, time and reason, with --json also data"
    )
    peek.add_argument("n", nargs="?", type=int, default=10, help="how many; default: 10")
    for verb, what in (("revive", "bring keys back to the schedule"), ("drop", "delete dead letters")):
        act = verbs.add_parser(verb, parents=[_options()], help=what)
        act.set_defaults(verb=verb)
        which = act.add_mutually_exclusive_group(required=True)
        which.add_argument("keys", nargs="*", default=[], metavar="KEY")
        which.add_argument("--all", action="store_true", help="all dead letters; prints how many there were")


def _terminate(signal_number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + signal_number)
