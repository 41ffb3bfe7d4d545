"""A user of a server whose permissions a test takes away and gives back."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import redis

from tests.support.servers import Server

WORKER = "worker"


def worker_url(server: Server) -> str:
    """Returns the URL with which the user logs in, who may do everything at first."""
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", WORKER, "reset", "on", "nopass", "~*", "&*", "+@all")
    return f"unix://{WORKER}@{server.path}"


@contextmanager
def forbidden(client: redis.Redis, *commands: str) -> Generator[None]:
    """Meanwhile the user may not use some commands."""
    client.execute_command("ACL", "SETUSER", WORKER, *(f"-{command}" for command in commands))
    try:
        yield
    finally:
        client.execute_command("ACL", "SETUSER", WORKER, "+@all")
