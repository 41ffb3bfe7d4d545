"""Keys that are written and received all the time, while something happens to the servers."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from typing import Literal

from rx_runat import Claim, Due, RunAt, StoreError, Unavailable, settle
from rx_runat.model.monotonic import monotonic
from rx_runat.queue import inside
from tests.support.waiting import wait_until

Kind = Literal["plain", "claims", "settle"]
PAUSE = 0.005  # seconds between two writes


class Traffic:
    """Writes keys to a queue, each once and due at once, and receives them.

    Args:
        writer: writes, on a thread of its own.
        reader: receives; None: the same.
        kind: of the stream: bare keys; claims that are acked by hand; claims that `settle` works on.

    Attributes:
        written: when the write of a key was acknowledged, monotonic seconds.
        received: which keys came, and when, in order.
        errors: what writes raised; they are not made again.
    """

    def __init__(self, writer: RunAt, reader: RunAt | None = None, kind: Kind = "plain") -> None:
        self.written: dict[str, float] = {}
        self.received: list[tuple[str, float]] = []
        self.errors: list[StoreError] = []
        self._writer = writer
        self._ends = threading.Event()
        reader = reader or writer
        if kind == "plain":
            self._subscription = reader.jobs.subscribe(self._note)
        elif kind == "claims":
            self._subscription = reader.claims(lease=5).subscribe(self._ack)
        else:
            self._subscription = reader.claims(lease=5).pipe(settle(self._note)).subscribe()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _note(self, due: Due) -> None:
        self.received.append((due.key, monotonic()))

    def _ack(self, claim: Claim) -> None:
        self._note(claim)
        for _ in range(100):
            try:
                claim.ack()
                return
            except Unavailable:
                self._ends.wait(0.1)

    def _write(self) -> None:
        for number in itertools.count():
            if self._ends.wait(PAUSE):
                return
            try:
                self._writer.schedule(f"k{number}", 1)
            except StoreError as error:
                self.errors.append(error)
            else:
                self.written[f"k{number}"] = monotonic()

    def goes_on(self) -> None:
        """Wait until ten keys that are written from now on have been received."""
        before = frozenset(self.written)
        began = monotonic()

        def count() -> int:
            return sum(key not in before for key, at in tuple(self.received) if at > began)

        wait_until(lambda: count() >= 10, f"keys are written to {self._writer!r} and received")

    def end(self) -> None:
        """Write no more, and wait until nothing is left in Redis, and all that was acknowledged was received.

        For what was lost it waits no longer than a backoff takes.
        """
        self._ends.set()
        self._thread.join()
        wait_until(lambda: not self._writer.size(), f"{self._writer!r} is empty")
        store = inside(self._writer).store
        wait_until(lambda: not store.snapshot(1).claimed, f"nothing of {self._writer!r} is out")
        patience = monotonic() + 3.0  # the longest backoff is 2 s
        wait_until(lambda: not self.lost or monotonic() > patience, "the keys are received")
        self._subscription.dispose()

    @property
    def lost(self) -> dict[str, float]:
        """The keys that were acknowledged and did not come, and when they were acknowledged."""
        came = {key for key, _ in tuple(self.received)}
        return {key: at for key, at in self.written.items() if key not in came}

    @property
    def doubled(self) -> dict[str, float]:
        """The keys that came more than once, and when they came first."""
        first = dict(reversed(self.received))
        counts = Counter(key for key, _ in self.received)
        return {key: first[key] for key, times in counts.items() if times > 1}
