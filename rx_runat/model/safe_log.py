"""The logger `rx_runat`, and errors that nobody handles: both call code of the user's, which may raise.

What a logger's handler or filter raises is reported like an error that nobody handles, and goes no further: it must not
end a source, and not lose the keys that the source holds.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import TypeAlias

About: TypeAlias = Mapping[str, object] | None
"""Attributes that a log record gets beside its message, for handlers that write fields."""

_log = logging.getLogger("rx_runat")


def fault(message: str, *arguments: object, error: BaseException | None = None, about: About = None) -> None:
    """Log an error, with the traceback of an exception if one is given."""
    _say(logging.ERROR, message, arguments, error, about)


def warn(message: str, *arguments: object, about: About = None) -> None:
    """Log a warning."""
    _say(logging.WARNING, message, arguments, None, about)


def inform(message: str, *arguments: object, about: About = None) -> None:
    """Log what is good to know."""
    _say(logging.INFO, message, arguments, None, about)


def debug(message: str, *arguments: object) -> None:
    """Log what only matters to those who look for a fault."""
    _say(logging.DEBUG, message, arguments)


def unmute() -> None:
    """Undo what `dictConfig` and `fileConfig` do by default: they disable each logger that they do not name.

    For a worker that imports the user's code: else it would not even say why it ends.
    """
    _log.disabled = False


def unhandled(error: BaseException) -> None:
    """Report an exception that nobody handles, as Python reports one that ends a thread.

    The hook for threads hides `SystemExit`, so that one goes to `sys.excepthook`.
    """
    hook_args = (type(error), error, error.__traceback__, threading.current_thread())
    if not issubclass(hook_args[0], SystemExit):
        try:
            threading.excepthook(threading.ExceptHookArgs(hook_args))
            return
        except BaseException:  # a broken hook must not end the loop
            pass
    with suppress(BaseException):
        sys.excepthook(*hook_args[:3])


def _say(
    level: int,
    message: str,
    arguments: tuple[object, ...],
    error: BaseException | None = None,
    about: About = None,
) -> None:
    # A tuple, because an error may be false, and then `logging` takes it for none.
    shown = None if error is None else (type(error), error, error.__traceback__)
    try:
        # stacklevel: the record names the caller's caller
        _log.log(level, message, *arguments, exc_info=shown, stacklevel=3, extra=about)
    except BaseException as raised:
        # Ctrl-C comes on the main thread, whose call may end; no source lives there, unless time is virtual.
        if isinstance(raised, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise
        unhandled(raised)
