"""A process that outlives the process of the tests, and then kills the servers that it has left behind.

A test run that is killed, or that pytest-timeout ends, runs no fixture's teardown. A "die with your parent" signal of
the kernel is no help: it comes when the *thread* ends that started the server, and setting it needs code that runs
between fork and exec, beside other threads. So one small process reads a pipe. The pipe ends when the last process
that holds its other end is gone, and then the guardian kills what was not reported as ended, and removes its files.
"""

from __future__ import annotations

import atexit
import contextlib
import subprocess
import sys
import threading
from pathlib import Path

_PROGRAM = """
import os, shutil, signal, sys
running = {}
for line in sys.stdin:
    pid, _, home = line.rstrip("\\n").partition(" ")
    if home:
        running[int(pid)] = home
    else:
        running.pop(int(pid), None)
for pid in running:
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
for home in running.values():
    shutil.rmtree(home, ignore_errors=True)
"""


class _Guardian:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def tell(self, line: str) -> None:
        """Write a line to the guardian, which the first one starts. A forked child writes to the same guardian."""
        with self._lock:
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _PROGRAM],
                    stdin=subprocess.PIPE,
                    text=True,
                    bufsize=1,
                    start_new_session=True,  # so that Ctrl-C in a terminal does not reach it
                )
                atexit.register(self._end)
            assert self._process.stdin is not None
            with contextlib.suppress(OSError):  # somebody ended the guardian: the tests go on without it
                self._process.stdin.write(f"{line}\n")

    def _end(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()


_guardian = _Guardian()


def guard(pid: int, home: Path) -> None:
    """Have a process of ours killed, and its directory removed, should this process end before it."""
    _guardian.tell(f"{pid} {home}")


def release(pid: int) -> None:
    """A guarded process has ended: its number may soon be another process's."""
    _guardian.tell(str(pid))
