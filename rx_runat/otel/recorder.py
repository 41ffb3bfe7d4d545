"""Measures what one queue does in this process, as its monitor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import repeat
from typing import TypeVar

from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.metrics import Histogram
from opentelemetry.trace import SpanKind, Tracer

from rx_runat.errors import InvalidJob
from rx_runat.model.batch import Claimed, Entry, Leased, SettleReply, Verb
from rx_runat.model.claim import Claim, Lease
from rx_runat.model.job import Job
from rx_runat.model.protocols import Plan
from rx_runat.model.times import lateness
from rx_runat.otel.attributes import ATTEMPT, LATENESS, Attributes, OperationType, of_error, of_keys, of_operation
from rx_runat.otel.guard import Guard
from rx_runat.otel.instruments import Instruments
from rx_runat.otel.operation import Operation

_T = TypeVar("_T")

# Keys of one claim whose lateness is recorded: a record takes some 10 us, and a thousand of them ten times as long as
# the claim. On a queue that keeps up, a claim brings fewer.
_MOST_RECORDED = 10

_NAMES: dict[Verb | None, str] = {
    "begin": "begin",
    "ack": "ack",
    "nack": "nack",
    "extend": "extend",
    "bury": "bury",
    "back": "hand_back",
    None: "settle",  # several of them
}
_GOES_ON = ("begin", "extend")  # after these a lease goes on, so nothing is settled


class Recorder:
    """A `Monitor` that records by the conventions.

    Args:
        queue: what metrics and spans say of the queue.
        instruments: the metrics.
        tracer: begins spans.
        now: returns monotonic seconds; virtual seconds in virtual time.
        guard: calls what may fail.
    """

    def __init__(
        self, queue: Attributes, instruments: Instruments, tracer: Tracer, now: Callable[[], float], guard: Guard
    ) -> None:
        self._queue = queue
        self._instruments = instruments
        self._tracer = tracer
        self._now = now
        self._guard = guard
        self._claim = {**queue, **of_operation("claim", "receive")}

    # Calls to Redis.

    def schedule(self, jobs: Sequence[Job], plan: Plan[_T]) -> Plan[_T]:
        """Returns the plan, measured. Its span belongs to what is current here, on whatever thread the plan runs."""
        return self._schedule(jobs, plan, get_current())

    def _schedule(self, jobs: Sequence[Job], plan: Plan[_T], parent: Context) -> Plan[_T]:
        operation, began = self._client("schedule", "send", [job.key for job in jobs], parent), self._now()
        error: BaseException | None = None
        try:
            return (yield from plan)
        except BaseException as raised:
            error = raised
            raise
        finally:
            operation.end(self._now() - began, error)
            if not isinstance(error, InvalidJob):  # then nothing was sent
                self._guard(lambda: self._instruments.sent.add(len(jobs), operation.attributes | of_error(error)))

    def settle(self, asked: Sequence[tuple[Lease, Verb]], plan: Plan[SettleReply]) -> Plan[SettleReply]:
        """Returns the plan, measured, likewise. The operation has the name of the verb, if there is only one."""
        return self._settle(asked, plan, get_current())

    def _settle(
        self, asked: Sequence[tuple[Lease, Verb]], plan: Plan[SettleReply], parent: Context
    ) -> Plan[SettleReply]:
        verbs: set[Verb] = {verb for _, verb in asked}
        verb = verbs.pop() if len(verbs) == 1 else None
        kind: OperationType | None = None if verb in _GOES_ON else "settle"
        operation, began = self._client(_NAMES[verb], kind, [lease.key for lease, _ in asked], parent), self._now()
        error: BaseException | None = None
        try:
            reply = yield from plan
            error = reply.refusal
            return reply
        except BaseException as raised:
            error = raised
            raise
        finally:
            operation.end(self._now() - began, error)

    def _client(self, name: str, kind: OperationType | None, keys: Sequence[str], parent: Context) -> Operation:
        durations = self._instruments.operation_duration
        return self._begin(name, kind, of_keys(keys), durations, SpanKind.CLIENT, parent)

    def note_claim(self, seconds: float) -> None:
        """Record a claim. It has no span, because nobody knows at its beginning whether it brings keys."""
        self._guard(lambda: self._instruments.operation_duration.record(seconds, self._claim))

    # Keys on their way to the user's code.

    def deliver(self, claimed: Claimed | Leased, give: Callable[[], None]) -> None:
        """Deliver keys. Those under a lease are processed by `settle` or by hand, for longer than their delivery."""
        if isinstance(claimed, Leased):
            give()
            return
        began = self._now()
        work = _Work(self._process(of_keys(claimed.keys)))
        try:
            work.run(give)
        finally:
            work.end(self._now() - began, None)

    def delivered(self, claimed: Claimed | Leased, left: Sequence[Entry]) -> None:
        """Count the keys that were received, and record how late they were."""
        self._guard(partial(self._note_delivered, claimed, {entry.key for entry in left}))

    def _note_delivered(self, claimed: Claimed | Leased, left: set[str]) -> None:
        received = len(claimed.keys) - len(left)
        if not received:
            return
        self._instruments.consumed.add(received, self._claim)
        attempts = claimed.attempts if isinstance(claimed, Leased) else repeat(1)
        scores = claimed.scores
        if left or isinstance(claimed, Leased):
            # A later attempt is late by all that the ones before took, the backoff included: that tells nothing of the
            # queue.
            scores = [
                score
                for key, score, attempt in zip(claimed.keys, scores, attempts, strict=False)
                if attempt == 1 and key not in left
            ]
        for score in spread(scores, _MOST_RECORDED):
            self._instruments.lateness.record(max(0.0, lateness(score, claimed.now)), self._queue)

    def begin_work(self, claims: Sequence[Claim]) -> _Work:
        """Begin the span of a call of the work of `settle`."""
        special = of_keys([claim.key for claim in claims])
        if len(claims) == 1:
            special |= {ATTEMPT: claims[0].attempt, LATENESS: claims[0].lateness}
        return _Work(self._process(special))

    def _process(self, special: Attributes) -> Operation:
        durations = self._instruments.process_duration
        return self._begin("process", "process", special, durations, SpanKind.CONSUMER, None)

    def _begin(
        self,
        name: str,
        kind: OperationType | None,
        special: Attributes,
        durations: Histogram,
        span_kind: SpanKind,
        parent: Context | None,
    ) -> Operation:
        return Operation(name, kind, self._queue, special, durations, self._tracer, span_kind, parent, self._guard)


class _Work:
    """The user's code at work. While it is called, its span is current, so that its own spans belong to it.

    A coroutine keeps what was current when it was begun, so this holds for it until its end.
    """

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self.end = operation.end

    def run(self, call: Callable[[], _T]) -> _T:
        """Make the call, with its span as the current one."""
        context = self._operation.context
        if context is None:
            return call()
        token = attach(context)
        try:
            return call()
        finally:
            detach(token)


def spread(items: Sequence[_T], most: int) -> Sequence[_T]:
    """Returns at most so many items, evenly spread, with the first and the last of them.

    >>> spread("abc", 3), spread("abcdefg", 3), len(spread(range(1000), 10))
    ('abc', ['a', 'd', 'g'], 10)
    """
    if len(items) <= most:
        return items
    return [items[place * (len(items) - 1) // (most - 1)] for place in range(most)]
