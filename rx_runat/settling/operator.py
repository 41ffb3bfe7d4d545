"""Operators that RxPY lacks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from secrets import SystemRandom
from typing import Any, TypeAlias, TypeVar, overload

from reactivex import Observable

from rx_runat.errors import InvalidSetting
from rx_runat.model.checks import check_count, show
from rx_runat.model.claim import Claim
from rx_runat.model.outcome import Outcome
from rx_runat.model.times import to_ms
from rx_runat.settling.subscription import Settling
from rx_runat.stream.hot import Hot, Subscriber
from rx_runat.stream.ticks import Seconds

_RANDOM = SystemRandom().random

R = TypeVar("R")
Backoff: TypeAlias = Callable[[int], Seconds]


def exponential(
    first: Seconds = 1.0, longest: Seconds = 3600.0, jitter: float = 0.5, random: Callable[[], float] = _RANDOM
) -> Callable[[int], float]:
    """A backoff that doubles: a function of the attempt that failed, to the seconds until the next one.

        attempt     1      2      3      4    ..   13 ..
        seconds  0.5..1   1..2   2..4   4..8     1800..3600

    Keys that failed together, because something that they all need was away, come apart again by chance.

    Args:
        first: seconds, or a timedelta, after the first attempt, at the most.
        longest: the same after any.
        jitter: which part of them is left to chance, from 0 to 1.
        random: draws from 0 to 1.

    Raises:
        InvalidSetting: an argument that cannot be used.

    Example:
        >>> [exponential(jitter=0)(attempt) for attempt in (1, 2, 3, 12, 13, 1_000_000)]
        [1.0, 2.0, 4.0, 2048.0, 3600.0, 3600.0]
        >>> exponential(random=lambda: 0.5)(3)
        3.0
    """
    unit, ceiling = to_ms(first, "first", 0) / 1000, to_ms(longest, "longest", 0) / 1000
    if isinstance(jitter, bool) or not isinstance(jitter, int | float) or not 0 <= jitter <= 1:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidSetting(f"jitter: got {show(jitter)}; it must be between 0 and 1")

    def backoff(attempt: int) -> float:
        return min(unit * 2.0 ** min(attempt - 1, 64), ceiling) * (1 - jitter * random())

    return backoff


_DEFAULT = exponential()


@overload
def settle(
    work: Callable[[Claim], Observable[R]],
    *,
    max_attempts: int = ...,
    backoff: Backoff = ...,
    max_concurrent: int = ...,
) -> Callable[[Observable[Claim]], Observable[Outcome[R]]]: ...
@overload
def settle(
    work: Callable[[Claim], Awaitable[R]] | Callable[[Claim], Future[R]],
    *,
    max_attempts: int = ...,
    backoff: Backoff = ...,
    max_concurrent: int = ...,
) -> Callable[[Observable[Claim]], Observable[Outcome[R]]]: ...
@overload
def settle(
    work: Callable[[Claim], R],
    *,
    max_attempts: int = ...,
    backoff: Backoff = ...,
    max_concurrent: int = ...,
) -> Callable[[Observable[Claim]], Observable[Outcome[R]]]: ...
def settle(
    work: Callable[[Claim], Any],
    *,
    max_attempts: int = 5,
    backoff: Backoff = _DEFAULT,
    max_concurrent: int = 8,
) -> Callable[[Observable[Claim]], Observable[Outcome[Any]]]:
    """Works on claims and settles them: success acks, an error tries again later, and at last buries.

        claims    a1------b1------------------b2---->        the number is the attempt
        work      [  ok   [  error            [  ok
        outcomes  ---acked----nacked,delay=0.7---acked-->

    Every claim that comes gets its work done at least once, or is given up in the dead letters: also when its process
    is killed meanwhile, which counts as an attempt. Work may be done twice: where the process dies between the end of
    the work and its ack, or where it stalls until the lease has ended. So let the work bear being repeated.

    A process that is killed counts an attempt of all claims that it had, those too that waited for their turn. Where
    work may kill it, let it have no more than it works on: `max_in_flight` of `claims` as small as `max_concurrent`.

    Temperature: cold; each subscriber works for itself, so subscribe once, or `share`.
    Delivery:    one `Outcome` for each claim whose work was begun or which is buried unrun; none for one that was lost
                 before. Where 100 outcomes wait for a slow subscriber, no work begins.
    Order:       that in which they were settled.
    Clock:       leases and backoff on Redis's.
    Scheduler:   `work` is called on threads of ours, at most `max_concurrent`, and `on_next` on another one. An
                 asyncio scheduler of the subscription (`await` brings it) takes `on_next` and the coroutines that
                 `work` gives to its event loop; `work` itself, and so a plain function, stays on our threads. In
                 virtual time all happens at once, and an Observable is subscribed to with the virtual scheduler.
    Errors:      of the work: nacked, after `max_attempts` buried with the error's text; the stream goes on. A claim
                 that comes with a higher attempt is buried unrun. A `backoff` that raises and a Redis that refuses end
                 the stream. Through an outage work goes on, and what it came to is told to Redis when that is back.
    Disposal:    does not block. Claims that were not begun go back as they were; Observables are disposed of, Futures
                 and coroutines cancelled, and their claims go back when they have ended, the attempt not counted; a
                 plain function goes on, and its claim is settled when it returns. `queue.stop()` does the same, waits
                 for that, and completes; also where the claims of another queue are merged in.
                 To let all work come to its end: `queue.claims().pipe(ops.take_until(enough), settle(work))`.
    Redis:       claims are settled in bulk: what ends during one call goes with the next. Leases are renewed from a
                 thread of ours at a third of their length, all in one call, those that wait for their turn included;
                 one that is lost while it waits is dropped, and one that is lost during the work ends that, too.

    Args:
        work: called with a claim; gives a value, an Observable, a Future (asyncio's or concurrent's) or a coroutine.
            It leaves `ack` and its like to us.
        max_attempts: the last attempt that is made.
        backoff: from the attempt that failed, from 1, to the seconds (or timedelta) until the next; by default
            `exponential()`.
        max_concurrent: how much work may be under way.

    Raises:
        InvalidSetting: an argument that cannot be used.

    Note:
        `queue.stop()` may be called from work on our threads and from coroutines; from a thread of your own inside a
        Future that is not done it would wait for itself. Dispose before an event loop ends that coroutines run on.

    Example:
        >>> from rx_runat.testing import virtual_queue
        >>> queue, scheduler = virtual_queue()
        >>> def work(claim):
        ...     return 1 / (claim.attempt - 1)
        >>> outcomes = queue.claims().pipe(settle(work, backoff=lambda attempt: 10 * attempt))
        >>> _ = outcomes.subscribe(lambda outcome: print(scheduler.clock, outcome.verdict, outcome.result))
        >>> _ = queue.schedule("a", 1.0)
        >>> scheduler.advance_to(20)
        1.0 nacked None
        11.0 acked 1.0

    See Also:
        `RunAt.claims`, and `RunAt.dead` for what was buried.
    """
    if not callable(work):
        raise InvalidSetting(f"work: got {show(work)}; it must be callable with a claim")
    if not callable(backoff):
        raise InvalidSetting(f"backoff: got {show(backoff)}; it must be callable with the number of an attempt")
    for name, count in (("max_attempts", max_attempts), ("max_concurrent", max_concurrent)):
        check_count(count, name, "a count from 1", 1)

    def operator(claims: Observable[Claim]) -> Observable[Outcome[Any]]:
        return Hot(_Settled(claims, lambda to: Settling(work, max_attempts, backoff, max_concurrent, to)))

    return operator


class _Settled:
    """A crowd whose members know nothing of each other: each has a settling of its own."""

    def __init__(self, claims: Observable[Claim], settling: Callable[[Subscriber[Outcome[Any]]], Settling]) -> None:
        self._claims = claims
        self._make = settling
        self._settlings: dict[Subscriber[Outcome[Any]], Settling] = {}

    def join(self, subscriber: Subscriber[Outcome[Any]]) -> None:
        """Begin to work for it."""
        settling = self._settlings[subscriber] = self._make(subscriber)
        settling.subscribe_to(self._claims)

    def leave(self, subscriber: Subscriber[Outcome[Any]]) -> None:
        """Work for it no more."""
        settling = self._settlings.pop(subscriber, None)
        if settling is not None:
            settling.dispose()
