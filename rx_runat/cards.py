"""How queues and jobs look in a notebook: small pieces of HTML that follow the page's own colours."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from html import escape

from rx_runat.errors import StoreError
from rx_runat.glance import Glance
from rx_runat.wire import from_score
from rx_runat.words import readable, until

NEXT = 5  # keys that a card lists: a glance, not a listing

_CARD = "display:inline-block;padding:.5em .9em;border:1px solid rgba(128,128,128,.45);border-radius:6px"
_FAINT = "opacity:.7"
_MONO = "font-family:var(--jp-code-font-family,monospace);white-space:pre"


def queue_card(title: str, queue_name: str, where: str, stopped: bool, look: Callable[[int], Glance]) -> str:
    """A queue at a glance; when its server does not answer, the card says so.

    Args:
        title: what this is, such as `RunAt`.
        queue_name: whose state it is.
        where: the server, without its password.
        stopped: then nothing is asked.
        look: one look that lists so many keys.
    """
    head = f"<b>{escape(title)}</b> {_code(queue_name)} <span style='{_FAINT}'>on {escape(where)}</span>"
    if stopped:
        return _card(head, f"<div style='{_FAINT}'>stopped</div>")
    try:
        seen = look(NEXT)
    except StoreError as error:
        return _card(head, f"<div>⚠ {escape(readable(str(error), 300))}</div>")
    counts = [f"<b>{seen.scheduled:,}</b> scheduled", f"<b>{seen.due:,}</b> due"]
    counts += [f"<b>{seen.claimed:,}</b> claimed"] * bool(seen.claimed)
    counts += [f"<b>{seen.dead:,}</b> dead"] * bool(seen.dead)
    following = (seen.due_keys + seen.coming)[:NEXT]
    rows = "".join(_row(_code(key), until((at - seen.now) / 1e3)) for key, at in following)
    more = seen.scheduled - len(following)
    rest = (
        f"<tr style='background:none'><td style='text-align:left;padding:0;{_FAINT}'>… {more:,} more</td><td></td></tr>"
        if following and more
        else ""
    )
    table = f"<table style='margin:.2em 0 0'>{rows}{rest}</table>" if rows else ""
    return _card(head, f"<div>{' · '.join(counts)}</div>{table}")


def job_card(kind: str, key: str, when: str) -> str:
    """A job on one line."""
    return _card(f"<b>{escape(kind)}</b> {_code(key)} <span style='{_FAINT}'>{escape(when)}</span>")


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


def _row(key: str, when: str) -> str:
    cell = "style='text-align:left;padding:0 1.2em 0 0'"
    return f"<tr style='background:none'><td {cell}>{key}</td><td {cell}>{escape(when)}</td></tr>"
