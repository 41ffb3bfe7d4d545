"""A handler that is quick for a while, and then blocks until a test releases it."""

from __future__ import annotations

import threading
from collections.abc import Callable

QUICK = 100  # keys: enough for claims of 1, 4, 16 and 64 keys, so that many more are claimed with the next


class Blocker:
    """Receives keys; blocks at the first one after `QUICK`, once.

    Args:
        first: called before it blocks.

    Attributes:
        got: the keys that it was called with.
        is_blocked: set when it blocks.
        release: set this to let it go on.
    """

    def __init__(self, first: Callable[[], object] = lambda: None) -> None:
        self.got: list[str] = []
        self.is_blocked = threading.Event()
        self.release = threading.Event()
        self._first = first

    def __call__(self, key: str) -> None:
        self.got.append(key)
        if len(self.got) == QUICK + 1:
            self.block()

    def block(self) -> None:
        """Block until the test releases it."""
        self._first()
        self.is_blocked.set()
        assert self.release.wait(60)


def hand_backs() -> list[threading.Thread]:
    """The threads on which the hold timer hands back at the moment."""
    return [thread for thread in threading.enumerate() if thread.name == "rx_runat hold"]


def timers() -> list[threading.Thread]:
    """The thread of the hold timer, if there is one at the moment."""
    return [thread for thread in threading.enumerate() if thread.name == "rx_runat hold timer"]
