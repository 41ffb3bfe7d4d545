"""The verbs of claims: for good and under a lease, handing back and closing, and what becomes of leases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rx_runat import Job
from rx_runat.errors import OutcomeUnknown
from rx_runat.model.batch import Claimed, Leased, SettleRequest, to_entries
from tests.support.verb import FEW, Setup, Verb, at, is_odd, move
from tests.support.whereabouts import DATA, FAR, FENCE, HOUR, Letter, Out, Time, Waits, Whole, is_due


def new_claimer(setup: Setup) -> None:
    setup.claimer = setup.store.plain_claimer()


def new_leasing(setup: Setup) -> None:
    setup.claimer = setup.store.leasing_claimer(HOUR)


def used(new: Callable[[Setup], None]) -> Callable[[Setup], None]:
    """Makes a claimer that has claimed before."""

    def use(setup: Setup) -> None:
        new(setup)
        setup.claimer.claim(1)

    return use


def holding(new: Callable[[Setup], None]) -> Callable[[Setup], None]:
    """Makes a claimer that has claimed keys, which nobody received."""

    def hold(setup: Setup) -> None:
        new(setup)
        setup.held = setup.claimer.claim(FEW)

    return hold


used_claimer, claimer_that_holds = used(new_claimer), holding(new_claimer)
used_leasing, leasing_that_holds = used(new_leasing), holding(new_leasing)


def owed(prepare: Callable[[Setup], None]) -> Callable[[Setup], None]:
    def lose_the_reply(setup: Setup) -> None:
        prepare(setup)
        setup.client.lost = 9
        try:
            setup.claimer.claim(FEW)
        except OutcomeUnknown:
            pass
        setup.client.lost = 0

    return lose_the_reply


def take(limit: int) -> Callable[[Setup], Any]:
    def act(setup: Setup) -> Any:
        claimed: Claimed = setup.claimer.claim(limit)
        return [(key, setup.when(score), text) for key, score, text in to_entries(claimed)]

    return act


def taken(setup: Setup, whole: Whole, reply: Sequence[tuple[str, Time, str]]) -> None:
    for key, run_at, text in reply:
        where = at(whole, key)
        if is_odd(setup, key):
            assert where.waits is not None, f"{key!r} came, but was {where}"
            move(whole, key, waits=None, out=None)  # a lease without a record is over when a newer run is taken
            continue
        assert is_due(where), f"{key!r} came, but was {where}"
        assert where.waits is not None
        assert run_at == where.waits.run_at, f"{key!r} came with {run_at}, but was {where}"
        assert text.encode() == (where.data or b""), f"{key!r} came with {text!r}, but was {where}"
        move(whole, key, waits=None, data=None)


def give_back(setup: Setup) -> Any:
    setup.claimer.hand_back(setup.entries())


def given_back(setup: Setup, whole: Whole, _: Any) -> None:
    for key, score, text in setup.entries():
        if at(whole, key).waits is None:
            move(whole, key, waits=Waits(setup.when(score), 0, setup.when(score)), data=text.encode() or None)


def claimer_beside_newer(setup: Setup) -> None:
    claimer_that_holds(setup)
    if any(setup.held.keys[-1:]):  # nothing was due, or only the empty key, which cannot be scheduled
        setup.store.schedule([Job(setup.held.keys[-1], FAR / 1000)], "last")


def close(setup: Setup) -> Any:
    return [(key, setup.when(score), text) for key, score, text in setup.claimer.close()]


def lease(limit: int) -> Callable[[Setup], Any]:
    def act(setup: Setup) -> Any:
        setup.held = leased = setup.claimer.claim(limit)
        return [
            (key, setup.when(score), attempt, text)
            for (key, score, text), attempt in zip(to_entries(leased), leased.attempts, strict=True)
        ]

    return act


def leased(setup: Setup, whole: Whole, reply: Sequence[tuple[str, Time, int, str]]) -> None:
    held: Leased = setup.held
    for key, run_at, attempt, text in reply:
        where = at(whole, key)
        if not is_odd(setup, key):
            assert is_due(where), f"{key!r} came, but was {where}"
            assert where.waits is not None
            was = (where.waits.run_at, where.waits.attempts + 1)
            assert (run_at, attempt) == was, f"{key!r} came with {(run_at, attempt)}, but was {where}"
            assert text.encode() == (where.data or b""), f"{key!r} came with {text!r}, but was {where}"
        move(whole, key, waits=None, out=Out(held.fence, attempt, run_at, "+1 h"))


def leases_given_back(setup: Setup, whole: Whole, _: Any) -> None:
    attempts = dict(zip(setup.held.keys, setup.held.attempts, strict=True))
    for key, score, _text in setup.entries():
        where = at(whole, key)
        if where.out and where.out.fence == setup.held.fence:
            move(whole, key, out=None)
            if where.waits is None:
                move(whole, key, waits=Waits(setup.when(score), attempts[key] - 1, setup.when(score)))


_ARGUMENTS: dict[str, int | str] = {"nack": HOUR, "extend": 2 * HOUR, "bury": "no such address"}


def settle(*pairs: tuple[Any, str], next_run: str = "") -> Verb:
    """Verbs, each with the place of its key, in one call."""

    def act(setup: Setup) -> Any:
        requests = [
            SettleRequest(verb, setup.keys[place], FENCE, _ARGUMENTS.get(verb, ""), setup.now + HOUR, 0, next_run, DATA)
            for verb, place in pairs
        ]
        reply = setup.store.settle(requests)
        refusal = getattr(reply, "refusal", None)
        refused = [answer for answer in reply.answers if answer == -2]
        assert bool(refused) == (refusal is not None), f"answers {reply.answers}, refusal {refusal!r}"
        if refusal is not None and len(refused) == len(requests):
            raise refusal
        told = {place: float(next_run) for place, answer in enumerate(reply.answers) if next_run and answer == 1}
        is_told = reply.next_runs == told or (setup.odd is not None and not reply.next_runs)  # a newer schedule stands
        assert is_told, f"it told of {reply.next_runs}"
        return [1 if isinstance(answer, int) and answer > 2 else answer for answer in reply.answers]

    def effect(setup: Setup, whole: Whole, answers: list[int | None]) -> None:
        for (verb, place), answer in zip(pairs, answers, strict=True):
            if answer in (1, 2):
                _settled(setup, whole, verb, setup.keys[place], answer, next_run)
            else:
                assert answer in (0, -2), f"{verb}: {answer}"

    name = "settle, all verbs" if len(pairs) > 1 else f"{pairs[0][0]}, {pairs[0][1]}"
    name += ", next run" if next_run else ""
    return Verb(name, pairs[0][1], act, effect)


def _settled(setup: Setup, whole: Whole, verb: str, key: str, answer: int, next_run: str) -> None:
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
        move(whole, key, letter=Letter(attempt, out.run_at, b"no such address", DATA.encode()))
    if verb in ("ack", "bury"):
        if where.waits is None and next_run:
            move(whole, key, waits=Waits(float(next_run), 0, float(next_run)))
        elif where.waits is None:
            move(whole, key, data=None)
    elif verb == "nack":
        assert answer == 1 or where.waits is not None, "only a newer schedule supersedes a nack"
        if where.waits is None:
            move(whole, key, waits=Waits("+1 h", attempt, out.run_at))
    elif verb == "back" and where.waits is None:
        move(whole, key, waits=Waits(out.run_at, attempt - 1, out.run_at))
