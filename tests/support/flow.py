"""Keys that are written and received all the time, while something happens to the servers."""

from __future__ import annotations

import itertools
import threading
from collections import Counter

from rx_runat import RunAt, StoreError
from rx_runat.model.monotonic import monotonic
from tests.support.waiting import wait_until

PAUSE = 0.005  # seconds between two writes


class Traffic:
    """Writes keys to a queue, one after the other, each due at once; and receives them.

    Args:
        writer: the queue that writes, on a thread of its own; what raises is not written again.
        reader: the queue that receives; None: the same.

    Attributes:
        written: when each key was acknowledged.
        received: each key with the moment, in order.
        errors: what writes raised, each with the moment.
    """

    def __init__(self, writer: RunAt, reader: RunAt | None = None) -> None:
        self.written: dict[str, float] = {}
        self.received: list[tuple[str, float]] = []
        self.errors: list[tuple[StoreError, float]] = []
        self._writer = writer
        self._ended = threading.Event()
        self._subscription = (reader or writer).subscribe(lambda key: self.received.append((key, monotonic())))
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        for number in itertools.count():
            if self._ended.wait(PAUSE):
                return
            try:
                self._writer.schedule(f"k{number}", 1)
            except StoreError as error:
                self.errors.append((error, monotonic()))
            else:
                self.written[f"k{number}"] = monotonic()

    def flow(self) -> None:
        """Wait until ten keys that are written from now on have been received."""
        before, since = set(self.written), monotonic()

        def count() -> int:
            return sum(key not in before for key, at in tuple(self.received) if at > since)

        wait_until(lambda: count() >= 10, "keys are written and received")

    def end(self) -> None:
        """Write no more, and wait until all that was acknowledged is received; but no longer than a lost key takes."""
        self._ended.set()
        self._thread.join()
        patience = monotonic() + 3.0  # the longest backoff is 2 s
        wait_until(lambda: not self.lost or monotonic() > patience, "the keys are received")
        self._subscription.dispose()

    @property
    def lost(self) -> set[str]:
        """The keys that were acknowledged and did not come."""
        return set(self.written) - {key for key, _ in tuple(self.received)}

    @property
    def doubled(self) -> set[str]:
        """The keys that came more than once."""
        return {key for key, times in Counter(key for key, _ in tuple(self.received)).items() if times > 1}

    def gap(self, since: float) -> tuple[float, float]:
        """Returns the seconds from a moment to the end of the longest pause after it: of writes, and of keys."""
        writes = sorted(at for at in self.written.values() if at > since)
        keys = [at for _, at in self.received if at > since]
        return _end_of_longest(since, writes), _end_of_longest(since, keys)


def _end_of_longest(since: float, moments: list[float]) -> float:
    pauses = zip([since, *moments], moments, strict=False)
    return max(((end - start, end - since) for start, end in pauses), default=(0.0, float("inf")))[1]
