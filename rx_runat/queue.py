"""`RunAt`: a sink and a source on one store. Only here, and in `testing.py`, Redis and Rx meet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, Self, overload
from weakref import WeakKeyDictionary

from reactivex import Observable, abc

from rx_runat.aio import Aio
from rx_runat.dead_letters import DeadLetters
from rx_runat.errors import InvalidSetting, Stopped, StoreError
from rx_runat.model.batch import Claimed, Leased
from rx_runat.model.checks import check_count
from rx_runat.model.claim import Claim
from rx_runat.model.data import DATA_LIMIT, NOT_NAMED
from rx_runat.model.forks import renew_in_child
from rx_runat.model.job import Due, Job, Keep, KeepOne, Schedulable, check_keep
from rx_runat.model.rich import NEXT, cards
from rx_runat.model.stats import Stats
from rx_runat.model.times import RunAtTime, from_score, to_ms
from rx_runat.store.clients import Client
from rx_runat.store.connect import Connected, connect
from rx_runat.store.keys import check_queue_name
from rx_runat.store.redis_store import RedisStore
from rx_runat.stream.access import Access
from rx_runat.stream.asked import Asked
from rx_runat.stream.async_iteration import Iteration
from rx_runat.stream.at_exit import forget, stop_at_exit
from rx_runat.stream.claiming import PlainClaiming
from rx_runat.stream.demand import Pace
from rx_runat.stream.driven import Claimable, Driven
from rx_runat.stream.gate import Gate
from rx_runat.stream.hot import Current, Hot
from rx_runat.stream.jobs import AsyncStream, Dues, Jobs, Named
from rx_runat.stream.leases import LeaseManager
from rx_runat.stream.settings import check_settings, virtual_clock
from rx_runat.stream.sink import Sink
from rx_runat.stream.source import Source
from rx_runat.stream.sources import Sources
from rx_runat.stream.ticks import Seconds, to_seconds
from rx_runat.stream.waiting import waiting
from rx_runat.stream.writes import Writes


class RunAt(Claimable[str], abc.ObserverBase[Schedulable], abc.DisposableBase):
    """A scheduled queue: an Observer of jobs, and a hot Observable of their keys as they fall due.

        sink    a:+3 b:+1 ------------------------|
        Redis   {a, b}    {a}             {}
        ticks   0----------0----0----0----0----0-->
        source  -----------b--------------a------->

    Every key goes to exactly one source, over all processes that share the queue, as long as Redis loses no write
    that it has acknowledged: after a failover that loses Redis's last second, claimed keys can come again.

    Temperature: hot; all subscribers see every key that is delivered while they are subscribed.
    Delivery:    at most once: a killed process loses the keys that it has claimed and not delivered. A claim takes one
                 key, or as many as its subscribers were measured to receive in a tenth of a second, and at most
                 `limit`. Of subscribers that receive two such claims in a twentieth of a second, the next claim is
                 asked for while one is delivered. Keys that no subscriber has received a tenth of a second after their
                 claim go back to Redis, with their own run_at, even while an `on_next` blocks: all but the one key in
                 delivery. So do those that are left when the source ends.
    Order:       by run_at, then key, within a claim; all keys of one claim are delivered before the next claim; no
                 order between processes.
    Clock:       Redis's clock decides what is due, and delays count from it; this host's clock does not matter. With
                 Sentinel or Cluster it is the clock of the primary of the moment: keep those hosts in step. With a
                 virtual-time scheduler, that scheduler's clock does both.
    Scheduler:   a loop of the queue's own: one thread, ticks never overlap, `on_next` runs on it. If a subscription
                 names an asyncio scheduler (`await` brings one), its `on_next` runs on that event loop, one key at a
                 time, while the source waits; other schedulers of subscriptions are ignored. The verbs block the thread
                 that calls them until Redis replies. In asyncio, `aio` has them as coroutines, `async for` receives
                 keys, and `async with` stops the queue at its end: none of these blocks the event loop.
    Errors:      outages are survived: see `errors`. A failover by Sentinel or Cluster is an outage, too, and streams go
                 on at the new primary by themselves. What cannot heal (wrong type, password, permission) reaches
                 `on_error`; Redis is unchanged, and a new subscription starts afresh. A subscriber that raises ends
                 with its own `on_error`; the others go on. The key at which it raised goes back if no other subscriber
                 received it. `SystemExit` and its like end no more than that, and are shown on standard error as well;
                 so is an error that no `on_error` handles. Where the function of an operator raises, RxPY turns that
                 into an `on_error`, and the key counts as received.
    Disposal:    does not block. When the last subscriber leaves, the ticks end, and the keys that the source holds go
                 back soon after; `stop` blocks until they have. If another thread disposes of a pipeline, RxPY may drop
                 the one key that passes its operators at that moment; a disposal from `on_next`, and `stop`, drop none.
    Forks:       in a forked child the queue, its streams and `dead` work as if made there. Subscriptions and claims are
                 not inherited: to dispose of one does nothing, and an `ack` raises `Refused`. So does everything on a
                 `memory://` queue, which the fork would double. A real `scheduler` stays the parent's: the child's
                 queue ticks on a loop of its own. What the parent's subscribers and operators hold is not made anew:
                 where the parent has subscribed to a pipeline, build another one in the child.
    Redis:       the zset `queue_name`; the hash `{Q}:data` with what its keys carry; and while a source ticks
                 `{Q}:receipt:<source>`, its last claim. A claim is one script or one transaction: O(keys +
                 log(size)). A heartbeat reads the head of the schedule, and claims if that has come nearer, or if the
                 last claim is 6 s old. Sources that sleep are woken by `CLIENT TRACKING`, on one connection that all of
                 them share.

    Args:
        redis: a URL, a mapping or a client. None: `$REDIS_URL`, else `redis://localhost:6379`.
            URLs: `redis://`, `rediss://` and `unix://` as redis-py reads them, or with `valkey` for `redis`;
            `redis+sentinel://user:password@host:26379,host:26379/primary/0`, with `?sentinel_username=` and
            `sentinel_password=`; `redis+cluster://user:password@host:6379,host:6379`; both of these with `rediss` for
            TLS; `embedded://`, `embedded:///dir`, `memory://`, `memory://name`.
            A mapping holds what `redis.Redis` takes, such as `host`, `port` or `credential_provider`.
            A client is a `redis.Redis`, the `master_for(...)` of a Sentinel or a `RedisCluster`, or one of these of
            `redis.asyncio` or of valkey-py. Its settings are copied; it is never used, changed or closed.
            With Sentinel and Cluster, connections wait 2 s for a reply unless a `socket_timeout` is set. That of a
            client counts as set if it is not 5 s, which is redis-py's default.
        queue_name: all processes that name it share the queue, npm runat's included.
        interval: seconds, or a timedelta: the longest time between two looks at Redis. This regular look is the
            heartbeat. It may be long: keys come on time without it, because changes in Redis wake the source. None
            means no heartbeat, and is allowed with a virtual-time scheduler only.
        limit: the most keys that one claim may take.
        scheduler: a virtual-time one for tests, or a real one that runs one action at a time.
        data_limit: the most bytes that the data of one job may have as JSON, up to a mebibyte.

    Raises:
        InvalidSetting: an argument cannot be used; the message says what was passed and what would be right.
        ServerError: an embedded server could not be started or joined. Any other connection is made when it is needed.

    Example:
        >>> from datetime import timedelta
        >>> with RunAt("memory://") as queue:
        ...     queue.on_next(Job("a", timedelta(seconds=-1)))
        ...     queue.size()
        1
    """

    def __init__(
        self,
        redis: str | Mapping[str, Any] | Client | None = None,
        *,
        queue_name: str = "RunAt~default",
        interval: Seconds | None = 0.1,
        limit: int = 1000,
        scheduler: abc.SchedulerBase | None = None,
        data_limit: int = DATA_LIMIT,
    ) -> None:
        self._queue_name = check_queue_name(queue_name)
        self._interval, self._limit, self._data_limit = check_settings(interval, limit, scheduler, data_limit)
        self._begin(connect(redis, self._queue_name), scheduler)
        self._keys: Current[str] = Current(self._source)
        self._dues: Current[Due] = Current(Dues(self._source))
        self._notices: Current[StoreError] = Current(self._sources.errors)
        super().__init__(self._keys)
        self._drive = self._drive_keys
        self._dead = DeadLetters(self._access, self.__repr__, self._card)
        self._sink = Sink(self._access, "last", False, self.__repr__)
        self._aio = Aio(self._access, self.stop, lambda: self._sources.are_blocked, self.__repr__)
        self._jobs = Jobs(self._dues, self._drive_jobs, "jobs", self.__repr__, self._card)
        self._errors: Hot[StoreError] = Named(self._notices, "errors", self.__repr__, self._card)
        self._claims: WeakKeyDictionary[Current[Claim], tuple[float, int]] = WeakKeyDictionary()
        renew_in_child(self, RunAt._renew)

    def _begin(self, connected: Connected, scheduler: abc.SchedulerBase | None) -> None:
        """Make all that holds a lock, a thread or a connection."""
        clock = virtual_clock(scheduler)
        self._connected = connected
        self._scheduler = scheduler
        self._store = RedisStore(connected.client, self._queue_name, clock, self._data_limit)
        self._sources = Sources(
            self._store, f"rx_runat {self._queue_name}", interval=self._interval, clock=clock, finished=self._let_go
        )
        self._reading, self._writing = Gate(self._sources, self, reads=True), Gate(self._sources, self)
        self._writes = Writes(self._store, self._sources)
        self._source = self._sources.open(PlainClaiming(self._store, Pace(self._limit)), scheduler)
        stop_at_exit(self._sources)

    def _renew(self) -> object:
        """In a forked child: begin anew, with the same streams and the same dead letters for who has them already.

        The threads or the event loop of a real scheduler are not here; the queue ticks on a loop of its own instead.
        """
        inherited = self.__dict__.copy(), [claims.publisher for claims in self._claims]
        was_stopped = self._stopped
        self._sources.leave_to_parent()
        self._store.batches.leave_to_parent()
        scheduler = self._scheduler if virtual_clock(self._scheduler) else None
        self._begin(self._connected.renewed(), scheduler)
        self._keys.publisher = self._source
        self._dues.publisher = Dues(self._source)
        self._notices.publisher = self._sources.errors
        for claims, settings in self._claims.items():
            claims.publisher = self._open_claims(*settings)
        if was_stopped:
            self._sources.stop(-1)
        return inherited

    def _access(self) -> Access:
        return Access(self._store, self._writes, self._reading, self._writing)

    # The source.

    @property
    def jobs(self) -> Jobs:
        """The same hot stream, with `Due(key, run_at, lateness, data)` instead of bare keys.

        Subscribers of both streams receive the keys of the same claims.
        """
        return self._jobs

    @property
    def errors(self) -> Hot[StoreError]:
        """What went wrong while consuming: an outage's first error, `Recovered` at its end, and what ended a stream.

        Temperature: hot; it completes when the queue stops. Scheduler: the source's thread, or the event loop of an
        asyncio scheduler that the subscription names; the source does not wait for an `on_next` there. The logger
        `rx_runat` gets the same messages.
        """
        return self._errors

    def __aiter__(self) -> Iteration[str]:
        """`async for key in queue`: the loop's body gets one key at a time.

        When the loop is left, the keys that it has not received go back to Redis.
        """
        return Iteration(self._keys)

    def claims(self, lease: Seconds = 30.0, max_in_flight: int = 100) -> AsyncStream[Claim]:
        """Keys as they fall due, each ours until it is acked or its lease ends: for work that must survive a crash.

            Redis        {a}         {}       {}           {a}      {}     {}
            claims       ------------a-----------------------------a----------->
            a's lease                [ killed, no ack            )[    ack

        A key whose lease ends on Redis's clock before it was acked, buried or cancelled comes again: at once, and to
        the source that claims next, even if that source's `interval` is long. So work may be done twice: if a process
        dies between the work and its ack, or if the work takes longer than the lease.

        Settled by hand, each attempt counts when its key is claimed, so a process that dies takes an attempt from each
        key that it had out. With `settle`, later attempts count only when their work begins.

        Temperature: hot; each call makes a source, which competes for keys with all others as if it were in another
                     process. All subscribers of one call see the same claims.
        Delivery:    at least once. A key that no subscriber received goes back at once, with its own run_at, and the
                     attempt does not count.
        Order:       by run_at, then key, within a claim; no order between sources.
        Clock:       Redis's decides what is due and which lease has ended; this host's does not matter.
        Scheduler:   a loop of its own, in virtual time the queue's scheduler. `on_next` runs on it; an asyncio
                     scheduler of a subscription is used as by the queue.
        Errors:      as with the queue itself; outages are reported on the queue's `errors`.
        Disposal:    does not block; claims that were delivered stay leased.
        Redis:       `{Q}:claimed`, `{Q}:leases` and a receipt beside the queue. A claim is one script. A source that
                     sleeps is woken like the queue's own, and also when another process claims a key, because that
                     key's lease may end before anything else falls due. Where the server refuses `CLIENT TRACKING`,
                     the source finds such leases within 5 s, or at the heartbeat. The first claim for those who
                     subscribe takes one key, because only then it is known whether `settle` works on it. If it does,
                     and this is a later attempt, `settle` gives the claim back, and it comes once more, uncounted.

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
        to_ms(lease, "lease", 0.1)  # refuse what is no lease
        right = "a count of claims between 1 and 100,000"
        max_in_flight = check_count(max_in_flight, "max_in_flight", right, 1, 100_000)
        seconds = to_seconds(lease)
        name = f"claims(lease={seconds:g}, max_in_flight={max_in_flight})"
        claims: Current[Claim] = Current(self._open_claims(seconds, max_in_flight))
        self._claims[claims] = seconds, max_in_flight
        drive = partial(self._drive_claims, seconds, max_in_flight)
        return AsyncStream(claims, drive, name, self.__repr__, self._card)

    def _open_claims(self, lease: float, max_in_flight: int) -> Source[Leased]:
        return self._leases(lease, max_in_flight).open()

    def _leases(self, lease: float, max_in_flight: int, limit: int | None = None) -> LeaseManager:
        virtual = self._scheduler if virtual_clock(self._scheduler) else None
        return LeaseManager(self._store, self._writes, self._sources, lease, max_in_flight, virtual, limit)

    # Sources that `claim_from` drives.

    def _drive_keys(self, limit: int) -> Driven[str]:
        source, asked = self._driven(limit)
        return Driven(source, asked, source)

    def _drive_jobs(self, limit: int) -> Driven[Due]:
        source, asked = self._driven(limit)
        return Driven(source, asked, Dues(source))

    def _driven(self, limit: int) -> tuple[Source[Claimed], Asked]:
        asked = Asked(limit)
        return self._sources.open(PlainClaiming(self._store, asked), self._scheduler, is_driven=True), asked

    def _drive_claims(self, lease: float, max_in_flight: int, limit: int) -> Driven[Claim]:
        leases = self._leases(lease, max_in_flight, limit)
        source = leases.open()
        assert leases.asked is not None
        return Driven(source, leases.asked, source)

    # The sink.

    def on_next(self, value: Schedulable) -> None:
        """Schedule a job, or a list of jobs: all of it or nothing. Returns when Redis has answered.

        A list of more than 100,000 jobs, of more than 20,000 if one of them has a delay or data or if it is given to
        `sink(...)` with another policy, or of more than 512 MiB of keys and data is written in steps of that size, in
        order, and each step is all or nothing. If a step fails, the steps before it are written and none after it is.
        The error says how many jobs were written and names the first that was not, by its place in the list: call again
        with the rest.

        Args:
            value: a `Job`, runat's own `{"runAt": <epoch ms>, "key": <str>}`, which may have `"data"` too, or a list of
                either; `[]` is nothing to do.

        Raises:
            InvalidJob: a job is invalid, and no request was sent; the message says what was passed, what is wrong and
                what would be right.
            Unavailable: nothing was written, and a later call may succeed; of a long list, see above.
            OutcomeUnknown: Redis did not answer, and may have written it, or this step of a long list. Sending it again
                is safe, except that a key which was claimed meanwhile comes twice.
            Refused: nothing was written, and a later call will fail too; of a long list, see above.
            Stopped: the queue was stopped.
        """
        self._sink.on_next(value)

    def on_error(self, error: Exception) -> None:
        """Raise the error that a producer ended with, as Rx does where nobody handles it. The queue goes on."""
        self._sink.on_error(error)

    def on_completed(self) -> None:
        """Do nothing: a producer that completes does not end the queue."""

    def sink(self, keep: Keep = "last", only_waiting: bool = False) -> Sink:
        """Returns the sink with another policy: an Observer for any number of producers, as the queue itself is.

        Args:
            keep: which schedule stands if a key has one already; as in `schedule`.
            only_waiting: True: keys that do not wait are not written. So a bulk move brings nothing back that was taken
                or cancelled meanwhile.

        Raises:
            InvalidSetting: a `keep` of another name; or "first" or "absent" with `only_waiting`, which would write
                nothing, because a key that waits keeps its schedule.

        Example:
            >>> from reactivex import operators as ops
            >>> with RunAt("memory://") as queue:
            ...     queue.on_next([Job("mail:1", 4e9), Job("mail:2", 4e9), Job("sms:1", 4e9)])
            ...     mails = queue.waiting(match="mail:*").pipe(ops.map(lambda due: Job(due.key, 5e9)))
            ...     _ = mails.pipe(ops.buffer_with_count(1000)).subscribe(queue.sink(only_waiting=True))
            ...     [due.key for due in queue.peek()]
            ['sms:1', 'mail:1', 'mail:2']
        """
        if check_keep(keep) in ("first", "absent") and only_waiting:
            raise InvalidSetting(
                f"sink(keep={keep!r}, only_waiting=True) would write nothing, because a key that waits keeps its "
                "schedule; leave one of the two out"
            )
        return Sink(self._access, keep, only_waiting, self.__repr__)

    # The verbs.

    @overload
    def schedule(self, key: str, run_at: RunAtTime, keep: KeepOne = "last", *, data: Any = NOT_NAMED) -> datetime: ...
    @overload
    def schedule(self, key: str, run_at: RunAtTime, keep: Keep, *, data: Any = NOT_NAMED) -> datetime | None: ...
    def schedule(self, key: str, run_at: RunAtTime, keep: Keep = "last", *, data: Any = NOT_NAMED) -> datetime | None:
        """Schedule a key. Returns the `run_at` that stands for it afterwards; None: it does not wait.

        Args:
            key: a non-empty str.
            run_at: an aware datetime, epoch seconds, or a timedelta from now on Redis's clock.
            keep: which schedule stands if the key has one already: the "last" (this one), the "first" (the old one),
                the "earliest" or the "latest" of the two. "absent": nothing is written if the key waits, or is out
                under a lease; in the latter case it does not wait, and None is returned. So any process may begin a
                chain of runs, and none doubles it.
            data: what the key carries, any JSON value. Data is the key's, and part of its schedule: if it is not named,
                what is there stays; None drops it; any other value replaces it. A schedule that `keep` rejects changes
                neither time nor data.

        Raises:
            InvalidSetting: a `keep` of another name.
            InvalidJob, StoreError, Stopped: as `on_next`.

        Example:
            >>> with RunAt("memory://") as queue:
            ...     queue.schedule("a", 1700000000).isoformat()
            ...     queue.schedule("a", 1800000000, keep="first").isoformat()
            '2023-11-14T22:13:20+00:00'
            '2023-11-14T22:13:20+00:00'
        """
        with self._writing:
            score = self._writes.schedule([Job(key, run_at, data=data)], check_keep(keep))
        return None if score is None else from_score(score)

    def reschedule(self, key: str, run_at: RunAtTime) -> datetime | None:
        """Move a key, if it waits. Returns the `run_at` that stands for it now; None: it did not wait, and does not.

        Unlike `schedule`, it brings no key back that was taken or cancelled meanwhile. The key keeps its data.

        Args:
            key: a non-empty str.
            run_at: as in `schedule`.

        Raises:
            InvalidJob, StoreError, Stopped: as `on_next`.
        """
        with self._writing:
            score = self._writes.schedule([Job(key, run_at)], "last", only_waiting=True)
        return None if score is None else from_score(score)

    def cancel(self, key: str) -> bool:
        """Cancel a key, with its data, and revoke a lease on it. Returns True if the key waited or was under a lease.

        It returns False for a key that a source of bare keys has already taken.

        Raises:
            OutcomeUnknown: an answer was lost, and now the key is gone: either this call or a claim removed it.
            InvalidJob, StoreError, Stopped: as `on_next`.
        """
        with self._writing:
            return self._store.cancel(key)

    def when(self, key: str) -> datetime | None:
        """Returns the `run_at` of a key that waits, in UTC; None if it does not wait. Raises as `on_next`."""
        with self._reading:
            return self._store.when(key)

    def peek(self, n: int = 10) -> list[Due]:
        """Returns the next n keys in order, and leaves them there. A negative lateness is the time until a key is due.

        Raises:
            InvalidSetting: n is not a count.
            StoreError, Stopped: as `on_next`.
        """
        with self._reading:
            return self._store.peek(check_count(n, "n", "a count of keys, such as 10"))

    def waiting(self, match: str | None = None, until: RunAtTime | None = None) -> Observable[Due]:
        """The keys that wait, in order of time, without taking them: a cold Observable, read page by page.

            Redis    a b c d e
            pages    [a b][c d][e]
            stream   -a-b--c-d--e-|

        A key that nobody touches meanwhile is listed exactly once, however many others come and go. One that is moved
        or taken meanwhile may be listed, be listed again, or be missed. So a move that depends on the old run_at, such
        as by an hour, could move a key twice: collect the list first, by `ops.to_list()`. The listing ends at the
        run_at that was the last one when it began.

        Temperature: cold: each subscriber lists for itself, and the next page is read when a page was delivered.
        Order:       by run_at, then key.
        Scheduler:   the thread that subscribes, which waits for Redis; or the scheduler of the subscription. On the
                     event loop of an asyncio scheduler (`await` brings one) it never blocks.
        Errors:      what a verb raises reaches `on_error`.
        Redis:       `page.lua`: at most 1,000 keys, or a mebibyte of keys and data, each; some 1.5 ms of the server's
                     time.

        Args:
            match: which keys are listed, a pattern as in Python's `fnmatch`: `*` is any text, `?` any character, `[ab]`
                one of these, `[!ab]` none of these. All keys are read for that.
            until: keys that are due later are not listed; a delay counts from the subscription, on Redis's clock.

        Raises:
            InvalidSetting: `match` is no str.
            InvalidJob: `until` is no moment.
        """
        return waiting(self._access, match, until)

    def size(self, until: RunAtTime | None = None) -> int:
        """Returns how many keys wait; with `until`, how many of them fall due by then. Raises as `on_next`."""
        with self._reading:
            return self._store.size(until)

    def stats(self) -> Stats:
        """Returns the queue in numbers: `Stats(scheduled, due, claimed, dead, lateness)`. Raises as `on_next`.

        All of them are of one moment on Redis's clock, and cheap at any size: one script, some 50 us of the server's
        time at a million keys.

        Example:
            >>> from rx_runat.testing import virtual_queue
            >>> queue, scheduler = virtual_queue()
            >>> queue.on_next([Job("a", 10), Job("b", 60)])
            >>> scheduler.advance_by(12.5)
            >>> queue.stats()
            Stats(scheduled=2, due=1, claimed=0, dead=0, lateness=2.5)
        """
        with self._reading:
            return self._store.stats()

    @property
    def dead(self) -> DeadLetters:
        """The dead letters: keys whose work was given up. They have `peek`, `size`, `revive` and `drop`."""
        return self._dead

    @property
    def aio(self) -> Aio:
        """The verbs as coroutines, which never block the event loop; many awaits share round trips."""
        return self._aio

    # The end.

    def stop(self) -> None:
        """Hand back the keys that are held, complete the stream, close what the queue opened. May be repeated.

        From another thread it waits for the `on_next` in progress; from `on_next` it returns at once, and the source
        ends after that call. Work that `settle` has begun is broken off, except for a plain function: `stop` waits
        until that function returns, unless `stop` was called from it. If Redis cannot be reached, `stop` gives up after
        one interval, at most 5 s; with Sentinel or Cluster after 5 s, in which another primary may come. If Redis
        accepts connections but does not answer, `stop` waits for at least 1 s before it gives up. Then it reports on
        `errors` and in the log which keys it could not hand back. Afterwards `subscribe` completes at once, and the
        sink and the verbs raise `Stopped`.
        """
        self._store.batches.stop(Stopped(f"{self!r} was stopped; make a new one to go on"))
        self._sources.stop(-1)

    def dispose(self) -> None:
        """Stop the queue: Rx's name for `stop`."""
        self.stop()

    def __enter__(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        """As `with`, but the end does not block the event loop."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop the queue, without blocking the event loop."""
        await self._aio.stop()

    def __repr__(self) -> str:
        state = ", stopped" if self._stopped else ""
        return f"<RunAt {self._queue_name!r} on {self._store.where}{state}>"

    def _repr_html_(self) -> str:
        """The queue at a glance, for notebooks: one round trip; without a reply the card says that in words."""
        return self._card("RunAt")

    def _card(self, title: str, body: Callable[[], str] | None = None) -> str:
        return cards().queue_card(title, self._queue_name, self._store.where, self._stopped, body or self._glance)

    def _glance(self) -> str:
        return cards().state(self._store.snapshot(NEXT))

    @property
    def _stopped(self) -> bool:
        return self._sources.is_stopped

    def _let_go(self) -> None:
        self._store.close()
        self._connected.leave()
        forget(self._sources)


class Inside(NamedTuple):
    """The parts of a queue that a picture of it needs. For this package only: users are promised nothing about them.

    Attributes:
        name: the name of the queue.
        store: where the queue lies.
        sources: what claims from it in this process.
    """

    name: str
    store: RedisStore
    sources: Sources


def inside(queue: RunAt) -> Inside:
    """Return the parts of a queue that a picture of it needs."""
    return Inside(queue._queue_name, queue._store, queue._sources)  # pyright: ignore[reportPrivateUsage]
