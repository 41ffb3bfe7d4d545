"""Rich forms for notebooks: values know what a card says, `notebook/cards.py` knows the HTML.

    value._repr_html_()  -->  cards()  -->  notebook/cards.py, imported when the first card is drawn

A value may not import the `notebook` folder, which itself imports `model`; so `rx_runat/__init__.py` registers a loader
here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Protocol

from rx_runat.model.snapshot import Snapshot

NEXT = 5  # keys or dead letters that a card lists: enough for an overview, few enough to read


class Cards(Protocol):
    """What draws cards as HTML."""

    def job_card(self, kind: str, key: str, state: str) -> str:
        """Return a card of one line."""
        ...

    def queue_card(self, title: str, queue_name: str, where: str, stopped: bool, body: Callable[[], str]) -> str:
        """Return the card of a queue, or of a part of it; `body` asks Redis and returns the HTML below the title."""
        ...

    def state(self, seen: Snapshot) -> str:
        """Return the counts of a queue and its next keys."""
        ...

    def letters(self, size: int, oldest: Iterable[tuple[str, int, str, datetime]]) -> str:
        """Return the number of dead letters, and key, attempts, reason and time of the oldest."""
        ...


def load_cards_with(load: Callable[[], Cards]) -> None:
    """Register the function that imports the cards. The last one registered counts."""
    global _load
    _load = load


def cards() -> Cards:
    """Return the cards; the first call imports them."""
    return _load()


def _missing() -> Cards:
    raise RuntimeError("no cards were registered; importing rx_runat registers them (in rx_runat/__init__.py)")


_load: Callable[[], Cards] = _missing
