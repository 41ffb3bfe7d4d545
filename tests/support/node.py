"""A real server on a TCP port of this host, alone or as a part of a deployment; and how clients get into it."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from rx_runat.store.embedded import find_server
from tests.support.server_process import ServerProcess
from tests.support.tls import certificate

HOST = "127.0.0.1"
BUS = 10_000  # a node of a cluster listens on this port above its own, too; older servers can be told no other


@dataclass(frozen=True)
class Access:
    """How clients get into a server, and servers into each other.

    Attributes:
        password: None: none is asked for.
        user: whose password it is; None: the default user's. With a user, the default user is off.
        certificate: the file of the certificate that servers show, which is its own authority; None: no TLS.
        key: the file of its key.
    """

    password: str | None = None
    user: str | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def scheme(self) -> str:
        return "rediss" if self.certificate else "redis"

    def url(self, kind: str, addresses: Iterable[tuple[str, int]], path: str = "", **query: str | None) -> str:
        """Returns a URL, such as `redis+sentinel://:secret@127.0.0.1:1,127.0.0.1:2/mymaster?ssl_ca_certs=...`.

        Args:
            kind: "", "+sentinel" or "+cluster".
            addresses: hosts and ports.
            path: what follows them, with its slash.
            query: its options; those that are None are left out.
        """
        if self.certificate:
            query["ssl_ca_certs"] = str(self.certificate)
        login = f"{quote(self.user or '', safe='')}:{quote(self.password, safe='')}@" if self.password else ""
        asked = "&".join(f"{name}={quote(value, safe='/')}" for name, value in query.items() if value is not None)
        places = ",".join(f"{host}:{port}" for host, port in addresses)
        return f"{self.scheme}{kind}://{login}{places}{path}{asked and '?'}{asked}"

    def settings(self) -> dict[str, Any]:
        """Returns the settings of a client of redis-py."""
        settings: dict[str, Any] = {"username": self.user, "password": self.password}
        return settings | ({"ssl": True, "ssl_ca_certs": str(self.certificate)} if self.certificate else {})

    def options(self) -> list[str]:
        """Returns the options of a data node's command line."""
        options = ["--masterauth", self.password, "--requirepass", self.password] if self.password else []
        if self.user and self.password:
            options = ["--masterauth", self.password, "--masteruser", self.user, "--user", "default", "off"]
            options += ["--user", self.user, "on", f">{self.password}", "~*", "&*", "+@all"]
        return options + [word for name, value in self.tls_options() for word in (f"--{name}", value)]

    def tls_options(self) -> list[tuple[str, str]]:
        """Returns the options of the certificate, for a server or a Sentinel."""
        if self.certificate is None:
            return []
        files = ("tls-cert-file", self.certificate), ("tls-key-file", self.key), ("tls-ca-cert-file", self.certificate)
        switches = ("tls-auth-clients", "no"), ("tls-replication", "yes"), ("tls-cluster", "yes")
        return [*((name, str(path)) for name, path in files), *switches]


def access(folder: Path, password: str | None = None, user: str | None = None, tls: bool = False) -> Access:
    """Returns a way in; with TLS, it makes a certificate in the folder."""
    shown, key = certificate(folder, "node", HOST) if tls else (None, None)
    return Access(password, user, shown, key)


class Node(ServerProcess):
    """A real server on a TCP port, which stays its own over `kill` and `start`; it is not started yet.

    Args:
        options: of the server's command line, added to ours.
        program: the path of the server to run; None: the Valkey of the `embedded` extra.
        access: how clients get in.

    Attributes:
        port: its TCP port.
        address: its host and port.
        access: as above; a test that changes a password on the server changes it here, too.
    """

    def __init__(self, *options: str, program: str | None = None, access: Access | None = None) -> None:
        super().__init__()
        self.port = free_port()
        self.address = (HOST, self.port)
        self.access = access or Access()
        self._program = program or find_server()
        self._options = options

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.port}>"

    @property
    def url(self) -> str:
        return self.access.url("", [self.address])

    def command(self) -> list[str]:
        assert self._program, "no server was found"
        ports = ("--port", "0", "--tls-port") if self.access.certificate else ("--port",)
        return [
            *(self._program, *ports, str(self.port), "--bind", HOST, "--dir", str(self.home), "--save", ""),
            *("--appendonly", "yes", "--logfile", str(self.home / "log"), *self.access.options()),
            *("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"),
            *self._options,
        ]

    def client(self, **settings: object) -> redis.Redis:
        """Returns a client that sends nothing twice."""
        given = {"retry": Retry(NoBackoff(), 0), "socket_timeout": 5} | self.access.settings() | settings
        return redis.Redis(host=HOST, port=self.port, **given)  # type: ignore[arg-type]

    def call(self, *command: str | int) -> Any:
        """Returns the reply to a command as RESP2 spells it, as text."""
        with self.client(decode_responses=True, protocol=2) as client:
            client.response_callbacks.clear()  # type: ignore[attr-defined]
            return client.execute_command(*command)  # type: ignore[no-untyped-call]

    def set_password(self, password: str) -> None:
        """Give its user, and itself as a replica, another password; connections that are open stay so."""
        self.call("CONFIG", "SET", "masterauth", password)
        if self.access.user:
            self.call("ACL", "SETUSER", self.access.user, "resetpass", f">{password}")
        else:
            self.call("CONFIG", "SET", "requirepass", password)
        self.access = replace(self.access, password=password)

    def info(self, section: str) -> dict[str, str]:
        """Returns a section of INFO."""
        return fields(self.call("INFO", section))


def fields(text: str) -> dict[str, str]:
    """Returns the lines `name:value` of a reply."""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


_given: set[int] = set()


def free_port() -> int:
    """Returns a port that nobody listens on, nor on the bus port above it.

    Both lie below the ports that Linux gives to outgoing connections: one of these could take the port of a node that
    was killed, before the node is started again.
    """
    while True:
        port = random.randrange(10_000, 22_000)
        if port not in _given and _is_free(port) and _is_free(port + BUS):
            _given.add(port)
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
        return True
