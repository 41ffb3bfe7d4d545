"""Whether somebody looks at a picture: its views give signs of life."""

from __future__ import annotations

import asyncio

_SILENCE = 10  # seconds without a sign of life after which no view is left; each view gives a sign every 2 s


class Viewers:
    """Counts the seconds since a view gave a sign of life.

    A busy kernel cannot receive signs. So a second counts only after the kernel's event loop, which receives them, has
    run again.
    """

    def __init__(self) -> None:
        self._silent = 0
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:  # a script: no view will ever come
            self._loop = None

    @property
    def are_gone(self) -> bool:
        """True if no view has given a sign for 10 seconds."""
        return self._silent >= _SILENCE

    def sign(self) -> None:
        """Note that a view gave a sign of life."""
        self._silent = 0

    def leave(self) -> None:
        """Note that a view was closed. Another one has 3 seconds to give a sign."""
        self._silent = max(self._silent, _SILENCE - 3)

    def second(self) -> None:
        """Count a second; on the event loop if there is one, behind the signs that wait there."""
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._count)
                return
        except RuntimeError:  # the event loop is closed
            pass
        self._count()

    def _count(self) -> None:
        self._silent += 1
