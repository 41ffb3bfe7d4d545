"""One claim on its way to the subscribers, key by key, over one iterator.

    claimed      a  b  c  d  e  f
    received     a  b     d          at c the only one who was there raised, and left; another had come
    left               c     e  f    after d the time was over, or nobody was there any more

Subscribers come and go on any thread while a key is on its way to them. What they raise stays with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from operator import length_hint
from typing import Any, Protocol

from rx_runat.model.batch import Claimed, Entry, Leased
from rx_runat.model.job import Due
from rx_runat.model.times import from_score, lateness
from rx_runat.stream.hot import Crowd, Subscriber
from rx_runat.stream.rendezvous import NotTaken


class Present(Crowd[Any], Protocol):
    """A crowd, and who is there at the moment.

    Attributes:
        subscribers: another tuple whenever one comes or goes: so a key costs one comparison, and no lock.
    """

    subscribers: tuple[Subscriber[Any], ...]


class Delivery:
    """What was claimed, and how far its delivery has come.

    The plain path iterates over `keys` and nothing else: no object is built per key, no place is counted. Where the
    iterator stands is read off its length hint, and only by those who ask: for a `Due`, or for what is left.

    Args:
        claimed: the claim.
    """

    def __init__(self, claimed: Claimed | Leased) -> None:
        self._claimed = claimed
        self.size = len(claimed.keys)
        self.keys: Iterator[object] = iter(claimed.keys)
        self._due: tuple[int, Due] | None = None

    def give(self, crowd: Present, now: Callable[[], float], over: float, left: list[Entry]) -> int:
        """Give each key to all who are there at its moment; answers how many keys had their turn.

        Args:
            crowd: who is there.
            now: seconds, on a clock that nobody sets.
            over: on that clock; no key has its turn after it.
            left: gets what nobody received, or nobody in time.
        """
        while self.goes_on and now() <= over and (subscribers := crowd.subscribers):
            only = subscribers[0] if len(subscribers) == 1 else None  # as nearly always: called without a detour
            give = only.on_next if only else partial(_give_all, crowd, subscribers)
            try:
                for key in self.keys:
                    give(key)
                    if subscribers is not crowd.subscribers or now() > over:
                        break
            except BaseException as error:
                left.append(self.entry())
                if only:
                    _excuse(crowd, only, error)
        rest = self.rest()
        left += rest
        return self.size - len(rest)

    @property
    def goes_on(self) -> bool:
        """Is a key left to deliver?"""
        return length_hint(self.keys) > 0

    def entry(self) -> Entry:
        """The key in delivery, as it was claimed."""
        place = self._place()
        return Entry(self._claimed.keys[place], self._claimed.scores[place])

    def due(self) -> Due:
        """The key in delivery, as a `Due`; the same one for all who ask."""
        place = self._place()
        if self._due is None or self._due[0] != place:
            key, score = self._claimed.keys[place], self._claimed.scores[place]
            self._due = place, Due(key, from_score(score), lateness(score, self._claimed.now))
        return self._due[1]

    def rest(self) -> list[Entry]:
        """What comes after the key in delivery."""
        place = self._place() + 1
        return list(map(Entry, self._claimed.keys[place:], self._claimed.scores[place:]))

    def _place(self) -> int:
        return self.size - length_hint(self.keys) - 1


def _give_all(crowd: Present, subscribers: tuple[Subscriber[Any], ...], key: object) -> None:
    """Give a key to all of them that have not left meanwhile; NotTaken if none took it."""
    taken = False
    for subscriber in subscribers:
        if subscribers is crowd.subscribers or subscriber in crowd.subscribers:
            try:
                subscriber.on_next(key)
                taken = True
            except BaseException as error:
                _excuse(crowd, subscriber, error)
    if not taken:
        raise NotTaken


def _excuse(crowd: Present, subscriber: Subscriber[Any], error: BaseException) -> None:
    """One that did not take a key; if that was its bug, the bug stays with it: the others and the loop go on."""
    if not isinstance(error, NotTaken):
        crowd.leave(subscriber)
        subscriber.fail(error)
    elif error.for_good:
        crowd.leave(subscriber)
