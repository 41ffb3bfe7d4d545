"""One subscription to `settle`: what comes, what becomes of it, and the end."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, cast

from reactivex import Observable
from reactivex.disposable import SingleAssignmentDisposable

from rx_runat.errors import InvalidSetting, StoreError
from rx_runat.model.batch import Verb
from rx_runat.model.checks import show
from rx_runat.model.claim import LOST, Claim, Lease
from rx_runat.model.outcome import Outcome
from rx_runat.model.times import to_ms
from rx_runat.settling.clerk import Clerk
from rx_runat.settling.limiter import Turns
from rx_runat.settling.outcomes import Outbox
from rx_runat.settling.places import Places
from rx_runat.settling.work import GOES_ON, NO_LOOP, BrokenOff, NoLoop, Run
from rx_runat.stream.hot import Subscriber, unhandled
from rx_runat.stream.leases import LeaseManager
from rx_runat.stream.rendezvous import event_loop, running_loop

_LOOK_SECONDS = 0.05  # while the end is waited for: whether Redis is silent

_PAST = {"ack": "acked", "nack": "nacked", "bury": "buried"}


class Settling:
    """One subscription to `settle`.

    A claim is `open` from its arrival until its outcome was received; when the stream ends, the end waits for that.

    Args:
        work: the user's.
        max_attempts: the last attempt that is made.
        backoff: seconds until the attempt after this one.
        max_concurrent: how much work may be under way.
        subscriber: for outcomes.
    """

    def __init__(
        self,
        work: Callable[[Claim], Any],
        max_attempts: int,
        backoff: Callable[[int], float | timedelta],
        max_concurrent: int,
        subscriber: Subscriber[Outcome[Any]],
    ) -> None:
        self._work = work
        self._max_attempts = max_attempts
        self._backoff = backoff
        self._max_concurrent = max_concurrent
        self._subscriber = subscriber
        self._loop = event_loop(subscriber.scheduler)
        self._upstream = SingleAssignmentDisposable()
        self._over = threading.Event()
        self._outbox = Outbox(subscriber, lambda action: self._there.outlet.run(action), self._close, self._fail)
        self._turns: Turns[Claim] = Turns(
            max_concurrent,
            self._serve,
            lambda: not self._outbox.is_full,
            lambda action: self._there.work.run(action),
        )
        self._lock = threading.Lock()  # over the rest
        self._places: Places | None = None
        self._runs: dict[Lease, Run] = {}
        self._stops = False  # no more runs
        self._open = 0
        self._last: Callable[[], None] | None = None  # what the subscriber hears at the end
        self._is_ending = False

    # From above.

    def subscribe_to(self, claims: Observable[Claim]) -> None:
        """Begin."""
        if self._loop is None and iscoroutinefunction(self._work):
            self._subscriber.fail(InvalidSetting(NO_LOOP))
            return
        self._upstream.disposable = claims.subscribe(
            self._take,
            lambda error: self._finish(partial(self._subscriber.fail, error)),
            lambda: self._finish(self._subscriber.complete),
            scheduler=self._subscriber.scheduler,
        )

    def dispose(self) -> None:
        """Let the subscriber go; what was not begun goes back, and what is under way is broken off if it can be."""
        self._outbox.silence()
        self._subscriber.unblock_source()
        self._let_go()

    def _take(self, claim: Claim) -> None:
        if not isinstance(claim, Claim):  # pyright: ignore[reportUnnecessaryIsInstance]
            self._fail(InvalidSetting(f"settle takes claims, as `queue.claims()` gives them; got {show(claim)}"))
            return
        desk = cast("LeaseManager", claim.held.desk)
        with self._lock:
            over = self._is_ending
            self._open += not over
        if over:  # it comes beside our end
            try:
                desk.settle([(claim.held, "back", "")])
            except StoreError:
                pass  # then its lease brings it back
            return
        places = self._places or self._set_up(desk)
        clerk = places.clerks.get(desk) or self._add_clerk(desk)
        clerk.keep(claim.held)
        if not self._turns.put(claim):
            self._give_back(claim)

    def _set_up(self, desk: LeaseManager) -> Places:
        with self._lock:
            self._places = self._places or Places(desk.scheduler, self._max_concurrent)
            return self._places

    def _add_clerk(self, desk: LeaseManager) -> Clerk:
        clerk = self._there.clerks[desk] = Clerk(desk, self._lose, self._fail)
        self._there.leave.append(desk.admit(self))
        return clerk

    def _finish(self, last: Callable[[], None]) -> None:
        """No more claims come: end when all is settled."""
        with self._lock:
            self._last = self._last or last
        self._end_if_done()

    # Work.

    def _serve(self, claim: Claim) -> bool:
        """Work on a claim; is that over?"""
        lease = claim.held
        if not lease.desk.lives(lease):  # it was lost while it waited, or all our threads stood still
            self._close()
            return True
        if claim.attempt > self._max_attempts:
            reason = f"its process ended {claim.attempt - 1} times, and {self._max_attempts} attempts are the most"
            self._settle(claim, "bury", reason)
            return True
        given, error = None, None
        try:
            given = self._work(claim)
        except BaseException as raised:
            error = raised
            if not isinstance(error, Exception):  # SystemExit and its like: an error as any other, but one to be seen
                unhandled(error)
        if not isinstance(given, GOES_ON):
            self._judge(claim, given, error)
            return True

        def over(result: Any, error: BaseException | None) -> None:
            with self._lock:
                self._runs.pop(lease, None)  # it is gone where the claim came twice
            self._judge(claim, result, error)

        run = Run(over, self._turns.resume)
        with self._lock:
            self._runs[lease] = run
            stops = self._stops
        if stops or not lease.desk.lives(lease):
            run.break_off()
        return run.start(given, self._there.scheduler, self._loop)

    def _judge(self, claim: Claim, result: Any, error: BaseException | None) -> None:
        """The work on a claim is over: what becomes of it?"""
        if error is None:
            self._settle(claim, "ack", "", result)
        elif isinstance(error, BrokenOff):
            if claim.held.desk.lives(claim.held):
                self._give_back(claim)
            else:
                self._outbox.put(Outcome(claim, "lost"))
        elif isinstance(error, NoLoop):
            self._fail(error)
            self._give_back(claim)
        elif claim.attempt >= self._max_attempts:
            self._settle(claim, "bury", "".join(traceback.format_exception_only(error)).strip(), None, error)
        else:
            try:
                ms = to_ms(self._backoff(claim.attempt), "backoff", 0)
            except Exception as bug:
                self._fail(bug)
                self._give_back(claim)
            else:
                self._settle(claim, "nack", ms, None, error, ms / 1000)

    def _lose(self, lease: Lease) -> None:
        """A lease is lost: its claim is worked on no longer. If it waits, it is dropped when its turn comes."""
        lease.fate = LOST  # nobody renews it any more: it must not come to life when our clock is corrected
        with self._lock:
            run = self._runs.get(lease)
        if run is not None:
            self._there.outlet.run(run.break_off)  # the clerk does not wait for what that calls

    # What becomes of claims.

    def _settle(
        self,
        claim: Claim,
        verb: Verb,
        argument: int | str,
        result: Any = None,
        error: BaseException | None = None,
        delay: float | None = None,
    ) -> None:
        def then(ours: bool | None) -> None:
            verdict: Any = _PAST[verb] if ours else "unknown" if ours is None else "lost"
            self._outbox.put(Outcome(claim, verdict, result, error, delay if ours else None))

        more = self._turns.any_waits or claim.held.desk.is_delivering
        self._clerk_of(claim).settle(claim.held, verb, argument, then, more)

    def _give_back(self, claim: Claim) -> None:
        self._clerk_of(claim).settle(claim.held, "back", "", lambda _: self._close())

    def _clerk_of(self, claim: Claim) -> Clerk:
        return self._there.clerks[cast("LeaseManager", claim.held.desk)]

    def _close(self, claims: int = 1) -> None:
        """So many claims are over, and who is to be told of them has been told."""
        with self._lock:
            self._open -= claims
        self._turns.begin()
        self._end_if_done()

    # The end.

    @property
    def is_inside(self) -> bool:
        """Is this thread in work, or in a subscriber's `on_next`; or on the event loop, where both may wait for it?"""
        places = self._places
        if places is not None and (places.work.is_here or places.outlet.is_here):
            return True
        return self._loop is not None and running_loop() is self._loop

    def stop(self) -> None:
        """Begin nothing more, give back what was not begun, break off what can be, and end; does not wait."""
        with self._lock:
            clerks = list(self._places.clerks.values()) if self._places else []
        for clerk in clerks:
            clerk.hurry()
        self._let_go()

    def _let_go(self) -> None:
        """The end, as soon as may be.

        That of the claims is not waited for: those of another queue may be merged into them, and an event loop that is
        closed does not tell of it.
        """
        self._upstream.dispose()
        with self._lock:
            self._stops = True
            runs = list(self._runs.values())
        for claim in self._turns.stop():
            self._give_back(claim)
        for run in runs:
            run.break_off()
        self._finish(self._subscriber.complete)

    def wait(self, longest: float) -> None:
        """Wait until all is settled, after `stop`."""
        began = time.monotonic()
        while not self._over.wait(_LOOK_SECONDS):
            if 0 <= longest < time.monotonic() - began:
                return  # work hangs: each of its threads would be waited for as long
            for clerk in list(self._there.clerks.values()):
                clerk.break_off()
        if self._places is not None:
            self._places.join(longest)

    def _fail(self, error: BaseException) -> None:
        """End with an error, at once; what is under way is settled all the same."""
        if not self._outbox.silence():
            return
        if self._places is None:
            self._subscriber.fail(error)
        else:
            self._places.outlet.run(lambda: self._subscriber.fail(error))
        self._let_go()

    def _end_if_done(self) -> None:
        with self._lock:
            ends = self._last is not None and not self._open and not self._is_ending
            self._is_ending = self._is_ending or ends
        if not ends:
            return
        if self._places is None:
            self._end()
        else:
            self._places.outlet.run(self._end)

    def _end(self) -> None:
        try:
            if self._outbox.silence() and self._last is not None:
                self._last()
        finally:
            if self._places is not None:
                self._places.end()
            self._over.set()

    @property
    def _there(self) -> Places:
        assert self._places is not None, "a claim has come"
        return self._places
