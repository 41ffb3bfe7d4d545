"""What can go wrong, as a tree.

    RunAtError
    ├── InvalidJob         (ValueError)    raised before any request to Redis: correct the job
    ├── InvalidSetting     (ValueError)    raised before any request to Redis: correct the call
    ├── Stopped                            this queue was stopped: make a new one
    ├── ServerError                        an embedded server could not be started or joined
    └── StoreError                         a request to Redis failed
        ├── Unavailable                    the fault heals: try again; nothing was done, but see OutcomeUnknown
        │   ├── OutcomeUnknown             the request was sent, but its reply was lost: it may be done
        │   └── NotReturned                a queue that stopped could not hand these keys back
        ├── Refused                        nothing was done, and the fault stays: wrong type, password, permission
        └── Recovered                      not a fault: reports that an outage is over

What goes to Redis in several steps (a list of more than 20,000 jobs, all dead letters) may fail at a later one. Then
"nothing was done" holds for that step, and the message says how much the steps before it did.

A message that names the server leaves out its password. Keys may appear in messages, secrets never do.
"""

from __future__ import annotations

from collections.abc import Sequence


class RunAtError(Exception):
    """The root of all errors of this package."""


class InvalidJob(RunAtError, ValueError):
    """A job that cannot be scheduled. The message says what came, what is wrong and what would be right."""


class InvalidSetting(RunAtError, ValueError):
    """An argument of `RunAt` or of a verb is invalid."""


class Stopped(RunAtError):
    """The queue was stopped before this call, or while it ran: nothing was done."""


class ServerError(RunAtError):
    """An embedded server could not be found, started or joined."""


class StoreError(RunAtError):
    """A request to Redis failed."""


class Unavailable(StoreError):
    """Redis is away, loading, full or read-only. Such a fault heals: try again.

    Redis did nothing, unless the error is an OutcomeUnknown.
    """


class OutcomeUnknown(Unavailable):
    """The request was sent, but no reply came: Redis may have done it or not."""


class Refused(StoreError):
    """Redis refused the request, and would refuse it again: wrong type, wrong password, no permission."""


class Recovered(StoreError):
    """The end of an outage. It is an item of `RunAt.errors`, and never raised.

    Attributes:
        seconds: how long the outage lasted, on this host's monotonic clock.
    """

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class NotReturned(Unavailable):
    """A queue that stopped could not hand back keys that it had claimed and not delivered.

    Attributes:
        keys: the keys, in the order of the claim.
    """

    def __init__(self, message: str, keys: Sequence[str]) -> None:
        super().__init__(message)
        self.keys = tuple(keys)
