"""Jobs and Dues as lines of text: what the command reads and prints.

last +0.56                                       a delay: +0.5, +10s, +5m, +2h, +1d, +250ms
report 2026-12-24T18:00:00+01:00                 ISO 8601 with an offset, or Z
ping 1700000000000ms                             epoch milliseconds
{"runAt": 1700000000000, "key": "with spaces"}   runat's own form; a third field, "data", may hold any JSON value
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Any

from rx_runat.errors import InvalidJob
from rx_runat.model.checks import show
from rx_runat.model.job import Due, Job, to_jobs
from rx_runat.model.times import RunAtTime, from_milliseconds

_DELAY = re.compile(r"\+(\d+(?:\.\d*)?|\.\d+)(ms|s|m|h|d)?", re.ASCII)
_MILLISECONDS = re.compile(r"(-?\d+)ms", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, None: 1}
_FORMS = (
    "a delay (+0.5, +10s, +5m), ISO 8601 with an offset (2026-12-24T18:00:00+01:00), or epoch milliseconds "
    "(1700000000000ms)"
)


def parse_line(line: str) -> Job:
    """The job of a line: `KEY WHEN`, where the key may hold spaces, or runat's JSON form.

    >>> parse_line("first +0.33")
    Job(key='first', run_at=datetime.timedelta(microseconds=330000))

    Raises:
        InvalidJob: the message says what came and what would be right.
    """
    line = line.strip()
    if line.startswith("{"):
        try:
            item = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InvalidJob(
                f'line: got {show(line)}, which is no JSON ({error}); write {{"runAt": 1700000000000, "key": "a"}}'
            ) from None
        return to_jobs(item)[0]
    key, _, when = line.rpartition(" ")
    if not key.strip():
        raise InvalidJob(f"line: got {show(line)}; write KEY WHEN, where WHEN is {_FORMS}")
    return Job(key.strip(), parse_when(when))


def parse_when(when: str) -> RunAtTime:
    """The moment that WHEN names.

    >>> parse_when("+5m")
    datetime.timedelta(seconds=300)

    Raises:
        InvalidJob: the message says what came and what would be right.
    """
    delay = _DELAY.fullmatch(when)
    milliseconds = _MILLISECONDS.fullmatch(when)
    try:
        if delay:
            return timedelta(seconds=float(delay[1]) * _SECONDS[delay[2]])
        if milliseconds:
            return from_milliseconds(int(milliseconds[1]), "WHEN")
        return datetime.fromisoformat(when)
    except InvalidJob:
        raise
    except (ValueError, OverflowError):
        raise InvalidJob(f"WHEN: got {show(when)}; it must be {_FORMS}") from None


def parse_data(text: str) -> Any:
    """The data that an argument names.

    >>> parse_data('{"to": "ann"}')
    {'to': 'ann'}

    Raises:
        InvalidJob: the text is no JSON; the message says what came and what would be right.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidJob(
            f"data: got {show(text)}, which is no JSON ({error}); write a JSON value in quotes of the shell, such as "
            """'{"to": "ann"}' or '"ann"'"""
        ) from None


def to_line(due: Due, as_json: bool) -> str:
    """A Due as a line: its key alone, or as JSON with run_at, lateness (seconds), and its data if it has any."""
    if not as_json:
        return due.key
    fields = {"key": due.key, "run_at": due.run_at.isoformat(), "lateness": round(due.lateness, 6)}
    return json.dumps(with_data(fields, due.data))


def with_data(fields: dict[str, Any], data: Any) -> dict[str, Any]:
    """The fields of a line, and "data" among them if there is any; a key without data has no such field."""
    return fields if data is None else fields | {"data": data}
