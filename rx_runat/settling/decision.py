"""What becomes of a claim whose work is over. Pure functions: of the user's code they call `backoff` and `again`.

result                               ack
error, attempts are left             nack, with backoff
error, no attempt is left            bury
settled by hand                      nothing: that stays
cancelled                            back: the attempt does not count; if the lease is lost, nothing is sent
a coroutine without an event loop    back, and the stream ends with the error
a generator: nothing of it was run   back, and the stream ends with the error
a `backoff` or `again` that raised   back, and the stream ends with the error

Results, errors and the `backoff` are the user's objects, and each use of them may raise. These functions raise nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias, cast

from rx_runat.errors import InvalidSetting
from rx_runat.model.again import Again, to_next_run
from rx_runat.model.batch import SUPERSEDED, Verb
from rx_runat.model.checks import show
from rx_runat.model.claim import ACKED, BURIED, NACKED, NACKED_AND_NEWER, Claim, lease_of
from rx_runat.model.outcome import Outcome, to_outcome
from rx_runat.model.safe_log import unhandled
from rx_runat.model.times import from_score, to_ms
from rx_runat.settling.backoff import Backoff
from rx_runat.settling.failures import error_text, named
from rx_runat.settling.kinds import generator_error
from rx_runat.settling.run import Cancelled, NoLoop

_Verdict: TypeAlias = Literal["acked", "nacked", "superseded", "buried"]

_BY_HAND: dict[str, _Verdict] = {ACKED: "acked", NACKED: "nacked", NACKED_AND_NEWER: "superseded", BURIED: "buried"}
_VERDICTS: dict[Verb, Literal["acked", "nacked", "buried"]] = {"ack": "acked", "nack": "nacked", "bury": "buried"}


class Policy(NamedTuple):
    """What the user of `settle` asked for.

    Attributes:
        max_attempts: the number of the last attempt that is made.
        backoff: see `Backoff`.
        timeout: seconds; the longest time that work may take. None: it may take any time.
        again: tells when a key is due again; None: keys do not come again.
    """

    max_attempts: int
    backoff: Backoff
    timeout: float | None = None
    again: Again | None = None


class Decision(NamedTuple):
    """What becomes of a claim.

    Attributes:
        verb: how its lease ends; with `back` there is no outcome. None: the lease is lost, or was settled by hand, so
            Redis is not asked to end it.
        argument: of the verb, as in `SettleRequest`.
        result: as in `Outcome`.
        error: as in `Outcome`. With `back`, the log alone tells of it.
        delay: as in `Outcome`.
        failure: an error that ends the stream; None: the stream goes on.
    """

    verb: Verb | None
    argument: int | str = ""
    result: Any = None
    error: BaseException | None = None
    delay: float | None = None
    failure: Exception | None = None

    def outcome(self, claim: Claim, answer: int | None) -> Outcome[Any]:
        """The outcome for the subscriber.

        Args:
            claim: the claim.
            answer: of Redis; as in `SettleReply`.
        """
        if answer == 1 and self.verb is not None:  # the usual case first
            return to_outcome(claim, _VERDICTS[self.verb], self.result, self.error, self.delay, _next_run(claim))
        # Redis says 0 where a call by hand, on another thread, was quicker than the end of the work.
        by_hand = _BY_HAND.get(lease_of(claim).ending) if self.verb is None or answer == 0 else None
        if by_hand is not None:
            return Outcome(claim, by_hand, self.result, self.error, next=_next_run(claim))
        if answer == SUPERSEDED:
            return Outcome(claim, "superseded", self.result, self.error)
        return Outcome(claim, "unknown" if answer is None else "lost", self.result, self.error)


_ACK = Decision("ack")


def decide(attempt: int, result: Any, error: BaseException | None, policy: Policy, is_ours: bool = True) -> Decision:
    """Decide about a claim whose work is over, and has not settled it by hand.

    Args:
        attempt: the number of the attempt, from 1.
        result: what the work returned.
        error: what it raised; None: nothing.
        policy: what the user asked for.
        is_ours: False if the lease is lost, as far as this process knows. This changes the decision for cancelled work
            only: nothing is sent for it. Work that returned or raised is still sent to Redis, which alone knows whether
            the lease is ours.
    """
    if error is None:
        if result is None:
            return _ACK
        unrun = generator_error(result)
        return Decision("ack", "", result) if unrun is None else Decision("back", failure=unrun)
    kind = type(error)  # `isinstance` would ask the error for its `__class__`, which may be a property that raises
    if issubclass(kind, Cancelled):
        return Decision("back" if is_ours else None)
    if issubclass(kind, NoLoop):
        return Decision("back", failure=cast("NoLoop", error))
    if attempt >= policy.max_attempts:
        return Decision("bury", named(error, error_text(error)), None, error)
    try:
        ms = to_ms(policy.backoff(attempt), "backoff", 0)
    except BaseException as bug:  # the user's function raised, or returned what is no time
        return _failed(bug, "backoff", "seconds or a timedelta")._replace(error=error)
    return Decision("nack", ms, None, error, ms / 1000)


def plan_next_run(claim: Claim, policy: Policy) -> Decision | None:
    """Ask when the key of a claim is due again, before its work begins, and note it at the lease.

    Returns:
        None, or what becomes of the claim because `again` raised or returned no moment.
    """
    if policy.again is None:
        return None
    try:
        lease_of(claim).next_run = to_next_run(policy.again, claim)
    except BaseException as bug:
        return _failed(bug, "again", "a datetime, a timedelta or None")
    return None


def _failed(bug: BaseException, name: str, right: str) -> Decision:
    """Returns what becomes of a claim when a function of the user's raised."""
    if isinstance(bug, Exception):
        return Decision("back", failure=bug)
    unhandled(bug)  # SystemExit and its like: the subscriber is told by an error that it can receive
    failure = InvalidSetting(f"{name}: it raised {show(bug)}; it must return {right}")
    failure.__cause__ = bug
    return Decision("back", failure=failure)


def _next_run(claim: Claim) -> datetime | None:
    score = lease_of(claim).next_run_ms
    return None if score is None else from_score(score)


def decide_exhausted(attempt: int, policy: Policy) -> Decision:
    """Returns what becomes of a claim that comes after its last attempt: it is buried, and its work does not begin.

    Without this, a key whose work kills its process would come back for ever.
    """
    return Decision(
        "bury",
        f"attempt {attempt - 1} was not settled before its lease ended (perhaps its process died), "
        f"or it was nacked although max_attempts is {policy.max_attempts}",
    )
