"""Jobs, Dues and numbers as lines of text: what the command reads and prints.

last +0.56                                       a delay: +0.5, +10s, +1h30m, +2d, +250ms; see `when`
report 2026-12-24T18:00:00+01:00                 ISO 8601 with an offset, or Z
ping 1700000000000ms                             epoch milliseconds
{"runAt": 1700000000000, "key": "with spaces"}   runat's own form; a third field, "data", may hold any JSON value
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from rx_runat.errors import InvalidJob
from rx_runat.model.checks import show
from rx_runat.model.job import Due, Job, to_jobs
from rx_runat.model.stats import Stats
from rx_runat.model.when import FORMS, parse_when


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
        raise InvalidJob(f"line: got {show(line)}; write KEY WHEN, where WHEN is {FORMS}")
    return Job(key.strip(), parse_when(when))


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


def stats_line(stats: Stats, as_json: bool) -> str:
    """A queue in numbers as a line: each number behind its name, or all as JSON. Lateness is in seconds.

    >>> stats_line(Stats(12, 3, 1, 0, 0.25), as_json=False)
    'scheduled 12 due 3 claimed 1 dead 0 lateness 0.250'
    """
    fields = asdict(stats) | {"lateness": round(stats.lateness, 6)}
    if as_json:
        return json.dumps(fields)
    return " ".join(f"{name} {number}" for name, number in (fields | {"lateness": f"{stats.lateness:.3f}"}).items())


def with_data(fields: dict[str, Any], data: Any) -> dict[str, Any]:
    """The fields of a line, and "data" among them if there is any; a key without data has no such field."""
    return fields if data is None else fields | {"data": data}
