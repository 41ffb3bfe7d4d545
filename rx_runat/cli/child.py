"""A command in a process group of its own: it gets its input, its errors are read line by line, and it can be ended.

    run    starts it --> feeds its standard input, reads its standard error --> returns its status
    end    SIGTERM or SIGKILL to the whole group, from any thread; what is left of the group when the command has ended
           is killed

Without a lock, because `kill_all` runs in a signal handler: `end` sets a flag and then looks for a process, `run`
stores the process and then looks at the flag, so one of the two always sees the other.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO

_CHECK_SECONDS = 0.1  # between two looks whether a command has ended whose children keep its standard error open
_CHUNK = 65_536  # bytes: what a pipe holds
_LONGEST = 8_192  # bytes; a longer line of standard error comes in pieces

_running: dict[Child, None] = {}


class Child:
    """One run of a command.

    Args:
        words: the command and its arguments.
        environment: what its environment has beside ours.
        said: called with each line of its standard error.

    Attributes:
        last_line: the last line of its standard error that is not blank; "": there is none.
    """

    def __init__(self, words: Sequence[bytes], environment: Mapping[bytes, bytes], said: Callable[[str], None]) -> None:
        self.last_line = ""
        self._words = words
        self._environment = environment
        self._said = said
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ending = False
        self._begun = b""  # of a line whose end has not come

    def run(self, data: bytes) -> int:
        """Run the command until it ends. Returns its exit status; of a signal that killed it, the negative.

        Args:
            data: its standard input.

        Raises:
            OSError: it cannot be started.
        """
        if self._is_ending:
            return -signal.SIGTERM
        # A session of its own: Ctrl-C in a terminal must not reach it, and no question of it the terminal.
        self._process = process = subprocess.Popen(
            self._words,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environb, **self._environment},
            start_new_session=True,
        )
        _running[self] = None
        if self._is_ending:
            self._send(signal.SIGTERM)
        try:
            assert process.stdin is not None
            assert process.stderr is not None
            with process.stdin, process.stderr:
                self._serve(process, process.stdin, process.stderr, data)
            return process.wait()
        finally:
            if self._is_ending:
                # The number of the group may be used again as soon as the command has been waited for and nothing is
                # left of the group. The system gives numbers out in turn: it would have to start tens of thousands of
                # processes within the microseconds since.
                self._send(signal.SIGKILL)
            _running.pop(self, None)

    def end(self, number: signal.Signals) -> None:
        """Send a signal to the process group, and kill what is left of it when the command has ended."""
        self._is_ending = True
        if self._process is not None and self._process.returncode is None:
            self._send(number)

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError, PermissionError):  # it is gone; or macOS, where only a zombie is left of it
            os.killpg(self._process.pid, number)

    def _serve(self, process: subprocess.Popen[bytes], feed: IO[bytes], errors: IO[bytes], data: bytes) -> None:
        rest = memoryview(data)
        os.set_blocking(feed.fileno(), False)
        with selectors.DefaultSelector() as selector:
            selector.register(feed, selectors.EVENT_WRITE)
            selector.register(errors, selectors.EVENT_READ)
            while selector.get_map():
                has_ended = process.poll() is not None
                ready = selector.select(0 if has_ended else _CHECK_SECONDS)
                for key, _ in ready:
                    if key.fileobj is errors:
                        chunk = os.read(errors.fileno(), _CHUNK)
                        self._read(chunk)
                        is_over = not chunk
                    else:
                        try:
                            rest = rest[os.write(feed.fileno(), rest) :]
                            is_over = not rest
                        except BlockingIOError:
                            is_over = False
                        except BrokenPipeError:  # it does not read its input
                            is_over = True
                        if is_over:
                            feed.close()
                    if is_over:
                        selector.unregister(key.fd)
                if has_ended:  # then the chunk just read held all that the command itself had written
                    self._read(b"")
                    return  # children of the command may go on, and keep its pipes open

    def _read(self, chunk: bytes) -> None:
        """Take what came; b"" is the end."""
        *lines, self._begun = (self._begun + (chunk or b"\n")).split(b"\n")
        if len(self._begun) > _LONGEST:
            lines.append(self._begun)
            self._begun = b""
        for line in lines:
            text = line.decode(errors="backslashreplace").rstrip()
            if text:
                self.last_line = text
                self._said(text)


def kill_all() -> None:
    """Kill the process groups of all commands. May be called in a signal handler, before the process ends."""
    for child in tuple(_running):
        child.end(signal.SIGKILL)
