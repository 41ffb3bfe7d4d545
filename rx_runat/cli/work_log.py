"""The log of `rx-runat work`, on standard error: in words, or with `--log-json` one JSON object a line.

    2026-03-27T08:00:00.012+00:00 INFO rx_runat: 'mail:1' acked: attempt 1, 9.2 ms, 2.4 ms late
    {"time": "2026-03-27T08:00:00.012+00:00", "level": "info", "logger": "rx_runat", "message": "...", "key": "mail:1",
     "attempt": 1, "verdict": "acked", "seconds": 0.0092, "lateness": 0.0024}

In words, what a terminal would obey is escaped, and further lines of a record are indented, so that no text of an error
looks like a record of its own.

It is the handler of the root logger, so what the user's code logs looks the same; and so do warnings, and errors that
nobody handles. A module that configures `logging` for itself has its own way.
"""

from __future__ import annotations

import json
import logging
import os
import select
import sys
import threading
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from rx_runat.cli.standard import escaped
from rx_runat.model.outcome import Outcome
from rx_runat.settling.failures import error_text

_ERRORS = 2  # the descriptor of standard error


class WorkLog(logging.Handler):
    """Writes log records to standard error, while its `with` block runs.

    Args:
        as_json: True to write JSON, False to write words.
    """

    def __init__(self, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def __enter__(self) -> Self:
        root = logging.getLogger()
        self._before = root.level, threading.excepthook, sys.excepthook, sys.unraisablehook
        root.addHandler(self)
        root.setLevel(logging.INFO)
        logging.captureWarnings(True)
        threading.excepthook = lambda args: self._show(args.exc_type, args.exc_value, args.exc_traceback)
        sys.excepthook = self._show
        sys.unraisablehook = lambda args: self._show(args.exc_type, args.exc_value, args.exc_traceback)
        return self

    def __exit__(self, *_: object) -> None:
        root = logging.getLogger()
        root.removeHandler(self)
        level, threading.excepthook, sys.excepthook, sys.unraisablehook = self._before
        root.setLevel(level)
        logging.captureWarnings(False)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as one write of whole lines. What cannot be written is lost, and raises nothing."""
        line = (self._object(record) if self._as_json else self._words(record)).encode(errors="backslashreplace")
        rest = memoryview(line + b"\n")
        try:
            while rest:
                try:
                    rest = rest[os.write(_ERRORS, rest) :]
                except BlockingIOError:  # another process with the same terminal or pipe has made it non-blocking
                    select.select([], [_ERRORS], [])
        except OSError:  # nobody reads it
            pass

    def warn_at_once(self, message: str) -> None:
        """Write a line from a signal handler, which waits neither for a lock nor for a reader that does not read."""
        if select.select([], [_ERRORS], [], 0)[1]:
            self.emit(logging.LogRecord("rx_runat", logging.WARNING, "", 0, message, None, None))

    def _show(self, kind: type[BaseException], error: BaseException | None, where: TracebackType | None) -> None:
        """Write an error that nobody handles. Not by the logger: an error of another handler would come here again."""
        shown = None if error is None else (kind, error, where)
        self.handle(logging.LogRecord("rx_runat", logging.ERROR, "", 0, "an error that nobody handles", None, shown))

    def _words(self, record: logging.LogRecord) -> str:
        text = f"{_time(record)} {record.levelname} {record.name}: {_message(record)}"
        shown = _traceback(record)
        if shown:
            text = f"{text}\n{shown}"
        return "\n    ".join(map(escaped, text.split("\n")))

    def _object(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        key, outcome, shown = getattr(record, "key", None), getattr(record, "outcome", None), _traceback(record)
        if isinstance(key, str):
            fields["key"] = key
        if isinstance(outcome, Outcome):
            fields |= _about(outcome)  # pyright: ignore[reportUnknownArgumentType]
        if shown:
            fields["traceback"] = shown
        return json.dumps(fields)


def _about(outcome: Outcome[Any]) -> dict[str, Any]:
    claim = outcome.claim
    fields: dict[str, Any] = {
        "key": claim.key,
        "attempt": claim.attempt,
        "verdict": outcome.verdict,
        "seconds": None if outcome.seconds is None else round(outcome.seconds, 6),
        "lateness": round(claim.lateness, 6),
    }
    if outcome.error is not None:
        fields["error"] = error_text(outcome.error)
    if outcome.next is not None:
        fields["next"] = outcome.next.isoformat()
    return fields


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # arguments that do not fit, or whose own code raises
        return str(record.msg)


def _traceback(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    try:
        return "".join(traceback.format_exception(*record.exc_info)).rstrip()
    except Exception:  # an error's own code raises
        return record.exc_info[1].__class__.__qualname__
