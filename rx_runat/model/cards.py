"""How queues and jobs look in a notebook: small pieces of HTML that follow the page's own colours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from html import escape

from rx_runat.errors import StoreError
from rx_runat.model.humanize import readable, until
from rx_runat.model.snapshot import Snapshot
from rx_runat.model.times import from_score

NEXT = 5  # keys or letters that a card lists: a glance, not a listing

_CARD = "display:inline-block;padding:.5em .9em;border:1px solid rgba(128,128,128,.45);border-radius:6px"
_FAINT = "opacity:.7"
_MONO = "font-family:var(--jp-code-font-family,monospace);white-space:pre"


def queue_card(title: str, queue_name: str, where: str, stopped: bool, body: Callable[[], str]) -> str:
    """Something of a queue at a glance; when its server does not answer, the card says so.

    Args:
        title: what this is, such as `RunAt`.
        queue_name: whose state it is.
        where: the server, without its password.
        stopped: then nothing is asked.
        body: asks, and answers what the card holds: `state` or `letters`.
    """
    head = f"<b>{escape(title)}</b> {_code(queue_name)} <span style='{_FAINT}'>on {escape(where)}</span>"
    if stopped:
        return _card(head, f"<div style='{_FAINT}'>stopped</div>")
    try:
        return _card(head, body())
    except StoreError as error:
        return _card(head, f"<div>⚠ {escape(readable(str(error), 300))}</div>")


def state(seen: Snapshot) -> str:
    """What waits, what is out, what was given up, and the next keys."""
    counts = [f"<b>{seen.scheduled:,}</b> scheduled", f"<b>{seen.due:,}</b> due"]
    counts += [f"<b>{seen.claimed:,}</b> claimed"] * bool(seen.claimed)
    counts += [f"<b>{seen.dead:,}</b> dead"] * bool(seen.dead)
    following = (seen.due_keys + seen.coming)[:NEXT]
    rows = [(_code(key), escape(until((at - seen.now) / 1e3))) for key, at in following]
    return f"<div>{' · '.join(counts)}</div>{_table(rows, seen.scheduled)}"


def letters(size: int, oldest: Iterable[tuple[str, int, str, datetime]]) -> str:
    """How many dead letters there are, and key, attempts, reason and time of those that have lain there longest."""
    rows = [
        (_code(key), escape(readable(reason, 60)), attempts(number), f"<span style='{_FAINT}'>{spell(time)}</span>")
        for key, number, reason, time in oldest
    ]
    return f"<div><b>{size:,}</b> dead</div>{_table(rows, size)}"


def job_card(kind: str, key: str, state: str) -> str:
    """A job on one line."""
    return _card(f"<b>{escape(kind)}</b> {_code(key)} <span style='{_FAINT}'>{escape(state)}</span>")


def attempts(number: int) -> str:
    """A number of attempts.

    >>> attempts(1), attempts(5)
    ('1 attempt', '5 attempts')
    """
    return f"{number:,} attempt{'s' * (number != 1)}"


def spell(moment: datetime | float) -> str:
    """A moment as a person reads it, to the millisecond.

    >>> spell(1_700_000_000.25)
    '2023-11-14 22:13:20.250 UTC'
    """
    if not isinstance(moment, datetime):
        moment = from_score(moment * 1000)
    try:
        return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "milliseconds") + " UTC"
    except OverflowError:  # in UTC it is outside of the years that Python knows
        return moment.isoformat(" ", "milliseconds")


def _card(*lines: str) -> str:
    return f"<div style='{_CARD}'>{''.join(lines)}</div>"


def _code(text: str) -> str:
    return f"<span style='{_MONO}'>{escape(readable(text))}</span>"


def _table(rows: Sequence[tuple[str, ...]], size: int) -> str:
    """The first rows, of HTML, and how many more there are."""
    if not rows:
        return ""
    more = size - len(rows)
    rest = [(f"<span style='{_FAINT}'>… {more:,} more</span>", *[""] * (len(rows[0]) - 1))] if more > 0 else []
    lines = "".join(f"<tr style='background:none'>{''.join(map(_cell, row))}</tr>" for row in [*rows, *rest])
    return f"<table style='margin:.2em 0 0'>{lines}</table>"


def _cell(html: str) -> str:
    return f"<td style='text-align:left;padding:0 1.2em 0 0'>{html}</td>"
