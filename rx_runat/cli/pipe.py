"""Standard output as a subscriber: a line is delivered when the reader has it, not when it lies in a pipe.

A pipe holds thousands of lines that nobody has read, and they die with it: `rx-runat | head -1` would lose all but the
first. So on a pipe a line counts as written when the reader has taken it; a reader that goes leaves it unwritten, and
its key is handed back. A reader that is merely slow is waited for a moment only: a program that reads us after we have
ended must not wait for ever.
"""

from __future__ import annotations

import os
import select
import stat
import time

PATIENCE_SECONDS = 0.5  # a reader that ends after a line does so within milliseconds, or some hundred on a busy host
_PIECE = 4096  # what a pipe that says "ready" takes without blocking
_SPINS = 200  # a reader on the other core takes a line in some 20 us; asleep, we would take 1 ms


class PipeWriter:
    """Lines to a file descriptor.

    Args:
        descriptor: open for writing.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode) and _unread(descriptor) is not None
        self._closed = False
        self._broken = select.poll()
        self._broken.register(descriptor, 0)  # tells of errors alone
        self._ready = select.poll()
        self._ready.register(descriptor, select.POLLOUT)

    def write(self, line: str) -> None:
        """Write a line; on a pipe, wait until the reader has taken it.

        Raises:
            BrokenPipeError: the reader is gone and has not taken it, or we were closed meanwhile.
        """
        rest = line.encode(errors="surrogateescape") + b"\n"
        while rest:
            while not self._ready.poll(50):
                if self._closed:
                    raise BrokenPipeError
            rest = rest[os.write(self._descriptor, rest[:_PIECE]) :]
        if self._is_pipe:
            self._wait_for_reader()

    def close(self) -> None:
        """Break off a write that a reader keeps waiting; the descriptor is its owner's to close."""
        self._closed = True

    def _wait_for_reader(self) -> None:
        spins, deadline = 0, time.monotonic() + PATIENCE_SECONDS
        while _unread(self._descriptor):
            if self._broken.poll(0 if spins < _SPINS else 1):
                if _unread(self._descriptor):
                    raise BrokenPipeError
                return  # taken, and then it went
            if time.monotonic() > deadline:
                return
            spins += 1


def _unread(descriptor: int) -> int | None:
    """Bytes that lie in a pipe; None where the system does not tell."""
    try:
        import fcntl
        import termios

        answer = fcntl.ioctl(descriptor, termios.FIONREAD, b"\0\0\0\0")
        return int.from_bytes(answer, "little")
    except (ImportError, OSError):
        return None
