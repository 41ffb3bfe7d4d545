"""The command `rx-runat`: which of its commands runs, and how it ends."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

from rx_runat.cli.arguments import make_parser
from rx_runat.cli.dead import dead
from rx_runat.cli.duplex import Duplex
from rx_runat.cli.opening import open_queue
from rx_runat.cli.standard import COPIES_SECONDS, keep_closed, print_error
from rx_runat.cli.verbs import cancel, gc, peek, schedule, size, stats
from rx_runat.errors import RunAtError
from rx_runat.model.monotonic import monotonic


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status.

    Args:
        argv: its words; None: those of this process, whose signals are then the command's, too.
    """
    keep_closed()
    if argv is None:
        _end_by_signals()
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


def _end_by_signals() -> None:
    """Let the first SIGTERM or SIGINT end the command in order, and a later one at once.

    A copy of the first must not interrupt the end that has begun, because that hands keys back.
    """
    first: float | None = None

    def end(number: int, _: FrameType | None) -> None:
        nonlocal first
        if first is not None:
            if monotonic() - first >= COPIES_SECONDS:
                os._exit(128 + number)
            return
        first = monotonic()
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where a shell's background ignores it
        signal.signal(signal.SIGINT, end)
