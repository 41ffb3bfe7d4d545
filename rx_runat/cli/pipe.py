"""Writes lines to standard output. On a pipe, a line is delivered when the reader has read it.

A pipe can hold thousands of lines that nobody has read, and they are lost with it: `rx-runat | head -1` would lose
every key but the first. So on a pipe, `write` returns when the reader has read the line. If the reader leaves instead,
`write` raises, and the key is handed back to the queue.

`write` waits for a slow reader for half a second only: some programs read the output after this command has ended, and
waiting for such a reader would never end.
"""

from __future__ import annotations

import os
import select
import stat
import sys

from rx_runat.cli.standard import descriptor, escaped
from rx_runat.model.monotonic import monotonic

PATIENCE_SECONDS = 0.5  # a reader that leaves after a line does so within milliseconds; 0.1 s or more on a busy host
_PIECE = 4096  # bytes that a pipe takes without blocking once it is ready
_SPINS = 200  # checks without a pause: a reader on another core takes 20 us for a line, a pause would take 1 ms


def print_lines(*lines: str) -> None:
    """Print lines on standard output; see `PipeWriter.write`."""
    output = PipeWriter(descriptor(sys.stdout, "output"))
    for line in lines:
        output.write(line)


class PipeWriter:
    """Writes lines to a file descriptor.

    Args:
        descriptor: a file descriptor that is open for writing.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_terminal = os.isatty(descriptor)
        self._is_pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode) and _unread(descriptor) is not None
        self._closed = False
        self._broken = select.poll()
        self._broken.register(descriptor, 0)  # reports errors only
        self._ready = select.poll()
        self._ready.register(descriptor, select.POLLOUT)

    def write(self, line: str) -> None:
        """Write a line; on a pipe, wait until the reader has read it; on a terminal, escape what it would obey.

        Raises:
            BrokenPipeError: the reader left without reading the line, or `close` was called meanwhile.
        """
        text = escaped(line) if self._is_terminal else line
        rest = memoryview(text.encode(errors="surrogateescape") + b"\n")  # a slice of it is no copy
        while rest:
            while not self._ready.poll(50):
                if self._closed:
                    raise BrokenPipeError
            rest = rest[os.write(self._descriptor, rest[:_PIECE]) :]
        if self._is_pipe:
            self._wait_for_reader()

    def close(self) -> None:
        """Break off a write that waits for its reader. The descriptor stays open."""
        self._closed = True

    def _wait_for_reader(self) -> None:
        spins, deadline = 0, monotonic() + PATIENCE_SECONDS
        while _unread(self._descriptor):
            if self._broken.poll(0 if spins < _SPINS else 1):
                if _unread(self._descriptor):
                    raise BrokenPipeError
                return  # the reader read the line, and then left
            if monotonic() > deadline:
                return
            spins += 1


def _unread(descriptor: int) -> int | None:
    """How many bytes of a pipe nobody has read; None if the system does not tell."""
    try:
        import fcntl
        import termios

        count = fcntl.ioctl(descriptor, termios.FIONREAD, b"\0\0\0\0")
        return int.from_bytes(count, "little")
    except (ImportError, OSError):
        return None
