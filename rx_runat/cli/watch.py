"""`rx-runat stats --watch`: looks at a queue once a second, and shows it until the command is stopped."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NoReturn, Protocol

from rx_runat.cli.lines import stats_line
from rx_runat.cli.pipe import PipeWriter
from rx_runat.cli.standard import descriptor, print_error
from rx_runat.errors import Unavailable
from rx_runat.queue import RunAt

_SECONDS = 1.0  # between two looks
_never = threading.Event()  # is never set: a wait for it is a pause that a signal ends


class View(Protocol):
    """Shows a queue."""

    def look(self) -> None:
        """Look at the queue, and show it. Raises as the verbs of the queue."""
        ...

    def tell(self, outage: Unavailable) -> None:
        """Tell that the queue could not be looked at."""
        ...


class Lines:
    """Shows a queue as one line of numbers for each look; an outage is one message on standard error.

    Args:
        queue: the queue.
        as_json: True: each line is JSON.
    """

    def __init__(self, queue: RunAt, as_json: bool) -> None:
        self._queue = queue
        self._as_json = as_json
        self._output = PipeWriter(descriptor(sys.stdout, "output"))
        self._is_away = False

    def look(self) -> None:
        """Print a line."""
        stats = self._queue.stats()
        self._is_away = False
        self._output.write(stats_line(stats, self._as_json))

    def tell(self, outage: Unavailable) -> None:
        """Print the first message of an outage."""
        if not self._is_away:
            self._is_away = True
            print_error(str(outage))


def watch(queue: RunAt, as_json: bool) -> NoReturn:
    """Show a queue until the command is stopped.

    Raises:
        StoreError: the first look failed, or a later one failed for a reason that stays, such as a wrong password.
    """
    with _view(queue, as_json) as view:
        look_again_and_again(view, lambda: _never.wait(_SECONDS))


def look_again_and_again(view: View, pause: Callable[[], object]) -> NoReturn:
    """Look and pause, for ever. The first look must succeed; later ones survive an outage.

    An error at the first look is most likely a wrong URL. Raises as `watch`.
    """
    view.look()
    while True:
        pause()
        try:
            view.look()
        except Unavailable as outage:
            view.tell(outage)


def _view(queue: RunAt, as_json: bool) -> AbstractContextManager[View]:
    if not as_json and sys.stdout is not None and sys.stdout.isatty():
        try:
            from rx_runat.cli.live_table import live_table
        except ImportError:  # without the extra `watch`
            pass
        else:
            table = live_table(queue, sys.stdout.fileno())
            if table is not None:
                return table
    return nullcontext(Lines(queue, as_json))
