"""What can go wrong, as a tree.

    RunAtError
    ├── InvalidJob         (ValueError)    refused before Redis was touched: mend the job
    ├── InvalidSetting     (ValueError)    refused before Redis was touched: mend the call
    ├── Stopped                            this queue was stopped: make a new one
    ├── ServerError                        an embedded server could not be started or joined
    └── StoreError                         Redis was asked
        ├── Unavailable                    it heals; nothing was done: try again
        │   ├── OutcomeUnknown             asked, and the answer was lost: it may be done
        │   └── NotReturned                a stopping queue could not hand these keys back
        ├── Refused                        it cannot heal by itself: wrong type, password, permission
        └── Recovered                      not a fault but its end: what `errors` shows after an outage

Every message names the server without its password. Keys may appear in messages, secrets never do.
"""

from __future__ import annotations

from collections.abc import Sequence


class RunAtError(Exception):
    """The root of all errors of this package."""


class InvalidJob(RunAtError, ValueError):
    """A job that cannot be scheduled; the message says what came, what is wrong and what would be right."""


class InvalidSetting(RunAtError, ValueError):
    """An argument of `RunAt` or of a verb that cannot be used."""


class Stopped(RunAtError):
    """The queue was stopped before this call."""


class ServerError(RunAtError):
    """An embedded server could not be found, started or joined."""


class StoreError(RunAtError):
    """Redis was asked, and did not do it."""


class Unavailable(StoreError):
    """Redis is away, loading, full or read-only; what was asked was not done. It heals: try again."""


class OutcomeUnknown(Unavailable):
    """What was asked was sent, and no answer came: it may have been done or not."""


class Refused(StoreError):
    """Redis refuses, and asking again would not help: wrong type, wrong password, no permission."""


class Recovered(StoreError):
    """The end of an outage: an item of `RunAt.errors`, never raised.

    Attributes:
        seconds: how long the outage lasted, on this host's monotonic clock.
    """

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class NotReturned(Unavailable):
    """Keys that a stopping queue had claimed, had not delivered, and could not hand back.

    Attributes:
        keys: the keys, in the order of the claim.
    """

    def __init__(self, message: str, keys: Sequence[str]) -> None:
        super().__init__(message)
        self.keys = tuple(keys)
