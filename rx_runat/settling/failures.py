"""Tells the log of each attempt that failed and each key that was buried, when Redis has answered; and of long work.

nacked, superseded, lost, unknown    WARNING, with the error in words
buried                               ERROR, with the traceback
neither could be done                WARNING, with the error in words; what prevented it ends the stream

Each record has the `Outcome` as its attribute `outcome`, for handlers that write fields instead of words. Called on the
outcomes thread, which runs the user's code anyway: the handlers of a log are the user's, and may block.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from typing import Any

from rx_runat.model.humanize import span
from rx_runat.model.outcome import Outcome
from rx_runat.model.safe_log import fault, warn
from rx_runat.settling.assignment import Assignment

_MEANWHILE = {
    "nacked": "it was nacked by hand",
    "superseded": "it was scheduled again meanwhile, and that schedule stands",
    "lost": "its lease was lost before that",
    "unknown": "Redis did not answer, so it may come again",
}


class WorkFailed(Exception):
    """Work that failed for a reason in words.

    The log and the dead letter have these words alone: neither the error's name nor its traceback would tell more.
    """


def is_failure(outcome: Outcome[Any]) -> bool:
    """True for an outcome of which `log_failure` tells the log."""
    return outcome.error is not None or outcome.verdict == "buried"


def log_failure(outcome: Outcome[Any], max_attempts: int) -> None:
    """Log an outcome that is not a success. What the user's handlers or the error's own methods raise goes no further.

    Args:
        outcome: any but an `acked` one.
        max_attempts: the number of the last attempt that is made: a claim with a higher one was buried unrun.
    """
    if not is_failure(outcome):
        return
    claim, error = outcome.claim, outcome.error
    about = {"outcome": outcome}
    if error is None and claim.attempt <= max_attempts:
        fault("%r was buried by hand in attempt %d", claim.key, claim.attempt, about=about)
    elif error is None:
        fault(
            "%r was buried before attempt %d: its last attempt was not settled (perhaps its process died)",
            claim.key,
            claim.attempt,
            about=about,
        )
    else:
        text = error_text(error)
        words = named(error, text)
        if outcome.verdict == "buried":
            shown = None if text is None or issubclass(type(error), WorkFailed) else error
            fault("%r was buried: attempt %d failed: %s", claim.key, claim.attempt, words, error=shown, about=about)
        elif outcome.delay is not None:
            again = span(outcome.delay)
            warn("attempt %d of %r failed, again in %s: %s", claim.attempt, claim.key, again, words, about=about)
        else:
            then = _MEANWHILE[outcome.verdict]
            warn("attempt %d of %r failed; %s: %s", claim.attempt, claim.key, then, words, about=about)


def log_unsettled(outcome: Outcome[Any]) -> None:
    """Log an attempt that failed and could not be settled: Redis refused, or `backoff` raised.

    Args:
        outcome: with the error of the work. No subscriber gets it, because the stream ends with the other error.
    """
    claim, error = outcome.claim, outcome.error
    assert error is not None
    words = named(error, error_text(error))
    about = {"outcome": outcome}
    warn("attempt %d of %r failed, and could not be settled: %s", claim.attempt, claim.key, words, about=about)


def log_long(long: Iterable[tuple[Assignment, float]]) -> None:
    """Log work that has been under way for so many seconds."""
    for assignment, seconds in long:
        warn("work on %s has been under way for %s", assignment, span(seconds))


def error_text(error: BaseException) -> str | None:
    """Returns an error as Python prints it in the last line of a traceback; None if it cannot be shown."""
    if issubclass(type(error), WorkFailed):
        return str(error)
    try:
        return "".join(traceback.format_exception_only(error)).strip()
    except BaseException:  # its `__notes__` raise, for example
        return None


def named(error: BaseException, text: str | None) -> str:
    """Returns the text of an error, or else at least its name."""
    return f"{type(error).__qualname__}, whose text cannot be shown" if text is None else text
