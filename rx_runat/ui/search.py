"""Searches the keys that wait, by a pattern of `fnmatch`."""

from __future__ import annotations

import asyncio
import re
import threading
from fnmatch import translate
from typing import Any

from reactivex import operators as ops

from rx_runat.errors import RunAtError
from rx_runat.model.job import Due
from rx_runat.queue import RunAt
from rx_runat.ui.tables import due_row

_MOST_FOUND = 100  # rows: who gets more wants a narrower pattern
_MOST_READ = 100_000  # keys: 100 pages, some 0.2 s of the server's time
_LONGEST_PATTERN = 1_000  # characters


class Search:
    """Searches a queue, one search at a time: each reads up to 100,000 keys.

    Args:
        queue: the queue.
    """

    def __init__(self, queue: RunAt) -> None:
        self._queue = queue
        self._turn = threading.Lock()

    async def find(self, match: str) -> dict[str, Any]:
        """The first keys that match, as rows, and in words how many they are. Raises as the verbs of the queue.

        Raises:
            ValueError: the pattern is too long.
            BlockingIOError: another search runs.
        """
        if len(match) > _LONGEST_PATTERN:
            raise ValueError(f"the pattern has more than {_LONGEST_PATTERN:,} characters")
        return await asyncio.to_thread(self._find, match)

    def _find(self, match: str) -> dict[str, Any]:
        if not self._turn.acquire(blocking=False):
            raise BlockingIOError("another search runs; try again")
        try:
            found, read = self._read(match)
        finally:
            self._turn.release()
        return {"rows": [due_row(each) for each in found[:_MOST_FOUND]], "said": _told(len(found), read)}

    def _read(self, match: str) -> tuple[list[Due], int]:
        """The keys that match, at most one more than are shown, and how many keys were read for that."""
        matches = re.compile(translate(match)).match
        found: list[Due] = []
        failed: list[Exception] = []
        read = 0

        def is_match(due: Due) -> bool:
            nonlocal read
            read += 1
            return matches(due.key) is not None

        self._queue.waiting().pipe(ops.take(_MOST_READ), ops.filter(is_match), ops.take(_MOST_FOUND + 1)).subscribe(
            found.append, failed.append
        )
        for error in failed:
            raise error if isinstance(error, RunAtError) else RuntimeError("the search failed") from error
        return found, read


def _told(found: int, read: int) -> str:
    """How many keys a search has found, in words.

    >>> _told(1, 20), _told(0, 100_000), _told(101, 300)
    ('1 key matches.', '0 keys match, of the next 100,000; later ones were not read.', 'The first 100 keys that match.')
    """
    if found > _MOST_FOUND:
        return f"The first {_MOST_FOUND} keys that match."
    matching = f"{found} key{'s' * (found != 1)} match{'es' * (found == 1)}"
    return f"{matching}, of the next {read:,}; later ones were not read." if read == _MOST_READ else f"{matching}."
