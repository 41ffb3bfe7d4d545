"""`decide`: what becomes of a claim, from what its work came to."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from rx_runat import InvalidSetting
from rx_runat.model.batch import Verb
from rx_runat.settling.decision import Decision, Policy, decide, decide_exhausted
from rx_runat.settling.run import Cancelled, NoLoop

POLICY = Policy(3, lambda attempt: 10 * attempt)
ERROR = ValueError("no")


@pytest.mark.parametrize(
    "attempt, result, error, decision",
    [
        (1, "done", None, Decision("ack", "", "done")),
        (9, "done", None, Decision("ack", "", "done")),
        (1, None, ERROR, Decision("nack", 10_000, None, ERROR, 10.0)),
        (2, None, ERROR, Decision("nack", 20_000, None, ERROR, 20.0)),
        (3, None, ERROR, Decision("bury", "ValueError: no", None, ERROR)),
        (4, None, ERROR, Decision("bury", "ValueError: no", None, ERROR)),
        (3, None, Cancelled(), Decision("back")),
    ],
)
def test_success_acks_an_error_nacks_and_the_last_one_buries(
    attempt: int, result: Any, error: BaseException | None, decision: Decision
) -> None:
    assert decide(attempt, result, error, POLICY) == decision


def test_work_that_could_not_begin_counts_no_attempt_and_ends_the_stream() -> None:
    error = NoLoop("no event loop")
    assert decide(3, None, error, POLICY) == Decision("back", failure=error)


@pytest.mark.parametrize(
    "backoff, failure",
    [(lambda attempt: 1 / 0, ZeroDivisionError), (lambda attempt: -1, InvalidSetting), (str, InvalidSetting)],
)
def test_a_backoff_that_cannot_be_used_counts_no_attempt_and_ends_the_stream(backoff: Any, failure: type) -> None:
    decision = decide(1, None, ERROR, Policy(3, backoff))
    assert (decision.verb, type(decision.failure)) == ("back", failure)


def test_a_backoff_may_give_a_timedelta() -> None:
    assert decide(1, None, ERROR, Policy(3, lambda _: timedelta(minutes=1))).argument == 60_000


@pytest.mark.parametrize(
    "error, verb", [(None, "ack"), (ERROR, "nack"), (Cancelled(), None)], ids=["done", "failed", "cancelled"]
)
def test_what_was_done_is_worth_asking_about_though_the_lease_seems_lost(
    error: BaseException | None, verb: Verb | None
) -> None:
    assert decide(1, None, error, POLICY, is_ours=False).verb == verb


def test_a_claim_beyond_the_last_attempt_is_not_run() -> None:
    assert decide_exhausted(4, POLICY) == Decision(
        "bury",
        "attempt 3 was not settled before its lease ended (perhaps its process died), "
        "or it was nacked although max_attempts is 3",
    )
