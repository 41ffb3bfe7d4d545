"""Who keeps leases, what it asks to be done with them, and what it is told.

holder  --Ack-->  acks  --settle-->  Redis
        <--settled--    <--answers--
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from rx_runat.model.batch import Verb
from rx_runat.model.claim import Lease
from rx_runat.stream.stoppable import Stoppable


class LeaseHolder(Stoppable, Protocol):
    """A `Stoppable` whose leases are renewed and settled for it.

    The leases thread makes the calls below, and no lease is renewed while it waits for one of them to return: so they
    call no code of the user's, and do not block.

    Attributes:
        counts_up_to: attempts with a number up to this count at the claim; for later ones the holder asks `begin`.
    """

    counts_up_to: int

    @property
    def wanted(self) -> float:
        """How many more claims a source may take for this holder; from any thread."""
        ...

    @property
    def held_here(self) -> list[Lease]:
        """The leases whose work cannot end before the present thread, or its event loop, goes on."""
        ...

    def check(self, now: float) -> None:
        """Look for claims that have waited for too long. Called before each renewal, every third of a lease.

        Args:
            now: seconds of the leases thread's clock.
        """
        ...

    def settled(self, answered: Iterable[tuple[Ack, int | None]]) -> None:
        """Take notice of the answers to requests of the holder, many at once.

        Args:
            answered: each request, and its answer as in `SettleReply`: 0 if the lease was not ours any more; None if
                the answer is unknown; REFUSED: the holder has failed, and the lease is left to its end.
        """
        ...

    def lost(self, lease: Lease) -> None:
        """Take notice that a lease was lost before the holder asked to settle it."""
        ...

    def failed(self, error: Exception) -> None:
        """Take notice of an error that does not heal: leases of the holder could not be renewed or settled."""
        ...


class Ack(NamedTuple):
    """A request to end a lease, or to `begin`.

    Attributes:
        lease: the lease.
        verb: how it ends, or `begin`.
        argument: of the verb, as in `SettleRequest`.
        holder: who kept the lease, and is told the answer.
        note: what the holder wants to be told with the answer; see `LeaseHolder.settled`.
    """

    lease: Lease
    verb: Verb
    argument: int | str
    holder: LeaseHolder
    note: Any
