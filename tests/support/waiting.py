"""Wait until a condition holds, without sleeping."""

from __future__ import annotations

import threading
from collections.abc import Callable

from rx_runat.model.monotonic import monotonic


def wait_until(condition: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    """Return as soon as the condition is true. Fails after `seconds`, with `what` in the message.

    Args:
        condition: called every 2 ms.
        what: what the test waits for, as a clause: "all keys came".
        seconds: the longest wait.
    """
    deadline = monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert monotonic() < deadline, f"waited {seconds} s in vain until {what}"
        pause.wait(0.002)
