"""A server that runs in a process of its own: a test starts it, kills it, freezes it and starts it again."""

from __future__ import annotations

import abc
import contextlib
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support import guardian
from tests.support.waiting import wait_until

AT_ONCE = Retry(NoBackoff(), 0)  # a server starts in some 10 ms, and a client of redis-py would pause for longer


class ServerProcess(abc.ABC):
    """A server with a directory of its own, which keeps its data over `kill` and `start`.

    Attributes:
        home: its directory.
        is_alive: whether its process runs or is frozen.
        is_frozen: whether its process is frozen.
    """

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="rxt-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.is_frozen = False

    @abc.abstractmethod
    def command(self) -> list[str]:
        """Returns the program and its arguments."""

    @abc.abstractmethod
    def client(self, **settings: object) -> redis.Redis:
        """Returns a client of redis-py with these settings beside those that it needs to get in."""

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def is_running(self) -> bool:
        """Whether it can reply: it is alive and not frozen."""
        return self.is_alive and not self.is_frozen

    def start(self) -> None:
        """Start it, and wait until it replies."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start it, and wait for nothing."""
        self._process = subprocess.Popen(self.command(), start_new_session=True)
        guardian.guard(self._process.pid, self.home)
        self.is_frozen = False

    def wait(self) -> None:
        """Wait until it replies."""
        wait_until(self._is_up, "the server replies")

    def _is_up(self) -> bool:
        assert self.is_alive, f"the server has ended; the end of its log: {self._log()}"
        with contextlib.suppress(redis.RedisError), self.client(retry=AT_ONCE) as client:
            return bool(client.ping())
        return False

    def _log(self) -> str:
        with contextlib.suppress(OSError):
            return (self.home / "log").read_text(errors="replace")[-2000:]
        return "there is none"

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            guardian.release(self._process.pid)
            self.is_frozen = False

    def freeze(self) -> None:
        """Stop its process: it keeps its connections and replies to nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        self.is_frozen = self.is_alive

    def thaw(self) -> None:
        """Continue its process after `freeze`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
        self.is_frozen = False

    def revive(self) -> None:
        """Start it if it was killed, continue it if it was frozen, and wait until it replies."""
        if not self.is_alive:
            self.launch()
        elif self.is_frozen:
            self.thaw()
        self.wait()

    def end(self) -> None:
        """Kill it and remove its directory."""
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)
