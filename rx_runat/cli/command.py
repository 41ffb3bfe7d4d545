"""The command `rx-runat`: which of its commands runs, and how it ends."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

from rx_runat.cli.arguments import make_parser
from rx_runat.cli.dead import dead
from rx_runat.cli.duplex import Duplex
from rx_runat.cli.opening import open_queue
from rx_runat.cli.standard import keep_closed, print_error
from rx_runat.cli.verbs import cancel, gc, peek, schedule, size, stats
from rx_runat.errors import RunAtError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    keep_closed()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        options = make_parser().parse_args(argv)
        return _COMMANDS[options.command](options)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        return 0
    except (RunAtError, OSError) as error:
        print_error(str(error))
        return 1


def _filter(options: argparse.Namespace) -> int:
    with open_queue(options, needs_lasting_server=False) as queue:
        return Duplex(queue, options.json).run(reads=True, prints=True, follows=options.follow)


def _tail(options: argparse.Namespace) -> int:
    with open_queue(options) as queue:
        return Duplex(queue, options.json).run(reads=False, prints=True, follows=True)


def _work(options: argparse.Namespace) -> int:
    from rx_runat.cli.work import work  # imports much that the other commands do not need

    return work(options)


def _ui(options: argparse.Namespace) -> int:
    try:
        from rx_runat.cli.ui import ui
    except ImportError:
        options.refuse("the page needs starlette and uvicorn; pip install 'rx-runat[ui]'")
        raise
    return ui(options)


_COMMANDS: Mapping[str | None, Callable[[argparse.Namespace], int]] = {
    None: _filter,
    "tail": _tail,
    "schedule": schedule,
    "peek": peek,
    "size": size,
    "stats": stats,
    "cancel": cancel,
    "dead": dead,
    "gc": gc,
    "work": _work,
    "ui": _ui,
}


def _terminate(signal_number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + signal_number)
