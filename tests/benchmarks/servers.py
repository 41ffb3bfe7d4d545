"""The servers that benchmarks run on: real ones on a TCP port, as most people use them."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import redis

from rx_runat.store.embedded import find_server
from tests.support.servers import Server


class TcpServer(Server):
    """A server that clients reach over the loopback, without an append-only file.

    Args:
        binary: the path of its program.

    Attributes:
        port: its TCP port.
        url: of that port.
    """

    def __init__(self, binary: str) -> None:
        self.port = _free_port()
        super().__init__(
            *("--appendonly", "no", "--bind", "127.0.0.1", "--port", str(self.port)),  # the last `--port` counts
            program=binary,
        )
        self.url = f"redis://127.0.0.1:{self.port}"

    def client(self, **settings: object) -> redis.Redis:
        return redis.Redis(host="127.0.0.1", port=self.port, **settings)  # type: ignore[arg-type]


def binaries() -> list[str]:
    """Returns the paths of the servers to measure on: the one of the tests, and the `redis-server` on PATH, if any."""
    found = [find_server(), shutil.which("redis-server")]
    return list({Path(path).resolve(): path for path in found if path}.values())


def version(client: redis.Redis) -> str:
    """Returns the product and the version of a server, such as `Valkey 9.1.2`."""
    info = client.info("server")
    return f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
