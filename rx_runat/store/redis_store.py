"""A `Store` on Redis: the verbs of the protocol as requests, sent on connections of our own. Knows no Rx.

Each verb is one request, but for `size` with a delay, the verbs on all dead letters, and the hints to other sources.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from rx_runat.errors import OutcomeUnknown, Refused, StoreError
from rx_runat.model.batch import Counting, SettleReply, SettleRequest
from rx_runat.model.checks import short
from rx_runat.model.dead_letter import DeadLetter
from rx_runat.model.job import Due, Job, Keep
from rx_runat.model.protocols import Clock
from rx_runat.model.snapshot import Place, Snapshot
from rx_runat.model.times import RunAtTime, to_time
from rx_runat.store import dead_letter_store, verbs
from rx_runat.store.claimers import LeasingClaimer, PlainClaimer
from rx_runat.store.client import RedisClient
from rx_runat.store.dead_letter_store import RedisDeadLetters
from rx_runat.store.eviction import EvictionCheck
from rx_runat.store.keys import queue_keys, wake_channel
from rx_runat.store.tracking import RedisHeadTracker


class RedisStore:
    """The verbs of one queue on Redis: a zset as npm runat has it, member = key in UTF-8, score = epoch milliseconds.

    Every verb that changes Redis raises OutcomeUnknown if it cannot be known whether the change was made, and any other
    StoreError if it was not made.

    Args:
        client: connections that do not retry; ours to close.
        queue_name: the zset's name, checked.
        clock: epoch microseconds in virtual time; None: Redis's own clock decides.
    """

    def __init__(self, client: RedisClient, queue_name: str, clock: Clock | None = None) -> None:
        self.where = client.where
        self._client = client
        self._queue_name = queue_name
        self._keys = queue_keys(queue_name)
        self._clock = clock
        self._tracked = True  # whether the server tracks reads
        self._asked_at: int | None = None  # the generation of the primary that was asked for it last
        self._dead = RedisDeadLetters(client, self._keys)
        self._eviction = EvictionCheck(client)

    def schedule(self, jobs: Sequence[Job], keep: Keep) -> float:
        """Write jobs, a long list in steps; see `verbs.schedule`.

        An error in a step of a long list keeps its class, and its message says how far the list is written.
        """
        announces = self._announces()
        earliest = math.inf
        for places, request in verbs.schedule(self._keys, jobs, keep, self._now()):
            try:
                run_at = self._client.send(request)
            except StoreError as error:
                if len(places) < len(jobs):
                    error.args = (f"{error}; {_how_far(jobs, places.start, isinstance(error, OutcomeUnknown))}",)
                raise
            earliest = min(earliest, run_at)
            if announces:
                self._announce()
        return earliest

    def cancel(self, key: str) -> bool:
        """Cancel a key; see `verbs.cancel`."""
        return self._client.send(verbs.cancel(self._keys, key))

    def when(self, key: str) -> datetime | None:
        """Returns the run_at of a key that waits."""
        return self._client.send(verbs.when(self._keys, key))

    def peek(self, n: int) -> list[Due]:
        """Returns the next n keys, in order."""
        if n == 0:
            return []  # peek.lua would read from 0 to -1, which is all of them
        return self._client.send(verbs.peek(self._keys, n, self._now()))

    def size(self, until: RunAtTime | None) -> int:
        """Returns how many keys wait, all or until a moment; a delay costs one round trip more, for Redis's clock."""
        if until is None:
            return self._client.send(verbs.size(self._keys))
        time = to_time(until, "until")
        start = self._now_ms() if time[0] == "+" else 0
        return self._client.send(verbs.size(self._keys, start + int(time)))

    def snapshot(self, n: int, window: float | None = None, slice_ms: int = 0) -> Snapshot:
        """Returns the counts of the queue and its next keys; see `verbs.snapshot`."""
        return self._client.send(verbs.snapshot(self._keys, n, window, slice_ms, self._now()))

    def locate(self, keys: Sequence[str]) -> list[Place]:
        """Returns where each of some keys is; see `verbs.locate`."""
        return self._client.send(verbs.locate(self._keys, keys)) if keys else []

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
        if not requests:
            return SettleReply([], None)
        announces = self._announces()
        settled, refused = self._client.send(verbs.settle(self._keys, requests, self._now()), sent_at)
        if announces and settled.earliest is not None:
            self._announce()
        return settled._replace(refusal=self._client.error_of(refused)) if refused else settled

    def dead_peek(self, n: int) -> list[DeadLetter]:
        """Returns the n oldest dead letters; see `RedisDeadLetters.peek`."""
        return self._dead.peek(n)

    def dead_size(self) -> int:
        """Returns how many dead letters there are."""
        return self._client.send(dead_letter_store.size(self._keys))

    def revive(self, key: str | None) -> int:
        """Move a dead letter back to the schedule, or all; see `RedisDeadLetters.revive`."""
        announces = self._announces()
        revived: int | None = None
        try:
            revived = self._dead.revive(key)
            return revived
        finally:
            if announces and revived != 0:  # after an error, some letters may have been revived
                self._announce()

    def drop(self, key: str | None) -> int:
        """Delete a dead letter, or all; see `RedisDeadLetters.drop`."""
        return self._dead.drop(key)

    def shorten_timeout(self, seconds: float) -> None:
        """Wait no longer than `seconds` for a reply from now on."""
        self._client.shorten_timeout(seconds)

    def close(self) -> None:
        """Close the connections; may be repeated."""
        self._client.close()

    def _announces(self) -> bool:
        """True if writes must be published, because the server refuses to track reads.

        Each primary is asked once, before a write: another one may have other settings and other users. In virtual time
        none is asked: there all writes pass this queue's own sink, which wakes its sources.
        """
        generation = self._client.generation
        if self._asked_at != generation and self._clock is None:
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

    def _now_ms(self) -> int:
        return self._client.send(verbs.server_ms()) if self._clock is None else self._clock() // 1000


def _how_far(jobs: Sequence[Job], written: int, is_unknown: bool) -> str:
    """Tells, for the message of an error, how far a list was written."""
    first = "may not have been" if is_unknown else "was not"
    return (
        f"of the list's {len(jobs):,} jobs {written:,} were written before that; the first that {first} written is "
        f"job {written} of the list, {short(jobs[written].key)}"
    )
