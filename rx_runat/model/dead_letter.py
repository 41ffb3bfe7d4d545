"""A key whose work was given up."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rx_runat.model.checks import short
from rx_runat.model.humanize import attempts, readable, spell
from rx_runat.model.rich import cards

SEPARATOR = b"\x1f"
"""Between the reason of a letter in Redis and its data."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A key whose work was given up.

    Attributes:
        key: the key.
        run_at: when the key was due for its first attempt, in UTC.
        attempts: how often the key was claimed.
        reason: why the work was given up, in words, cut to a thousand characters.
        time: when it was given up, in UTC.
        data: what the run carried that was given up; None: nothing.
    """

    key: str
    run_at: datetime
    attempts: int
    reason: str
    time: datetime
    data: Any = field(default=None, hash=False)

    def __repr__(self) -> str:
        return f"<DeadLetter {self.key!r}, {attempts(self.attempts)}: {readable(self.reason, 60)}{self._data_text()}>"

    def _repr_html_(self) -> str:
        return cards().job_card(
            "DeadLetter",
            self.key,
            f"{attempts(self.attempts)}, {spell(self.time)}: {readable(self.reason, 200)}{self._data_text()}",
        )

    def _data_text(self) -> str:
        return "" if self.data is None else f", data {readable(short(self.data), 60)}"
