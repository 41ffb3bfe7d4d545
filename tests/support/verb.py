"""A verb of the store as a value: how to ask for it, and what its reply must have done to the queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from rx_runat.model.batch import Entry, to_entries
from rx_runat.store.redis_store import RedisStore
from rx_runat.testing import FailingClient
from tests.support.whereabouts import Time, Where, Whole, relative_to

FEW, ALL = 3, 1000  # limits of claims


class Setup:
    """What a verb works with.

    Attributes:
        client: as a user whose permissions a test takes away.
        store: on that client.
        keys: place -> the key that lies there.
        odd: a key of which not all is known, because somebody else wrote a part of it; only where it is counts.
        scheduled: the keys that lie in the schedule before the verb.
        now: Redis's clock, epoch ms, before the verb.
        claimer: of a verb that needs one, made by `prepare`.
        held: what that claimer claimed in `prepare`.
    """

    def __init__(self, client: FailingClient) -> None:
        self.client = client
        self.store = RedisStore(client, "RunAt~default")
        self.keys: dict[str, str] = {}
        self.odd: bytes | None = None
        self.scheduled: list[str] = []
        self.now = 0
        self.claimer: Any = None
        self.held: Any = None

    def entries(self) -> list[Entry]:
        return to_entries(self.held)

    def when(self, score: str | float) -> Time:
        return relative_to(self.now)(float(score))


class Verb(NamedTuple):
    """One verb of the store.

    Attributes:
        name: of the verb and of the place.
        place: where the key that it is about lies.
        act: asks for it; returns what can be compared between two runs.
        effect: changes a `Whole` as the reply says; raises AssertionError if the reply cannot be true.
        prepare: what comes before it.
        plain: True if the queue has no leases and no dead letters.
        parts: True if it asks for several things that are refused one by one.
        adds: True if a full server refuses it.
        reads: True if a read-only server permits it: it changes nothing, as a claim that only reads its receipt again.
    """

    name: str
    place: str
    act: Callable[[Setup], Any]
    effect: Callable[[Setup, Whole, Any], None] = lambda setup, whole, reply: None
    prepare: Callable[[Setup], None] = lambda setup: None
    plain: bool = False
    parts: bool = False
    adds: bool = False
    reads: bool = False


def member_of(key: str) -> bytes:
    return key.encode(errors="surrogateescape")


def move(whole: Whole, key: str, **changes: Any) -> None:
    member = member_of(key)
    whole[member] = whole.get(member, Where())._replace(**changes)
    if whole[member] == Where():
        del whole[member]


def at(whole: Whole, key: str) -> Where:
    return whole.get(member_of(key), Where())


def is_odd(setup: Setup, key: str) -> bool:
    return member_of(key) == setup.odd
