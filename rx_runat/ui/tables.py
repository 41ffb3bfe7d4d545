"""What the tables of the page show: the numbers, the next keys, the keys that are out, and the dead letters."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from rx_runat.drawing.frame import FAR
from rx_runat.errors import Refused, RunAtError, StoreError
from rx_runat.model.dead_letter import DeadLetter
from rx_runat.model.humanize import readable
from rx_runat.model.job import Due
from rx_runat.model.monotonic import monotonic
from rx_runat.queue import RunAt, inside
from rx_runat.stream.loop import Loop

ROWS = 30  # of each table: more than a screen holds
_SECONDS = 1.0  # between two looks
_MOST_LETTERS = 10_000  # that are read to find the oldest of them: 20 round trips, at a few ms each
_LETTERS_SECONDS = 10.0  # between two readings of letters whose number has not changed
_LONGEST_KEY = 1_000  # characters; a longer key is shown, but no action on it is offered
_LONGEST_DATA = 300  # characters of data that are shown
_LONGEST_REASON = 1_000  # characters; as long as reasons are


class Tables:
    """Reads the tables of a queue once a second, on a thread of its own.

    Args:
        queue: the queue.
        publish: called on that thread with each reading. While Redis does not answer there is none.
    """

    def __init__(self, queue: RunAt, publish: Callable[[Mapping[str, Any]], object]) -> None:
        self._queue = queue
        self._publish = publish
        self._loop = Loop("rx_runat tables")
        self._letters: list[dict[str, Any]] = []
        self._letters_size = -1
        self._letters_at = 0.0

    def start(self) -> None:
        """Read from now on."""
        self._loop.schedule(self._tick)

    def stop(self) -> None:
        """Read no more."""
        self._loop.dispose()

    def look_soon(self) -> None:
        """Read once more now, the dead letters included."""
        self._letters_size = -1
        self._loop.schedule(self._look_once)

    def read(self) -> dict[str, Any]:
        """Read the tables now. Moments are epoch ms. Raises as the verbs of the queue.

        Where Redis forbids what one table needs, words stand in place of its rows.
        """
        _, store, _ = inside(self._queue)
        stats = self._queue.stats()
        return {
            "lateness": stats.lateness,
            "next": _rows_of(lambda: [due_row(each) for each in self._queue.peek(ROWS)]),
            "out": [{**_key(key), "until": _finite(until)} for key, until in store.snapshot(ROWS).leases],
            "dead": _rows_of(lambda: self._read_letters(stats.dead)),
        }

    def _read_letters(self, size: int) -> list[dict[str, Any]]:
        if size > _MOST_LETTERS:
            return []
        if size != self._letters_size or monotonic() > self._letters_at + _LETTERS_SECONDS:
            self._letters = [_letter_row(each) for each in self._queue.dead.peek(ROWS)] if size else []
            self._letters_size, self._letters_at = size, monotonic()
        return self._letters

    def _tick(self, *_: object) -> None:
        if self._look():
            self._loop.schedule_relative(_SECONDS, self._tick)

    def _look_once(self, *_: object) -> None:
        self._look()

    def _look(self) -> bool:
        """Read and publish. Returns False if the queue was stopped."""
        try:
            self._publish(self.read())
        except StoreError:
            pass  # the frames of the timeline say so
        except RunAtError:
            return False
        return True


def due_row(due: Due) -> dict[str, Any]:
    """A key that waits, as a row of a table."""
    return {**_key(due.key), "at": _ms(due.run_at), "data": _data(due.data)}


def _rows_of(read: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]] | str:
    """The rows of a table, or why Redis refuses them."""
    try:
        return read()
    except Refused as error:
        return readable(str(error), 160)


def _letter_row(letter: DeadLetter) -> dict[str, Any]:
    return {
        **_key(letter.key),
        "at": _ms(letter.time),
        "attempts": letter.attempts,
        "reason": readable(letter.reason, _LONGEST_REASON),
        "data": _data(letter.data),
    }


def _key(key: str) -> dict[str, str | None]:
    """A key as it is, for actions, and as it is shown; None if it is too long for an action."""
    return {"key": key if len(key) <= _LONGEST_KEY else None, "shown": readable(key, 200)}


def _data(data: object) -> str:
    """Data as JSON on one line, cut; empty if there is none."""
    return "" if data is None else readable(json.dumps(data, ensure_ascii=False, separators=(",", ":")), _LONGEST_DATA)


def _ms(moment: datetime) -> float:
    return moment.timestamp() * 1000


def _finite(ms: float) -> float:
    return max(-FAR, min(ms, FAR))
