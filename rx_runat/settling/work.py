"""The user's function at work on claims, on the work threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from rx_runat.model.claim import Claim, Lease, lease_of
from rx_runat.model.humanize import span
from rx_runat.model.safe_log import unhandled, warn
from rx_runat.settling.assignment import Assignment
from rx_runat.settling.calls import Call, Calls, TimeLimit
from rx_runat.settling.decision import Decision, Policy, decide, decide_exhausted, plan_next_run
from rx_runat.settling.kinds import is_asynchronous
from rx_runat.settling.run import Cancelled, Run
from rx_runat.settling.threads import Inline, Pool
from rx_runat.stream.rendezvous import running_loop

# Seconds for the clean-up of work that was cancelled because it takes too long: enough to close a connection. Without
# a bound, a coroutine that ignores its cancellation would keep its place for ever.
GRACE_SECONDS = 5.0

_LONG = 10  # leases; without a timeout, work that is under way for so long is logged


class Work:
    """Calls the user's function with claims, follows what it returns to its end, and decides about each claim.

        claims --> function --> a value or an error -----------------> decide, for each claim
                          '---> Observable, Future, coroutine: Run --> decide
                          '---> nothing within the timeout ----------> decide, as with an error

    Args:
        function: the user's.
        policy: what becomes of claims whose work fails or takes too long.
        loop: where coroutines run; None: there is none.
        threads: returns the threads that `begin` is called on.
        count: asks Redis to count the attempt of a claim from now on; its callback is called on the leases thread.
        settle: called with each claim and the decision about it; None as the decision: the lease was lost before the
            work began, and so the claim is dropped. On any thread on which work may end.
        release: called with the work when it has finished after it went on after its call.

    Attributes:
        has_followed: True once work went on after its call.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        policy: Policy,
        loop: asyncio.AbstractEventLoop | None,
        threads: Callable[[], Pool | Inline],
        count: Callable[[Claim, Callable[[int | None], None]], None],
        settle: Callable[[Claim, Decision | None], None],
        release: Callable[[Assignment], None],
    ) -> None:
        self._function = function
        self._policy = policy
        self._loop = loop
        self._threads = threads
        self._count = count
        self._settle = settle
        self._release = release
        self._calls = Calls()
        self._limit = None if policy.timeout is None else TimeLimit(policy.timeout, self._calls, self._exceeded)
        self._lock = threading.Lock()  # over the flag below, `Call.thread`, `Call.run`, and each write-off as a whole
        self.has_followed = False
        self._is_cancelling = False  # a run that begins now is cancelled
        self._begins = True  # False: claims go back instead

    def begin(self, assignment: Assignment) -> bool:
        """Work on claims. Returns False if the end will come later, or if this thread was written off.

        If an attempt does not count yet, the work begins when Redis has answered that it counts now. If it counted only
        afterwards, a key whose work kills its process would come back for ever.
        """
        for claim in assignment.claims:
            lease = lease_of(claim)
            if not (
                lease.is_counted
                and self._begins
                and claim.attempt <= self._policy.max_attempts
                and lease.manager.lives(lease)
            ):  # seldom
                if self._sift(assignment):
                    return False
                break
        if self._policy.again is not None:
            broken = next(filter(None, [plan_next_run(claim, self._policy) for claim in assignment.claims]), None)
            if broken is not None:
                for claim in assignment.claims:
                    self._settle(claim, broken)
                return True
        return not assignment.claims or self._call(assignment)

    def _sift(self, assignment: Assignment) -> bool:
        """Settle claims that are not to be worked on. Returns True if attempts are to be counted before the work."""
        ready: list[Claim] = []
        for claim in assignment.claims:
            lease = lease_of(claim)
            if not self._begins:
                self._settle(claim, Decision("back"))
            elif not lease.manager.lives(lease):  # lost while it waited, or while the process was suspended
                self._settle(claim, None)
            elif claim.attempt > self._policy.max_attempts:
                self._settle(claim, plan_next_run(claim, self._policy) or decide_exhausted(claim.attempt, self._policy))
            else:
                ready.append(claim)
        assignment.claims = ready
        uncounted = [claim for claim in ready if not lease_of(claim).is_counted]
        answers = _Answers(len(uncounted), partial(self._counted, assignment))
        for claim in uncounted:
            self._count(claim, partial(answers.add, lease_of(claim)))
        return bool(uncounted)

    def _counted(self, assignment: Assignment, answers: dict[Lease, int | None]) -> None:
        """Redis has answered whether attempts count. On the leases thread, so no code of the user's runs here."""
        ready: list[Claim] = []
        for claim in assignment.claims:
            answer = answers.get(lease_of(claim), 1)
            if answer == 1 and not self._is_cancelling:
                ready.append(claim)
            else:
                self._settle(claim, None if answer == 0 else Decision("back"))
        assignment.claims = ready
        if ready:
            try:
                self._threads().run(partial(self._begin_counted, assignment))
                return
            except RuntimeError as error:  # the work threads were idle and have ended, and none can be started
                warn("claims go back, because their work cannot begin: %s", error)
                for claim in ready:
                    self._settle(claim, Decision("back"))
        self._release(assignment)

    def _begin_counted(self, assignment: Assignment) -> None:
        if self.begin(assignment):
            self._release(assignment)

    def _call(self, assignment: Assignment) -> bool:
        call = Call(assignment, assignment.manager.now(), threading.current_thread())
        monitor = assignment.manager.taps.monitor
        if monitor is None:
            return self._run(call)
        call.monitor = monitor.begin_work(assignment.claims)
        return call.monitor.run(partial(self._run, call))

    def _run(self, call: Call) -> bool:
        self._calls.open[call] = True
        if self._limit is not None:
            self._limit.watch(call.assignment.manager.thread)
        result, error = None, None
        try:
            result = self._function(call.assignment.value)
        except BaseException as raised:
            error = raised
            if not issubclass(type(error), Exception):  # SystemExit and its like fail the work, and must be seen
                unhandled(error)
        if result is not None and is_asynchronous(result):
            return self._follow(call, result)
        return self._over(call, result, error)

    def begin_no_more(self) -> None:
        """Give claims back from now on, instead of calling the function."""
        self._begins = False

    def cancel_lost(self) -> None:
        """Cancel the work that goes on although no lease of its claims is ours any more."""
        for run in self._calls.runs_without_lease():
            run.cancel(Cancelled())

    def cancel_all(self) -> None:
        """Cancel all work that goes on, now and from now on."""
        with self._lock:
            self._is_cancelling = True
        for run in self._calls.runs():
            run.cancel(Cancelled())

    @property
    def held_here(self) -> list[Lease]:
        """The leases of the work that cannot end before the present thread, or its event loop, goes on."""
        thread, loop = threading.current_thread(), running_loop()
        return [
            lease
            for call in list(self._calls.open)
            if call.thread is thread or (loop is not None and call.run is not None and call.run.loop is loop)
            for lease in call.assignment.leases
        ]

    def take_long(self, now: float) -> list[tuple[Assignment, float]]:
        """Returns, once each, what is under way for longer than ten leases, and for how many seconds.

        Nothing, if there is a timeout.
        """
        long: list[tuple[Assignment, float]] = []
        for call in list(self._calls.open) if self._limit is None else ():
            seconds = now - call.began
            if not call.is_late and seconds >= _LONG * call.assignment.seconds:
                call.is_late = True
                long.append((call.assignment, seconds))
        return long

    def end(self) -> None:
        """Watch no more: all work is over, or written off."""
        if self._limit is not None:
            self._limit.end()

    def leave_to_parent(self) -> None:
        """In a forked child: decide about no claim any more, also not about that of the work which forked."""
        self._lock = threading.Lock()
        self._calls.open.clear()

    def _follow(self, call: Call, result: Any) -> bool:
        self.has_followed = True
        run = Run(partial(self._finished, call))
        with self._lock:
            call.run = run
            is_cancelling = self._is_cancelling or call not in self._calls.open
        if is_cancelling or not call.assignment.is_ours:
            run.cancel(Cancelled())
        is_over = run.start(result, call.assignment.manager.scheduler, self._loop)
        with self._lock:
            is_written_off = call.thread is None
            call.thread = None
        return is_over and not is_written_off

    def _finished(self, call: Call, result: Any, error: BaseException | None, was_detached: bool) -> None:
        if self._over(call, result, error) and was_detached:
            self._release(call.assignment)

    def _over(self, call: Call, result: Any, error: BaseException | None) -> bool:
        """Decide about claims whose work is over. Returns False if the work was written off before."""
        if not self._calls.open.pop(call, False):
            with self._lock:  # the pool must know that this thread is written off before this thread returns to it
                return False
        if call.grace is not None:
            call.grace.dispose()
        self._decide(call, result, error)
        return True

    def _decide(self, call: Call, result: Any, error: BaseException | None) -> None:
        seconds = call.assignment.manager.now() - call.began
        if call.monitor is not None:
            call.monitor.end(seconds, error)
        for claim in call.assignment.claims:
            lease = lease_of(claim)
            lease.worked = seconds
            if lease.ending and lease.is_settled:  # by hand
                decision = Decision(None, result=result, error=error)
            else:
                is_ours = error is None or lease.manager.lives(lease)
                decision = decide(claim.attempt, result, error, self._policy, is_ours)
            self._settle(claim, decision)

    # Work that takes too long. `_exceeded` runs on the leases thread, and so calls no code of the user's.

    def _exceeded(self, call: Call) -> None:
        with self._lock:
            is_inside = call.thread is not None
        if is_inside:
            self._write_off(call)
            return
        call.grace = call.assignment.manager.thread.run_after(GRACE_SECONDS, partial(self._write_off, call))
        if call not in self._calls.open:  # its work ended at this moment, and saw no `grace` to dispose of
            call.grace.dispose()
        self._threads().run(partial(self._break_off, call))

    def _break_off(self, call: Call) -> None:
        """Cancel the work, on a work thread. If the user's clean-up hangs in that, this thread is written off, too."""
        with self._lock:
            if call not in self._calls.open or call.run is None:
                return
            call.thread = threading.current_thread()
        is_cancelled = call.run.cancel(self._timeout_error())
        with self._lock:
            call.thread = None
        if not is_cancelled:
            self._write_off(call)

    def _write_off(self, call: Call) -> None:
        """Wait for the work no longer. A thread that is in the user's code for it is replaced."""
        with self._lock:
            if not self._calls.open.pop(call, False):
                return  # before `thread` is touched: `_follow` would read there that this thread is written off
            thread, call.thread = call.thread, None
            if thread is not None:
                self._threads().write_off(thread)
        if call.grace is not None:
            call.grace.dispose()
        self._threads().run(partial(self._give_up, call, thread is not None))

    def _give_up(self, call: Call, is_inside: bool) -> None:
        warn(
            "work on %s took longer than %s, and could not be cancelled: %s",
            call.assignment,
            span(self._policy.timeout or 0.0),
            "its thread is replaced by a new one" if is_inside else "it goes on, and nobody waits for it",
        )
        error = self._timeout_error()
        self._decide(call, None, error)
        self._release(call.assignment)
        if call.run is not None:
            call.run.cancel(error)

    def _timeout_error(self) -> TimeoutError:
        return TimeoutError(f"the work took longer than {span(self._policy.timeout or 0.0)}")


class _Answers:
    """Collects the answers about some leases, on the leases thread.

    Args:
        most: how many there will be.
        then: called with all of them.
    """

    def __init__(self, most: int, then: Callable[[dict[Lease, int | None]], None]) -> None:
        self._most = most
        self._then = then
        self._answers: dict[Lease, int | None] = {}

    def add(self, lease: Lease, answer: int | None) -> None:
        """Note the answer about one lease."""
        self._answers[lease] = answer
        if len(self._answers) == self._most:
            self._then(self._answers)
