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
from rx_runat.settling.calls import Call, Calls, TimeLimit
from rx_runat.settling.decision import Decision, Policy, decide, decide_unrun
from rx_runat.settling.kinds import is_asynchronous
from rx_runat.settling.run import Cancelled, Run
from rx_runat.settling.threads import Inline, Pool
from rx_runat.stream.leases import LeaseManager, manager_of
from rx_runat.stream.rendezvous import running_loop

# Seconds for the clean-up of work that was cancelled because it takes too long: enough to close a connection. Without
# a bound, a coroutine that ignores its cancellation would keep its place for ever.
GRACE_SECONDS = 5.0

_LONG = 10  # leases; without a timeout, work that is under way for so long is logged


class Work:
    """Calls the user's function with a claim, follows what it returns to its end, and decides about the claim.

        claim --> function --> a value or an error -----------------> decide
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
        release: called with the claim when work has finished that went on after its call.

    Attributes:
        has_followed: True once work went on after its call.
    """

    def __init__(
        self,
        function: Callable[[Claim], Any],
        policy: Policy,
        loop: asyncio.AbstractEventLoop | None,
        threads: Callable[[], Pool | Inline],
        count: Callable[[Claim, Callable[[int | None], None]], None],
        settle: Callable[[Claim, Decision | None], None],
        release: Callable[[Claim], None],
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

    def begin(self, claim: Claim) -> bool:
        """Work on a claim. Returns False if its end will come later, or if this thread was written off.

        If the attempt does not count yet, the work begins when Redis has answered that it counts now. If it counted
        only afterwards, a key whose work kills its process would come back for ever.
        """
        lease = lease_of(claim)
        manager = manager_of(lease)
        if not self._begins:
            self._settle(claim, Decision("back"))
            return True
        if not manager.lives(lease):  # lost while the claim waited, or while the process was suspended
            self._settle(claim, None)
            return True
        unrun = decide_unrun(claim.attempt, self._policy)
        if unrun is not None:
            self._settle(claim, unrun)
            return True
        if lease.is_counted:
            return self._call(claim, lease, manager)
        self._count(claim, partial(self._counted, claim))
        return False

    def _counted(self, claim: Claim, answer: int | None) -> None:
        """Redis has answered whether the attempt counts. On the leases thread, so no code of the user's runs here."""
        if answer == 1 and not self._is_cancelling:
            self._threads().run(partial(self._begin_counted, claim))
        else:
            self._settle(claim, None if answer == 0 else Decision("back"))
            self._release(claim)

    def _begin_counted(self, claim: Claim) -> None:
        if self.begin(claim):
            self._release(claim)

    def _call(self, claim: Claim, lease: Lease, manager: LeaseManager) -> bool:
        call = Call(claim, lease, manager.thread.now(), threading.current_thread())
        self._calls.add(call)
        if self._limit is not None:
            self._limit.watch(manager.thread)
        result, error = None, None
        try:
            result = self._function(claim)
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

    def cancel(self, lease: Lease) -> None:
        """Cancel the work that goes on under a lease, if there is any."""
        for run in self._calls.runs(lease):
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
            call.lease
            for call in self._calls.open()
            if call.thread is thread or (loop is not None and call.run is not None and call.run.loop is loop)
        ]

    def log_long(self, now: float) -> None:
        """Log each call once that is under way for longer than ten leases, if there is no timeout."""
        if self._limit is not None:
            return
        for call in self._calls.open():
            seconds = now - call.began
            if not call.is_late and seconds >= _LONG * call.claim.lease:
                call.is_late = True
                warn("work on %r has been under way for %s", call.claim.key, span(seconds))

    def end(self) -> None:
        """Watch no more: all work is over, or written off."""
        if self._limit is not None:
            self._limit.end()

    def leave_to_parent(self) -> None:
        """In a forked child: decide about no claim any more, also not about that of the work which forked."""
        self._lock = threading.Lock()
        self._calls.clear()

    def _follow(self, call: Call, result: Any) -> bool:
        self.has_followed = True
        manager = manager_of(call.lease)
        run = Run(partial(self._finished, call))
        with self._lock:
            call.run = run
            is_cancelling = self._is_cancelling or call not in self._calls
        if is_cancelling or not manager.lives(call.lease):
            run.cancel(Cancelled())
        is_over = run.start(result, manager.scheduler, self._loop)
        with self._lock:
            is_written_off = call.thread is None
            call.thread = None
        return is_over and not is_written_off

    def _finished(self, call: Call, result: Any, error: BaseException | None, was_detached: bool) -> None:
        if self._over(call, result, error, manager_of(call.lease).lives(call.lease)) and was_detached:
            self._release(call.claim)

    def _over(self, call: Call, result: Any, error: BaseException | None, is_ours: bool = True) -> bool:
        """Decide about a claim whose work is over. Returns False if the work was written off before."""
        if not self._calls.remove(call):
            with self._lock:  # the pool must know that this thread is written off before this thread returns to it
                return False
        if call.grace is not None:
            call.grace.dispose()
        self._settle(call.claim, decide(call.claim.attempt, result, error, self._policy, is_ours))
        return True

    # Work that takes too long. `_exceeded` runs on the leases thread, and so calls no code of the user's.

    def _exceeded(self, call: Call) -> None:
        with self._lock:
            is_inside = call.thread is not None
        if is_inside:
            self._write_off(call)
            return
        call.grace = manager_of(call.lease).thread.run_after(GRACE_SECONDS, partial(self._write_off, call))
        if call not in self._calls:  # its work ended at this moment, and saw no `grace` to dispose of
            call.grace.dispose()
        self._threads().run(partial(self._break_off, call))

    def _break_off(self, call: Call) -> None:
        """Cancel the work, on a work thread. If the user's clean-up hangs in that, this thread is written off, too."""
        with self._lock:
            if call not in self._calls or call.run is None:
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
            if not self._calls.remove(call):
                return  # before `thread` is touched: `_follow` would read there that this thread is written off
            thread, call.thread = call.thread, None
            if thread is not None:
                self._threads().write_off(thread)
        if call.grace is not None:
            call.grace.dispose()
        self._threads().run(partial(self._give_up, call, thread is not None))

    def _give_up(self, call: Call, is_inside: bool) -> None:
        warn(
            "work on %r took longer than %s, and could not be cancelled: %s",
            call.claim.key,
            span(self._policy.timeout or 0.0),
            "its thread is replaced by a new one" if is_inside else "it goes on, and nobody waits for it",
        )
        is_ours = manager_of(call.lease).lives(call.lease)
        error = self._timeout_error()
        self._settle(call.claim, decide(call.claim.attempt, None, error, self._policy, is_ours))
        self._release(call.claim)
        if call.run is not None:
            call.run.cancel(error)

    def _timeout_error(self) -> TimeoutError:
        return TimeoutError(f"the work took longer than {span(self._policy.timeout or 0.0)}")
