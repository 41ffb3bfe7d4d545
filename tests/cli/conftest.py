"""The command: as a process of its own if processes are the point, else in the process of the tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.command import MODULE, Filtered, Start, environment
from tests.support.servers import Server
from tests.support.waiting import wait_until


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the command with pipes, and ends it after the test. Ctrl-C reaches it as from a terminal."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*args: str, program: list[str] = MODULE, **settings: int) -> subprocess.Popen[bytes]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | settings
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job would ignore it
        try:
            started.append(subprocess.Popen([*program, *args], env=environment(), bufsize=0, **pipes))  # type: ignore[call-overload]
        finally:
            signal.signal(signal.SIGINT, before)
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        for end in (process.stdin, process.stdout, process.stderr):
            if end is not None:
                end.close()


@pytest.fixture
def embedded() -> Iterator[str]:
    """A URL of a durable server of the test's own."""
    directory = tempfile.mkdtemp(prefix="rxc-")
    yield f"embedded://{directory}"
    wait_until(lambda: not os.path.exists(f"{directory}/socket"), "the embedded server has ended")
    shutil.rmtree(directory)


@pytest.fixture
def filtered(
    here: Callable[..., int],
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
    tmp_path: Path,
) -> Filtered:
    """Feeds the command in this process, on the real server; returns both outputs and the exit status."""

    def filtered(feed: bytes, *args: str) -> tuple[bytes, bytes, int]:
        (tmp_path / "in").write_bytes(feed)
        with open(tmp_path / "in") as file:
            monkeypatch.setattr(sys, "stdin", file)
            status = here(*args, "--redis", server.url)
        return (*capfdbinary.readouterr(), status)

    return filtered
