"""The dead letters as a user sees them: keys whose work was given up."""

from __future__ import annotations

from collections.abc import Callable

from rx_runat.model.checks import check_count
from rx_runat.model.dead_letter import DeadLetter
from rx_runat.model.protocols import Store
from rx_runat.model.rich import NEXT, cards
from rx_runat.stream.writes import Writes

_MOST_READ = 10_000  # letters that a card reads to find the oldest: 20 round trips, at a few ms each


class DeadLetters:
    """Keys whose work was given up, by `bury` or because attempts ran out; they lie here until revived or dropped.

    Args:
        store: where they lie.
        check_open: raises Stopped after the end.
        writes: to the schedule.
        owner: tells whose they are.
        card: their rich form, under a title and with what a look answers.
    """

    def __init__(
        self,
        store: Store,
        check_open: Callable[[], None],
        writes: Writes,
        owner: Callable[[], str],
        card: Callable[[str, Callable[[], str]], str],
    ) -> None:
        self._store = store
        self._check_open = check_open
        self._writes = writes
        self._owner = owner
        self._card = card

    def peek(self, n: int = 10) -> list[DeadLetter]:
        """The n letters that have lain here longest: key, run_at, attempts, reason, time; changes nothing.

        Reads them all: a call for people, not for loops.

        Raises:
            InvalidSetting: n is not a count.
            StoreError, Stopped: as the verbs of the queue.
        """
        self._check_open()
        check_count(n, "n", "a count of letters, such as 10")
        return self._store.dead_peek(n)

    def size(self) -> int:
        """How many there are. Raises as the verbs of the queue."""
        self._check_open()
        return self._store.dead_size()

    def revive(self, key: str | None) -> int:
        """Bring a key back to the schedule, with its own run_at and so due at once; its next attempt is the first.

        Where the key was scheduled meanwhile, that schedule stands, and the letter is gone all the same.

        Args:
            key: whose letter; None: all that lie here now.

        Returns:
            How many.

        Raises:
            OutcomeUnknown: an answer was lost, and now a letter is gone: this call or somebody else took it.
            InvalidJob, StoreError, Stopped: as the verbs of the queue; of all, some may be done.
        """
        self._check_open()
        return self._writes.revive(key)

    def drop(self, key: str | None) -> int:
        """Forget the letter of a key, or with None all that lie here now; how many? Raises as `revive`."""
        self._check_open()
        return self._store.drop(key)

    def __repr__(self) -> str:
        return f"<dead letters of {self._owner()}>"

    def _repr_html_(self) -> str:
        """How many, and the oldest of them, for notebooks; where there are very many, how many."""
        return self._card("dead letters of RunAt", self._glance)

    def _glance(self) -> str:
        size = self._store.dead_size()
        oldest = self._store.dead_peek(NEXT) if size <= _MOST_READ else []
        return cards().letters(size, [(each.key, each.attempts, each.reason, each.time) for each in oldest])
