"""When a source looks next: how long it sleeps, which writes wake it, and how long it lets other sources go first."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable

from rx_runat.model.batch import Claimed, Leased

# The run_at of a sleep until `Ticker.wake`, which reports -inf: no key has an earlier run_at than this.
_UNTIL_WOKEN = -sys.float_info.max


class WakeFilter:
    """Decides which writes wake a source that sleeps. Writes are reported from any thread, looks by the source.

        source    sleeps until 9   | looks ...          | sleeps until 7
        reported      9     8          8       5   6
        wakes               8                  5            reported during the look, and earlier than what it found

    Times are run_ats in epoch milliseconds.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = math.inf  # the run_at that the source sleeps for
        self._earliest = math.inf  # the earliest run_at that was reported since the last look began
        self._is_looking = False
        self._is_woken = False

    def note_write(self, run_at: float) -> bool:
        """Note a write. Returns True if the source must look now, and then counts the source as woken.

        Returns False if the run_at is not earlier than what the source sleeps for; if the source was woken already,
        because the coming look finds the write; or if it looks now, because `look_ended` takes the write into account.
        """
        with self._lock:
            self._earliest = min(self._earliest, run_at)
            if self._is_looking or self._is_woken or run_at >= self._until:
                return False
            self._is_woken = True
            return True

    def look_begins(self) -> None:
        """Note that a look begins: it will find all that was written until now."""
        with self._lock:
            self._is_looking, self._is_woken, self._earliest = True, False, math.inf

    def look_ended(self, until: float) -> bool:
        """Note that a look has ended, and for which run_at the source will sleep.

        Returns:
            True if an earlier run_at was reported during the look, so that the source must look again at once.
        """
        with self._lock:
            self._is_looking, self._until = False, until
            self._is_woken = self._earliest < until
            return self._is_woken


class ContentionDelay:
    """Delays the next look of a source that came too late for a key, so that other sources go first next time.

        sources   a b c  all wake at 9, one gets the key, say b
        sources     b    wakes at 12, and has the processor to itself
                    a c  wake 1 ms later; in case b is busy, the key is theirs

    Without the delay, sixteen sources on one machine would look for one key at the same moment, and the one that gets
    the key would share the processor with fifteen that get nothing.

    Args:
        longest: the longest delay, in seconds: one claim takes 0.1 ms, sixteen take a few milliseconds. 0 where nobody
            competes.

    Attributes:
        seconds: the delay of the next look.
    """

    _FIRST = 0.001

    def __init__(self, longest: float = 0.004) -> None:
        self.seconds = 0.0
        self._longest = longest
        self._expected = math.inf  # when the next key was to fall due, as the last claim found

    def note_claim(self, now: float, found_keys: bool, next_run_at: float) -> None:
        """Adapt the delay to a claim.

        Args:
            now: when it was, epoch milliseconds.
            found_keys: True if it took any.
            next_run_at: when the next key falls due, epoch milliseconds.
        """
        if found_keys:
            self.seconds = 0.0
        elif now >= self._expected:
            self.seconds = min(max(2 * self.seconds, self._FIRST), self._longest)
        self._expected = next_run_at


class Sleep:
    """How long a source sleeps after a look: planned by the look's last claim, begun when the look ends.

    Args:
        now: returns monotonic seconds; virtual seconds in virtual time.
        contention: delays looks where other sources compete for the same key.

    Attributes:
        wake_filter: decides which writes end the sleep.
    """

    def __init__(self, now: Callable[[], float], contention: ContentionDelay) -> None:
        self.wake_filter = WakeFilter()
        self._now = now
        self._contention = contention
        self._planned_at = 0.0
        self._seconds: float | None = None  # from `_planned_at`; 0.0: at once; None: at the next heartbeat
        self._until = math.inf  # the run_at to sleep for, in epoch milliseconds
        self._is_asleep = False

    def plan_after(self, claimed: Claimed | Leased) -> None:
        """Plan to sleep until the next key falls due, as a claim has found."""
        self._planned_at = self._now()
        now = claimed.now / 1e3
        self._seconds = claimed.wait
        self._until = math.inf if claimed.wait is None else round(now + claimed.wait * 1e3)  # as `wait` was counted
        self._contention.note_claim(now, bool(claimed.keys), self._until)

    def plan_after_hand_back(self, is_stuck: bool) -> None:
        """Plan to look again at once; at the heartbeat if the subscribers are stuck (see `Source._deliver`)."""
        self._seconds = None if is_stuck else 0.0
        if is_stuck:
            self._until = _UNTIL_WOKEN

    def look_begins(self) -> None:
        """Note that a look begins."""
        self._is_asleep = False
        self.wake_filter.look_begins()

    def begin(self) -> float | None:
        """End the look. Returns the seconds that are left to sleep, since the delivery took some of them."""
        if self.wake_filter.look_ended(self._until):
            return 0.0
        self._is_asleep = self._until != _UNTIL_WOKEN
        return self.seconds_left

    @property
    def seconds_left(self) -> float | None:
        """The seconds that are left to sleep; None: until the next heartbeat."""
        seconds = self._seconds
        return seconds and max(0.0, seconds + self._contention.seconds - (self._now() - self._planned_at))

    def goes_on(self, has_earlier: Callable[[float], bool]) -> bool:
        """True if the source sleeps, and nothing comes earlier than what it sleeps for.

        Args:
            has_earlier: returns True if a claim brings something before a moment in epoch milliseconds, or now.
        """
        return self._is_asleep and not has_earlier(self._until)

    def begin_until_woken(self) -> bool:
        """End a look without a claim: no write is worth a look. Returns False if `Ticker.wake` was called during it."""
        return not self.wake_filter.look_ended(_UNTIL_WOKEN)

    def begin_backoff(self) -> None:
        """End a look that met an outage: nothing is worth a look before the backoff is over, and then a claim is."""
        self._is_asleep = False  # it was, if a heartbeat's read failed
        self.wake_filter.look_ended(-math.inf)
