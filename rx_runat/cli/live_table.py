"""`rx-runat stats --watch` on a terminal: a small live table. The only file that imports rich (extra `watch`)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rx_runat.errors import Unavailable
from rx_runat.model.humanize import late, readable, until
from rx_runat.model.job import Due
from rx_runat.model.stats import Stats
from rx_runat.queue import RunAt, inside

_KEYS = 10  # rows of keys, if the terminal is that high
_OTHER_ROWS = 9  # of the terminal: the title, five numbers, an empty row, an outage, and the cursor
_NAME_WIDTH = 40  # characters of a key


def live_table(queue: RunAt, descriptor: int) -> AbstractContextManager[LiveTable] | None:
    """Returns a table that stays in its place while it is open; None: the terminal cannot move its cursor.

    Args:
        queue: the queue that it shows.
        descriptor: of the terminal.
    """
    # Its own file, in UTF-8 whatever the locale says, as all output of this command.
    file = open(descriptor, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - lives as long as the command
    console = Console(file=file, force_terminal=True)
    return None if console.is_dumb_terminal else opened(queue, console)


@contextmanager
def opened(queue: RunAt, console: Console) -> Generator[LiveTable]:
    """Shows a table as long as the `with` block runs, and then leaves it there."""
    with Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        yield LiveTable(queue, live)


class LiveTable:
    """Shows a queue as a table: its numbers, its next keys, and an outage below them.

    Args:
        queue: the queue.
        live: the place on the terminal.
    """

    def __init__(self, queue: RunAt, live: Live) -> None:
        self._queue = queue
        self._live = live
        within = inside(queue)
        title = f"{readable(within.name)} on {within.store.where}"
        self._title = Text(title, style="bold", no_wrap=True, overflow="ellipsis")
        self._seen = Group()

    def look(self) -> None:
        """Show the queue as it is now."""
        rows = max(1, min(_KEYS, self._live.console.height - _OTHER_ROWS))
        stats, dues = self._queue.stats(), self._queue.peek(rows)
        self._seen = Group(self._title, _numbers(stats), Text(), _next_keys(dues))
        self._live.update(self._seen, refresh=True)

    def tell(self, outage: Unavailable) -> None:
        """Show what was seen last, and why there is nothing newer."""
        self._live.update(Group(self._seen, Text(readable(str(outage), 500), style="red")), refresh=True)


def _numbers(stats: Stats) -> Table:
    """One below the other: side by side, a narrow terminal would show the beginning of a number only."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right", no_wrap=True)
    for name, number in asdict(stats).items():
        if name == "lateness":
            table.add_row(name, Text(late(number), style="yellow" if number else ""))
        else:
            table.add_row(name, Text(f"{number:,}", style="red" if name == "dead" and number else ""))
    return table


def _next_keys(dues: Sequence[Due]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for due in dues:
        name = Text(readable(due.key, _NAME_WIDTH), no_wrap=True, overflow="ellipsis")
        table.add_row(name, Text(until(-due.lateness), style="yellow" if due.lateness > 0 else "", no_wrap=True))
    return table
