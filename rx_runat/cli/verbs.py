"""The commands that do what the verb of the same name does."""

from __future__ import annotations

import argparse

from rx_runat.cli.duplex import Duplex
from rx_runat.cli.lines import parse_data, parse_line, stats_line, to_line
from rx_runat.cli.opening import open_queue
from rx_runat.cli.pipe import print_lines
from rx_runat.cli.standard import print_error
from rx_runat.cli.watch import watch
from rx_runat.model.job import check_keep
from rx_runat.model.when import parse_when
from rx_runat.queue import inside


def schedule(options: argparse.Namespace) -> int:
    """Schedule one key, or the lines of standard input."""
    if options.words:
        job = parse_line(" ".join(options.words))
        data = job.data if options.data is None else parse_data(options.data)
        with open_queue(options) as queue:
            run_at = queue.schedule(job.key, job.run_at, check_keep(options.keep or "last"), data=data)
        if run_at is not None:
            print_lines(run_at.isoformat())
        return 0
    if options.data is not None or options.keep is not None:
        options.refuse("--data and --keep belong to KEY WHEN; a line of standard input names its data itself")
    with open_queue(options) as queue:
        return Duplex(queue, options.json).run(reads=True, prints=False, follows=False)


def peek(options: argparse.Namespace) -> int:
    """Print the next keys."""
    with open_queue(options) as queue:
        dues = queue.peek(options.n)
    print_lines(*(to_line(due, True) if options.json else f"{due.key} {due.run_at.isoformat()}" for due in dues))
    return 0


def size(options: argparse.Namespace) -> int:
    """Print how many keys wait."""
    until = None if options.until is None else parse_when(options.until)
    with open_queue(options) as queue:
        print_lines(str(queue.size(until)))
    return 0


def stats(options: argparse.Namespace) -> int:
    """Print the queue in numbers, once or for ever."""
    with open_queue(options) as queue:
        if options.watch:
            watch(queue, options.json)
        print_lines(stats_line(queue.stats(), options.json))
    return 0


def cancel(options: argparse.Namespace) -> int:
    """Take keys out of the schedule."""
    with open_queue(options) as queue:
        missing = [key for key in options.keys if not queue.cancel(key)]
    for key in missing:
        print_error(f"{key!r} was not scheduled")
    return 1 if missing else 0


def gc(options: argparse.Namespace) -> int:
    """Delete data that no key has any more."""
    with open_queue(options) as queue:
        print_lines(str(inside(queue).store.gc()))
    return 0
