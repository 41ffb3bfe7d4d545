"""The leases of one claims source: from the claim that makes them to the call that ends them.

Redis --claim--> LeaseManager --Claim--> subscribers     each claim takes a slot
Redis <--------- LeaseManager <--------- Claim.ack()     at once, on the caller's thread; the slot is free again
                  | Acks      <--------- settle          in bulk, on the leases thread
                  ' Renewals  <--------- settle          every third of a lease, on the leases thread
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import repeat
from operator import attrgetter

from reactivex import abc

from rx_runat.errors import OutcomeUnknown
from rx_runat.model.batch import EVERY, REFUSED, SUPERSEDED, Counting, Entry, Leased, SettleReply, SettleRequest, Verb
from rx_runat.model.claim import (
    ACKED,
    BURIED,
    HANDED_BACK,
    LOST,
    NACKED,
    NACKED_AND_NEWER,
    UNSURE,
    Argument,
    Claim,
    Lease,
    WithNextRun,
    lease_of,
    to_claim,
)
from rx_runat.model.protocols import Claimer, Plan, Store
from rx_runat.model.times import to_ms
from rx_runat.stream.acks import Acks
from rx_runat.stream.asked import Asked
from rx_runat.stream.delivery import Delivery
from rx_runat.stream.demand import Demand
from rx_runat.stream.lease_holder import LeaseHolder
from rx_runat.stream.lease_thread import LeaseThread
from rx_runat.stream.renewals import Renewals
from rx_runat.stream.slots import Slots
from rx_runat.stream.source import Source
from rx_runat.stream.sources import Sources
from rx_runat.stream.writes import Writes

_ENDINGS: dict[Verb, str] = {"ack": ACKED, "nack": NACKED, "bury": BURIED, "back": HANDED_BACK}
_NEAR = 0.001  # seconds from the end of a lease; rounded off is less than a microsecond
_STAYS = ("begin", "extend")  # the verbs after which the lease goes on, and that may be asked again without `sent_at`


class LeaseManager:
    """Makes the claims of one source, counts them, and ends their leases. A `Claiming`, and a `Manager` of leases.

    Args:
        store: where leases are.
        writes: settles leases, and wakes the sources that wait for a key which came back to the schedule.
        sources: opens the source, and knows the time.
        lease: seconds; the length of each lease.
        max_in_flight: how many claims may be out at once.
        scheduler: the one of virtual time; None: time is real.
        limit: the most keys that each tick of the user's may take; None: the source claims by itself.

    Attributes:
        where: the server, in messages.
        scheduler: as above.
        taps: of the queue.
        has_leases: True; see `Claiming`.
        slots: how many claims may be out, and how many are.
        now: monotonic seconds; virtual seconds in virtual time.
        asked: what ticks of the user's ask for; None: the source claims by itself.
        thread: settles and renews leases for `settle`.
        acks: the leases to settle next.
        renewals: the leases to renew.
    """

    def __init__(
        self,
        store: Store,
        writes: Writes,
        sources: Sources,
        lease: float,
        max_in_flight: int,
        scheduler: abc.SchedulerBase | None,
        limit: int | None = None,
    ) -> None:
        self.where = store.where
        self.scheduler = scheduler
        self.taps = sources.taps
        self.has_leases = True
        self.slots = Slots(max_in_flight, sources.now, self._wake_source, self._wanted, begins_with_one=limit is None)
        self.asked = None if limit is None else Asked(limit, self.slots)
        self.thread = LeaseThread(self, sources.now, scheduler, store.close)
        self.renewals = Renewals(self, self.thread, lease)
        self.acks = Acks(self, self.thread, self.renewals)
        self._store = store
        self._writes = writes
        self._sources = sources
        self.now = sources.now
        self._lease = lease
        self._lease_ms = to_ms(lease, "lease", 0)
        self._source: Source[Leased] | None = None
        self._delivery: Delivery | None = None
        self._holders: set[LeaseHolder] = set()
        self._counting = Counting()
        self._ahead = 0.0  # seconds: what our clock shows minus what Redis's clock shows

    def open(self) -> Source[Leased]:
        """Open the source that these claims come from."""
        self._source = self._sources.open(self, self.scheduler, is_driven=self.asked is not None)
        return self._source

    def _wake_source(self) -> None:
        if self._source is not None:
            self._source.wake_for(-math.inf)

    def _wanted(self) -> float:
        return min((holder.wanted for holder in tuple(self._holders)), default=math.inf)

    # What the source asks for.

    @property
    def demand(self) -> Demand:
        """As many keys as there are free slots, if the holders of the leases want so many, or a tick asks for them."""
        return self.asked or self.slots

    @property
    def is_exhausted(self) -> bool:
        """True if work that waits for this thread holds all slots."""
        blocked = [lease for holder in tuple(self._holders) for lease in holder.held_here]
        return sum(lease.manager is self for lease in blocked) >= self.slots.max_in_flight

    def claimer(self) -> Claimer[Leased]:
        """Returns a new claimer of the store."""
        return self._store.leasing_claimer(self._lease_ms, self._counting)

    def delivery(self, claimed: Leased) -> Delivery:
        """Returns the delivery of one claim; each of its keys takes a slot."""
        # Our clock is read after Redis's, so a slot is never free before its lease has ended.
        self._ahead = self.now() - claimed.now / 1e6
        fence, deadline, generation, now = claimed.fence, claimed.deadline, claimed.generation, claimed.now
        leases = [
            Lease(key, fence, deadline, self, counts, generation, text, score, now)
            for key, score, counts, text in zip(
                claimed.keys,
                claimed.scores,
                claimed.counts,
                claimed.data or [""] * len(claimed.keys),
                strict=True,
            )
        ]
        self.slots.take(leases, self._end(deadline))
        claims = list(map(to_claim, leases, claimed.attempts, repeat(self._lease)))
        delivery = self._delivery = _Claims(claimed, claims, self.slots)
        return delivery

    # What a `Claim` asks for.

    @property
    def is_stopped(self) -> bool:
        """True if the queue was stopped."""
        return self._sources.is_stopped

    def left(self, lease: Lease) -> float:
        """The seconds until a lease ends, on our own clock; less than 0 after its end."""
        return self._end(lease.deadline_ms) - self.now()

    def lives(self, lease: Lease) -> bool:
        """True if a lease is ours, as far as this process knows."""
        if lease.ending:
            return False
        # To round takes longer than the rest, and matters only near the end.
        return lease.deadline_ms / 1e3 + self._ahead - self.now() > _NEAR or self.left(lease) > 0

    def settle(self, requests: Sequence[tuple[Lease, Verb, Argument]]) -> SettleReply:
        """Begin, end or extend leases in one round trip; see `Manager.settle`.

        A request that may end a lease, and whose answer was lost, is sent again alone: `sent_at` holds for a whole
        call, and would not be true of the others.
        """
        return self._store.do(*self._plan(requests))

    async def settle_async(self, requests: Sequence[tuple[Lease, Verb, Argument]]) -> SettleReply:
        """As `settle`, without blocking the event loop."""
        return await self._store.batches.do(*self._plan(requests), outlasts_stop=True)

    def _plan(self, requests: Sequence[tuple[Lease, Verb, Argument]]) -> tuple[Plan[SettleReply], int | None]:
        """Returns the plan, and the generation before an earlier sending of the request."""
        earlier = [lease.sent_at for lease, verb, _ in requests if lease.sent_at is not None and verb not in _STAYS]
        assert len(requests) == 1 or not earlier
        steps = self._steps(requests)
        monitor = self.taps.monitor
        if monitor is not None:
            steps = monitor.settle([request[:2] for request in requests], steps)
        return steps, earlier[0] if earlier else None

    def _steps(self, requests: Sequence[tuple[Lease, Verb, Argument]]) -> Plan[SettleReply]:
        generation = self._store.generation
        asked: list[SettleRequest] = []
        for each, verb, what in requests:
            next_run = each.next_run
            if isinstance(what, WithNextRun):
                next_run, what = what
            asked.append(
                SettleRequest(
                    verb,
                    each.key,
                    each.fence,
                    what,
                    each.deadline_ms,
                    each.generation,
                    next_run,
                    each.data if verb == "bury" else "",  # requests that differ in nothing but the key cost less
                )
            )
        try:
            reply = yield from self._writes.plan_settle(asked)
        except OutcomeUnknown:
            for lease, verb, _ in requests:
                if not lease.is_unsure and verb not in _STAYS:
                    lease.sent_at = generation
            raise
        for place, run_at in reply.next_runs.items():
            requests[place][0].next_run_ms = run_at
        ended: list[Lease] = []
        for (lease, verb, _), answer in zip(requests, reply.answers, strict=True):
            if answer == 1 and verb in _ENDINGS:  # nearly always
                lease.sent_at, lease.ending = None, lease.ending or _ENDINGS[verb]
                ended.append(lease)
            elif answer == REFUSED:
                continue
            elif verb == "extend" and answer:
                lease.deadline_ms, lease.generation = answer, generation
                self.slots.extend(lease, self._end(answer))
            elif verb == "begin" and answer:
                lease.is_counted = True
            elif answer == SUPERSEDED:
                lease.sent_at, lease.ending = None, lease.ending or NACKED_AND_NEWER
                ended.append(lease)
            else:
                if answer is not None:
                    lease.sent_at = None
                lease.ending = lease.ending or (LOST if answer == 0 else UNSURE)
                ended.append(lease)
        self.slots.free(ended)
        return reply

    # What the operator `settle` asks for.

    @property
    def is_delivering(self) -> bool:
        """True while more claims are on their way to the subscribers."""
        return self._delivery is not None and self._delivery.goes_on

    def register(self, holder: LeaseHolder) -> Callable[[], None]:
        """Register a holder of leases. From the next claim on, attempts count as the holder asks.

        The store stays open, and `stop` waits, until the returned callback is called. All leases of the holder must be
        settled or lost by then.
        """
        self._holders.add(holder)
        self._count()
        leave_queue = self._sources.register(holder)

        def leave() -> None:
            self._holders.discard(holder)
            self._count()
            self.slots.look_again()  # perhaps this holder alone wanted no more claims
            self.renewals.leave(holder)
            self.thread.forget(holder)
            leave_queue()

        return leave

    def join(self) -> None:
        """Wait for the leases thread, if nobody holds a lease any more."""
        if not self._holders:
            self.thread.join()

    def _count(self) -> None:
        self._counting.up_to = min((holder.counts_up_to for holder in tuple(self._holders)), default=EVERY)

    def _end(self, deadline_ms: int) -> float:
        # Rounded to the microsecond, because a virtual clock counts in them: so its time can equal the end exactly.
        return round(deadline_ms / 1e3 + self._ahead, 6)


manager_of: Callable[[Lease], LeaseManager] = attrgetter("manager")
"""The manager of a lease that came from `queue.claims()`; no other lease exists outside of tests."""


class _Claims(Delivery):
    """A delivery of claims. A claim that is to be handed back frees its slot."""

    is_bulk = True  # their delivery has no time limit, and `settle` itself hands back those that it does not begin

    def __init__(self, leased: Leased, claims: list[Claim], slots: Slots) -> None:
        super().__init__(leased)
        self.keys = iter(claims)
        self._slots = slots

    def entries(self, keys: list[Claim]) -> list[Entry]:
        if keys:
            self._slots.free(map(lease_of, keys))
        return super().entries([claim.key for claim in keys])
