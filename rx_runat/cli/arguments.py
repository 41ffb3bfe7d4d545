"""The arguments of the command and of each of its commands, and what `--help` tells of them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from rx_runat.cli.pipe import print_lines
from rx_runat.cli.ui_options import UI, UI_EPILOG, add_ui_options
from rx_runat.cli.work_options import WORK, WORK_EPILOG, add_work_options
from rx_runat.model.job import KEEP

_WHEN = """\
WHEN is a delay (+0.5, +10s, +1h30m, +2d, +1w), ISO 8601 with an offset (2026-12-24T18:00:00+01:00), or epoch
milliseconds (1700000000000ms)"""

_EPILOG = f"""\
{_WHEN}; a line may also be {{"runAt": <epoch ms>, "key": <str>, "data": <any JSON value>}},
where "data" may be left out. With --json, only a key that has data prints "data". Empty keys, which other clients may
schedule, and keys that hold a newline need --json. Exit status: 0; 1 if a line or the queue failed; 2 for wrong usage.

The command ends when every key that it scheduled has come out; with --follow it stays. On a pipe, a key counts as
printed when the reader has read its line: after `| head -1`, Ctrl-C or SIGTERM, all other keys are back in the queue.
If the reader has read nothing for half a second, the line counts as printed and stays in the pipe. A second signal
ends the command at once, unless it comes within 0.2 s; keys that it holds are lost then.

  printf 'last +0.56\\nmiddle +0.41\\nfirst +0.33\\n' | rx-runat
  rx-runat schedule mail +10m --data '{{"to": "ann"}}' --redis redis://localhost:6379
"""

_SCHEDULE = f"""\
Schedule KEY for WHEN, or each line of standard input. {_WHEN}.
"""

_SCHEDULE_EPILOG = """\
Prints the moment for which the key is scheduled afterwards, or nothing if --keep absent finds it out under a lease.
Data belongs to its key: without --data the key keeps what it has, and --data null removes that.
"""

_TAIL = "Print keys as they fall due, until stopped. A key that is printed is taken: no other process receives it."

_PEEK = "Print the next keys and the moments for which they are scheduled, in order. Takes none of them."

_SIZE = f"Print how many keys wait; with --until, how many of them fall due by then. {_WHEN}."

_STATS = """\
Print the queue in numbers: how many keys are scheduled (due ones included), due, claimed (out under a lease) and dead
(dead letters), and the lateness of the oldest key that waits, in seconds.
"""

_CANCEL = """\
Take keys out of the schedule, with their data, and revoke leases on them. The exit status is 1 if one of the keys
neither waits nor is out under a lease.
"""

_DEAD = "Peek at the keys whose work was given up, count them, bring them back to the schedule, or delete them."

_DEAD_PEEK = "Print the oldest dead letters: key, run_at, attempts, time and reason, with --json also data."

_REVIVE = """\
Bring keys back to the schedule, with their data, due at once; attempts count from 1 again. A letter stays if its key
waits already or is out under a lease.
"""

_GC = """\
Delete data whose keys are neither scheduled nor out under a lease, and print how many keys these were; delete what is
kept of earlier attempts of such keys, too. npm runat leaves both, because it takes keys and knows of neither.
"""


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command."""
    parser = argparse.ArgumentParser(
        prog="rx-runat",
        parents=[_common_options()],
        description="Schedule keys from standard input, print them as they fall due.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--follow", action="store_true", help="go on when all scheduled keys were printed")
    parser.add_argument("--version", action=_PrintVersion)
    parser.set_defaults(redis=None, queue_name="RunAt~default", interval=0.1, json=False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_schedule(commands)
    _add(commands, "tail", "print keys as they fall due, until stopped", _TAIL)
    _add_n(_add(commands, "peek", "print the next keys without taking them", _PEEK))
    _add(commands, "size", "print how many keys wait", _SIZE).add_argument(
        "--until", metavar="WHEN", help="count only keys that fall due by then; a delay counts on Redis's clock"
    )
    _add(commands, "stats", "print the queue in numbers", _STATS).add_argument(
        "--watch",
        action="store_true",
        help="print a line a second, until stopped, also through outages; on a terminal, without --json and with the "
        "extra `watch` installed: a table of the numbers and the next keys, which stays in its place",
    )
    _add(commands, "cancel", "take keys out of the schedule", _CANCEL).add_argument("keys", nargs="+", metavar="KEY")
    _add_dead(commands)
    _add(commands, "gc", "delete data that no key has any more", _GC)
    add_ui_options(_add(commands, "ui", "serve a page that shows the queue in any browser", UI, UI_EPILOG))
    add_work_options(_add(commands, "work", "work on keys by a function or by a command", WORK, WORK_EPILOG))
    return parser


def _common_options() -> argparse.ArgumentParser:
    """Returns the options that may stand before the command or after it.

    Each parser needs a copy of its own, because argparse writes defaults into it.
    """
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--redis", metavar="URL", help="default: $REDIS_URL, else a private server (embedded://)")
    common.add_argument("--queue-name", metavar="NAME", help="default: RunAt~default")
    common.add_argument(
        "--interval", type=float, metavar="SECONDS", help="longest time between two looks at Redis; default: 0.1"
    )
    common.add_argument(
        "--json", action="store_true", help="print JSON; for a key: key, run_at, lateness (seconds) and data"
    )
    return common


def _add(commands: Any, name: str, summary: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    """Add a command that takes the common options, and return its parser.

    Args:
        commands: what `add_subparsers` returned, whose type argparse keeps to itself.
        name: of the command.
        summary: what the list of commands tells of it.
        description: what its own help tells.
        epilog: what its own help tells below the options.
    """
    added = commands.add_parser(name, parents=[_common_options()], help=summary, description=description, epilog=epilog)
    assert isinstance(added, argparse.ArgumentParser)
    return added


def _add_n(peek: argparse.ArgumentParser) -> None:
    peek.add_argument("n", nargs="?", type=int, default=10, help="how many; default: 10")


def _add_schedule(commands: Any) -> None:
    schedule = _add(
        commands, "schedule", "schedule KEY WHEN, or the lines of standard input", _SCHEDULE, _SCHEDULE_EPILOG
    )
    schedule.set_defaults(refuse=schedule.error)
    schedule.add_argument("words", nargs="*", metavar="KEY WHEN")
    schedule.add_argument("--data", metavar="JSON", help="what KEY carries: any JSON value")
    schedule.add_argument(
        "--keep",
        choices=KEEP,
        help="which schedule stands if KEY has one already; default: last, which is this one. absent: schedule KEY "
        "only if it neither waits nor is out under a lease",
    )


def _add_dead(commands: Any) -> None:
    dead = _add(commands, "dead", "peek at, count, revive or drop keys that were given up", _DEAD)
    dead.set_defaults(verb="peek", n=10)
    verbs = dead.add_subparsers(metavar="VERB", title="verbs (default: peek)")
    _add_n(_add(verbs, "peek", "print the oldest dead letters", _DEAD_PEEK))
    _add(verbs, "size", "print how many there are", "Print how many dead letters there are.").set_defaults(verb="size")
    for verb, summary, description in (
        ("revive", "bring keys back to the schedule", _REVIVE),
        ("drop", "delete dead letters", "Delete dead letters, with the data that they carry."),
    ):
        act = _add(verbs, verb, summary, description)
        act.set_defaults(verb=verb)
        which = act.add_mutually_exclusive_group(required=True)
        which.add_argument("keys", nargs="*", default=[], metavar="KEY")
        which.add_argument("--all", action="store_true", help="all that are there now; prints of how many")


class _PrintVersion(argparse.Action):
    """Prints the version when it is asked for: other commands do not pay for reading it."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help="print the version, and end")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        try:
            version = metadata.version("rx-runat")
        except metadata.PackageNotFoundError:  # it runs from a folder of sources
            version = "of an unknown version: it is not installed"
        print_lines(f"rx-runat {version}")
        parser.exit()
