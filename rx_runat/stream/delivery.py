"""One claim on its way to the subscribers, key by key, over one iterator.

    claimed        a  b  c  d  e  f
    received       a  b     d          at c the only subscriber raised and was removed; another one had joined
    undelivered          c     e  f    during d the time was over; or after it nobody subscribed any more

Subscribers join and leave on any thread while a key is on its way to them. One that raises is removed.

Two threads may share the iterator: the one that delivers, and one that takes the rest when the time is over, while the
former is still blocked in `on_next`. Each key goes to one of the two: in CPython the `next` of a list iterator is one
step that no other thread can interrupt, because a thread keeps the interpreter's lock (the GIL) for it. So neither
thread needs a lock per key, and the `for` of the deliverer ends as if the claim had been shorter. Without a GIL that
does not hold; see `Hold.begin`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from operator import length_hint
from typing import Any

from rx_runat.model.batch import Claimed, Entry, Leased
from rx_runat.model.data import from_text
from rx_runat.model.job import Due
from rx_runat.model.times import from_score, lateness
from rx_runat.stream.hot import Subscriber
from rx_runat.stream.rendezvous import NotReceived
from rx_runat.stream.subscribers import Subscribers

Keep = Callable[[list[Entry]], None]


class Delivery:
    """A claim, and how far its delivery has come.

    The plain path iterates over `keys` and does nothing else: it builds no object, reads no clock and counts no place
    per key. What belongs to a key is looked up by the key, which is unique in its claim, and only where somebody needs
    it: for a `Due`, or for what is undelivered.

    Args:
        claimed: the claim.

    Attributes:
        size: how many keys were claimed.
        keys: those that were neither given nor taken by `rest`.
        left: those that nobody received. The hold appends to it.
        is_bulk: True if a subscriber that takes many in one call gets all keys that are left at once.
    """

    is_bulk = False  # plain keys stay in the iterator until each is given, so that the rest can go back at any moment

    def __init__(self, claimed: Claimed | Leased) -> None:
        self._claimed = claimed
        self.size = len(claimed.keys)
        self.keys: Iterator[Any] = iter(claimed.keys)
        self.left: list[Entry] = []
        self._not_given = 0
        self._of_key: dict[str, tuple[str, str]] = {}
        self._due: Due | None = None

    def give(self, subscribers: Subscribers, keep: Keep, is_over: Callable[[], bool] | None) -> None:
        """Give each key to all subscribers that are present at its moment, until `keys` is empty or nobody subscribes.

        Where `is_bulk`, a subscriber that is alone and takes many in one call gets all that is left at once.

        Args:
            subscribers: of the source.
            keep: called with each key that nobody received.
            is_over: returns True when the rest is not to be given any more; called after each key. None: another thread
                calls `rest` when the time is over, or there is no limit.
        """
        while self.goes_on and (present := subscribers.present):
            for subscriber in present:
                subscriber.wait_until_subscribed()
            if present is not subscribers.present:  # somebody left meanwhile
                continue
            only = present[0] if len(present) == 1 else None  # nearly always, so its on_next is called directly
            if only and only.on_all and self.is_bulk:
                self._give_in_bulk(subscribers, only, only.on_all, keep)
                continue
            give = only.on_next if only else partial(_give_all, subscribers, present)
            if is_over is not None:
                give = partial(self._give_in_time, give, keep, is_over)
            key: Any = None
            try:
                for key in self.keys:
                    give(key)
                    if present is not subscribers.present:
                        break
            except BaseException as error:
                keep(self.entries([key]))
                if only:
                    _remove(subscribers, only, error)

    def _give_in_bulk(
        self, subscribers: Subscribers, only: Subscriber[Any], on_all: Callable[[list[Any]], object], keep: Keep
    ) -> None:
        keys: list[Any] = []
        try:
            keys += self.keys  # inside `try`, because an interrupt must lose no key that has left the iterator
            on_all(keys)
        except BaseException as error:
            keep(self.entries(keys))
            _remove(subscribers, only, error)

    def _give_in_time(
        self, give: Callable[[Any], object], keep: Keep, is_over: Callable[[], bool], key: object
    ) -> None:
        try:
            give(key)
        finally:
            if is_over():
                keep(self.rest())

    @property
    def goes_on(self) -> bool:
        """True while a key is left to deliver."""
        return length_hint(self.keys) > 0

    @property
    def given(self) -> int:
        """How many keys were given, received or not, once the delivery is over."""
        return self.size - self._not_given

    def rest(self) -> list[Entry]:
        """Take the keys that were not given: the delivery ends after the one on its way. One call at a time."""
        rest = list(self.keys)
        self._not_given += len(rest)
        return self.entries(rest)

    def drop_rest(self) -> None:
        """Drop the keys that were not given: the delivery ends after the one on its way. For a forked child."""
        deque(self.keys, maxlen=0)

    def entries(self, keys: list[Any]) -> list[Entry]:
        """Returns some of the keys as they were claimed."""
        return [Entry(key, *self._rest_of(key)) for key in keys]

    def due(self, key: str) -> Due:
        """Returns a key as a `Due`, the same object for all subscribers."""
        if self._due is None or self._due.key != key:
            score, text = self._rest_of(key)
            self._due = Due(key, from_score(score), lateness(score, self._claimed.now), data=from_text(text, key))
        return self._due

    def _rest_of(self, key: str) -> tuple[str, str]:
        """Returns the score of a key and its data as text."""
        if not self._of_key:  # two threads may do this at once: both dicts are the same
            claimed = self._claimed
            data = claimed.data or [""] * self.size
            self._of_key = dict(zip(claimed.keys, zip(claimed.scores, data, strict=True), strict=True))
        return self._of_key[key]


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
        was_there = subscribers.leave(subscriber)
        subscriber.fail(error, has_left=not was_there)
    elif error.for_good:
        subscribers.leave(subscriber)
