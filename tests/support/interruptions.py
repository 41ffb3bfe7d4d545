"""An exception after so many lines of Python, as a signal handler may raise one anywhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any


class Interrupted(BaseException):
    """What the handler raises, as KeyboardInterrupt is raised by Ctrl-C."""


class Interruption:
    """Raises `Interrupted` in this thread after so many lines. A comprehension counts once.

    Since Python 3.12 a comprehension is a loop in its own line. What tracing raises in that loop passes by the handlers
    around it, other than what a signal handler raises there.

    Args:
        lines: how many are run before.
        counts: returns True if the lines of this frame count.

    Attributes:
        was_raised: whether so many lines were run.
    """

    def __init__(self, lines: int, counts: Callable[[FrameType], bool]) -> None:
        self._left = lines
        self._counts = counts
        self._at: tuple[CodeType, int] | None = None
        self.was_raised = False

    def __enter__(self) -> Interruption:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if not self._counts(frame):
            return None
        if event == "call" and _is_in_a_finalizer(frame):  # what is raised there, nobody gets
            return None
        at = frame.f_code, frame.f_lineno
        if event == "call" or (event == "line" and at != self._at):
            self._left -= 1
            if self._left == -1:
                self.was_raised = True
                raise Interrupted
        self._at = at
        return self._trace


def _is_in_a_finalizer(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None
