"""What fails in metrics and traces fails nothing else.

The SDK, its processors and its exporters are not ours, and they run on the threads that claim, deliver and settle.
What they raise must not end a source, nor lose a key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from rx_runat.model.safe_log import fault

_T = TypeVar("_T")


class Guard:
    """Calls what may fail. The log tells of the first failure only: a broken exporter fails for each key.

    Args:
        where: the queue, in the message.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._has_failed = False

    def __call__(self, action: Callable[[], _T]) -> _T | None:
        """Returns what the action returns; None if it raised."""
        try:
            return action()
        except Exception as error:
            if not self._has_failed:
                self._has_failed = True
                fault("metrics and traces of %s fail; the queue goes on", self._where, error=error)
            return None
