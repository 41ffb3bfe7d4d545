"""The standard streams: their descriptors, and what the command writes to standard error."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from typing import TextIO

from rx_runat.model.monotonic import monotonic

# What makes a terminal do something else than show it: control characters, bytes that are no UTF-8, line separators,
# and marks that reverse the direction of what follows.
_NOT_SHOWN = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")

# Seconds after the first signal in which others are taken for copies of it: `timeout` sends each signal to its command
# and then to the whole process group, and Ctrl-C reaches a worker from the terminal and by the program that started it.
COPIES_SECONDS = 0.2


def keep_closed() -> None:
    """Put the null device in the place of standard streams that the shell has closed.

    Else the next file or socket that is opened would get the number of such a stream, and what is meant for the stream
    would be read from it or written to it.
    """
    with suppress(OSError):
        while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
            os.set_inheritable(opened, True)  # for the commands of `work --exec`, too
        os.close(opened)


def escaped(text: str) -> str:
    r"""Returns a text with escapes, as JSON writes them, in place of what a terminal would obey instead of show.

    >>> print(escaped("a\x1b[2Jb"))
    a\u001b[2Jb
    """
    return _NOT_SHOWN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def descriptor(stream: TextIO | None, name: str) -> int:
    """Return the file descriptor of a standard stream.

    Raises:
        OSError: the shell has closed the stream.
    """
    if stream is None:
        raise OSError(f"standard {name} is closed")
    return stream.fileno()


def print_error(message: str) -> None:
    """Print a message on standard error, if that is open."""
    if _is_terminal(sys.stderr):
        message = escaped(message)
    with suppress(AttributeError, OSError):  # it is None, or nobody reads it
        sys.stderr.write(f"rx-runat: {message}\n")


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


class Progress:
    """Shows how many lines were scheduled, if that takes more than half a second.

    Only on a terminal, and only if the input is not typed there.
    """

    def __init__(self) -> None:
        self._shows = _is_terminal(sys.stderr) and not _is_terminal(sys.stdin)
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
