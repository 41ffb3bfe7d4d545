"""Logs from threads that must live on: the handlers of a logger are the user's code, and may raise."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import TypeAlias

from rx_runat.stream.hot import unhandled

_Shown: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None]

_log = logging.getLogger("rx_runat")


def fault(message: str, *arguments: object, exc_info: _Shown | None = None) -> None:
    """Log an error, with the traceback of an exception."""
    _say(logging.ERROR, message, *arguments, exc_info=exc_info)


def warn(message: str, *arguments: object) -> None:
    """Log a warning."""
    _say(logging.WARNING, message, *arguments)


def debug(message: str, *arguments: object) -> None:
    """Log what only matters to those who look for a fault."""
    _say(logging.DEBUG, message, *arguments)


def _say(level: int, message: str, *arguments: object, exc_info: _Shown | None = None) -> None:
    """Log; what a handler raises is shown, and goes no further."""
    try:
        _log.log(level, message, *arguments, exc_info=exc_info)
    except BaseException as error:
        unhandled(error)
