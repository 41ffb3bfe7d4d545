"""Forked children of this process: what they do, and what they say about it."""

from __future__ import annotations

import os
import pickle
import signal
import traceback
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")
LONGEST = 40  # seconds; a child that takes longer is killed


class Forked(Generic[T]):
    """A forked child, which runs an action and exits without any cleanup, as children of `multiprocessing` do.

    Args:
        action: what the child does.

    Attributes:
        pid: of the child.
    """

    def __init__(self, action: Callable[[], T]) -> None:
        self._reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            limit_here(LONGEST)
            try:
                said = pickle.dumps((True, action()))
            except BaseException:
                said = pickle.dumps((False, traceback.format_exc()))
            with open(writing, "wb") as pipe:
                pipe.write(said)
            os._exit(0)
        os.close(writing)

    def result(self) -> T:
        """Wait for the child to exit. Returns what its action returned; fails if the action raised."""
        with open(self._reading, "rb") as pipe:
            said = pipe.read()
        status = os.waitpid(self.pid, 0)[1]
        assert (status, bool(said)) == (0, True), "the child hung, or was killed"
        succeeded, result = cast("tuple[bool, Any]", pickle.loads(said))
        assert succeeded, result
        return cast("T", result)


def limit_here(seconds: int) -> None:
    """In a child: let it be killed if it has not ended by then. The handler that a test's own limit has would raise."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)


def in_child(action: Callable[[], T]) -> T:
    """Run an action in a forked child. Returns what it returned there."""
    return Forked(action).result()
