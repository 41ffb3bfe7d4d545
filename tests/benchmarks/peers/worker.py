"""A worker of an app: a process, and those that it starts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.benchmarks.peers.jobs import LINE
from tests.benchmarks.peers.peer import ROOT, Peer, environment
from tests.support.waiting import wait_until

END = 10.0  # seconds after SIGTERM until SIGKILL: more than any of them takes without work under way


class Worker:
    """A worker that runs until the end of the block, and is then told to stop by SIGTERM.

    Args:
        peer: whose worker it is.
        url: of the server.
    """

    def __init__(self, peer: Peer, url: str) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="rxt-peer-")
        home = Path(self._directory.name)
        self._notes, self._log = home / "notes", home / "log"
        self._notes.touch()
        with self._log.open("wb") as log:
            # A session of its own, by which its processes are found.
            self._popen = subprocess.Popen(
                [peer.python, *peer.worker],
                cwd=ROOT,
                env=environment(url, PEER_NOTES=str(self._notes)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self, count: int, seconds: float = 80.0) -> list[tuple[str, float]]:
        """Wait until so many jobs have run; return the key of each, and when it ran in epoch seconds."""
        try:
            wait_until(lambda: self._lines() >= count or self._popen.poll() is not None, f"{count} jobs ran", seconds)
            assert self._popen.poll() is None, "the worker has ended"
        except AssertionError as error:
            log = self._log.read_text(errors="replace")[-2000:]
            raise AssertionError(
                f"{error}; {self._lines()} of {count} jobs ran; the end of the worker's log:\n{log}"
            ) from None
        return [(key, float(when)) for key, when in map(str.split, self._notes.read_text().splitlines())]

    def _lines(self) -> int:
        return self._notes.stat().st_size // LINE

    def cpu(self) -> float | None:
        """The CPU seconds of the threads that run in its session; None where there is no /proc to tell."""
        if not Path("/proc/self/schedstat").exists():
            return None
        nanoseconds = 0
        for directory in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # a process that ends meanwhile
                if os.getsid(int(directory.name)) == self._popen.pid:
                    nanoseconds += sum(int(each.read_text().split()[0]) for each in directory.glob("task/*/schedstat"))
        return nanoseconds / 1e9

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._popen.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(END)
        with contextlib.suppress(ProcessLookupError):  # what it has left behind: it was the head of its group
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        self._directory.cleanup()
