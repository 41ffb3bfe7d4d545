"""Where a source's claims are made and settled: it knows their slots and tells of what goes back to the schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reactivex import abc

from rx_runat.errors import OutcomeUnknown
from rx_runat.model.batch import Entry, Leased, SettleRequest, Verb
from rx_runat.model.claim import LOST, UNSURE, Claim, Lease
from rx_runat.model.protocols import Claimer, HeadTracker, Store
from rx_runat.model.times import from_score, lateness, to_ms
from rx_runat.stream.delivery import Delivery
from rx_runat.stream.demand import Demand
from rx_runat.stream.slots import Slots
from rx_runat.stream.stoppable import Stoppable
from rx_runat.stream.writes import Writes

_FATES: dict[Verb, str] = {"ack": "acked", "nack": "nacked", "bury": "buried", "back": "handed back"}


class LeaseManager:
    """The leases of one source of claims: it makes them, counts them and settles them.

    Args:
        store: where leases lie.
        lease: seconds, of each.
        max_in_flight: how many claims may be out.
        now: seconds, on a clock that nobody sets.
        writes: to the store.
        freed: called when a slot is free again, where none was when the source asked.
        scheduler: the one of virtual time; None: time is real.
        admit: keeps the store open for a guest, until what it answers is called.
    """

    def __init__(
        self,
        store: Store,
        lease: float,
        max_in_flight: int,
        now: Callable[[], float],
        writes: Writes,
        freed: Callable[[], None],
        scheduler: abc.SchedulerBase | None,
        admit: Callable[[Stoppable], Callable[[], None]],
    ) -> None:
        self.where = store.where
        self.lease = lease
        self.now = now
        self.scheduler = scheduler
        self.admit = admit
        self.slots = Slots(max_in_flight, now, freed)
        self.break_off = store.close
        self._store = store
        self._lease_ms = to_ms(lease, "lease", 0)
        self._writes = writes
        self._delivery: Delivery | None = None
        self._ahead = 0.0  # what our clock shows beyond Redis's, seconds

    @property
    def demand(self) -> Demand:
        """As many keys as there are free slots."""
        return self.slots

    def claimer(self) -> Claimer[Leased]:
        """Returns a new claimer of the store."""
        return self._store.leasing_claimer(self._lease_ms)

    def head_tracker(self) -> HeadTracker:
        """Returns a new tracker of the schedule's head and of the first end of a lease."""
        return self._store.head_tracker(leases=True)

    def delivery(self, claimed: Leased) -> Delivery:
        """A delivery of claims, each with a slot."""
        # Our clock is read after Redis's: a slot is never free before its lease has ended.
        self._ahead = self.now() - claimed.now / 1e6
        claims = [
            Claim(
                key,
                from_score(score),
                lateness(score, claimed.now),
                attempt,
                self.lease,
                Lease(key, claimed.fence, claimed.deadline, self),
            )
            for key, score, attempt in zip(claimed.keys, claimed.scores, claimed.attempts, strict=True)
        ]
        self.slots.take([claim.held for claim in claims], self._end(claimed.deadline))
        delivery = self._delivery = _Claims(claimed, claims, self.slots)
        return delivery

    @property
    def is_delivering(self) -> bool:
        """Are more claims on their way to the subscribers, right now?"""
        return self._delivery is not None and self._delivery.goes_on

    def left(self, lease: Lease) -> float:
        """The seconds until a lease ends, by our own clock; less than 0 after its end."""
        return self._end(lease.held) - self.now()

    def settle(self, verdicts: Sequence[tuple[Lease, Verb, int | str]]) -> list[bool | None]:
        """End leases or lengthen them, in one round trip; was each still ours? None: unknown.

        What ends a lease whose answer was lost is asked for again alone: of the others it would not be true.

        Raises:
            OutcomeUnknown: asked three times and never answered; ask again.
            StoreError: nothing is done.
        """
        asked = [SettleRequest(verb, lease.key, lease.fence, what, lease.held) for lease, verb, what in verdicts]
        again = any(lease.is_unsure and verb != "extend" for lease, verb, _ in verdicts)
        assert len(verdicts) == 1 or not again
        try:
            answers, _ = self._writes.settle(asked, again)
        except OutcomeUnknown:
            for lease, verb, _ in verdicts:
                lease.is_unsure = lease.is_unsure or verb != "extend"
            raise
        ended: list[Lease] = []
        for (lease, verb, _), answer in zip(verdicts, answers, strict=True):
            if verb == "extend" and answer:
                lease.held = answer
                self.slots.extend(lease, self._end(answer))
            else:
                lease.is_unsure = answer is None
                lease.fate = lease.fate or (LOST if answer == 0 else _FATES[verb] if answer else UNSURE)
                ended.append(lease)
        self.slots.free(ended)
        return [None if answer is None else answer > 0 for answer in answers]

    def lives(self, lease: Lease) -> bool:
        """Is a lease ours, as far as is known here?"""
        return not lease.fate and self.left(lease) > 0

    def _end(self, deadline: int) -> float:
        return round(deadline / 1e3 + self._ahead, 6)  # a virtual clock counts microseconds, and meets it exactly


class _Claims(Delivery):
    """A delivery whose items are claims; what is asked for to go back frees its slot."""

    def __init__(self, leased: Leased, claims: list[Claim], slots: Slots) -> None:
        super().__init__(leased)
        self.keys = iter(claims)
        self._claims = claims
        self._slots = slots

    def entry(self) -> Entry:
        self._slots.free([self._claims[self._place()].held])
        return super().entry()

    def rest(self) -> list[Entry]:
        self._slots.free([claim.held for claim in self._claims[self._place() + 1 :]])
        return super().rest()
