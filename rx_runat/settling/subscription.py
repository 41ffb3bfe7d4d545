"""One subscription to `settle`: claims come in, outcomes go out, and the stream ends when no claim is open."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from typing import Any, cast

from reactivex import Observable
from reactivex.disposable import SingleAssignmentDisposable

from rx_runat.errors import InvalidSetting, StoreError
from rx_runat.model.batch import REFUSED
from rx_runat.model.claim import LOST, Claim, Lease, lease_of
from rx_runat.model.forks import renew_in_child
from rx_runat.model.functions import is_coroutine_function
from rx_runat.model.monotonic import monotonic
from rx_runat.model.outcome import Outcome
from rx_runat.settling.arrivals import by_manager, claims_in, stranger_in
from rx_runat.settling.assignment import Assignment
from rx_runat.settling.backlog import Backlog
from rx_runat.settling.decision import Decision, Policy
from rx_runat.settling.failures import log_long, log_unsettled
from rx_runat.settling.limiter import Limiter
from rx_runat.settling.outcomes import MOST, Outcomes
from rx_runat.settling.run import NO_LOOP
from rx_runat.settling.threads import Pool
from rx_runat.settling.work import Work
from rx_runat.stream.hot import Subscriber, subscribe_in_bulk
from rx_runat.stream.lease_holder import Ack
from rx_runat.stream.leases import LeaseManager, manager_of
from rx_runat.stream.rendezvous import event_loop, running_loop

_CHECK_SECONDS = 0.05  # between two checks of `wait` whether Redis still answers


class Subscription:
    """One subscription to `settle`. A `LeaseHolder`.

        claims    a---b---c----|
        open      1   2   3  2   1  0
        outcomes        -----A---B--C|

    A claim, alone or in a list, is open from its arrival until the subscriber has received its outcome, or until it is
    handed back. The stream ends when no more claims come and none is open.

    Args:
        work: the user's function.
        policy: what becomes of claims whose work fails.
        max_concurrent: how much work may be under way.
        until: when it fires, no new work begins; None: nothing does.
        subscriber: receives the outcomes.
    """

    def __init__(
        self,
        work: Callable[[Any], Any],
        policy: Policy,
        max_concurrent: int,
        until: Observable[Any] | None,
        subscriber: Subscriber[Outcome[Any]],
    ) -> None:
        self._is_asynchronous = is_coroutine_function(work)
        self._max_concurrent = max_concurrent
        self._subscriber = subscriber
        self._loop = event_loop(subscriber.scheduler)
        if self._loop is None and not subscriber.is_waited_for:  # `run()` blocks the event loop that it is called on
            self._loop = running_loop()
        self._upstream = SingleAssignmentDisposable()
        self._until = until
        self._until_subscription = SingleAssignmentDisposable()
        self._over = threading.Event()
        self._outcomes = Outcomes(subscriber, policy.max_attempts, self._claims_ended, self._fail)
        self._limiter: Limiter[Assignment] = Limiter(
            max_concurrent, self._begin, self._outcomes.waiting, MOST, self._wake_sources
        )
        self._work = Work(
            work,
            policy,
            self._loop,
            lambda: self._limiter.threads,
            self._count,
            self._settle,
            self._limiter.release,
        )
        self.counts_up_to = min(1, policy.max_attempts - 1)
        self._backlog = Backlog(self._limiter)
        self._lock = threading.Lock()  # guards the attributes below
        self._managers: dict[LeaseManager, None] = {}  # of the claims that came: more than one if queues are merged
        self._leave: list[Callable[[], None]] = []  # tells each of them that no claim is open any more
        self._open = 0
        self._last: Callable[[], None] | None = None  # the call that ends the subscriber's stream
        self._is_ending = False
        renew_in_child(self, Subscription._leave_to_parent)

    # Claims come in, on the source's thread.

    def subscribe_to(self, claims: Observable[Claim] | Observable[list[Claim]]) -> None:
        """Begin."""
        if self._is_asynchronous and (self._loop is None or self._loop.is_closed()):
            self._subscriber.fail(InvalidSetting(NO_LOOP))
            return
        if self._until is not None:
            self._until_subscription.disposable = self._until.subscribe(
                lambda _: self._end_in_order(), self._fail, scheduler=self._subscriber.scheduler
            )

        def fail(error: Exception) -> None:
            self._finish(partial(self._subscriber.fail, error))

        def complete() -> None:
            self._finish(self._subscriber.complete)

        try:
            self._upstream.disposable = subscribe_in_bulk(
                cast("Observable[Any]", claims), self._on_next, self._on_all, fail, complete, self._subscriber.scheduler
            )
        except BaseException:  # such as a `run()` that is refused
            self._subscriber.dispose_of(self._until_subscription)  # else `signals()` would swallow the next SIGTERM
            raise

    def _on_next(self, value: Claim | list[Claim]) -> None:
        if type(value) is Claim:
            self._take([[value]], is_list=False)
        elif (stranger := stranger_in(value)) is not None:
            self._refuse(value, stranger)
        elif claims := claims_in(value):  # none, if it was an empty list
            self._take([claims], is_list=isinstance(value, list))

    def _on_all(self, claims: list[Claim]) -> None:
        """Take what one claim of a source brought. Each key is for a call of its own."""
        self._take([[claim] for claim in claims], is_list=False)

    def _take(self, parts: list[list[Claim]], is_list: bool) -> None:
        """Open claims, and queue the work: each part is for one call of the user's function."""
        claims = parts[0] if len(parts) == 1 else list(chain.from_iterable(parts))
        leases = by_manager(claims)
        # The first claim of a source is made before the source knows that `settle` takes its claims, so its attempts
        # count already; later ones should count only when the work begins. After a crash the key may be one whose work
        # ended the process: it must be known as a suspect.
        early = [claim for claim in claims if claim.attempt > self.counts_up_to and lease_of(claim).counts == "now"]
        if early:
            too_early = set(map(lease_of, early))
            parts = [[claim for claim in part if lease_of(claim) not in too_early] for part in parts]
        manager = next(iter(leases))
        now = manager.now()
        are_open = False
        try:
            are_open = self._open_claims(leases)
            if not are_open:
                return
            for each, own in leases.items():
                each.renewals.renew(own, self)
            work = [Assignment(part, is_list, manager, now) for part in parts if part]
            suspects = [each for each in work if each.is_suspect]
            is_queued = self._limiter.put([each for each in work if not each.is_suspect], suspects)
        except BaseException:  # no thread can be started: the source hands the claims back, and ends this subscription
            if are_open:
                for each, own in leases.items():
                    for lease in own:
                        each.renewals.release(lease, self)
                self._claims_ended(len(claims))
            raise
        for claim in early if is_queued else claims:
            self._settle(claim, Decision("back"))

    def _refuse(self, value: object, stranger: InvalidSetting) -> None:
        """Something came that holds a stranger: the stream ends, and the claims beside it go back."""
        self._fail(stranger)
        claims = claims_in(value)
        if claims and self._open_claims(by_manager(claims)):
            for claim in claims:
                self._settle(claim, Decision("back"))

    def _open_claims(self, leases: dict[LeaseManager, list[Lease]]) -> bool:
        """Count claims as open. Returns False if the stream ends already; then they go back."""
        with self._lock:
            is_over = self._is_ending
            new = [] if is_over else [manager for manager in leases if manager not in self._managers]
            for manager in new:
                self._add(manager)
            if not is_over:
                self._open += sum(map(len, leases.values()))
        if is_over:  # they were on their way while the stream ended: our threads are gone, or soon will be
            for manager, own in leases.items():
                try:
                    manager.settle([(lease, "back", "") for lease in own])  # one that is refused ends by itself
                except StoreError:
                    pass  # then they come again when their leases end
            return False
        for manager in new:
            self._leave.append(manager.register(self))
        return True

    def _add(self, manager: LeaseManager) -> None:
        """With the lock held. The first claim shows whether time is real; if it is, threads are needed."""
        if not self._managers and manager.scheduler is None:
            outcomes = Pool("rx_runat outcomes", 1)
            # It makes the last call to the subscriber, even at interpreter exit, when no thread can be started.
            outcomes.keep_one_thread()
            self._outcomes.thread = outcomes
            self._limiter.threads = Pool("rx_runat work", self._max_concurrent)
        self._managers[manager] = None

    def _begin(self, assignment: Assignment) -> bool:
        """On a work thread; see `Work.begin`."""
        if self._backlog.is_limited:
            self._backlog.note_begun(assignment, assignment.manager.now())
            self._wake_sources()
        return self._work.begin(assignment)

    def _finish(self, last: Callable[[], None]) -> None:
        """No more claims come: end the subscriber's stream with a last call when no claim is open."""
        with self._lock:
            self._last = self._last or last
        self._end_if_done()

    # What becomes of a claim, decided on a work thread.

    def _settle(self, claim: Claim, decision: Decision | None) -> None:
        lease = lease_of(claim)
        manager = manager_of(lease)
        if decision is None or decision.verb is None:  # the lease is lost, or was settled by hand
            lease.ending = lease.ending or LOST  # as in `lost`
            manager.renewals.release(lease, self)
            if decision is None:
                self._claims_ended()
            else:
                self._outcomes.put([decision.outcome(claim, 0)])
        else:
            if decision.failure is not None:
                self._fail(decision.failure)
            ack = Ack(lease, decision.verb, decision.argument, self, (claim, decision))
            manager.acks.put(ack, more=self._limiter.is_waiting or manager.is_delivering)

    def _count(self, claim: Claim, then: Callable[[int | None], None]) -> None:
        lease = lease_of(claim)
        manager_of(lease).acks.put(Ack(lease, "begin", "", self, then))

    # What Redis says, on the leases thread: no code of the user's may run here.

    def settled(self, answered: Iterable[tuple[Ack, int | None]]) -> None:
        """Give the subscriber the outcomes of claims that are settled, and let work begin that counts now."""
        outcomes: list[Outcome[Any]] = []
        begun: list[Callable[[], None]] = []
        ended = 0
        for (_, verb, _, _, note), answer in answered:
            if verb == "begin":
                begun.append(partial(note, answer))
            elif verb == "back" or answer == REFUSED:
                ended += 1
                claim, decision = note
                if decision.error is not None:  # it came from work that failed, and no outcome will tell of it
                    self._outcomes.thread.run(partial(log_unsettled, decision.outcome(claim, None)))
            else:
                claim, decision = note
                outcomes.append(decision.outcome(claim, answer))
        if outcomes:
            self._outcomes.put(outcomes)
        if ended:
            self._claims_ended(ended)
        for begin in begun:
            begin()

    def check(self, now: float) -> None:
        """Hand back the claims that have waited for too long, and log work that takes long."""
        if long := self._work.take_long(now):
            self._outcomes.thread.run(partial(log_long, long))
        for claim in self._backlog.take_overdue(now):
            self._settle(claim, Decision("back"))

    @property
    def wanted(self) -> float:
        """How many more claims a source may take for this holder."""
        return self._backlog.wanted

    @property
    def held_here(self) -> list[Lease]:
        """The leases whose work cannot end before the present thread goes on."""
        return self._work.held_here

    def _wake_sources(self) -> None:
        """A worker is free, or more claims may wait: a source that was told to take none looks again."""
        if self._backlog.is_limited:
            for manager in tuple(self._managers):
                manager.slots.look_again()

    def lost(self, lease: Lease) -> None:
        """A lease was lost: cancel the work on its claim. A claim that waits is dropped when its work would begin."""
        # It is not renewed any more. Without this mark it could seem alive again, when the difference between our clock
        # and Redis's is measured anew.
        lease.ending = lease.ending or LOST
        self._outcomes.thread.run(self._work.cancel_lost)

    def failed(self, error: Exception) -> None:
        """Redis refuses what we need: end with this error, after the outcomes that are known already."""
        self._outcomes.thread.run(partial(self._fail, error))

    # The end.

    def _claims_ended(self, n: int = 1) -> None:
        """Note that `n` claims are open no longer."""
        with self._lock:
            self._open -= n
        self._limiter.start()
        self._wake_sources()
        self._end_if_done()

    def dispose(self) -> None:
        """Call the subscriber no more. What was not begun goes back, and what can be cancelled is cancelled."""
        self._outcomes.silence()
        self._subscriber.unblock_source()
        self._let_go()

    @property
    def is_inside(self) -> bool:
        """True on any thread of this subscription, and on the event loop, where work or an `on_next` may run or wait.

        On the leases thread, too: a handler of the log may call `stop` there.
        """
        if self.is_blocked:
            return True
        # A subscription that merely began inside an event loop uses it only where the work brings coroutines.
        uses_loop = self._work.has_followed or event_loop(self._subscriber.scheduler) is not None
        return uses_loop and self._loop is not None and running_loop() is self._loop

    @property
    def is_blocked(self) -> bool:
        """True on a thread of this subscription."""
        threads = [self._limiter.threads, self._outcomes.thread, *(manager.thread for manager in tuple(self._managers))]
        return any(thread.is_here for thread in threads)

    def stop(self) -> None:
        """The queue stops: as `dispose`, but the subscriber still receives outcomes, and completes at the end."""
        for manager in tuple(self._managers):
            manager.thread.stop_waiting_soon(self)
        self._let_go()

    def wait(self, longest: float) -> None:
        """Wait, after `stop`, until no claim is open and the threads have ended."""
        began = monotonic()
        while not self._over.wait(_CHECK_SECONDS):
            if 0 <= longest < monotonic() - began:
                return  # work hangs: to join its threads would take as long again for each of them
            for manager in tuple(self._managers):
                manager.thread.break_off(self)
        self._limiter.threads.join(longest)
        self._outcomes.thread.join(longest)
        for manager in self._managers:
            manager.join()

    def _let_go(self) -> None:
        """End as soon as possible, without waiting for the stream of claims to end.

        That stream might never end: claims of another, running queue may be merged into it, and a closed event loop
        does not deliver its `on_completed`.
        """
        self._begin_no_more()
        self._work.cancel_all()
        self._finish(self._subscriber.complete)

    def _end_in_order(self) -> None:
        """`until` has fired: what was not begun goes back, and the stream ends when the work under way has ended."""
        self._begin_no_more()
        self._finish(self._subscriber.complete)

    def _begin_no_more(self) -> None:
        for disposable in (self._until_subscription, self._upstream):
            self._subscriber.dispose_of(disposable)
        self._work.begin_no_more()
        for assignment in self._limiter.stop():
            for claim in assignment.claims:
                self._settle(claim, Decision("back"))

    def _fail(self, error: BaseException) -> None:
        """End with an error, at once. What is under way is settled all the same."""
        if self._outcomes.silence():
            self._outcomes.thread.run(partial(self._subscriber.fail, error))
            self._let_go()

    def _leave_to_parent(self) -> None:
        """In a forked child: these claims are the parent's. If the user's code forked and returns, its thread ends.

        Nothing more is worked on there, no outcome is given, and nothing is settled.
        """
        self._lock = threading.Lock()
        self._is_ending = True
        for part in (self._outcomes, self._work, self._limiter):
            part.leave_to_parent()

    def _end_if_done(self) -> None:
        with self._lock:
            ends = self._last is not None and not self._open and not self._is_ending
            self._is_ending = self._is_ending or ends
        if ends:
            self._outcomes.thread.run(self._end)

    def _end(self) -> None:
        try:
            if self._outcomes.silence() and self._last is not None:
                self._last()
        finally:
            self._subscriber.dispose_of(self._until_subscription)
            self._work.end()
            self._limiter.threads.end()
            self._outcomes.thread.end()
            for leave in self._leave:
                leave()
            self._over.set()
