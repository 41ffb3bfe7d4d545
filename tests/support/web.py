"""The README's web app and worker as processes, and the service that the worker calls."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from tests.support.waiting import wait_until

SECONDS = 20  # how long a test waits for a process


class Mailer(ThreadingHTTPServer):
    """A service on a loopback port: it notes each key that it is sent, and replies when the test lets it.

    Attributes:
        url: where it is.
        begun: the keys that came, in order.
        goes_on: while it is clear, all requests wait.
    """

    daemon_threads = True
    request_queue_size = 100

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/send"
        self.begun: list[str] = []
        self.goes_on = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self._thread.start()

    def end(self) -> None:
        self.goes_on.set()
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Mailer

    def do_POST(self) -> None:
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.begun.append(said["key"])
        self.server.goes_on.wait()
        try:
            self.send_response(204)
            self.end_headers()
        except OSError:  # who asked is dead
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class Process:
    """A process of Python's in a directory, with a Redis in its environment.

    Args:
        home: the directory; what the process says is written to files there.
        name: of those files.
        redis: the URL of Redis.
        args: of the interpreter.
    """

    def __init__(self, home: Path, name: str, redis: str, *args: str) -> None:
        self._out, self._err = home / f"{name}.out", home / f"{name}.err"
        env = os.environ | {"REDIS_URL": redis, "NO_PROXY": "*", "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "error"}
        with self._out.open("w") as out, self._err.open("w") as err:
            self.popen = subprocess.Popen([sys.executable, *args], cwd=home, env=env, stdout=out, stderr=err)

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def terminate(self) -> None:
        self.popen.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Wait until it has ended, and return its exit status: of a signal that killed it, the negative."""
        return self.popen.wait(SECONDS)

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()


class WebApp(Process):
    """`uvicorn` on a free loopback port.

    Args:
        home: the directory with the app's module.
        redis: the URL of Redis.
        loop: the event loop: "asyncio" or "uvloop".
        app: the module and the name of the app.

    Attributes:
        http: a client of it.
    """

    def __init__(self, home: Path, redis: str, loop: str, app: str = "web:app") -> None:
        super().__init__(home, "web", redis, "-m", "uvicorn", app, "--port", "0", "--loop", loop)
        self.http = httpx.Client(trust_env=False, verify=False, timeout=SECONDS)

    def wait_until_ready(self) -> None:
        wait_until(lambda: "running on" in self.err or self.popen.poll() is not None, "uvicorn serves")
        found = re.search(r"running on (http://\S+)", self.err)
        assert found, self.err
        self.http.base_url = httpx.URL(found[1])

    def kill(self) -> None:
        self.http.close()
        super().kill()
