"""`queue.dead`: the keys whose work was given up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rx_runat.model.checks import check_count
from rx_runat.model.dead_letter import DeadLetter
from rx_runat.model.rich import NEXT, cards
from rx_runat.stream.access import Access

_MOST_READ = 10_000  # letters that a card reads to find the oldest: 20 round trips, at a few ms each


class DeadLetters:
    """Keys whose work was given up, by `bury` or because attempts ran out. They stay until they are revived or dropped.

    Args:
        access: returns how they are reached.
        owner: returns the repr of the queue that they belong to.
        card: returns their HTML card, from a title and a function that returns the card's body.
    """

    def __init__(
        self,
        access: Callable[[], Access],
        owner: Callable[[], str],
        card: Callable[[str, Callable[[], str]], str],
    ) -> None:
        self._access = access
        self._owner = owner
        self._card = card

    def peek(self, n: int = 10) -> list[DeadLetter]:
        """Returns the n oldest letters, each with key, run_at, attempts, reason and time. Changes nothing.

        It reads all letters to find the oldest: a call for people, not for loops. A letter that cannot be read, because
        another client wrote it, comes first: its text is the reason, it has 0 attempts, and both times are the
        beginning of 1970. The log names the first such letter, once for each queue object.

        Raises:
            InvalidSetting: n is not a count.
            StoreError, Stopped: as the verbs of the queue.
        """
        access = self._access()
        with access.reading:
            return access.store.dead_peek(check_count(n, "n", "a count of letters, such as 10"))

    def size(self) -> int:
        """Returns how many letters there are. Raises as the verbs of the queue."""
        access = self._access()
        with access.reading:
            return access.store.dead_size()

    def revive(self, key: str | None) -> int:
        """Put a key back into the schedule, with its own run_at and so due at once. Attempts count from 1 again.

        If the key was scheduled meanwhile, that schedule stands, and the letter is gone all the same. A letter that
        cannot be read stays where it is and does not count; `drop` deletes it.

        Args:
            key: whose letter; None: all letters that are here now.

        Returns:
            How many letters were revived.

        Raises:
            OutcomeUnknown: an answer was lost, and now a letter is gone: this call removed it, or somebody else did.
            InvalidJob, StoreError, Stopped: as the verbs of the queue. With None, letters are revived in steps of some
                500; each step is done whole or not at all, and the message says how many letters the steps before the
                error revived.
        """
        access = self._access()
        with access.writing:
            return access.writes.revive(key)

    def drop(self, key: str | None) -> int:
        """Delete the letter of a key; None: all letters. Returns how many were deleted. Raises as `revive`."""
        access = self._access()
        with access.writing:
            return access.store.drop(key)

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(f"{self!r} cannot be pickled or copied; make a RunAt of the same queue_name there")

    def __repr__(self) -> str:
        return f"<dead letters of {self._owner()}>"

    def _repr_html_(self) -> str:
        """For notebooks: the number of letters and the oldest of them; above 10,000 letters, only the number."""
        return self._card("dead letters of RunAt", self._glance)

    def _glance(self) -> str:
        store = self._access().store
        size = store.dead_size()
        oldest = store.dead_peek(NEXT) if size <= _MOST_READ else []
        return cards().letters(size, [(each.key, each.attempts, each.reason, each.time) for each in oldest])
