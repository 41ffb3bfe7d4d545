"""Until when a source sleeps, what is worth waking it for, and who wakes first."""

from __future__ import annotations

import math
import threading


class WakeFilter:
    """What a source hears of while it sleeps, looks, and goes to sleep again; from any thread.

        source    sleeps until 9   | looks ...          | sleeps until 7
        hears         9     8          6       7   5
        wakes it            8                      5        heard in the look, and earlier than what the look found

    Times are run_ats in epoch milliseconds.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = math.inf
        self._heard = math.inf
        self._looks = False
        self._woken = False

    def wakes(self, run_at: float) -> bool:
        """Is this worth a look now? A source that is awake, or woken already, hears of it when it has looked."""
        with self._lock:
            self._heard = min(self._heard, run_at)
            if self._looks or self._woken or run_at >= self._until:
                return False
            self._woken = True
            return True

    def ends(self) -> None:
        """A look begins: it will find what was heard of until now."""
        with self._lock:
            self._looks, self._woken, self._heard = True, False, math.inf

    def begins(self, until: float) -> bool:
        """A look has found the next run_at; is one that was heard of meanwhile earlier, so that it must look again?"""
        with self._lock:
            self._looks, self._until = False, until
            self._woken = self._heard < until
            return self._woken


class ContentionDelay:
    """Who came for a key and found it taken lets the others go first next time.

        sources   a b c  all wake at 9, one gets the key, say b
        sources     b    wakes at 12, and has the processor to itself
                    a c  wake 1 ms later; in case b is busy, the key is theirs

    Else sixteen sources on one machine that fall upon one key make the one that gets it wait for the other fifteen.

    Args:
        longest: seconds; a claim takes a tenth of a millisecond, and sixteen of them a few. 0 where nobody competes.
    """

    _FIRST = 0.001

    def __init__(self, longest: float = 0.004) -> None:
        self.seconds = 0.0
        self._longest = longest
        self._expected = math.inf

    def looked(self, now: float, got: bool, next_run_at: float) -> None:
        """Hear of a claim: when it was, whether it took anything, and what falls due next; epoch milliseconds."""
        if got:
            self.seconds = 0.0
        elif now >= self._expected:
            self.seconds = min(max(2 * self.seconds, self._FIRST), self._longest)
        self._expected = next_run_at
