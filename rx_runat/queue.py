"""`RunAt`: a sink and a source on one store, stapled together. Here Redis and Rx meet, and nowhere else."""

from __future__ import annotations

import atexit
import math
import os
import weakref
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Self

import redis as redis_py
from reactivex import abc
from reactivex.scheduler import ImmediateScheduler, TrampolineScheduler, VirtualTimeScheduler

from rx_runat.dead_letters import DeadLetters
from rx_runat.errors import InvalidSetting, Stopped, StoreError
from rx_runat.model.cards import NEXT, queue_card, state
from rx_runat.model.checks import check_count, show
from rx_runat.model.claim import Claim
from rx_runat.model.job import Due, Job, Keep, Schedulable, check_keep
from rx_runat.model.protocols import Clock
from rx_runat.model.times import RunAtTime, from_score, to_microseconds, to_ms
from rx_runat.store.connect import Connected, connect
from rx_runat.store.keys import check_queue_name
from rx_runat.store.redis_store import RedisStore
from rx_runat.stream.async_iteration import Iteration
from rx_runat.stream.claiming import PlainClaiming
from rx_runat.stream.hot import Hot
from rx_runat.stream.jobs import Dues
from rx_runat.stream.leases import LeaseManager
from rx_runat.stream.named import Jobs, Named
from rx_runat.stream.sink import Sink
from rx_runat.stream.sources import Sources
from rx_runat.stream.ticks import Seconds, to_seconds
from rx_runat.stream.writes import Writes

LONGEST_AT_EXIT = 5.0  # seconds; an on_next that does not return must not keep the interpreter


class RunAt(Hot[str], abc.ObserverBase[Schedulable], abc.DisposableBase):
    """A scheduled queue: an Observer of jobs, and a hot Observable of their keys as they fall due.

        sink    a:+3 b:+1 ------------------------|
        Redis   {a, b}    {a}             {}
        ticks   0----------0----0----0----0----0-->
        source  -----------b--------------a------->

    Every key goes to exactly one source, over all processes that share the queue, as long as Redis keeps what it has
    answered: a failover that loses its last second can bring taken keys again.

    Temperature: hot; all subscribers see every key that is delivered while they are subscribed.
    Delivery:    at most once: a killed process loses what it had in hand, and that is what its subscribers have shown
                 that they take in a tenth of a second, at most `limit` keys. Keys claimed that no subscriber received
                 in time go back, with their own run_at.
    Order:       by run_at, then key, within a claim; claims follow each other; none between processes.
    Clock:       Redis's decides what is due, and delays count from it; this host's does not matter. With a
                 virtual-time scheduler, that scheduler's.
    Scheduler:   a loop of the queue's own: one thread, ticks never overlap, `on_next` runs on it. An asyncio
                 scheduler of a subscription (`await` brings it) takes that subscriber's calls to its event loop, one
                 key at a time, the source waiting; others are ignored.
    Errors:      outages are survived: see `errors`. What cannot heal (wrong type, password, permission) reaches
                 `on_error`; Redis is unchanged, and a new subscription starts afresh. A subscriber that raises ends
                 with its own `on_error`; the others go on. The key that it raised at goes back if nobody received it;
                 where an operator's function raised, Rx made that an `on_error`, and the key was received.
    Disposal:    does not block. When the last subscriber leaves, the ticks end and what is in hand goes back soon
                 after; `stop` blocks until it has. Of a pipeline disposed from another thread, RxPY may drop the one
                 key that is on its way through the operators at that moment; from `on_next`, and by `stop`, none.
    Redis:       the zset `queue_name`, and a receipt while a source ticks. A tick is one script: O(keys + log(size)).
                 A source that sleeps is woken by `CLIENT TRACKING` on a connection of its own: see `heads.py`.

    Args:
        redis: a URL (`redis://`, `rediss://`, `unix://`, `embedded://`, `embedded:///dir`, `memory://`,
            `memory://name`), a mapping of what `redis.Redis` takes, or a `redis.Redis`, which is copied and never
            used, changed or closed. None: `$REDIS_URL`, else `redis://localhost:6379`.
        queue_name: all who name it share the queue; npm runat too.
        interval: seconds, or a timedelta: the longest time between two looks at Redis; not what decides how punctual
            keys are, so it may be long. None, for no heartbeat, goes
            with a virtual-time scheduler only.
        limit: the most keys that one claim may take.
        scheduler: a virtual-time one for tests, or a real one that runs one action at a time.

    Raises:
        InvalidSetting: an argument that cannot be used; what came and what would be right.
        ServerError: an embedded server could not be started or joined. No other connection is made before it is needed.

    Example:
        >>> with RunAt("memory://") as queue:
        ...     queue.on_next(Job("a", timedelta(seconds=-1)))
        ...     queue.size()
        1
    """

    def __init__(
        self,
        redis: str | Mapping[str, Any] | redis_py.Redis | Connected | None = None,
        *,
        queue_name: str = "RunAt~default",
        interval: Seconds | None = 0.1,
        limit: int = 1000,
        scheduler: abc.SchedulerBase | None = None,
    ) -> None:
        self._queue_name = check_queue_name(queue_name)
        clock = _clock(scheduler)
        _check(interval, limit, scheduler, virtual=clock is not None)
        connected = connect(redis)
        self._leave = connected.leave
        self._store = RedisStore(connected.client, queue_name, clock)
        self._virtual = None if clock is None else scheduler
        self._sources = Sources(
            self._store, f"rx_runat {queue_name}", interval=interval, clock=clock, finished=self._let_go
        )
        self._writes = Writes(self._store, self._sources)
        self._source = self._sources.open(PlainClaiming(self._store, limit), scheduler)
        super().__init__(self._source)
        self._sink = Sink(self._writes)
        self._dead = DeadLetters(self._store, self._check_open, self._writes, self.__repr__, self._card)
        self._jobs = Jobs(Dues(self._source), "jobs", self.__repr__, self._card)
        self._errors: Hot[StoreError] = Named(self._sources.errors, "errors", self.__repr__, self._card)
        self._stopped = False
        _open.add(self)

    # The source.

    @property
    def jobs(self) -> Jobs:
        """The same hot stream as `Due(key, run_at, lateness)` instead of bare keys; the claim is shared."""
        return self._jobs

    @property
    def errors(self) -> Hot[StoreError]:
        """What went wrong while consuming: an outage's first error, `Recovered` at its end, and what ended a stream.

        Temperature: hot. Scheduler: the source's thread; an asyncio one of the subscription takes it to its event
        loop, and nobody waits for that. It completes when the queue stops. The logger `rx_runat` says the same.
        """
        return self._errors

    def __aiter__(self) -> Iteration[str]:
        """Keys, one in hand: `async for key in queue`. Leaving the loop hands back what was not taken."""
        return Iteration(self._source)

    def claims(self, lease: Seconds = 30.0, max_in_flight: int = 100) -> Hot[Claim]:
        """Keys as they fall due, each ours until it is acked or its lease ends: for work that must survive a crash.

            Redis        {a}         {}       {}           {a}      {}     {}
            claims       ------------a-----------------------------a----------->
            a's lease                [ killed, no ack            )[    ack

        A key that was claimed comes again until it is acked: at the lease's end on Redis's clock, to whoever claims
        next, however long its `interval`. So work may be done twice, where a process dies between the work and its ack,
        or outlives its lease.

        Temperature: hot; one source per call, as if in a process of its own. All subscribers see the same claims.
        Delivery:    at least once. What no subscriber received goes back at once, attempt and run_at as they were.
        Order:       by run_at, then key, within a claim; none between sources.
        Clock:       Redis's decides what is due and which lease has ended; this host's does not matter.
        Scheduler:   a loop of its own, in virtual time the queue's scheduler; `on_next` runs on it, as of the queue.
        Errors:      as of the queue; outages are shown on `errors`.
        Disposal:    does not block; claims that were delivered stay leased.
        Redis:       `{Q}:claimed`, `{Q}:leases` and a receipt beside the queue. A tick is one script. A source that
                     sleeps is woken as the queue's, and hears of the leases of others; where the server refuses
                     `CLIENT TRACKING`, it finds them within 5 s, or at the heartbeat.

        Args:
            lease: seconds, or a timedelta, at least a tenth of a second.
            max_in_flight: how many claims of this source may be out; the backlog waits in Redis. A slot is free again
                by `ack`, `nack`, `bury`, a lost lease or its end: a claim that was forgotten never stops the stream.

        Raises:
            InvalidSetting: an argument that cannot be used.
            Stopped: the queue was stopped.

        Example:
            >>> from rx_runat.testing import virtual_queue
            >>> queue, scheduler = virtual_queue()
            >>> _ = queue.claims(lease=30).subscribe(lambda claim: print(claim.key, claim.attempt))
            >>> _ = queue.schedule("a", 1.0)
            >>> scheduler.advance_by(1)
            a 1
            >>> scheduler.advance_by(30)
            a 2

        See Also:
            `settle`, which works on claims, renews their leases and settles them.
        """
        self._check_open()
        to_ms(lease, "lease", 0.1)  # refuse what is no lease
        check_count(max_in_flight, "max_in_flight", "a count of claims between 1 and 100,000", 1, 100_000)
        seconds = to_seconds(lease)
        manager = LeaseManager(self._store, self._writes, self._sources, seconds, max_in_flight, self._virtual)
        name = f"claims(lease={seconds:g}, max_in_flight={max_in_flight})"
        return Named(manager.open(), name, self.__repr__, self._card)

    # The sink.

    def on_next(self, value: Schedulable) -> None:
        """Schedule a job, or a list of jobs: all of it or nothing; returns once Redis has answered.

        Args:
            value: a `Job`, runat's own `{"runAt": <epoch ms>, "key": <str>}`, or a list of either; `[]` is nothing
                to do.

        Raises:
            InvalidJob: before Redis was touched; what came, what is wrong and what would be right.
            Unavailable: nothing was written, and it heals.
            OutcomeUnknown: sent and not answered; it may be written. Sending it again is safe, but that a key which
                was claimed meanwhile comes twice.
            Refused: nothing was written, and it does not heal.
            Stopped: the queue was stopped.
        """
        self._check_open()
        self._sink.on_next(value)

    def on_error(self, error: Exception) -> None:
        """Raise what a producer ended with, as Rx does where nobody handles it; the queue goes on."""
        self._sink.on_error(error)

    def on_completed(self) -> None:
        """Nothing: a producer that completes ends itself, not the queue."""

    # The verbs.

    def schedule(self, key: str, run_at: RunAtTime, keep: Keep = "last") -> datetime:
        """Schedule a key; answers the `run_at` that stands for it afterwards.

        Args:
            key: a non-empty str.
            run_at: an aware datetime, epoch seconds, or a timedelta from now on Redis's clock.
            keep: which schedule stands if the key has one: the "last" (this one), the "first" (the old one), the
                "earliest" or the "latest" of the two.

        Raises:
            As `on_next`; InvalidSetting for a `keep` of another name.

        Example:
            >>> with RunAt("memory://") as queue:
            ...     queue.schedule("a", 1700000000).isoformat()
            ...     queue.schedule("a", 1800000000, keep="first").isoformat()
            '2023-11-14T22:13:20+00:00'
            '2023-11-14T22:13:20+00:00'
        """
        self._check_open()
        return from_score(self._writes.schedule([Job(key, run_at)], check_keep(keep)))

    def cancel(self, key: str) -> bool:
        """Take a key out of the schedule; was it still waiting? A key in hand counts as taken.

        Raises:
            OutcomeUnknown: an answer was lost, and now the key is gone: this call or a claim took it.
            InvalidJob, StoreError, Stopped: as `on_next`.
        """
        self._check_open()
        return self._store.cancel(key)

    def when(self, key: str) -> datetime | None:
        """The `run_at` of a key that waits, in UTC; None if it does not wait. Raises as `on_next`."""
        self._check_open()
        return self._store.when(key)

    def peek(self, n: int = 10) -> list[Due]:
        """The next n keys in order, without taking them; a negative lateness says how long they wait yet.

        Raises:
            InvalidSetting: n is not a count.
            StoreError, Stopped: as `on_next`.
        """
        self._check_open()
        check_count(n, "n", "a count of keys, such as 10")
        return self._store.peek(n)

    def size(self, until: RunAtTime | None = None) -> int:
        """How many keys wait; with `until`, how many of them fall due by then. Raises as `on_next`."""
        self._check_open()
        return self._store.size(until)

    @property
    def dead(self) -> DeadLetters:
        """The dead letters: keys whose work was given up. To `peek` at, count (`size`), `revive` or `drop`."""
        return self._dead

    # The end.

    def stop(self) -> None:
        """Hold back what is in hand, complete the stream, close what we opened; may be repeated.

        From another thread it waits for the `on_next` in progress; from `on_next` it returns at once and the loop
        finishes. Work that `settle` has begun is broken off, a plain function waited for, unless this is called from
        it. While Redis is away it gives up after one interval (5 s at most; on one that is there and silent,
        after no less than 1 s) and says on `errors` and in the log which keys it could not return. Afterwards
        `subscribe` completes at once, and the sink and the verbs raise `Stopped`.
        """
        self._stop(-1)

    def dispose(self) -> None:
        """The same as `stop`, under Rx's name for it."""
        self.stop()

    def __enter__(self) -> Self:
        return self

    def __repr__(self) -> str:
        state = ", stopped" if self._stopped else ""
        return f"<RunAt {self._queue_name!r} on {self._store.where}{state}>"

    def _repr_html_(self) -> str:
        """The queue at a glance, for notebooks: one round trip, and words where nobody answers."""
        return self._card("RunAt")

    def _card(self, title: str, body: Callable[[], str] | None = None) -> str:
        return queue_card(title, self._queue_name, self._store.where, self._stopped, body or self._glance)

    def _glance(self) -> str:
        return state(self._store.snapshot(NEXT))

    def _stop(self, longest: float) -> None:
        self._stopped = True
        self._sources.stop(longest)

    def _check_open(self) -> None:
        if self._stopped:
            raise Stopped(f"{self!r} was stopped; make a new one to go on")

    def _let_go(self) -> None:
        self._store.close()
        self._leave()
        _open.discard(self)


def _clock(scheduler: abc.SchedulerBase | None) -> Clock | None:
    if not isinstance(scheduler, VirtualTimeScheduler):
        return None
    return lambda: to_microseconds(scheduler.now)


def _check(interval: object, limit: object, scheduler: object, virtual: bool) -> None:
    if interval is None:
        if not virtual:
            raise InvalidSetting(
                "interval: got None, which goes with a virtual-time scheduler only; give seconds, such as 0.1"
            )
    elif isinstance(interval, bool) or not isinstance(interval, int | float | timedelta):
        raise InvalidSetting(f"interval: got {show(interval)}; it must be seconds, such as 0.1, or a timedelta")
    elif not 0.001 <= to_seconds(interval) < math.inf:
        raise InvalidSetting(f"interval: got {show(interval)}; it must be finite and at least a millisecond")
    check_count(limit, "limit", "a count of keys between 1 and 100,000", 1, 100_000)
    if scheduler is not None and not isinstance(scheduler, abc.SchedulerBase):
        raise InvalidSetting(f"scheduler: got {show(scheduler)}; it must be an Rx scheduler")
    if isinstance(scheduler, ImmediateScheduler | TrampolineScheduler):
        raise InvalidSetting(
            f"scheduler: got {show(scheduler)}, which cannot wait; take an EventLoopScheduler, or none"
        )


_open: weakref.WeakSet[RunAt] = weakref.WeakSet()  # a queue that ticks is held by its loop


def _at_exit() -> None:
    """Hold back before the interpreter goes: the loops' threads are daemons and would die with keys in hand."""
    for queue in list(_open):
        queue._stop(LONGEST_AT_EXIT)  # pyright: ignore[reportPrivateUsage]


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open.clear)  # what the parent holds is the parent's to hand back
