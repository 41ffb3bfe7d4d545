"""Cards: the rich forms of queues, jobs, claims and dead letters, as small pieces of HTML in the page's own colours.

The values themselves know no HTML; they reach this file through `model/rich.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from html import escape

from rx_runat.errors import StoreError
from rx_runat.model.humanize import attempts, readable, spell, until
from rx_runat.model.rich import NEXT
from rx_runat.model.snapshot import Snapshot

_CARD = (
    "display:inline-block;box-sizing:border-box;max-width:100%;overflow-wrap:break-word;"
    "padding:.5em .9em;border:1px solid rgba(128,128,128,.45);border-radius:6px"
)
_FAINT = "opacity:.75"  # of the page's own colour, whose contrast it keeps above 4.5 in light and dark themes
_MONO = "font-family:var(--jp-code-font-family,monospace);white-space:pre-wrap;overflow-wrap:anywhere"


def queue_card(title: str, queue_name: str, where: str, stopped: bool, body: Callable[[], str]) -> str:
    """The card of a queue or of a part of it. If the server does not answer, the card shows the error.

    Args:
        title: what the card shows, such as `RunAt`.
        queue_name: the name of the queue.
        where: the server, without its password.
        stopped: True if the queue was stopped; then `body` is not called.
        body: asks Redis and returns the HTML below the title: `state(...)` or `letters(...)`.
    """
    head = f"<b>{escape(title)}</b> {_code(queue_name)} <span style='{_FAINT}'>on {escape(where)}</span>"
    if stopped:
        return _card(head, f"<div style='{_FAINT}'>stopped</div>")
    try:
        return _card(head, body())
    except StoreError as error:
        return _card(head, f"<div>⚠ {escape(readable(str(error), 300))}</div>")


def state(seen: Snapshot) -> str:
    """How many keys are scheduled, due, claimed and dead, and the next keys to come."""
    counts = [f"<b>{seen.scheduled:,}</b> scheduled", f"<b>{seen.due:,}</b> due"]
    counts += [f"<b>{seen.claimed:,}</b> claimed"] * bool(seen.claimed)
    counts += [f"<b>{seen.dead:,}</b> dead"] * bool(seen.dead)
    following = (seen.due_keys + seen.coming)[:NEXT]
    rows = [(_code(key), escape(until((at - seen.now) / 1e3))) for key, at in following]
    return f"<div>{' · '.join(counts)}</div>{_table(rows, seen.scheduled)}"


def letters(size: int, oldest: Iterable[tuple[str, int, str, datetime]]) -> str:
    """The number of dead letters, and key, attempts, reason and time of the oldest."""
    rows = [
        (_code(key), escape(readable(reason, 60)), attempts(number), f"<span style='{_FAINT}'>{spell(time)}</span>")
        for key, number, reason, time in oldest
    ]
    return f"<div><b>{size:,}</b> dead</div>{_table(rows, size)}"


def job_card(kind: str, key: str, state: str) -> str:
    """The card of one value, on one line."""
    return _card(f"<b>{escape(kind)}</b> {_code(key)} <span style='{_FAINT}'>{escape(state)}</span>")


def _card(*lines: str) -> str:
    return f"<div style='{_CARD}'>{''.join(lines)}</div>"


def _code(text: str) -> str:
    return f"<span style='{_MONO}'>{escape(readable(text) or repr(text))}</span>"  # an empty key must be seen, too


def _table(rows: Sequence[tuple[str, ...]], size: int) -> str:
    """A table of the first rows, whose cells are HTML; a last line says how many more there are."""
    if not rows:
        return ""
    more = size - len(rows)
    rest = [(f"<span style='{_FAINT}'>… {more:,} more</span>", *[""] * (len(rows[0]) - 1))] if more > 0 else []
    lines = "".join(f"<tr style='background:none'>{''.join(map(_cell, row))}</tr>" for row in [*rows, *rest])
    return f"<table style='margin:.2em 0 0;font-size:inherit'>{lines}</table>"


def _cell(html: str) -> str:
    return f"<td style='text-align:left;vertical-align:top;padding:0 1.2em 0 0'>{html}</td>"
