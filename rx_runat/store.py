"""The verbs on a schedule in Redis: values in, values out, on connections of its own. Knows no Rx."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rx_runat.calls import Arg, Calls, Script, persist
from rx_runat.errors import OutcomeUnknown
from rx_runat.glance import Glance, to_keys_with_times
from rx_runat.job import Clock, Due, Job, Keep
from rx_runat.keys import claimed_key, dead_key
from rx_runat.taker import RedisTaker
from rx_runat.wire import RunAtTime, from_score, show, to_key, to_member, to_time

_SCHEDULE = Script("schedule")
_PEEK = Script("peek")
_GLANCE = Script("glance")
_KEEP: dict[Keep, str] = {"last": "", "first": "NX", "earliest": "LT", "latest": "GT"}


class RedisStore:
    """A `Store` on Redis: a zset as npm runat has it, member = key in UTF-8, score = epoch milliseconds.

    Args:
        calls: connections that do not retry; ours to close.
        queue_name: the zset's name, checked.
        clock: epoch microseconds in virtual time; None: Redis's own clock rules.
    """

    def __init__(self, calls: Calls, queue_name: str, clock: Clock | None = None) -> None:
        self.where = calls.where
        self._calls = calls
        self._queue_name = queue_name
        self._clock = clock

    def schedule(self, jobs: Sequence[Job], keep: Keep) -> float:
        """Write all jobs or none; answers the earliest run_at that stands for them, in epoch milliseconds.

        A write whose answer was lost is sent again. That is harmless but for one case: a key that was claimed
        between the two comes a second time.

        Redis: one round trip. `ZADD` for fixed times, `schedule.lua` for delays and the other policies.

        Raises:
            OutcomeUnknown: sent three times and never answered.
            StoreError: not done.
        """
        times = [to_time(job.run_at) for job in jobs]
        members = [to_member(job.key) for job in jobs]
        pairs: list[Arg] = [each for pair in zip(times, members, strict=True) for each in pair]
        if keep == "last" and not any(time[0] == "+" for time in times):
            persist(lambda _: self._calls.call("ZADD", self._queue_name, *pairs))
            return float(min(map(int, dict(zip(members, times, strict=True)).values())))
        now = "" if self._clock is None else self._clock()
        run = self._calls.run
        return float(persist(lambda _: run(_SCHEDULE, 1, self._queue_name, _KEEP[keep], now, *pairs)))

    def cancel(self, key: str) -> bool:
        """Take a key out; was it still waiting?

        Redis: one `ZREM`.

        Raises:
            OutcomeUnknown: an answer was lost, and now the key is gone: this call or a claim took it.
            StoreError: not done.
        """
        lost = False

        def ask(again: bool) -> bool:
            nonlocal lost
            lost = again
            return bool(self._calls.call("ZREM", self._queue_name, member))

        member = to_member(key)
        was_there = persist(ask)
        if lost and not was_there:
            raise OutcomeUnknown(
                f"{show(key)} does not wait any more; whether this cancel or a claim took it is unknown, because "
                f"{self.where} did not answer at once"
            )
        return was_there

    def when(self, key: str) -> datetime | None:
        """The run_at of a key that waits. Redis: one `ZSCORE`."""
        member = to_member(key)
        score = persist(lambda _: self._calls.call("ZSCORE", self._queue_name, member))
        return None if score is None else from_score(score)

    def peek(self, n: int) -> list[Due]:
        """The next n keys, in order. Redis: `peek.lua`, O(n)."""
        if n == 0:
            return []  # whose range would be all of them
        virtual = () if self._clock is None else (self._clock(),)
        now, flat = persist(lambda _: self._calls.run(_PEEK, 1, self._queue_name, n, *virtual))
        pairs = zip(flat[::2], flat[1::2], strict=True)
        return [Due(to_key(member), from_score(score), (now - float(score) * 1e3) / 1e6) for member, score in pairs]

    def size(self, until: RunAtTime | None) -> int:
        """How many keys wait, at all (`ZCARD`) or until a moment (`ZCOUNT`; and `TIME` for a delay)."""
        if until is None:
            return persist(lambda _: self._calls.call("ZCARD", self._queue_name))
        time = to_time(until, "until")
        limit = int(time) + (self._now_ms() if time[0] == "+" else 0)
        return persist(lambda _: self._calls.call("ZCOUNT", self._queue_name, "-inf", limit))

    def glance(self, n: int, window: float | None = None, slice_ms: int = 0) -> Glance:
        """The state of the queue and its next keys, without taking any. Redis: `glance.lua`, asked once.

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
        now, scheduled, due, claimed, dead, due_keys, coming, leases, slices = self._calls.run(
            _GLANCE, 3, *keys, span, n, slice_ms, *virtual
        )
        counted = {float(each) * slice_ms: count for each, count in zip(slices[::2], slices[1::2], strict=True)}
        first, following, held = map(to_keys_with_times, (due_keys, coming, leases))
        return Glance(now / 1e3, scheduled, due, claimed, dead, first, following, held, counted)

    def taker(self) -> RedisTaker:
        """A hand for one source, with a name of its own."""
        return RedisTaker(self._calls, self._queue_name, self._clock)

    def hurry(self, seconds: float) -> None:
        """From now on give up on the answer to any call after so long."""
        self._calls.hurry(seconds)

    def close(self) -> None:
        """Close the connections; may be repeated."""
        self._calls.close()

    def _now_ms(self) -> int:
        if self._clock is not None:
            return self._clock() // 1000
        seconds, microseconds = persist(lambda _: self._calls.call("TIME"))
        return int(seconds) * 1000 + int(microseconds) // 1000
