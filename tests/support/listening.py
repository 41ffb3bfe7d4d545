"""What the proxies share: a listener, and who connects to it."""

from __future__ import annotations

import socket
from collections.abc import Iterator


def accepted(listener: socket.socket) -> Iterator[socket.socket]:
    """Yields each connection that comes, until the listener is closed."""
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        yield near
