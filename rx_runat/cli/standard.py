"""The standard streams: their descriptors, and what the command writes to standard error."""

from __future__ import annotations

import sys
from typing import TextIO

from rx_runat.model.monotonic import monotonic


def descriptor(stream: TextIO | None, name: str) -> int:
    """Return the file descriptor of a standard stream.

    Raises:
        OSError: the shell has closed the stream.
    """
    if stream is None:
        raise OSError(f"standard {name} is closed")
    return stream.fileno()


def print_error(message: str) -> None:
    """Print a message on standard error."""
    sys.stderr.write(f"rx-runat: {message}\n")


class Progress:
    """Shows how many lines were scheduled, if that takes more than half a second.

    Only on a terminal, and only if the input is not typed there.
    """

    def __init__(self) -> None:
        self._shows = sys.stderr.isatty() and not sys.stdin.isatty()
        self._next = monotonic() + 0.5
        self._shown = False

    def show(self, lines: int) -> None:
        """Show a count; at most ten times a second."""
        if self._shows and monotonic() >= self._next:
            self._next = monotonic() + 0.1
            self._shown = True
            sys.stderr.write(f"\r{lines:,} lines scheduled")
            sys.stderr.flush()

    def clear(self) -> None:
        """Erase the count."""
        if self._shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
