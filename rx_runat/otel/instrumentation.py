"""`instrument`: begins to measure a queue."""

from __future__ import annotations

import weakref
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from opentelemetry.metrics import Meter, MeterProvider, get_meter
from opentelemetry.trace import TracerProvider, get_tracer
from reactivex import abc

from rx_runat.errors import InvalidSetting, Stopped
from rx_runat.model.checks import show
from rx_runat.model.forks import renew_in_child
from rx_runat.model.stats import Stats
from rx_runat.otel.attributes import of_queue
from rx_runat.otel.gauges import Gauges, Reading
from rx_runat.otel.guard import Guard
from rx_runat.otel.instruments import Instruments
from rx_runat.otel.recorder import Recorder
from rx_runat.queue import RunAt, inside

_SCOPE = "rx_runat"


def instrument(
    queue: RunAt, *, meter_provider: MeterProvider | None = None, tracer_provider: TracerProvider | None = None
) -> abc.DisposableBase:
    """Records what a queue does in this process, and how it stands, as metrics and spans of OpenTelemetry.

    `help(rx_runat.otel)` lists them. A queue has one instrumentation: a second call replaces the first one.

    Scheduler: durations and spans are recorded on the threads that claim, deliver, work and call Redis; the gauges ask
               Redis on the thread that collects metrics, which waits at most 2 s for each queue. A processor of spans
               that exports on these threads (the SDK's `SimpleSpanProcessor`) makes all of that wait, the renewal of
               leases too; `BatchSpanProcessor` does not.
    Errors:    what fails in the SDK goes to the log, once; the queue goes on.
    Disposal:  nothing more is recorded; what is under way is recorded at its end.
    Forks:     in a forked child the queue is measured as in its parent.
    Redis:     `queue.stats()`, once for each collection.

    Args:
        queue: the queue. It is not kept alive.
        meter_provider: makes the metrics; None: the global one, which may be set later.
        tracer_provider: makes the spans; None: likewise.

    Returns:
        Dispose of it to end this. It ends with the queue, too.

    Raises:
        InvalidSetting: `queue` is no `RunAt`.

    Example:
        >>> with RunAt("memory://") as queue, instrument(queue):
        ...     queue.schedule("a", 4e9).year
        2096
    """
    if not isinstance(queue, RunAt):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidSetting(f"queue: got {show(queue)}; it must be a RunAt")
    former = _instrumented.pop(queue, None)
    if former is not None:
        former.dispose()
    instrumentation = _instrumented[queue] = _Instrumentation(queue, meter_provider, tracer_provider)
    return instrumentation


class _Instrumentation(abc.DisposableBase):
    """What measures one queue."""

    def __init__(
        self, queue: RunAt, meter_provider: MeterProvider | None, tracer_provider: TracerProvider | None
    ) -> None:
        meter = get_meter(_SCOPE, _version(), meter_provider)
        self._queue = weakref.ref(queue)
        self._gauges = _gauges_of(meter_provider, meter)
        self._instruments = Instruments(meter)
        self._tracer = get_tracer(_SCOPE, _version(), tracer_provider)
        self._is_disposed = False
        self._attach()
        renew_in_child(self, _Instrumentation._attach)

    def _attach(self) -> object:
        """Measure the queue. In a forked child, whose queue is made anew, that is made anew as well."""
        queue = self._queue()
        if queue is None or self._is_disposed:
            return None
        name, store, sources = inside(queue)
        attributes, guard = of_queue(name, store.where), Guard(repr(queue))
        inherited = self.__dict__.copy()
        self._recorder = Recorder(attributes, self._instruments, self._tracer, sources.now, guard)
        self._reading = Reading(attributes, partial(_stats, self._queue), guard)
        sources.taps.monitor = self._recorder
        self._gauges.add(self._reading)
        if "_reading" in inherited:
            self._gauges.remove(inherited["_reading"])
        return inherited

    def dispose(self) -> None:
        self._is_disposed = True
        self._gauges.remove(self._reading)
        queue = self._queue()
        if queue is not None:
            taps = inside(queue).sources.taps
            if taps.monitor is self._recorder:
                taps.monitor = None


# By queue: an instrumentation lives as long as its queue, whether or not somebody keeps what `instrument` returned.
_instrumented: weakref.WeakKeyDictionary[RunAt, _Instrumentation] = weakref.WeakKeyDictionary()

# By provider. The global one has a place of its own, because what stands for it changes when the SDK is configured, and
# gauges that were made before serve from then on.
_global_gauges: list[Gauges] = []
_gauges: weakref.WeakKeyDictionary[MeterProvider, Gauges] = weakref.WeakKeyDictionary()


def _gauges_of(provider: MeterProvider | None, meter: Meter) -> Gauges:
    if provider is None:
        if not _global_gauges:
            _global_gauges.append(Gauges(meter))
        return _global_gauges[0]
    gauges = _gauges.get(provider)
    if gauges is None:
        gauges = _gauges[provider] = Gauges(meter)
    return gauges


def _stats(reference: weakref.ref[RunAt]) -> Stats:
    queue = reference()
    if queue is None:
        raise Stopped("nobody uses this queue any more")
    return queue.stats()


def _version() -> str:
    try:
        return version("rx-runat")
    except PackageNotFoundError:  # it runs from a checkout
        return ""
