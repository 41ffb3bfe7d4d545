"""Runs `rx-runat` for tests, as a process of its own."""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
import termios
from collections.abc import Callable
from typing import TypeAlias

from rx_runat import RunAt

MODULE = [sys.executable, "-m", "rx_runat"]
SECONDS = 20.0  # how long a test waits for a process

Start: TypeAlias = Callable[..., "subprocess.Popen[bytes]"]
Filtered: TypeAlias = Callable[..., tuple[bytes, bytes, int]]


def environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "REDIS_URL"} | {
        "PYTHONWARNINGS": "error",
        **more,
    }


def run(*args: str, feed: bytes = b"", program: list[str] = MODULE, **more: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command until it ends, and return its output and exit status."""
    return subprocess.run(
        [*program, *args], input=feed, capture_output=True, env=environment(**more), timeout=SECONDS, check=False
    )


def unread(pipe: object) -> int:
    """How many bytes lie in a pipe."""
    count = fcntl.ioctl(pipe, termios.FIONREAD, b"\0\0\0\0")  # type: ignore[call-overload]
    return int.from_bytes(count, sys.byteorder)


def line_of(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], SECONDS)
    assert ready, "no line came"
    return process.stdout.readline().decode()


def rest_of(process: subprocess.Popen[bytes]) -> tuple[list[str], str, int]:
    """The lines that nobody has read yet, standard error, and the exit status."""
    out, err = process.communicate(timeout=SECONDS)
    return out.decode().splitlines(), err.decode(), process.returncode


def feed(process: subprocess.Popen[bytes], lines: bytes, end: bool = False) -> None:
    assert process.stdin is not None
    process.stdin.write(lines)
    if end:
        process.stdin.close()
        process.stdin = None


def schedule(queue: RunAt, keys: list[str]) -> None:
    queue.on_next([{"runAt": 1, "key": key} for key in keys])


def waiting(queue: RunAt) -> list[str]:
    return [due.key for due in queue.peek(100_000)]
