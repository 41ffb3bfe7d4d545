"""A server behind TLS, with certificates made by the `openssl` command, and what a test does wrong with them."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import subprocess
import threading
from pathlib import Path

from tests.support.listening import accepted


def certificate(folder: Path, name: str, host: str = "localhost") -> tuple[Path, Path]:
    """Make a certificate for a host or an IP, signed by itself. Returns the files of the certificate and of its key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    named = ("-subj", f"/CN={host}", "-addext", f"subjectAltName={'IP' if host[0].isdigit() else 'DNS'}:{host}")
    command = ["openssl", "req", "-x509", *kind, *named, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


class TLSProxy:
    """Listens on a port of this host, and passes on to a socket what comes by TLS.

    Args:
        path: of the socket.
        certificate: the file of the certificate that it shows.
        key: the file of its key.
        client: the file of the certificate that each client must show; None: none.

    Attributes:
        port: where it listens.
    """

    def __init__(self, path: str, certificate: Path, key: Path, client: Path | None = None) -> None:
        self._path = path
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        if client is not None:
            self._context.load_verify_locations(client)
            self._context.verify_mode = ssl.CERT_REQUIRED
            # With TLS 1.3 a client has written its first request before the server looks at its certificate: then it
            # depends on the moment whether the client reads the refusal, or cannot write any more.
            self._context.maximum_version = ssl.TLSVersion.TLSv1_2
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._has_ended = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        for near in accepted(self._listener):
            self._threads.append(threading.Thread(target=self._serve, args=(near,)))
            self._threads[-1].start()

    def _serve(self, plain: socket.socket) -> None:
        plain.settimeout(0.1)  # so that `end` is noticed
        with (
            contextlib.suppress(OSError),
            plain,
            socket.socket(socket.AF_UNIX) as far,
            self._context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False) as near,
        ):
            near.settimeout(5)
            near.do_handshake()
            near.settimeout(0.1)
            far.connect(self._path)
            while not self._has_ended.is_set():
                readable, _, _ = select.select([near, far], [], [], 0.1)
                for source in readable:
                    to = far if source is near else near
                    while True:
                        try:
                            data = source.recv(65_536)
                        except TimeoutError:  # a part of a record
                            break
                        if not data:
                            return
                        to.sendall(data)
                        if source is far or not near.pending():
                            break

    def end(self) -> None:
        """Close every connection, and wait for the threads."""
        self._has_ended.set()
        with contextlib.suppress(OSError):  # it was ended before
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()
