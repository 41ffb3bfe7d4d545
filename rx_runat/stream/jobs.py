"""A queue's streams other than the queue itself, with names: `queue.jobs`, `queue.errors` and `queue.claims()`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from rx_runat.model.job import Due
from rx_runat.stream.async_iteration import Iteration
from rx_runat.stream.driven import Claimable, Driven
from rx_runat.stream.hot import Hot, Publisher, Subscriber
from rx_runat.stream.source import Source

_T = TypeVar("_T")


class Named(Hot[_T]):
    """A hot stream with a name.

    Args:
        publisher: of its values.
        name: of the stream.
        owner: returns the repr of the queue that it belongs to.
        card: returns the queue's HTML for notebooks, under the title that it is called with.
    """

    def __init__(
        self, publisher: Publisher[_T], name: str, owner: Callable[[], str], card: Callable[[str], str]
    ) -> None:
        super().__init__(publisher)
        self._name = name
        self._owner = owner
        self._card = card

    def __repr__(self) -> str:
        return f"<{self._name} of {self._owner()}>"

    def _repr_html_(self) -> str:
        return self._card(f"{self._name} of RunAt")


class AsyncStream(Named[_T], Claimable[_T]):
    """A hot stream with a name, for `subscribe`, operators, `async for` and `claim_from`.

    Args:
        publisher: of its values.
        drive: opens a source for ticks of the user's, each for at most so many keys.
        name: of the stream.
        owner: returns the repr of the queue that it belongs to.
        card: returns the queue's HTML for notebooks, under the title that it is called with.
    """

    def __init__(
        self,
        publisher: Publisher[_T],
        drive: Callable[[int], Driven[_T]],
        name: str,
        owner: Callable[[], str],
        card: Callable[[str], str],
    ) -> None:
        super().__init__(publisher, name, owner, card)
        self._drive = drive

    def __aiter__(self) -> Iteration[_T]:
        return Iteration(self._publisher)


class Jobs(AsyncStream[Due]):
    """The hot stream of `Due`s."""


class Dues:
    """The publisher of `Due`s: the subscribers join the source of bare keys, and share its claims.

    Args:
        source: of the keys.
    """

    def __init__(self, source: Source[Any]) -> None:
        self._source = source

    def join(self, subscriber: Subscriber[Due]) -> None:
        """Give a subscriber the next keys, each as a `Due`."""
        receive, source = subscriber.on_next, self._source

        def receive_due(key: Any) -> None:
            receive(source.due(key))

        subscriber.on_next = receive_due
        source.join(subscriber)

    def leave(self, subscriber: Subscriber[Due]) -> None:
        """Give a subscriber no more."""
        self._source.leave(subscriber)
