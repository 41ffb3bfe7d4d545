"""Whether somebody looks at a picture: its views give a sign of life when they are asked for one."""

from __future__ import annotations

import asyncio

_SILENCE = 60  # seconds after the last sign until the views are asked for the next one
_PATIENCE = 10  # seconds that they have to give it; then no view is left


class Viewers:
    """Counts the seconds since the last sign that somebody looks.

    A sign of a view is rare, because it is a message to the kernel: under ipykernel 7, the output of threads goes to
    whichever message the kernel received last, and so away from its cell. A cell that starts is a sign as well, and
    costs no message.

    A busy kernel cannot receive signs. So a second counts only after the kernel's event loop, which receives them, has
    run again.

    Attributes:
        asks: how often the views were asked for a sign. A view that is in sight gives one whenever this has grown.
    """

    def __init__(self) -> None:
        self.asks = 0
        self._silent = 0
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:  # a script: no view will ever come
            self._loop = None

    @property
    def are_gone(self) -> bool:
        """True if no view gave the sign that it was asked for."""
        return self._silent >= _SILENCE + _PATIENCE

    def sign(self) -> None:
        """Note a sign that somebody looks."""
        self._silent = 0

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
        if self._silent == _SILENCE:
            self.asks += 1
