"""The user's function at work on claims, on the work threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from rx_runat.model.claim import Claim, Lease, lease_of
from rx_runat.settling.decision import Decision, Policy, decide, decide_unrun
from rx_runat.settling.kinds import is_asynchronous
from rx_runat.settling.run import Run
from rx_runat.stream.hot import unhandled
from rx_runat.stream.leases import manager_of


class Work:
    """Calls the user's function with a claim, follows what it returns to its end, and decides about the claim.

        claim --> function --> a value or an error -----------------> decide
                         '---> Observable, Future, coroutine: Run --> decide

    Args:
        function: the user's.
        policy: what becomes of claims whose work fails.
        loop: where coroutines run; None: there is none.
        settle: called with each claim and the decision about it; None as the decision: the lease was lost before the
            work began, and so the claim is dropped. On any thread on which work may end.
        release: called when work has finished that went on after its call.
    """

    def __init__(
        self,
        function: Callable[[Claim], Any],
        policy: Policy,
        loop: asyncio.AbstractEventLoop | None,
        settle: Callable[[Claim, Decision | None], None],
        release: Callable[[], None],
    ) -> None:
        self._function = function
        self._policy = policy
        self._loop = loop
        self._settle = settle
        self._release = release
        self._lock = threading.Lock()  # guards the attributes below
        self._runs: dict[Lease, Run] = {}
        self._is_cancelling = False  # a run that begins now is cancelled

    def begin(self, claim: Claim) -> bool:
        """Work on a claim. Returns False if the work goes on after its call."""
        lease = lease_of(claim)
        if not manager_of(lease).lives(lease):  # lost while the claim waited, or while the process was suspended
            self._settle(claim, None)
            return True
        unrun = decide_unrun(claim.attempt, self._policy)
        if unrun is not None:
            self._settle(claim, unrun)
            return True
        result, error = None, None
        try:
            result = self._function(claim)
        except BaseException as raised:
            error = raised
            if not issubclass(type(error), Exception):  # SystemExit and its like fail the work, and must be seen
                unhandled(error)
        if result is not None and is_asynchronous(result):
            return self._follow(claim, lease, result)
        self._settle(claim, decide(claim.attempt, result, error, self._policy))
        return True

    def cancel(self, lease: Lease) -> None:
        """Cancel the work that goes on under a lease, if there is any."""
        with self._lock:
            run = self._runs.get(lease)
        if run is not None:
            run.cancel()

    def cancel_all(self) -> None:
        """Cancel all work that goes on, now and from now on."""
        with self._lock:
            self._is_cancelling = True
            runs = list(self._runs.values())
        for run in runs:
            run.cancel()

    def _follow(self, claim: Claim, lease: Lease, result: Any) -> bool:
        manager = manager_of(lease)
        run = Run(partial(self._finished, claim, lease), self._release)
        with self._lock:
            self._runs[lease] = run
            is_cancelling = self._is_cancelling
        if is_cancelling or not manager.lives(lease):
            run.cancel()
        return run.start(result, manager.scheduler, self._loop)

    def _finished(self, claim: Claim, lease: Lease, result: Any, error: BaseException | None) -> None:
        with self._lock:
            self._runs.pop(lease, None)  # if the same claim came twice, the other run may have removed it
        is_ours = manager_of(lease).lives(lease)
        self._settle(claim, decide(claim.attempt, result, error, self._policy, is_ours))
