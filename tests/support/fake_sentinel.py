"""A Sentinel that says what a test tells it to say, and counts how often it is asked."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import BinaryIO

from tests.support.listening import accepted

Address = tuple[str, int]


class FakeSentinel:
    """Answers on a TCP port of this host.

    Args:
        primary: where it says that the primary is; None: it knows of none.
        epoch: how many failovers it knows of.

    Attributes:
        primary, epoch: as above; a test changes them.
        replies: cleared by a test to make it silent: it takes questions and answers them when this is set again.
        asked: how many questions came.
        state: what it answers to `SENTINEL MASTER` in place of its epoch; None: the epoch.
        address: its host and port.
        lines: how many connections are open.
        commands: the first words of all others that came; each is answered by OK, as if this were a data node.
    """

    def __init__(self, primary: Address | None, epoch: int = 0) -> None:
        self.primary = primary
        self.epoch = epoch
        self.state: bytes | None = None
        self.replies = threading.Event()
        self.replies.set()
        self.asked = 0
        self.lines = 0
        self.commands: list[bytes] = []
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: Address = self._listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        for near in accepted(self._listener):
            with self._lock:
                self._open.append(near)
                self.lines += 1
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), near, near.makefile("rb") as words:
            while command := _command(words):
                near.sendall(self._reply(command))
        with self._lock:
            self.lines -= 1

    def _reply(self, command: list[bytes]) -> bytes:
        if command[0] == b"HELLO":
            return b"%1\r\n+proto\r\n:3\r\n"
        if command[0] != b"SENTINEL":
            self.commands.append(command[0])
            return b"+OK\r\n"
        if command[1] == b"GET-MASTER-ADDR-BY-NAME":
            said = self.primary  # before it waits: a late answer is an old one
            self.asked += 1
            self.replies.wait()
            return b"*-1\r\n" if said is None else _array(said[0].encode(), str(said[1]).encode())
        return self.state or _array(b"name", command[2], b"config-epoch", str(self.epoch).encode())

    def end(self) -> None:
        """Close the port and all connections."""
        self.replies.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # ends `accept`
        self._listener.close()
        with self._lock:
            for near in self._open:
                with contextlib.suppress(OSError):
                    near.shutdown(socket.SHUT_RDWR)


def _command(words: BinaryIO) -> list[bytes]:
    """Reads one command; [] at the end."""
    head = words.readline()
    if not head:
        return []
    return [words.read(int(words.readline()[1:]) + 2)[:-2] for _ in range(int(head[1:]))]


def _array(*items: bytes) -> bytes:
    return b"*%d\r\n" % len(items) + b"".join(b"$%d\r\n%s\r\n" % (len(item), item) for item in items)
