"""Every verb of the store, with what its reply must have done to the queue: the reply is compared with Redis.

A verb is asked about the key that lies at its `place` (see `whereabouts.py`); others lie at the other places. `act` may
be repeated: after a refusal the same verb is asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import pytest

from rx_runat import Job
from rx_runat.errors import OutcomeUnknown
from rx_runat.model.batch import Claimed, Entry, Leased, SettleRequest
from rx_runat.model.job import Keep
from rx_runat.model.members import to_key
from rx_runat.store.redis_store import RedisStore
from rx_runat.testing import FailingClient
from tests.support.whereabouts import FAR, FENCE, HOUR, Letter, Out, Time, Waits, Where, Whole, is_due, relative_to

FEW, ALL = 3, 1000  # limits of claims


class Desk:
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
        return [Entry(key, score) for key, score in zip(self.held.keys, self.held.scores, strict=True)]

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
    act: Callable[[Desk], Any]
    effect: Callable[[Desk, Whole, Any], None] = lambda desk, whole, reply: None
    prepare: Callable[[Desk], None] = lambda desk: None
    plain: bool = False
    parts: bool = False
    adds: bool = False
    reads: bool = False


def _member(key: str) -> bytes:
    return key.encode(errors="surrogateescape")


def move(whole: Whole, key: str, **changes: Any) -> None:
    member = _member(key)
    whole[member] = whole.get(member, Where())._replace(**changes)
    if whole[member] == Where():
        del whole[member]


def at(whole: Whole, key: str) -> Where:
    return whole.get(_member(key), Where())


def is_odd(desk: Desk, key: str) -> bool:
    return _member(key) == desk.odd


# Schedule, cancel, and what only reads.


def schedule(keep: Keep, **times: float) -> Verb:
    """Keys at many places, to the given places' keys; with a delay it is the script also where the last wins."""

    def wanted(desk: Desk) -> dict[str, float]:
        return {desk.keys[place.replace("_", " ")]: time for place, time in times.items()}

    def act(desk: Desk) -> Any:
        return desk.when(desk.store.schedule([Job(key, time) for key, time in wanted(desk).items()], keep))

    def effect(desk: Desk, whole: Whole, _: Any) -> None:
        for key, time in wanted(desk).items():
            before = at(whole, key).waits
            stands = before is not None and not is_odd(desk, key) and isinstance(before.at, float | int)
            if stands and before is not None:
                if keep == "first" or (keep == "earliest" and before.at <= time * 1000):  # type: ignore[operator]
                    continue
                if keep == "latest" and before.at >= time * 1000:  # type: ignore[operator]
                    continue
            move(whole, key, waits=Waits(time * 1000, 0, time * 1000))

    return Verb(f"schedule, {keep}", "due", act, effect, adds=True)


def _delays(desk: Desk) -> list[Job]:
    return [Job(desk.keys[place], timedelta(hours=1)) for place in ("due", "absent", "parked")]


def _write_delays(desk: Desk, whole: Whole, _: Any) -> None:
    for job in _delays(desk):
        move(whole, job.key, waits=Waits("+1 h", 0, "+1 h"))


def cancel(place: str) -> Verb:
    def effect(desk: Desk, whole: Whole, was_there: bool) -> None:
        where = at(whole, desk.keys[place])
        if not is_odd(desk, desk.keys[place]):
            assert was_there == (where.waits is not None or where.out is not None), f"it said {was_there}"
        move(whole, desk.keys[place], waits=None, out=None)

    return Verb(f"cancel, {place}", place, lambda desk: desk.store.cancel(desk.keys[place]), effect)


def _when(desk: Desk) -> Any:
    found = desk.store.when(desk.keys["due"])
    return found and found.timestamp()


def _peek(desk: Desk) -> Any:
    return [due.key for due in desk.store.peek(ALL)]


def _all_waiting(desk: Desk, whole: Whole, reply: list[str]) -> None:
    assert sorted(reply) == sorted(desk.scheduled), f"it shows {reply}"


def _snapshot(desk: Desk) -> Any:
    seen = desk.store.snapshot(ALL)
    listed = [[key for key, _ in each] for each in (seen.due_keys, seen.coming, seen.leases)]
    return seen.scheduled, seen.due, seen.claimed, seen.dead, listed


def _locate(desk: Desk) -> Any:
    found = desk.store.locate([key for key in desk.keys.values() if key])
    return [(place.kind, place.run_at is None, place.died is None) for place in found]


def _head(leases: bool) -> Callable[[Desk], Any]:
    def act(desk: Desk) -> Any:
        tracker = desk.store.head_tracker(leases)
        try:
            return tracker.head()
        finally:
            tracker.close()

    return act


# Plain claims.


def _plain(desk: Desk) -> None:
    desk.claimer = desk.store.plain_claimer()


def _plain_later(desk: Desk) -> None:
    _plain(desk)
    desk.claimer.claim(1)


def _plain_holds(desk: Desk) -> None:
    _plain(desk)
    desk.held = desk.claimer.claim(FEW)


def _owed(prepare: Callable[[Desk], None]) -> Callable[[Desk], None]:
    def lose_the_reply(desk: Desk) -> None:
        prepare(desk)
        desk.client.lost = 9
        try:
            desk.claimer.claim(FEW)
        except OutcomeUnknown:
            pass
        desk.client.lost = 0

    return lose_the_reply


def take(limit: int) -> Callable[[Desk], Any]:
    def act(desk: Desk) -> Any:
        claimed: Claimed = desk.claimer.claim(limit)
        return [(key, desk.when(score)) for key, score in zip(claimed.keys, claimed.scores, strict=True)]

    return act


def taken(desk: Desk, whole: Whole, reply: Sequence[tuple[str, Time]]) -> None:
    for key, run_at in reply:
        where = at(whole, key)
        if is_odd(desk, key):
            assert where.waits is not None, f"{key!r} came, but was {where}"
            move(whole, key, waits=None, out=None)  # a lease without a record is over when a newer run is taken
            continue
        assert is_due(where), f"{key!r} came, but was {where}"
        assert where.waits is not None
        assert run_at == where.waits.run_at, f"{key!r} came with {run_at}, but was {where}"
        move(whole, key, waits=None)


def _return(desk: Desk) -> Any:
    desk.claimer.hand_back(desk.entries())


def _returned(desk: Desk, whole: Whole, _: Any) -> None:
    for key, score in desk.entries():
        if at(whole, key).waits is None:
            move(whole, key, waits=Waits(desk.when(score), 0, desk.when(score)))


def _return_beside_newer(desk: Desk) -> None:
    _plain_holds(desk)
    if any(desk.held.keys[-1:]):  # nothing was due, or only the empty key, which cannot be scheduled
        desk.store.schedule([Job(desk.held.keys[-1], FAR / 1000)], "last")


def _close(desk: Desk) -> Any:
    return [(key, desk.when(score)) for key, score in desk.claimer.close()]


# Claims under a lease.


def _leasing(desk: Desk) -> None:
    desk.claimer = desk.store.leasing_claimer(HOUR)


def _leasing_later(desk: Desk) -> None:
    _leasing(desk)
    desk.claimer.claim(1)


def _leasing_holds(desk: Desk) -> None:
    _leasing(desk)
    desk.held = desk.claimer.claim(FEW)


def lease(limit: int) -> Callable[[Desk], Any]:
    def act(desk: Desk) -> Any:
        desk.held = leased = desk.claimer.claim(limit)
        return [
            (key, desk.when(score), attempt)
            for key, score, attempt in zip(leased.keys, leased.scores, leased.attempts, strict=True)
        ]

    return act


def leased(desk: Desk, whole: Whole, reply: Sequence[tuple[str, Time, int]]) -> None:
    held: Leased = desk.held
    for key, run_at, attempt in reply:
        where = at(whole, key)
        if not is_odd(desk, key):
            assert is_due(where), f"{key!r} came, but was {where}"
            assert where.waits is not None
            was = (where.waits.run_at, where.waits.attempts + 1)
            assert (run_at, attempt) == was, f"{key!r} came with {(run_at, attempt)}, but was {where}"
        move(whole, key, waits=None, out=Out(held.fence, attempt, run_at, "+1 h"))


def _returned_leases(desk: Desk, whole: Whole, _: Any) -> None:
    attempts = dict(zip(desk.held.keys, desk.held.attempts, strict=True))
    for key, score in desk.entries():
        where = at(whole, key)
        if where.out and where.out.fence == desk.held.fence:
            move(whole, key, out=None)
            if where.waits is None:
                move(whole, key, waits=Waits(desk.when(score), attempts[key] - 1, desk.when(score)))


# What becomes of leases.

_ARGUMENTS: dict[str, int | str] = {"nack": HOUR, "extend": 2 * HOUR, "bury": "no such address"}


def settle(*pairs: tuple[Any, str]) -> Verb:
    """Verbs, each with the place of its key, in one call."""

    def act(desk: Desk) -> Any:
        requests = [
            SettleRequest(verb, desk.keys[place], FENCE, _ARGUMENTS.get(verb, ""), desk.now + HOUR)
            for verb, place in pairs
        ]
        reply = desk.store.settle(requests)
        refusal = getattr(reply, "refusal", None)
        refused = [answer for answer in reply.answers if answer == -2]
        assert bool(refused) == (refusal is not None), f"answers {reply.answers}, refusal {refusal!r}"
        if refusal is not None and len(refused) == len(requests):
            raise refusal
        return [1 if isinstance(answer, int) and answer > 2 else answer for answer in reply.answers]

    def effect(desk: Desk, whole: Whole, answers: list[int | None]) -> None:
        for (verb, place), answer in zip(pairs, answers, strict=True):
            if answer in (1, 2):
                _settled(desk, whole, verb, desk.keys[place], answer)
            else:
                assert answer in (0, -2), f"{verb}: {answer}"

    name = "settle, all verbs" if len(pairs) > 1 else f"{pairs[0][0]}, {pairs[0][1]}"
    return Verb(name, pairs[0][1], act, effect)


def _settled(desk: Desk, whole: Whole, verb: str, key: str, answer: int) -> None:
    where = at(whole, key)
    out = where.out
    assert out is not None, f"{verb} of {key!r} was done, but the key was {where}"
    attempt = abs(out.attempt)
    if verb == "begin":
        move(whole, key, out=out._replace(attempt=attempt))
        return
    if verb == "extend":
        move(whole, key, out=out._replace(deadline="+2 h"))
        return
    move(whole, key, out=None)
    if verb == "bury":
        move(whole, key, letter=Letter(attempt, out.run_at, b"no such address"))
    elif verb == "nack":
        assert answer == 1 or where.waits is not None, "only a newer schedule supersedes a nack"
        if where.waits is None:
            move(whole, key, waits=Waits("+1 h", attempt, out.run_at))
    elif verb == "back" and where.waits is None:
        move(whole, key, waits=Waits(out.run_at, attempt - 1, out.run_at))


# Dead letters.


def _dead_peek(desk: Desk) -> Any:
    return [letter.key for letter in desk.store.dead_peek(ALL)]


def _all_dead(desk: Desk, whole: Whole, reply: list[str]) -> None:
    letters = {to_key(member) for member, where in whole.items() if where.letter is not None}
    assert sorted(reply) == sorted(letters), f"it shows only {reply}"


def revive(place: str | None) -> Verb:
    def act(desk: Desk) -> Any:
        return desk.store.revive(None if place is None else desk.keys[place])

    def effect(desk: Desk, whole: Whole, count: int) -> None:
        for key in [desk.keys[each] for each in ([place] if place else ("dead", "dead, due"))]:
            where = at(whole, key)
            if isinstance(where.letter, Letter):
                newer = where.waits is not None or where.out is not None
                run_at = where.letter.run_at
                if not newer:
                    move(whole, key, letter=None, waits=Waits(run_at, 0, run_at))
                    count -= 1
                elif count:  # a newer schedule stands
                    move(whole, key, letter=None)
                    count -= 1
        odd = desk.odd is not None and whole.get(desk.odd, Where()).letter
        if odd and count == 1:  # its run_at could be read after all
            move(whole, to_key(desk.odd or b""), letter=None, waits=Waits(0, 0, 0))
            count = 0
        assert count == 0, f"its count is wrong by {count}"

    return Verb(f"revive, {place or 'all'}", place or "dead", act, effect)


def drop(place: str | None) -> Verb:
    def effect(desk: Desk, whole: Whole, count: int) -> None:
        keys = (
            [_member(desk.keys[place])] if place else [key for key, where in whole.items() if where.letter is not None]
        )
        assert count == sum(whole.get(key, Where()).letter is not None for key in keys), f"it said {count}"
        for key in keys:
            move(whole, to_key(key), letter=None)

    return Verb(
        f"drop, {place or 'all'}",
        place or "dead",
        lambda desk: desk.store.drop(None if place is None else desk.keys[place]),
        effect,
    )


_HELD = ("leased", "leased again", "leased, not begun", "leased, newer coming", "parked", "ended")
_VERBS = ("ack", "nack", "extend", "bury", "back", "begin")

VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        schedule("last", due=FAR / 1000 + 7, absent=FAR / 1000 + 9),
        Verb(
            "schedule, delays",
            "due",
            lambda desk: desk.when(desk.store.schedule(_delays(desk), "last")),
            _write_delays,
            adds=True,
        ),
        schedule("first", due=7, absent=8, coming=9, parked=10),
        schedule("earliest", due=7, absent=8, coming=9, parked=10),
        schedule("latest", due=7, absent=8, coming=9, parked=10),
        *map(cancel, ("due", "leased", "parked", "ended", "between attempts, due")),
        Verb("when", "due", _when, reads=True),
        Verb("peek", "due", _peek, _all_waiting, reads=True),
        Verb("size", "due", lambda desk: desk.store.size(None), reads=True),
        Verb("size, until", "due", lambda desk: desk.store.size(timedelta(hours=2)), reads=True),
        Verb("snapshot", "due", _snapshot, reads=True),
        Verb("locate", "due", _locate, reads=True),
        Verb("head", "due", _head(False), reads=True),
        Verb("head, leases", "due", _head(True), reads=True),
        Verb("claim, few", "due", take(FEW), taken, _plain),
        Verb("claim, all", "due", take(ALL), taken, _plain),
        Verb("claim, after another", "parked", take(ALL), taken, _plain_later),
        Verb("claim, resent", "due", take(ALL), lambda desk, whole, reply: None, _owed(_plain_later), reads=True),
        Verb("hand back", "due", _return, _returned, _plain_holds),
        Verb("hand back, newer", "due", _return, _returned, _return_beside_newer),
        Verb("close", "due", _close, prepare=_plain_holds),
        Verb("close, owed", "due", _close, prepare=_owed(_plain), reads=True),
        Verb("lease, few", "due", lease(FEW), leased, _leasing),
        Verb("lease, all", "due", lease(ALL), leased, _leasing),
        Verb("lease, after another", "ended", lease(ALL), leased, _leasing_later),
        Verb("lease, none", "ended", lease(0), leased, _leasing_later),
        Verb("lease, resent", "due", lease(ALL), lambda desk, whole, reply: None, _owed(_leasing_later), reads=True),
        Verb("lease, hand back", "due", _return, _returned_leases, _leasing_holds, parts=True),
        Verb("lease, close", "due", _close, prepare=_leasing_holds),
        Verb("lease, close, owed", "due", _close, prepare=_owed(_leasing), reads=True),
        *(settle((verb, place)) for verb in _VERBS for place in _HELD),
        settle(*zip(_VERBS, _HELD, strict=True)),
        Verb("dead peek", "dead", _dead_peek, _all_dead, reads=True),
        Verb("dead size", "dead", lambda desk: desk.store.dead_size(), reads=True),
        revive("dead"),
        revive("dead, due"),
        revive(None),
        drop("dead"),
        drop(None),
    )
}

_LOOKS = ("when", "peek", "size", "snapshot", "locate", "head")
_PLAIN = [
    verb._replace(name=f"{name}, plain queue", plain=True)
    for name, verb in VERBS.items()
    if verb.place == "due" and not name.startswith(_LOOKS)
]
VERBS |= {verb.name: verb for verb in _PLAIN}
SIMILAR = {f"{verb}, {place}" for verb in _VERBS for place in ("leased again", "leased, newer coming", "ended")} | {
    verb.name for verb in _PLAIN if not verb.name.startswith(("claim, all", "lease, all", "hand back,"))
}
"""Names of verbs that differ so little from others that the default run leaves them out."""


def each_verb(verbs: Mapping[str, Verb] = VERBS) -> pytest.MarkDecorator:
    """Returns a parameter `verb`."""
    slow = pytest.mark.slow
    return pytest.mark.parametrize(
        "verb", [pytest.param(verb, id=name, marks=[slow] * (name in SIMILAR)) for name, verb in verbs.items()]
    )
