"""Tells the log of each attempt that failed and each key that was buried, when Redis has answered.

nacked, superseded, lost, unknown    WARNING, with the error in words
buried                               ERROR, with the traceback

Called on the outcomes thread, which runs the user's code anyway: the handlers of a log are the user's, and may block.
"""

from __future__ import annotations

import traceback
from typing import Any

from rx_runat.model.humanize import span
from rx_runat.model.outcome import Outcome
from rx_runat.model.safe_log import fault, warn

_MEANWHILE = {
    "nacked": "it was nacked by hand",
    "superseded": "it was scheduled again meanwhile, and that schedule stands",
    "lost": "its lease was lost before that",
    "unknown": "Redis did not answer, so it may come again",
}


def log_failure(outcome: Outcome[Any], max_attempts: int) -> None:
    """Log an outcome that is not a success. What the user's handlers or the error's own methods raise goes no further.

    Args:
        outcome: any but an `acked` one.
        max_attempts: the number of the last attempt that is made: a claim with a higher one was buried unrun.
    """
    claim, error = outcome.claim, outcome.error
    if error is None:
        if outcome.verdict == "buried" and claim.attempt <= max_attempts:
            fault("%r was buried by hand in attempt %d", claim.key, claim.attempt)
        elif outcome.verdict == "buried":
            fault(
                "%r was buried before attempt %d: its last attempt was not settled (perhaps its process died)",
                claim.key,
                claim.attempt,
            )
        return
    text = error_text(error)
    if outcome.verdict == "buried":
        shown = None if text is None else error
        fault("%r was buried: attempt %d failed: %s", claim.key, claim.attempt, named(error, text), error=shown)
    elif outcome.delay is not None:
        again = span(outcome.delay)
        warn("attempt %d of %r failed, again in %s: %s", claim.attempt, claim.key, again, named(error, text))
    else:
        then = _MEANWHILE[outcome.verdict]
        warn("attempt %d of %r failed; %s: %s", claim.attempt, claim.key, then, named(error, text))


def error_text(error: BaseException) -> str | None:
    """Returns an error as Python prints it in the last line of a traceback; None if it cannot be shown."""
    try:
        return "".join(traceback.format_exception_only(error)).strip()
    except BaseException:  # its `__notes__` raise, for example
        return None


def named(error: BaseException, text: str | None) -> str:
    """Returns the text of an error, or else at least its name."""
    return f"{type(error).__qualname__}, whose text cannot be shown" if text is None else text
