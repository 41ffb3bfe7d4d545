"""A process that reads requests, a line each, and writes a line of JSON for each."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.benchmarks.bench import Bench, Q

ROOT = Path(__file__).parents[2]


class Process:
    """A process that runs a program of this folder. It writes a first line when it is ready, and ends with the block.

    Args:
        program: the name of its module.
        arguments: of its command line.
    """

    def __init__(self, program: str, *arguments: object) -> None:
        command = [sys.executable, "-m", f"tests.benchmarks.{program}", *map(str, arguments)]
        self._popen = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def send(self, line: str) -> None:
        """Send a request."""
        assert self._popen.stdin is not None
        print(line, file=self._popen.stdin, flush=True)

    def receive(self) -> Any:
        """Wait for the next line, and return its JSON value."""
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        assert line, f"{self._popen.args} ended without a reply"
        return json.loads(line)

    def request(self, line: str) -> Any:
        """Send a request, and return the reply."""
        self.send(line)
        return self.receive()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._popen.kill()
        self._popen.communicate()  # it ends at the end of its input
        assert kind or self._popen.returncode == 0, f"{self._popen.args} ended with {self._popen.returncode}"


@contextmanager
def workers(bench: Bench, processes: int, sources: int, interval: float) -> Iterator[list[Process]]:
    """Start processes with so many idle sources each, all on one queue, and wait until they are ready."""
    with ExitStack() as stack:
        started = [
            stack.enter_context(Process("worker", bench.server.url, Q, interval, sources)) for _ in range(processes)
        ]
        for worker in started:
            worker.receive()
        yield started
