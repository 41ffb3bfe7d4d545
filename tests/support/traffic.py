"""A queue on which one thread writes all the time, and a stream consumes, while something happens to its servers."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any, Literal

from rx_runat import Claim, Due, RunAt, StoreError, Unavailable, settle
from rx_runat.model.monotonic import monotonic
from rx_runat.queue import inside
from tests.support.waiting import wait_until

Kind = Literal["plain", "claims", "settle"]
_PAUSE = 0.01  # seconds between two keys


class Traffic:
    """Writes keys, each once, and consumes them.

    Args:
        where: the `redis` of `RunAt`.
        kind: of the stream: bare keys; claims that are acked by hand; claims that `settle` works on.

    Attributes:
        name: of the queue.
        written: when the write of a key was acknowledged, monotonic seconds.
        came: which keys came, and when.
        errors: what writes raised.
    """

    def __init__(self, where: Any, kind: Kind) -> None:
        self.name = f"traffic-{kind}"
        self.written: dict[str, float] = {}
        self.came: list[tuple[str, float]] = []
        self.errors: list[Exception] = []
        self._ends = threading.Event()
        self._writer = RunAt(where, queue_name=self.name)
        self._reader = RunAt(where, queue_name=self.name)
        if kind == "plain":
            self._reader.jobs.subscribe(self._note)
        elif kind == "claims":
            self._reader.claims(lease=5).subscribe(self._ack)
        else:
            self._reader.claims(lease=5).pipe(settle(self._note)).subscribe()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _note(self, due: Due) -> None:
        self.came.append((due.key, monotonic()))

    def _ack(self, claim: Claim) -> None:
        self._note(claim)
        for _ in range(100):
            try:
                claim.ack()
                return
            except Unavailable:
                self._ends.wait(0.1)

    def _write(self) -> None:
        number = 0
        while not self._ends.wait(_PAUSE):
            key = f"{self.name} {number}"
            number += 1
            try:
                self._writer.schedule(key, 0.05)
                self.written[key] = monotonic()
            except StoreError as error:
                self.errors.append(error)

    def goes_on(self) -> None:
        """Wait until keys come that are written from now on."""
        known = frozenset(self.written)
        wait_until(lambda: any(key not in known for key, _ in tuple(self.came)), f"{self.name} goes on")

    def end(self) -> None:
        """Write no more, wait until nothing is left, and stop."""
        self._ends.set()
        self._thread.join()
        try:
            wait_until(lambda: not self._writer.size(), f"{self.name} is empty")
            store = inside(self._writer).store
            wait_until(lambda: not store.snapshot(1).claimed, f"nothing of {self.name} is out")
        finally:
            self._reader.stop()
            self._writer.stop()

    @property
    def lost(self) -> list[float]:
        """When the writes of those keys were acknowledged that never came."""
        came = {key for key, _ in self.came}
        return [at for key, at in self.written.items() if key not in came]

    @property
    def doubled(self) -> list[float]:
        """When those keys first came that came more than once."""
        counts = Counter(key for key, _ in self.came)
        first = dict(reversed(self.came))
        return [first[key] for key, count in counts.items() if count > 1]
