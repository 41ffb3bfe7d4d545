"""How one source claims. Two classes hold what differs: `PlainClaiming` and, under a lease, `LeaseManager`."""

from __future__ import annotations

from typing import Protocol, TypeVar

from rx_runat.model.batch import Claimed, Leased
from rx_runat.model.protocols import Claimer, Store
from rx_runat.stream.delivery import Delivery
from rx_runat.stream.demand import Demand

C = TypeVar("C", bound=Claimed | Leased)


class Claiming(Protocol[C]):
    """How a source claims. `PlainClaiming` for the stream of bare keys, `LeaseManager` for `queue.claims()`."""

    @property
    def demand(self) -> Demand:
        """How many keys a claim may take."""
        ...

    @property
    def has_leases(self) -> bool:
        """True if keys are claimed under a lease, and so ends of leases bring keys as well."""
        ...

    @property
    def is_exhausted(self) -> bool:
        """True if no claim can take a key before the present thread goes on."""
        ...

    def claimer(self) -> Claimer[C]:
        """Returns a new claimer of the store. A source uses it until its last subscriber leaves."""
        ...

    def delivery(self, claimed: C) -> Delivery:
        """Returns the delivery of one claim."""
        ...


class PlainClaiming:
    """Claims keys for good: a key that was delivered is gone from Redis.

    Args:
        store: where keys are claimed.
        demand: how many keys a claim may take.
    """

    def __init__(self, store: Store, demand: Demand) -> None:
        self._store = store
        self.demand = demand
        self.has_leases = False
        self.is_exhausted = False  # nothing limits how many keys may be out

    def claimer(self) -> Claimer[Claimed]:
        """Returns a new claimer of the store."""
        return self._store.plain_claimer()

    def delivery(self, claimed: Claimed) -> Delivery:
        """Returns the delivery of one claim, key by key."""
        return Delivery(claimed)
