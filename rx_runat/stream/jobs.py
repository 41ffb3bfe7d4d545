"""The stream of `queue.jobs`: the keys of a source, each as a `Due`."""

from __future__ import annotations

from typing import Any

from rx_runat.model.job import Due
from rx_runat.stream.hot import Subscriber
from rx_runat.stream.source import Source


class Dues:
    """The crowd of a source for those who want each key as a `Due`; the claim is the same."""

    def __init__(self, source: Source[Any]) -> None:
        self._source = source

    def join(self, subscriber: Subscriber[Due]) -> None:
        """Let a subscriber have the next key, as a Due."""
        take, source = subscriber.on_next, self._source

        def take_due(_: object) -> None:
            take(source.due())

        subscriber.on_next = take_due
        source.join(subscriber)

    def leave(self, subscriber: Subscriber[Due]) -> None:
        """Let a subscriber have no more."""
        self._source.leave(subscriber)
