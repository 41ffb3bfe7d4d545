"""What one call of the user's work gets: a claim, or a list of claims that came together."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from rx_runat.model.claim import Claim, Lease, lease_of
from rx_runat.stream.leases import LeaseManager, manager_of

_is_suspect = attrgetter("is_suspect")


class Assignment:
    """One piece of work.

        claims         a b c          those that are still ours when the work begins
        work(value)    [a, b, c]      or a, where claims come one by one

    Args:
        claims: one; or those of a list, at least one.
        is_list: True if the work gets a list.
        manager: of the first one's lease. Its clock, its scheduler and its monitor count for this work, also if claims
            of several queues were merged into a list.
        since: when they came, in seconds of that clock.

    Attributes:
        claims: those on which the work is done: the ones that are lost, or handed back, before it begins are left out.
            Perhaps none is left.
        is_suspect: True if one of the keys perhaps killed its process before. It stays as it is when that claim is left
            out: the limiter treats this work as a suspect until it ends.
        manager: as above.
        since: as above.
    """

    __slots__ = ("_came", "_is_list", "claims", "is_suspect", "manager", "since")

    def __init__(self, claims: list[Claim], is_list: bool, manager: LeaseManager, since: float) -> None:
        self.claims = self._came = claims
        self.manager = manager
        self.since = since
        self.is_suspect = any(map(_is_suspect, map(lease_of, claims)))  # faster than a loop
        self._is_list = is_list

    @property
    def value(self) -> Any:
        """What the work is called with."""
        return list(self.claims) if self._is_list else self.claims[0]

    @property
    def leases(self) -> list[Lease]:
        """The leases of the claims."""
        return [lease_of(claim) for claim in self.claims]

    @property
    def is_ours(self) -> bool:
        """True if one of the leases is ours, as far as this process knows, or the work has ended it by hand."""
        return any(lease.is_settled or manager_of(lease).lives(lease) for lease in self.leases)

    @property
    def seconds(self) -> float:
        """The length of the shortest lease of the claims that came."""
        return min(claim.lease for claim in self._came)

    def __str__(self) -> str:
        """The keys, for the log."""
        key = repr(self.claims[0].key)
        more = len(self.claims) - 1
        return f"{key} and {more} other{'s' if more > 1 else ''}" if more else key
