"""The verbs on a schedule in Redis: values in, values out, on connections of its own. Knows no Rx."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from operator import attrgetter
from typing import cast

from rx_runat.errors import OutcomeUnknown, Refused, StoreError
from rx_runat.model.batch import SettleReply, SettleRequest
from rx_runat.model.checks import show
from rx_runat.model.dead_letter import DeadLetter
from rx_runat.model.job import Due, Job, Keep
from rx_runat.model.members import to_key, to_member
from rx_runat.model.protocols import Clock
from rx_runat.model.snapshot import Place, Snapshot, to_keys_with_times, to_places
from rx_runat.model.times import RunAtTime, from_score, lateness, to_time
from rx_runat.store.client import RedisClient, Script, resend_lost
from rx_runat.store.dead_letter_store import RedisDeadLetters
from rx_runat.store.keys import claimed_key, dead_key, leases_key, wake_channel
from rx_runat.store.leasing_claimer import LeasingClaimer, settle
from rx_runat.store.plain_claimer import PlainClaimer
from rx_runat.store.tracking import RedisHeadTracker

_SCHEDULE = Script("schedule")
_CANCEL = Script("cancel")
_PEEK = Script("peek")
_SNAPSHOT = Script("snapshot")
_LOCATE = Script("locate")
_WIRE = attrgetter("wire")
_KEEP: dict[Keep, str] = {"last": "", "first": "NX", "earliest": "LT", "latest": "GT"}


class RedisStore:
    """A `Store` on Redis: a zset as npm runat has it, member = key in UTF-8, score = epoch milliseconds.

    Args:
        client: connections that do not retry; ours to close.
        queue_name: the zset's name, checked.
        clock: epoch microseconds in virtual time; None: Redis's own clock rules.
    """

    def __init__(self, client: RedisClient, queue_name: str, clock: Clock | None = None) -> None:
        self.where = client.where
        self._client = client
        self._queue_name = queue_name
        self._clock = clock
        self._tracked: bool | None = None
        self._dead = RedisDeadLetters(client, queue_name)

    def schedule(self, jobs: Sequence[Job], keep: Keep) -> float:
        """Write all jobs or none; answers the earliest run_at of theirs, in epoch milliseconds.

        A write whose answer was lost is sent again. That is harmless but for one case: a key that was claimed
        between the two comes a second time.

        Redis: one round trip. `ZADD` for fixed times, `schedule.lua` for delays and the other policies.

        Raises:
            OutcomeUnknown: sent three times and never answered.
            StoreError: not done.
        """
        pairs: list[str | bytes] = [*chain.from_iterable(map(_WIRE, jobs))]  # time, key, time, key, ...
        times = cast("list[str]", pairs[::2])
        announces = self._announces()
        if keep == "last" and min(times)[0] != "+":  # which sorts before all that an absolute time begins with
            resend_lost(lambda _: self._client.call("ZADD", self._queue_name, *pairs))
            earliest = float(min(map(int, times)))  # of a key that is twice in the list, perhaps a time too early
        else:
            now = "" if self._clock is None else self._clock()
            run, leases = self._client.run, leases_key(self._queue_name)
            earliest = float(
                resend_lost(lambda _: run(_SCHEDULE, 2, self._queue_name, leases, _KEEP[keep], now, *pairs))
            )
        if announces:
            self._announce()
        return earliest

    def cancel(self, key: str) -> bool:
        """Call a key off: it waits no more, and a lease on it is revoked.

        True if there was anything to call off: a run that waited, or one that was out under a lease, living or ended;
        its holder may have done the work already, but learns that the lease is gone, and the key does not come again.

        Redis: one round trip, `cancel.lua`.

        Raises:
            OutcomeUnknown: an answer was lost, and now the key is gone: this call or a claim took it.
            StoreError: not done.
        """
        lost = False

        def ask(again: bool) -> bool:
            nonlocal lost
            lost = again
            return bool(self._client.run(_CANCEL, 3, *keys, member))

        member = to_member(key)
        keys = (self._queue_name, claimed_key(self._queue_name), leases_key(self._queue_name))
        was_there = resend_lost(ask)
        if lost and not was_there:
            raise OutcomeUnknown(
                f"{show(key)} does not wait any more; whether this cancel or a claim took it is unknown, because "
                f"{self.where} did not answer at once"
            )
        return was_there

    def when(self, key: str) -> datetime | None:
        """The run_at of a key that waits. Redis: one `ZSCORE`."""
        member = to_member(key)
        score = resend_lost(lambda _: self._client.call("ZSCORE", self._queue_name, member))
        return None if score is None else from_score(score)

    def peek(self, n: int) -> list[Due]:
        """The next n keys, in order. Redis: `peek.lua`, O(n)."""
        if n == 0:
            return []  # whose range would be all of them
        virtual = () if self._clock is None else (self._clock(),)
        now, flat = resend_lost(lambda _: self._client.run(_PEEK, 1, self._queue_name, n, *virtual))
        pairs = zip(flat[::2], flat[1::2], strict=True)
        return [Due(to_key(member), from_score(score), lateness(score, now)) for member, score in pairs]

    def size(self, until: RunAtTime | None) -> int:
        """How many keys wait, at all (`ZCARD`) or until a moment (`ZCOUNT`; and `TIME` for a delay)."""
        if until is None:
            return resend_lost(lambda _: self._client.call("ZCARD", self._queue_name))
        time = to_time(until, "until")
        limit = int(time) + (self._now_ms() if time[0] == "+" else 0)
        return resend_lost(lambda _: self._client.call("ZCOUNT", self._queue_name, "-inf", limit))

    def snapshot(self, n: int, window: float | None = None, slice_ms: int = 0) -> Snapshot:
        """The state of the queue and its next keys, without taking any. Redis: `snapshot.lua`, asked once.

        Args:
            n: keys to list of each kind, at most.
            window: list and count only what falls due within so many seconds; None: all.
            slice_ms: width of the slices of time to count where a window holds more than n keys; 0: none.

        Raises:
            StoreError: Redis did not answer, or refuses.
        """
        virtual = () if self._clock is None else (self._clock(),)
        span = "+inf" if window is None else int(window * 1000)
        keys = self._queue_name, claimed_key(self._queue_name), dead_key(self._queue_name)
        now, scheduled, due, claimed, dead, due_keys, coming, leases, slices = self._client.run(
            _SNAPSHOT, 3, *keys, span, n, slice_ms, *virtual
        )
        counted = {float(each) * slice_ms: count for each, count in zip(slices[::2], slices[1::2], strict=True)}
        first, following, held = map(to_keys_with_times, (due_keys, coming, leases))
        return Snapshot(now / 1e3, scheduled, due, claimed, dead, first, following, held, counted)

    def locate(self, keys: Sequence[str]) -> list[Place]:
        """Where each key is that a glance does not list any more. Redis: `locate.lua`, asked once: O(keys).

        Raises:
            StoreError: Redis did not answer, or refuses.
        """
        if not keys:
            return []
        name = self._queue_name
        names = name, claimed_key(name), leases_key(name), dead_key(name)
        return to_places(self._client.run(_LOCATE, 4, *names, *map(to_member, keys)))

    def plain_claimer(self) -> PlainClaimer:
        """A hand for one source, with a name of its own."""
        return PlainClaimer(self._client, self._queue_name, self._clock)

    def head_tracker(self, leases: bool = False) -> RedisHeadTracker:
        """An eye on the head, on a connection of its own; with `leases`, on the first end of one as well."""
        return RedisHeadTracker(self._client, self._queue_name, leases)

    def leasing_claimer(self, lease_ms: int) -> LeasingClaimer:
        """A hand for one source of claims, with a name of its own."""
        return LeasingClaimer(self._client, self._queue_name, self._clock, lease_ms)

    def settle(self, verdicts: Sequence[SettleRequest], again: bool = False) -> SettleReply:
        """Let verdicts act whose leases are still ours; see `leases.settle`."""
        announces = self._announces()
        settled = settle(self._client, self._queue_name, self._clock, verdicts, again)
        if announces and settled.earliest is not None:
            self._announce()
        return settled

    def dead_peek(self, n: int) -> list[DeadLetter]:
        """The n dead letters that have lain there longest; see `RedisDeadLetters`."""
        return self._dead.peek(n)

    def dead_size(self) -> int:
        """How many dead letters there are."""
        return self._dead.size()

    def revive(self, key: str | None) -> int:
        """Bring a dead letter back to the schedule, or all; how many?"""
        announces = self._announces()
        revived = self._dead.revive(key)
        if announces and revived:
            self._announce()
        return revived

    def drop(self, key: str | None) -> int:
        """Forget a dead letter, or all; how many?"""
        return self._dead.drop(key)

    def shorten_timeout(self, seconds: float) -> None:
        """From now on give up on the answer to any call after so long."""
        self._client.shorten_timeout(seconds)

    def close(self) -> None:
        """Close the connections; may be repeated."""
        self._client.close()

    def _announces(self) -> bool:
        """Must a write be told of, since the server does not tell those who watch? Asked once, before the first."""
        if self._tracked is None:
            if self._clock is not None:
                self._tracked = True  # in virtual time all writes pass one sink
            else:
                try:
                    line = self._client.open()
                    try:
                        line.ask("CLIENT", "TRACKING", "ON")
                    finally:
                        line.close()
                    self._tracked = True
                except Refused:
                    self._tracked = False
                except StoreError:
                    return False  # the write itself will say so
        return not self._tracked

    def _announce(self) -> None:
        try:
            self._client.call("PUBLISH", wake_channel(self._queue_name), "")
        except StoreError:
            pass  # a hint: what is written is written, and the heartbeat finds it

    def _now_ms(self) -> int:
        if self._clock is not None:
            return self._clock() // 1000
        seconds, microseconds = resend_lost(lambda _: self._client.call("TIME"))
        return int(seconds) * 1000 + int(microseconds) // 1000
