"""One claim on its way to the subscribers, key by key, over one iterator.

    claimed        a  b  c  d  e  f
    received       a  b     d          at c the only subscriber raised and was removed; another one had joined
    undelivered          c     e  f    after d the time was over, or nobody subscribed any more

Subscribers join and leave on any thread while a key is on its way to them. One that raises is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from operator import length_hint
from typing import Any

from rx_runat.model.batch import Claimed, Entry, Leased
from rx_runat.model.job import Due
from rx_runat.model.times import from_score, lateness
from rx_runat.stream.hot import Subscriber
from rx_runat.stream.rendezvous import NotReceived
from rx_runat.stream.subscribers import Subscribers


class Delivery:
    """A claim, and how far its delivery has come.

    The plain path iterates over `keys` and does nothing else: it builds no object and counts no place per key. The
    place of the iterator is read off its length hint, and only where somebody needs it: for a `Due`, or for what is
    undelivered.

    Args:
        claimed: the claim.
    """

    def __init__(self, claimed: Claimed | Leased) -> None:
        self._claimed = claimed
        self.size = len(claimed.keys)
        self.keys: Iterator[object] = iter(claimed.keys)
        self._due: tuple[int, Due] | None = None

    def give(self, subscribers: Subscribers, now: Callable[[], float], until: float, undelivered: list[Entry]) -> int:
        """Give each key to all subscribers that are present at its moment.

        Args:
            subscribers: of the source.
            now: returns monotonic seconds; virtual seconds in virtual time.
            until: on that clock; no key is given after it.
            undelivered: the keys that nobody received, or that were not given in time, are appended to it.

        Returns:
            How many keys were given, received or not.
        """
        while self.goes_on and now() <= until and (present := subscribers.present):
            only = present[0] if len(present) == 1 else None  # nearly always, so its on_next is called directly
            give = only.on_next if only else partial(_give_all, subscribers, present)
            try:
                for key in self.keys:
                    give(key)
                    if present is not subscribers.present or now() > until:
                        break
            except BaseException as error:
                undelivered.append(self.entry())
                if only:
                    _remove(subscribers, only, error)
        rest = self.rest()
        undelivered += rest
        return self.size - len(rest)

    @property
    def goes_on(self) -> bool:
        """True while a key is left to deliver."""
        return length_hint(self.keys) > 0

    def entry(self) -> Entry:
        """Returns the key in delivery, as it was claimed."""
        place = self._place()
        return Entry(self._claimed.keys[place], self._claimed.scores[place])

    def due(self) -> Due:
        """Returns the key in delivery as a `Due`, the same object for all subscribers."""
        place = self._place()
        if self._due is None or self._due[0] != place:
            key, score = self._claimed.keys[place], self._claimed.scores[place]
            self._due = place, Due(key, from_score(score), lateness(score, self._claimed.now))
        return self._due[1]

    def rest(self) -> list[Entry]:
        """Returns the keys that come after the one in delivery."""
        place = self._place() + 1
        return list(map(Entry, self._claimed.keys[place:], self._claimed.scores[place:]))

    def _place(self) -> int:
        return self.size - length_hint(self.keys) - 1


def _give_all(subscribers: Subscribers, present: tuple[Subscriber[Any], ...], key: object) -> None:
    """Give a key to all who were present and have not left meanwhile; raises NotReceived if nobody received it."""
    received = False
    for subscriber in present:
        if present is subscribers.present or subscriber in subscribers.present:
            try:
                subscriber.on_next(key)
                received = True
            except BaseException as error:
                _remove(subscribers, subscriber, error)
    if not received:
        raise NotReceived


def _remove(subscribers: Subscribers, subscriber: Subscriber[Any], error: BaseException) -> None:
    """Remove a subscriber whose `on_next` raised. Its error ends no other subscriber.

    A subscriber that did not receive this key, but may receive later ones, stays.
    """
    if not isinstance(error, NotReceived):
        subscribers.leave(subscriber)
        subscriber.fail(error)
    elif error.for_good:
        subscribers.leave(subscriber)
