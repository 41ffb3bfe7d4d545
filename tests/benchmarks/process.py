"""A process of its own that is told things, a line each, and answers each in a line of JSON."""

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
    """A program of this folder; it is ready when this returns from `hear`, and ends with the block.

    Args:
        program: its name.
        arguments: of its command line.
    """

    def __init__(self, program: str, *arguments: object) -> None:
        command = [sys.executable, "-m", f"tests.benchmarks.{program}", *map(str, arguments)]
        self._popen = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, line: str) -> None:
        """Say something."""
        assert self._popen.stdin is not None
        print(line, file=self._popen.stdin, flush=True)

    def hear(self) -> Any:
        """Wait for the next answer; the first one says that it is ready."""
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        assert line, f"{self._popen.args} ended without an answer"
        return json.loads(line)

    def ask(self, line: str) -> Any:
        """Say something and wait for the answer."""
        self.tell(line)
        return self.hear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._popen.kill()
        self._popen.communicate()  # the end of its input is its end
        assert kind or self._popen.returncode == 0, f"{self._popen.args} ended with {self._popen.returncode}"


@contextmanager
def workers(bench: Bench, processes: int, sources: int, interval: float) -> Iterator[list[Process]]:
    """Idle sources, so many in each process, all on one queue."""
    with ExitStack() as stack:
        started = [
            stack.enter_context(Process("worker", bench.server.url, Q, interval, sources)) for _ in range(processes)
        ]
        for worker in started:
            worker.hear()
        yield started
