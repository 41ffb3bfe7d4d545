"""Gauges of how queues stand: counts that Redis gives when metrics are collected, on the thread that collects them.

reader  --collect-->  scheduled, due, claimed, dead, lateness  -->  Reading  --one queue.stats()-->  Redis
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from functools import partial

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from rx_runat.errors import Stopped, Unavailable
from rx_runat.model.stats import Stats
from rx_runat.otel.attributes import Attributes
from rx_runat.otel.guard import Guard

# Seconds. Prometheus gives up on a process that takes longer than 10 s by default; then all its metrics are missing,
# just while Redis is silent and they are needed.
_PATIENCE = 2.0

_GAUGES = (
    ("scheduled", "{key}", "Keys that wait."),
    ("due", "{key}", "Keys that wait and are due."),
    ("claimed", "{key}", "Keys that are out under a lease."),
    ("dead", "{key}", "Dead letters."),
    ("lateness", "s", "How late the oldest key that waits is."),
)


class Reading:
    """The counts of one queue, read from Redis at most once for each time that all gauges are collected.

    Args:
        queue: what metrics say of the queue.
        read: asks Redis; it may block.
        guard: calls what may fail.

    Attributes:
        attributes: what metrics say of the queue.
        is_over: True once the queue was stopped.
    """

    def __init__(self, queue: Attributes, read: Callable[[], Stats], guard: Guard) -> None:
        self.attributes = queue
        self.is_over = False
        self._read = read
        self._guard = guard
        self._lock = threading.Lock()  # over the three below
        self._stats: Stats | None = None
        self._fresh: set[str] = set()  # the gauges that have not taken these counts yet
        self._thread: threading.Thread | None = None

    def take(self, gauge: str) -> float | None:
        """Returns the value of one gauge; None while Redis does not answer.

        A gauge that has taken the present counts already belongs to the next collection, which needs new ones.
        """
        with self._lock:
            if gauge not in self._fresh:
                self._fresh = {name for name, _, _ in _GAUGES}
                self._ask()
            self._fresh.discard(gauge)
            return None if self._stats is None else getattr(self._stats, gauge)

    def _ask(self) -> None:
        """With the lock held. Redis may be silent for as long as our connections wait, so a thread of its own asks."""
        self._stats = None
        if self._thread is not None and self._thread.is_alive():
            return  # the last question is still open
        answer: list[Stats] = []
        thread = threading.Thread(
            target=lambda: self._guard(lambda: self._read_into(answer)), name="rx_runat stats", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # a limit of threads, or the interpreter exits
            return
        self._thread = thread
        thread.join(_PATIENCE)
        self._stats = answer[0] if answer else None

    def _read_into(self, answer: list[Stats]) -> None:
        try:
            answer.append(self._read())
        except Stopped:
            self.is_over = True
        except Unavailable:
            pass  # an outage, which the queue itself reports; a refusal nobody else may meet, so the log tells of it


class Gauges:
    """The gauges of one meter. A meter makes each gauge once, with one callback: so all queues share them.

    Args:
        meter: makes them.
    """

    def __init__(self, meter: Meter) -> None:
        # Weak, because without a reader nobody collects, and so nobody notices that a queue is gone.
        self._readings: weakref.WeakSet[Reading] = weakref.WeakSet()
        for name, unit, description in _GAUGES:
            meter.create_observable_gauge(f"rx_runat.queue.{name}", [partial(self._observe, name)], unit, description)

    def add(self, reading: Reading) -> None:
        """Show a queue from now on, as long as somebody keeps its reading."""
        self._readings.add(reading)

    def remove(self, reading: Reading) -> None:
        """Show a queue no longer. May be repeated."""
        self._readings.discard(reading)

    def _observe(self, gauge: str, _: CallbackOptions) -> Iterable[Observation]:
        for reading in tuple(self._readings):
            value = reading.take(gauge)
            if value is not None:
                yield Observation(value, reading.attributes)
            elif reading.is_over:
                self.remove(reading)
