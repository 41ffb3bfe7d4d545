"""`settle`: the operator that works on claims, as a user sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, TypeVar, overload

from reactivex import Observable

from rx_runat.errors import InvalidSetting
from rx_runat.model.again import Again
from rx_runat.model.checks import check_count, show
from rx_runat.model.claim import Claim
from rx_runat.model.functions import is_coroutine_function
from rx_runat.model.outcome import Outcome
from rx_runat.model.times import to_ms
from rx_runat.settling.backoff import Backoff, exponential
from rx_runat.settling.decision import Policy
from rx_runat.settling.kinds import refuse_generators
from rx_runat.settling.subscription import Subscription
from rx_runat.stream.hot import Hot, Subscriber
from rx_runat.stream.ticks import Seconds

R = TypeVar("R")

_DEFAULT = exponential()


@overload
def settle(
    work: Callable[[Claim], Observable[R]],
    *,
    max_attempts: int = ...,
    backoff: Backoff = ...,
    max_concurrent: int = ...,
    timeout: Seconds | None = ...,
    until: Observable[Any] | None = ...,
    again: Again | None = ...,
) -> Callable[[Observable[Claim]], Observable[Outcome[R]]]: ...
@overload
def settle(
    work: Callable[[Claim], Awaitable[R]] | Callable[[Claim], Future[R]],
    *,
    max_attempts: int = ...,
    backoff: Backoff = ...,
    max_concurrent: int = ...,
    timeout: Seconds | None = ...,
    until: Observable[Any] | None = ...,
    again: Again | None = ...,
) -> Callable[[Observable[Claim]], Observable[Outcome[R]]]: ...
@overload
def settle(
    work: Callable[[Claim], R],
    *,
    max_attempts: int = ...,
    backoff: Backoff = ...,
    max_concurrent: int = ...,
    timeout: Seconds | None = ...,
    until: Observable[Any] | None = ...,
    again: Again | None = ...,
) -> Callable[[Observable[Claim]], Observable[Outcome[R]]]: ...
# Those for lists come last: a lambda, whose argument has no type, is one for single claims.
@overload
def settle(
    work: Callable[[list[Claim]], Observable[R]],
    *,
    max_attempts: int = ...,
    backoff: Backoff = ...,
    max_concurrent: int = ...,
    timeout: Seconds | None = ...,
    until: Observable[Any] | None = ...,
    again: Again | None = ...,
) -> Callable[[Observable[list[Claim]]], Observable[Outcome[R]]]: ...
@overload
def settle(
    work: Callable[[list[Claim]], Awaitable[R]] | Callable[[list[Claim]], Future[R]],
    *,
    max_attempts: int = ...,
    backoff: Backoff = ...,
    max_concurrent: int = ...,
    timeout: Seconds | None = ...,
    until: Observable[Any] | None = ...,
    again: Again | None = ...,
) -> Callable[[Observable[list[Claim]]], Observable[Outcome[R]]]: ...
@overload
def settle(
    work: Callable[[list[Claim]], R],
    *,
    max_attempts: int = ...,
    backoff: Backoff = ...,
    max_concurrent: int = ...,
    timeout: Seconds | None = ...,
    until: Observable[Any] | None = ...,
    again: Again | None = ...,
) -> Callable[[Observable[list[Claim]]], Observable[Outcome[R]]]: ...
def settle(
    work: Callable[[Any], Any],
    *,
    max_attempts: int = 5,
    backoff: Backoff = _DEFAULT,
    max_concurrent: int = 8,
    timeout: Seconds | None = None,
    until: Observable[Any] | None = None,
    again: Again | None = None,
) -> Callable[[Observable[Any]], Observable[Outcome[Any]]]:
    """Works on claims and settles them: success acks, an error nacks, and the error of the last attempt buries.

        claims    a1------b1------------------b2---->        the number is the attempt
        work      [  ok   [  error            [  ok
        outcomes  ---acked----nacked,delay=0.7---acked-->

    The work of every claim that comes is done at least once, or the key is given up and goes to the dead letters. This
    holds if the process is killed, too. Work may be done twice: if the process dies between the end of the work and its
    ack, or if it stands still until the lease has ended. So write work that may be repeated.

    A poison key, whose work kills its process, buries only itself. A crash counts as an attempt for claims whose work
    had begun; to a neighbour's crash a key loses at most one attempt in its life. For that, a first attempt counts when
    the key is claimed, and a later one just before the first line of its work. A key whose attempt before was not
    settled, because its process died, works beside no other such key until a lease has passed: so the next crash takes
    no attempt from the neighbours of the one before. The limits: a new key that works beside such a key, and one that
    kills its process later than a lease, may still cost it another attempt. With `max_attempts=1` every attempt
    counts when its work begins, so a key that merely waited loses nothing, and one that worked beside a poison key is
    buried with it.

    Lists of claims, such as `ops.buffer_with_time_or_count(0.05, 100)` makes them, are worked on as a whole. What
    `work` has not settled by hand shares its fate: acked, or nacked with the error, each claim by its own attempt; and
    each has its own outcome. A list counts once for `max_concurrent`, and an empty one is nothing to do. Its leases are
    renewed from the moment at which it comes here, but not those of claims that still lie in the buffer: keep the
    buffer's time far below the lease, and its count at `max_in_flight` or below, because a larger one is never reached.
    Claims that wait for the very first list have counted their attempt when they were claimed. In virtual time, give
    the buffer the scheduler. A list that kills its process blames all of its keys. Under `timeout`, the time is that of
    the whole list.

    Temperature: cold; each subscriber works for itself, so subscribe once, or `share`.
    Delivery:    one `Outcome` for each claim whose work began, and for each claim that was buried because its attempt
                 was beyond `max_attempts`: its process died too often, for example. No outcome for a claim whose lease
                 was lost before its work began, nor for one that went back. While 100 outcomes wait for a slow
                 subscriber, no work begins. Claims that have waited for as long as a lease, behind work or a subscriber
                 that is stuck, go back as they were for others to claim; then the source asks for no more keys than
                 work can begin on, until claims have to wait for a short time only.
    Order:       the order in which the claims were settled.
    Clock:       leases and backoff go by Redis's.
    Scheduler:   `settle` starts threads: at most `max_concurrent` call `work`, and one more calls `on_next`. If the
                 subscription has an asyncio scheduler (`await` brings one), `on_next` and the coroutines that `work`
                 returns run on its event loop; `work` itself, and so a plain function, stays on the threads. Without
                 such a scheduler, coroutines run on the event loop that runs where `subscribe` is called; where none
                 does, a coroutine function as `work` ends the stream with an error at once. In virtual time everything
                 happens at once, and Observables are subscribed to with the virtual scheduler.
    Errors:      where work fails, its claim is nacked, and buried with the error's text after `max_attempts`; the
                 stream goes on. The logger `rx_runat` is told of each failed attempt (WARNING) and of each burial
                 (ERROR, with the traceback), on the thread that calls `on_next`. A claim that comes with a higher
                 attempt is buried without being run. A key that was scheduled again meanwhile keeps that schedule (the
                 outcome `superseded`). A `backoff` that raises, or work that returns a generator, ends the stream, and
                 the claim goes back. A Redis that refuses what we ask about a claim ends the stream, too; that claim is
                 left to the end of its lease, and the others of the same call are settled. During an outage work goes
                 on, and its claims are settled when Redis is back; a later attempt, which must count first, begins only
                 then.
    Disposal:    does not block. Claims whose work has not begun go back as they were. Observables are disposed of,
                 Futures and coroutines are cancelled; their claims go back when they have ended, and the attempt does
                 not count. A plain function goes on, and its claim is settled when it returns. `queue.stop()` does the
                 same, waits until it is done, and completes the stream, even if claims of another queue are merged in.
                 To let work that has begun finish instead, use `until`.
    Redis:       claims are settled in bulk: those whose work ends during one call are in the next call, and so is the
                 question whether a later attempt may begin; no thread waits for its answer. Leases are
                 renewed after a third of their length, in bulk, up to 500 in one call, also those of claims whose work
                 has not begun; the thread that does both runs no code of yours. If a lease is lost, the claim is
                 dropped if its work has not begun, and otherwise the work is cancelled if it can be; a plain function
                 goes on.

    Args:
        work: called with a claim, or with the list where lists of claims come; returns a value, an Observable, a Future
            (asyncio's or concurrent's) or a coroutine. What it settles by hand stays so; `settle` settles the rest.
        max_attempts: the number of the last attempt that is made.
        backoff: a function from the number of the attempt that failed, from 1, to the seconds (or timedelta) until the
            next one; by default `exponential()`.
        max_concurrent: how much work may be under way at once.
        timeout: seconds, or a timedelta; how long the work on one claim may take. Work that takes longer fails with a
            TimeoutError. An Observable is disposed of for that, a Future or coroutine is cancelled; what it returns or
            raises then is dropped. What cannot be cancelled (a plain function, a Future of concurrent's that runs
            already, a coroutine that has not ended 5 s after it was cancelled) goes on, and nobody waits for it, not
            even `stop`: its key is logged, its thread is replaced by a new one, and its result is dropped. None: any
            time; work that is under way for longer than ten leases is logged.
        until: an Observable, such as `signals()`. When its first item comes, no new work begins, claims whose work has
            not begun go back as they were, work under way ends and is settled, and then the stream completes. If it
            fails, the stream ends with its error, and if it completes without an item, nothing happens.
        again: a function from the claim to the moment at which its key is due again, such as `every(3600)` or
            `cron("@daily")`: an aware datetime, or a timedelta from the end of the run; None: no more. It is called
            before the work. The next run is written in the script that acks this one, or buries it when attempts have
            run out: so a run that fails, and a killed process, end no chain. A schedule that is made meanwhile stands,
            and no next run is written; a key that is cancelled meanwhile comes no more. If the function raises, or
            returns no moment, the claim goes back and the stream ends. None: keys do not come again.

    Raises:
        InvalidSetting: an argument that cannot be used, such as a generator function as `work`: a call of it would run
            no line of it.

    Note:
        `queue.stop()` may be called from `work`, and from coroutines. If the work returned a Future,
        do not call `stop` on the thread that is to complete it: `stop` would wait for the Future, and so for itself.
        If coroutines run on an event loop of yours, dispose before that loop ends.

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
    refuse_generators(work)
    if not callable(backoff):
        raise InvalidSetting(f"backoff: got {show(backoff)}; it must be callable with the number of an attempt")
    max_attempts = check_count(max_attempts, "max_attempts", "a count from 1", 1)
    max_concurrent = check_count(max_concurrent, "max_concurrent", "a count from 1", 1)
    if again is not None and (not callable(again) or is_coroutine_function(again)):
        raise InvalidSetting(
            f"again: got {show(again)}; it must be a plain function of the run that was claimed, such as every(3600) "
            'or cron("0 9 * * *")'
        )
    seconds = None if timeout is None else to_ms(timeout, "timeout", 0.001) / 1000
    if until is not None and not isinstance(until, Observable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidSetting(f"until: got {show(until)}; it must be an Observable, such as signals()")

    def operator(claims: Observable[Any]) -> Observable[Outcome[Any]]:
        policy = Policy(max_attempts, backoff, seconds, again)
        return Hot(
            _Subscriptions(claims, lambda subscriber: Subscription(work, policy, max_concurrent, until, subscriber))
        )

    return operator


class _Subscriptions:
    """The subscribers of one pipeline, who do not share anything: each has a `Subscription` of its own."""

    def __init__(self, claims: Observable[Any], make: Callable[[Subscriber[Outcome[Any]]], Subscription]) -> None:
        self._claims = claims
        self._make = make
        self._subscriptions: dict[Subscriber[Outcome[Any]], Subscription] = {}

    def join(self, subscriber: Subscriber[Outcome[Any]]) -> None:
        """Begin to work for a subscriber."""
        subscription = self._subscriptions[subscriber] = self._make(subscriber)
        try:
            subscription.subscribe_to(self._claims)
        except BaseException:  # such as a `run()` that is refused
            del self._subscriptions[subscriber]
            raise

    def leave(self, subscriber: Subscriber[Outcome[Any]]) -> None:
        """End the work for a subscriber."""
        subscription = self._subscriptions.pop(subscriber, None)
        if subscription is not None:
            subscription.dispose()
