"""Opens the queue that the options name."""

from __future__ import annotations

import argparse
import os

from rx_runat.errors import RunAtError
from rx_runat.queue import RunAt


def open_queue(options: argparse.Namespace, needs_lasting_server: bool = True) -> RunAt:
    """Returns the queue, which the caller stops.

    Args:
        options: of the command line.
        needs_lasting_server: True for a command that does not make sense on a server which ends with it.

    Raises:
        RunAtError: the options name no queue that can be used; the message says why.
    """
    url = options.redis or os.environ.get("REDIS_URL") or "embedded://"
    if needs_lasting_server and (url == "embedded://" or url.startswith("memory://")):
        what = "a private server" if url == "embedded://" else "a queue in memory"
        raise RunAtError(
            f"{options.command}: {what} would end with this command; name a lasting one by --redis or "
            "$REDIS_URL, such as redis://localhost:6379 or embedded:///absolute/dir"
        )
    return RunAt(url, queue_name=options.queue_name, interval=options.interval)
