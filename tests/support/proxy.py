"""A proxy between client and server that cuts connections."""

from __future__ import annotations

import contextlib
import select
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from tests.support.listening import accepted
from tests.support.servers import Server


def script_argument(word: str) -> bytes:
    """Returns a value for `Proxy.of` that matches requests with the word among their arguments."""
    return f"\r\n{word}\r\n".encode()


class Proxy:
    """A proxy on a socket of its own: in place of passing a reply on, it can cut the connection.

    Attributes:
        cut: how many of the next replies it cuts; it counts only replies to requests that contain `of`.
        of: the bytes that such a request contains.
        spared: before each cut, how many of these replies it passes on: the first number counts for the next cut, and
            so on; where there is no number, none.
        cuts: how many replies it has cut.
        target: the path of the socket that new connections are passed on to.
        path: of its own socket.
        url: of its own socket.
    """

    def __init__(self, server: Server) -> None:
        self.target = server.path
        self.home = Path(tempfile.mkdtemp(prefix="rxp-"))
        self.path = str(self.home / "p.sock")
        self.url = f"unix://{self.path}"
        self.cut = 0
        self.spared: list[int] = []
        self.cuts = 0
        self.of = b""
        self._lock = threading.Lock()
        self._pairs: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        self._spawn(self._accept)

    def _spawn(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        for near in accepted(self._listener):
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(self.target)
            except OSError:
                near.close()
                far.close()
                continue
            with self._lock:
                self._pairs += [near, far]
            self._spawn(self._pump, near, far)

    def _pump(self, near: socket.socket, far: socket.socket) -> None:
        """Pass on requests and replies in turn: our connections send no request before the last reply."""
        try:
            while True:
                request = near.recv(1 << 20)
                if not request:
                    break
                far.sendall(request)
                with self._lock:
                    cutting = self.cut > 0 and self.of in request and self._is_due()
                    if cutting:
                        self.cut -= 1
                        self.cuts += 1
                whole = self._reply(near, far, pass_on=not cutting)
                if cutting or not whole:
                    break
        except OSError:
            pass
        finally:
            for end in (near, far):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def _is_due(self) -> bool:
        if self.spared and self.spared[0] > 0:
            self.spared[0] -= 1
            return False
        del self.spared[:1]
        return True

    def _reply(self, near: socket.socket, far: socket.socket, pass_on: bool) -> bool:
        """Pass the reply on until the client sends its next request. Returns True if the reply was passed on whole."""
        replied = False
        while True:
            ready, _, _ = select.select([far, near], [], [])
            if far in ready:
                data = far.recv(1 << 20)
                if not data:
                    return False
                if not pass_on:
                    return False
                near.sendall(data)
                replied = True
            elif near in ready:
                if replied:
                    return True
                more = near.recv(1 << 20)  # the rest of a long request
                if not more:
                    return False
                far.sendall(more)

    def end(self) -> None:
        """Close every connection, and wait for the threads."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        # Wait for the accepting thread first, so that a connection it is just accepting is in `_pairs` before the
        # connections are shut down.
        self._threads[0].join(5)
        with self._lock:
            for each in self._pairs:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        shutil.rmtree(self.home, ignore_errors=True)
