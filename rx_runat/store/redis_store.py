"""A `Store` on Redis: the verbs of the protocol, sent on connections of our own. Knows no Rx."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from rx_runat.errors import Refused, StoreError, Unavailable
from rx_runat.model.batch import Counting, SettleReply, SettleRequest
from rx_runat.model.data import DATA_LIMIT
from rx_runat.model.dead_letter import DeadLetter
from rx_runat.model.job import Due, Job, Keep
from rx_runat.model.monotonic import monotonic
from rx_runat.model.protocols import Clock
from rx_runat.model.snapshot import Place, Snapshot
from rx_runat.model.stats import Stats
from rx_runat.model.times import RunAtTime
from rx_runat.store import overview
from rx_runat.store.batches import Batches
from rx_runat.store.claimers import LeasingClaimer, PlainClaimer
from rx_runat.store.client import RedisClient
from rx_runat.store.eviction import EvictionCheck
from rx_runat.store.keys import queue_keys, wake_channel
from rx_runat.store.plans import Plans
from rx_runat.store.request import Plan
from rx_runat.store.tracking import RedisHeadTracker

T = TypeVar("T")

_ASK_AGAIN = 1.0  # seconds; many awaits begin at once, and each would wait for a server that is silent


class RedisStore:
    """The verbs of one queue on Redis: a zset as npm runat has it, member = key in UTF-8, score = epoch milliseconds.

    Every verb that changes Redis raises OutcomeUnknown if it cannot be known whether the change was made, and any other
    StoreError if it was not made.

    Args:
        client: connections that do not retry; ours to close.
        queue_name: the zset's name, checked.
        clock: epoch microseconds in virtual time; None: Redis's own clock decides.
        data_limit: bytes; the most that a job may carry.

    Attributes:
        plans: the verbs as plans.
        batches: carries out plans for awaits.
    """

    def __init__(
        self, client: RedisClient, queue_name: str, clock: Clock | None = None, data_limit: int = DATA_LIMIT
    ) -> None:
        self.where = client.where
        self._client = client
        self._queue_name = queue_name
        self._keys = queue_keys(queue_name)
        self._clock = clock
        self._tracked = True  # whether the server tracks reads
        self._asked_at: int | None = None  # the generation of the primary that was asked for it last
        self._ask_at = -math.inf  # on our monotonic clock; not before, because each unanswered question takes a timeout
        self._eviction = EvictionCheck(client)
        self.batches = Batches(client, "rx_runat aio")
        self.plans = Plans(
            self._keys, clock, self._announces, self._announce, client.error_of, lambda: client.generation, data_limit
        )

    def do(self, plan: Plan[T], sent_at: int | None = None) -> T:
        """Send the requests of a plan one after the other, and return its result.

        Args:
            plan: of a verb.
            sent_at: of its first request; see `RedisClient.send`.
        """
        try:
            request = next(plan)
            while True:
                try:
                    result = self._client.send(request, sent_at)
                except BaseException as error:
                    request = plan.throw(error)
                else:
                    request = plan.send(result)
                sent_at = None
        except StopIteration as end:
            return end.value

    def schedule(self, jobs: Sequence[Job], keep: Keep, only_waiting: bool = False) -> float | None:
        """Write jobs, a long list in steps; see `Plans.schedule`."""
        return self.do(self.plans.schedule(jobs, keep, only_waiting))

    def cancel(self, key: str) -> bool:
        """Cancel a key; see `verbs.cancel`."""
        return self.do(self.plans.cancel(key))

    def when(self, key: str) -> datetime | None:
        """Returns the run_at of a key that waits."""
        return self.do(self.plans.when(key))

    def peek(self, n: int) -> list[Due]:
        """Returns the next n keys, in order."""
        return self.do(self.plans.peek(n))

    def size(self, until: RunAtTime | None) -> int:
        """Returns how many keys wait, all or until a moment; a delay costs one round trip more, for Redis's clock."""
        return self.do(self.plans.size(until))

    def stats(self) -> Stats:
        """Returns the queue in numbers; see `Stats`."""
        return self.do(self.plans.stats())

    def snapshot(self, n: int, window: float | None = None, slice_ms: int = 0) -> Snapshot:
        """Returns the counts of the queue and its next keys; see `overview.snapshot`."""
        return self._client.send(overview.snapshot(self._keys, n, window, slice_ms, self._now()))

    def locate(self, keys: Sequence[str]) -> list[Place]:
        """Returns where each of some keys is; see `overview.locate`."""
        return self._client.send(overview.locate(self._keys, keys)) if keys else []

    def plain_claimer(self) -> PlainClaimer:
        """Returns a claimer for one source, with a receipt key of its own."""
        return PlainClaimer(self._client, self._queue_name, self._keys, self._clock)

    def leasing_claimer(self, lease_ms: int, counting: Counting | None = None) -> LeasingClaimer:
        """Returns a claimer for one source of claims, with a receipt key of its own."""
        counting = counting or Counting()
        return LeasingClaimer(self._client, self._queue_name, self._keys, self._clock, lease_ms, counting)

    def head_tracker(self) -> RedisHeadTracker:
        """Returns a tracker of the schedule's head, on a connection of its own; see `RedisHeadTracker`."""
        return RedisHeadTracker(self._client, self._queue_name, self._eviction)

    @property
    def generation(self) -> int:
        """How many primaries there were before the present one."""
        return self._client.generation

    @property
    def fails_over(self) -> bool:
        """True if another primary may take the place of the present one."""
        return self._client.fails_over

    def settle(self, requests: Sequence[SettleRequest], sent_at: int | None = None) -> SettleReply:
        """End or extend leases; see `verbs.settle`, and `Store.settle` for `sent_at`."""
        return self.do(self.plans.settle(requests), sent_at)

    def dead_peek(self, n: int) -> list[DeadLetter]:
        """Returns the n oldest dead letters; see `RedisDeadLetters.peek`."""
        return self.do(self.plans.dead.peek(n))

    def dead_size(self) -> int:
        """Returns how many dead letters there are."""
        return self.do(self.plans.dead.size())

    def revive(self, key: str | None) -> int:
        """Move a dead letter back to the schedule, or all; see `RedisDeadLetters.revive`."""
        return self.do(self.plans.revive(key))

    def drop(self, key: str | None) -> int:
        """Delete a dead letter, or all; see `RedisDeadLetters.drop`."""
        return self.do(self.plans.dead.drop(key))

    def gc(self) -> int:
        """Delete data and lease records that no key has any more; see `Plans.gc`."""
        return self.do(self.plans.gc())

    def shorten_timeout(self, seconds: float) -> None:
        """Wait no longer than `seconds` for a reply from now on."""
        self._client.shorten_timeout(seconds)

    def close(self) -> None:
        """Close the connections; may be repeated."""
        self.batches.close(Unavailable(f"the connections to {self.where} are closed"))
        self._client.close()

    def _announces(self) -> bool:
        """True if writes must be published, because the server refuses to track reads.

        Each primary is asked once, before a write: another one may have other settings and other users. In virtual time
        none is asked: there all writes pass this queue's own sink, which wakes its sources.
        """
        generation = self._client.generation
        if self._asked_at != generation and self._clock is None:
            if monotonic() < self._ask_at:
                return False
            try:
                connection = self._client.open()
                try:
                    self._eviction.warn_once(connection)
                    connection.call("CLIENT", "TRACKING", "ON")
                finally:
                    connection.close()
                self._tracked = True
            except Refused:
                self._tracked = False
            except StoreError:
                self._ask_at = monotonic() + _ASK_AGAIN
                return False  # the write itself will raise it
            self._asked_at = generation
        return not self._tracked

    def _announce(self) -> None:
        try:
            self._client.publish(wake_channel(self._queue_name))
        except StoreError:
            pass  # the write is done, and without this hint the heartbeat finds it

    def _now(self) -> int | None:
        return None if self._clock is None else self._clock()
