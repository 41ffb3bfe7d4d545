"""How commands are written for the server, with hiredis and without."""

from __future__ import annotations

import pytest
import redis

from rx_runat.store import connection, wire
from rx_runat.store.request import Arg

COMMANDS: list[tuple[Arg, ...]] = [("EVALSHA", "a1", 2, "Q", b"\xff", "", 0.5, "\u00e4"), ("PING",)]


class Wire(redis.Connection):
    """Keeps what would be sent."""

    sent = b""

    def send_packed_command(self, command: list[bytes], check_health: bool = True) -> None:
        self.sent += b"".join(command)


@pytest.mark.parametrize("has_hiredis", [True, False])
def test_commands_are_packed_as_redis_py_packs_them(has_hiredis: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_hiredis:
        monkeypatch.setattr(wire, "HAS_HIREDIS", False)
    sent = Wire()
    connection._send(sent, COMMANDS)
    assert sent.sent == b"".join(sent.pack_commands(COMMANDS))
    assert sent.sent.startswith(b"*8\r\n$7\r\nEVALSHA\r\n$2\r\na1\r\n$1\r\n2\r\n$1\r\nQ\r\n$1\r\n\xff\r\n$0\r\n\r\n")
