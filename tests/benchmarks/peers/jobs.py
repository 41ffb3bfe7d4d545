"""What all apps share: where the server is, and the one job that all of them run. Standard library only.

The job appends a line of fixed length to a file, in one write, which is whole whichever process or thread does it. That
costs each queue the same microsecond or two.
"""

from __future__ import annotations

import functools
import os
import time

URL = os.environ.get("PEER_URL", "redis://localhost:6379")
LINE = len("job:000000 1700000000.000000\n")

Jobs = list[tuple[str, float]]


def note(key: str) -> None:
    """Note the key and the moment at which its job runs."""
    os.write(_notes(), f"{key} {time.time():.6f}\n".encode())


@functools.cache
def _notes() -> int:
    return os.open(os.environ["PEER_NOTES"], os.O_WRONLY | os.O_APPEND)
