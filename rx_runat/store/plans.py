"""The verbs of a queue as plans: generators that yield requests, get their results, and return what the verb returns.

    plan        size(until=+1h):     TIME ......... ZCOUNT ........ 3
    drivers     RedisStore           sends each request at once, on the caller's thread
                Batches              sends the next requests of many plans together

A plan knows neither connections nor threads, so both drivers run the same verbs. Claims are no plans: they belong to
one source, which has a thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from rx_runat.errors import OutcomeUnknown, StoreError
from rx_runat.model.batch import Cursor, Page, SettleReply, SettleRequest
from rx_runat.model.checks import short
from rx_runat.model.job import Due, Job, Keep
from rx_runat.model.protocols import Clock
from rx_runat.model.stats import Stats
from rx_runat.model.times import RunAtTime, to_time
from rx_runat.store import overview, verbs
from rx_runat.store.dead_letter_store import RedisDeadLetters
from rx_runat.store.keys import QueueKeys
from rx_runat.store.request import Plan
from rx_runat.store.scan import Scan


class Plans:
    """The plans of one queue.

    Args:
        keys: of the queue.
        clock: epoch microseconds in virtual time; None: Redis's own clock decides.
        announces: returns True if writes must be announced to sources; called before each write.
        announce: tells sources that something was written.
        error_of: returns the error that a server's message means.
        generation: of the present primary; see `Route`.
        data_limit: bytes; the most that a job may carry.

    Attributes:
        dead: the plans on dead letters.
    """

    def __init__(
        self,
        keys: QueueKeys,
        clock: Clock | None,
        announces: Callable[[], bool],
        announce: Callable[[], None],
        error_of: Callable[[str], StoreError],
        generation: Callable[[], int],
        data_limit: int,
    ) -> None:
        self.dead = RedisDeadLetters(keys, generation)
        self._generation = generation
        self._data_limit = data_limit
        self._keys = keys
        self._clock = clock
        self._announces = announces
        self._announce = announce
        self._error_of = error_of

    def schedule(self, jobs: Sequence[Job], keep: Keep, only_waiting: bool = False) -> Plan[float | None]:
        """Write jobs, a long list in steps; see `verbs.schedule`.

        An error in a step of a long list keeps its class, and its message says how far the list is written.
        """
        wires = verbs.wires(jobs, self._data_limit)
        announces = self._announces()
        if len(jobs) == 1:
            earliest = yield verbs.schedule_one(self._keys, wires[0], keep, only_waiting, self._now())
            if announces:
                self._announce()
            return earliest
        earliest = math.inf
        for places, request in verbs.schedule(self._keys, wires, keep, only_waiting, self._now()):
            try:
                run_at = yield request
            except StoreError as error:
                if len(places) < len(jobs):
                    error.args = (f"{error}; {_how_far(jobs, places.start, isinstance(error, OutcomeUnknown))}",)
                raise
            earliest = earliest if run_at is None else min(earliest, run_at)
            if announces:
                self._announce()
        return None if earliest == math.inf else earliest

    def cancel(self, key: str) -> Plan[bool]:
        """Cancel a key; see `verbs.cancel`."""
        return (yield verbs.cancel(self._keys, key))

    def when(self, key: str) -> Plan[datetime | None]:
        """Look up the run_at of a key that waits."""
        return (yield verbs.when(self._keys, key))

    def peek(self, n: int) -> Plan[list[Due]]:
        """List the next n keys, in order."""
        if n == 0:
            return []  # peek.lua would read from 0 to -1, which is all of them
        return (yield verbs.peek(self._keys, n, self._now()))

    def size(self, until: RunAtTime | None) -> Plan[int]:
        """Count the keys that wait, all or until a moment; see `moment`."""
        until_ms = yield from self.moment(until)
        return (yield verbs.size(self._keys, until_ms))

    def stats(self) -> Plan[Stats]:
        """Count the keys, and tell how late the oldest one is; see `Stats`."""
        return (yield overview.stats(self._keys, self._now()))

    def moment(self, until: RunAtTime | None) -> Plan[int | None]:
        """Returns a moment in epoch milliseconds; a delay costs one round trip, for Redis's clock. None stays None."""
        if until is None:
            return None
        time = to_time(until, "until")
        start = 0
        if time[0] == "+":
            start = (yield verbs.server_ms()) if self._clock is None else self._clock() // 1000
        return start + int(time)

    def page(self, after: Cursor) -> Plan[Page]:
        """Read one page of the schedule; see `verbs.page`."""
        return (yield verbs.page(self._keys, after, self._now()))

    def settle(self, requests: Sequence[SettleRequest]) -> Plan[SettleReply]:
        """End or extend leases; see `verbs.settle`."""
        if not requests:
            return SettleReply([], None)
        announces = self._announces()
        settled, refused = yield verbs.settle(self._keys, requests, self._now())
        if announces and settled.earliest is not None:
            self._announce()
        return settled._replace(refusal=self._error_of(refused)) if refused else settled

    def revive(self, key: str | None) -> Plan[int]:
        """Move a dead letter back to the schedule, or all; see `RedisDeadLetters.revive`."""
        announces = self._announces()
        revived: int | None = None
        try:
            revived = yield from self.dead.revive(key)
            return revived
        finally:
            if announces and revived != 0:  # after an error, some letters may have been revived
                self._announce()

    def gc(self) -> Plan[int]:
        """Delete data that no key has any more, and lease records likewise; returns of how many keys there was data.

        Redis: `HSCAN` over all data and records, and `gc.lua` for each step.
        """
        data, records = Scan(self._keys.data, self._generation), Scan(self._keys.leases, self._generation)
        # Both begin before anything is deleted: where one is refused, the other stays as it is.
        with_data = yield from data.step()
        with_record = yield from records.step()
        deleted = yield from self._collect(self._keys.data, data, with_data)
        yield from self._collect(self._keys.leases, records, with_record)
        return deleted

    def _collect(self, name: str, scan: Scan, found: Collection[bytes]) -> Plan[int]:
        """Go on with a scan, and delete the orphans among its fields. Returns how many they were."""
        deleted = 0
        while True:
            if found:
                deleted += yield verbs.gc(self._keys, name, list(found))
            if scan.is_over():
                return deleted
            found = yield from scan.step()

    def _now(self) -> int | None:
        return None if self._clock is None else self._clock()


def _how_far(jobs: Sequence[Job], written: int, is_unknown: bool) -> str:
    """Tells, for the message of an error, how far a list was written."""
    first = "may not have been" if is_unknown else "was not"
    return (
        f"of the list's {len(jobs):,} jobs {written:,} were written before that; the first that {first} written is "
        f"job {written} of the list, {short(jobs[written].key)}"
    )
