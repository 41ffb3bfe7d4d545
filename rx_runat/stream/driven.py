"""Ticks of your own: `claim_from` makes a claim for each item of an Observable.

    ticks    t-------------t--t-----------|        by an interval, a button, a cron, a demand
    claims   [a b c]       [d][e f]                each tick one atomic claim, of at most `limit` keys
    stream   -a-b-c--------d-e-f----------|

It is the look that a source makes by itself (`Source`), with another demand: nothing but a tick asks for keys. So
such a source has no heartbeat, and nobody listens for it to what others write.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any, Generic, TypeVar, cast

from reactivex import Observable, abc
from reactivex.disposable import SingleAssignmentDisposable

from rx_runat.errors import InvalidSetting, Stopped
from rx_runat.model.checks import check_count, show
from rx_runat.stream.asked import Asked
from rx_runat.stream.hot import Hot, Publisher, Subscriber
from rx_runat.stream.source import Source

_T = TypeVar("_T")


class Driven(Generic[_T]):
    """A source whose claims are asked for, and the ticks that ask.

    Args:
        source: claims and delivers.
        asked: its demand.
        publisher: gives what the source delivers, in the form that its stream has.
    """

    def __init__(self, source: Source[Any], asked: Asked, publisher: Publisher[_T]) -> None:
        self._source = source
        self._asked = asked
        self._publisher = publisher
        self._ticks = SingleAssignmentDisposable()

    def join(self, subscriber: Subscriber[_T], ticks: Observable[Any]) -> None:
        """Give a subscriber what the ticks ask for. However it ends, it is the end of the ticks as well."""
        subscriber.left = partial(subscriber.dispose_of, self._ticks)
        self._publisher.join(subscriber)
        self._ticks.disposable = ticks.subscribe(
            self._ask,
            lambda error: self._end(subscriber, lambda: subscriber.fail(error)),
            lambda: self._end(subscriber, subscriber.complete),
            scheduler=subscriber.scheduler,
        )

    def leave(self, subscriber: Subscriber[_T]) -> None:
        """Give the subscriber no more, and ask for no more."""
        self._publisher.leave(subscriber)
        subscriber.dispose_of(self._ticks)

    def _ask(self, _: Any) -> None:
        self._asked.ask()
        self._source.wake()

    def _end(self, subscriber: Subscriber[_T], last: Callable[[], None]) -> None:
        """The ticks have ended: make the last call to the subscriber when what they asked for is delivered."""

        def end() -> None:
            self._publisher.leave(subscriber)
            last()

        self._asked.end(end)
        self._source.wake()


class Claimable(Hot[_T]):
    """A hot stream whose keys may also be claimed by ticks of the user's.

    Whoever derives from it sets `_drive`, which opens a source that claims in the same way, for each tick at most so
    many keys as it is called with.
    """

    _drive: Callable[[int], Driven[_T]]


_drive_of = attrgetter("_drive")


def claim_from(source: Claimable[_T], limit: int = 1000) -> Callable[[Observable[Any]], Observable[_T]]:
    """Makes one atomic claim for each item, and flattens its keys into the stream.

        ticks    t-----------t--t---------|
        Redis    {a b c}     {d} {e f}
        claims   [a b c]     [d][e f]
        stream   -a-b-c------d--e-f-------|

    The queue's own ticks, made by anybody: an interval, a button, a cron, a demand.

    Temperature: cold: each subscription makes a source of its own, without a heartbeat, and without a connection that
                 listens. It competes for keys with all others as if it were in another process.
    Delivery:    as of the stream that it claims from. Each item of the ticks is a demand for up to `limit` keys at
                 once: one that comes during a claim causes one claim more, later. During an outage the demand stays,
                 and the claims are made afterwards. Plain keys that nobody received a tenth of a second after their
                 claim go back, also while an `on_next` blocks.
    Order:       by run_at, then key, within a claim; claims follow each other.
    Scheduler:   the ticks come where their Observable brings them; keys come on a loop of the source's own, in virtual
                 time on the queue's scheduler, or on the event loop of an asyncio scheduler of the subscription.
    Errors:      as of the stream that it claims from; an error of the ticks, too, reaches `on_error`, and their end
                 completes the stream: both after what was asked for is claimed, and delivered or handed back.
    Disposal:    does not block; what was not received goes back.
    Redis:       a tick is one script: O(keys + log(size)).

    Args:
        source: a queue, its `jobs`, or what `queue.claims()` returns, whose lease and `max_in_flight` hold. It decides
            what the stream gives: keys, Dues or Claims.
        limit: the most keys that one tick may take.

    Raises:
        InvalidSetting: `limit` is no count between 1 and 100,000, or `source` is none of these.

    Example:
        >>> import reactivex as rx
        >>> from rx_runat import Job
        >>> from rx_runat.testing import virtual_queue
        >>> queue, scheduler = virtual_queue()
        >>> queue.on_next([Job(key, 0.0) for key in "abc"])
        >>> keys = rx.interval(10, scheduler=scheduler).pipe(claim_from(queue, limit=2))
        >>> _ = keys.subscribe(lambda key: print(scheduler.clock, key))
        >>> scheduler.advance_to(20)
        10.0 a
        10.0 b
        20.0 c
    """
    if not isinstance(source, Claimable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidSetting(
            f"source: got {show(source)}; it must be a queue, its jobs, or what queue.claims() returns"
        )
    limit = check_count(limit, "limit", "a count of keys between 1 and 100,000", 1, 100_000)
    drive = cast("Callable[[int], Driven[_T]]", _drive_of(source))

    return lambda ticks: _Cold(ticks, lambda: drive(limit))


class _Cold(Observable[_T]):
    """What `claim_from` returns: each subscription has a source of its own."""

    def __init__(self, ticks: Observable[Any], drive: Callable[[], Driven[_T]]) -> None:
        super().__init__()
        self._ticks = ticks
        self._drive = drive

    def subscribe(
        self,
        on_next: abc.ObserverBase[_T] | abc.OnNext[_T] | None = None,
        on_error: abc.OnError | None = None,
        on_completed: abc.OnCompleted | None = None,
        *,
        scheduler: abc.SchedulerBase | None = None,
    ) -> abc.DisposableBase:
        """Make a source, and subscribe to it and to the ticks; see `Hot.subscribe`."""
        stream = Hot(_Subscription(self._ticks, self._drive))
        return stream.subscribe(on_next, on_error, on_completed, scheduler=scheduler)


class _Subscription(Generic[_T]):
    """The publisher of one subscription."""

    def __init__(self, ticks: Observable[Any], drive: Callable[[], Driven[_T]]) -> None:
        self._ticks = ticks
        self._drive = drive
        self._driven: Driven[_T] | None = None

    def join(self, subscriber: Subscriber[_T]) -> None:
        """Begin to claim for the subscriber; after `stop` it completes at once."""
        try:
            self._driven = self._drive()
        except Stopped:
            subscriber.complete()
            return
        try:
            self._driven.join(subscriber, self._ticks)
        except BaseException:  # such as a `run()` that is refused
            self.leave(subscriber)
            raise

    def leave(self, subscriber: Subscriber[_T]) -> None:
        """End the source."""
        if self._driven is not None:
            self._driven.leave(subscriber)
