"""What the verbs of a queue raise once it was stopped, and while another thread stops it: `Stopped`."""

from __future__ import annotations

from types import TracebackType

from rx_runat.errors import OutcomeUnknown, Stopped, Unavailable
from rx_runat.stream.sources import Sources


class Gate:
    """Entered by each verb, as a context: a verb of a stopped queue raises `Stopped`, also if `stop` ran beside it.

    Without it, the call that `stop` cut off would raise `Unavailable`, after which users try again.

    Args:
        sources: of the queue; they know whether it was stopped.
        who: the queue, in messages.
        reads: True for verbs that only read: then a lost answer leaves nothing unknown.
    """

    def __init__(self, sources: Sources, who: object, reads: bool = False) -> None:
        self._sources = sources
        self._who = who
        self._reads = reads

    def __enter__(self) -> None:
        """Raises Stopped if the queue was stopped."""
        if self._sources.is_stopped:
            raise self._stopped()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Raises Stopped instead of Unavailable, if the queue was stopped meanwhile."""
        if kind is None or not isinstance(error, Unavailable) or not self._sources.is_stopped:
            return
        if self._reads or not isinstance(error, OutcomeUnknown):
            raise self._stopped() from error

    def _stopped(self) -> Stopped:
        return Stopped(f"{self._who!r} was stopped; make a new one to go on")
