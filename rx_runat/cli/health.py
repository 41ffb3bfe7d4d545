"""`/healthz` of a worker: whether Redis answers.

pulse     asks Redis for the size of the queue, every 5 s; while it does not answer, every second
/healthz  200 if an answer came within the last 30 s; else 503, with what Redis or the network said
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Self, cast

from rx_runat.errors import Refused, Stopped
from rx_runat.model.humanize import span
from rx_runat.model.monotonic import monotonic

_LONGEST = 30.0  # seconds without an answer; a failover by Sentinel or Cluster, or a restart, takes less
_PULSE = 5.0  # seconds; several answers within the time above, for a thousandth of what a heartbeat costs
_PULSE_WHILE_AWAY = 1.0  # seconds, so that an end of the outage shows soon
_PATIENCE = 5.0  # seconds for who connects to say what he wants
_MOST = 100  # connections at a time: more would take threads and descriptors from the work


class Pulse:
    """Knows when Redis has answered last.

    Args:
        ask: asks Redis; raises what a verb of a queue raises.
        now: monotonic seconds.
    """

    def __init__(self, ask: Callable[[], object], now: Callable[[], float] = monotonic) -> None:
        self._ask = ask
        self._now = now
        self._answered: float | None = None
        self._reason = "no answer has come yet"
        self._began = now()

    def beat(self) -> bool:
        """Ask once. Returns False if no answer came.

        Raises:
            Stopped: the queue was stopped.
        """
        try:
            self._ask()
        except Refused:
            pass  # that is an answer; what the worker itself is refused ends it
        except Stopped:
            raise
        except Exception as error:  # `Unavailable`, or no thread, memory or descriptor is left: that may heal as well
            self._reason = str(error)
            return False
        self._answered = self._now()
        return True

    def state(self) -> tuple[HTTPStatus, str]:
        """Returns the status, and a line that says why."""
        since = self._now() - (self._began if self._answered is None else self._answered)
        if self._answered is not None and since <= _LONGEST:
            return HTTPStatus.OK, f"ok: Redis answered {span(since)} ago"
        return HTTPStatus.SERVICE_UNAVAILABLE, f"Redis has not answered for {span(since)}: {self._reason}"


class Health:
    """Serves `/healthz` while its `with` block runs.

    Args:
        ask: as of `Pulse`.
        host: the address to listen on, or a name of it.
        port: its port; 0: any free one.

    Attributes:
        url: where it is served.

    Raises:
        OSError: the address cannot be listened on.
    """

    def __init__(self, ask: Callable[[], object], host: str, port: int) -> None:
        self._pulse = Pulse(ask)
        self._over = threading.Event()
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            self._server = _Server(family, address, self._pulse)
        except (OSError, UnicodeError) as error:  # UnicodeError: no name of a host can be so
            reason = getattr(error, "strerror", None) or error
            raise OSError(f"/healthz cannot be served on {host!r} port {port}: {reason}") from None
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_address[1]}/healthz"

    def __enter__(self) -> Self:
        for name, target in (("pulse", self._beat), ("health", self._server.serve_forever)):
            threading.Thread(target=target, name=f"rx_runat {name}", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with contextlib.suppress(OSError):  # not every system can do this with a socket that listens
            self._server.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread, which else looks twice a second
        self._server.shutdown()
        self._server.server_close()

    def _beat(self) -> None:
        try:
            while not self._over.wait(_PULSE if self._pulse.beat() else _PULSE_WHILE_AWAY):
                pass
        except Stopped:
            pass


class _Server(socketserver.ThreadingTCPServer):
    # Not an `HTTPServer`: that one asks the name service for a name of the host, which may take long.
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, family: int, address: object, pulse: Pulse) -> None:
        self.address_family = family
        self.pulse = pulse
        self._places = threading.Semaphore(_MOST)
        super().__init__(address, _Handler)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    def verify_request(self, request: object, client_address: object) -> bool:  # noqa: ARG002  # as in the base class
        """Returns False, so that the connection is closed, if too many are open."""
        return self._places.acquire(blocking=False)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection on a thread, if one can be started."""
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: who asked has gone."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _PATIENCE

    def do_GET(self) -> None:
        if self.path.partition("?")[0] == "/healthz":
            status, line = cast("_Server", self.server).pulse.state()
        else:
            status, line = HTTPStatus.NOT_FOUND, "there is /healthz only"
        body = f"{line}\n".encode(errors="backslashreplace")
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name that it has in the base class
        """Say nothing: who probes does it every few seconds."""
