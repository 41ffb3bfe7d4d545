"""The verbs beside the claims: schedule, cancel, all that only looks, and those on dead letters."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from rx_runat import Job
from rx_runat.model.data import NOT_NAMED, to_text
from rx_runat.model.job import Keep
from rx_runat.model.members import to_key
from tests.support.verb import ALL, Setup, Verb, at, is_odd, member_of, move
from tests.support.whereabouts import Letter, Waits, Where, Whole

DATA_OF = {"due": ["new"], "coming": 0, "leased": None, "ended": "new"}
"""What some verbs write for the keys at these places; for those at others they name nothing."""


def schedule(keep: Keep, names_data: bool = False, **times: float) -> Verb:
    """Keys at many places, to the given places' keys; with a delay it is the script also where the last wins."""

    def data_of(place: str) -> Any:
        return DATA_OF.get(place, NOT_NAMED) if names_data else NOT_NAMED

    def wanted(setup: Setup) -> dict[str, tuple[float, Any]]:
        return {setup.keys[place.replace("_", " ")]: (time, data_of(place)) for place, time in times.items()}

    def act(setup: Setup) -> Any:
        jobs = [Job(key, time, data=data) for key, (time, data) in wanted(setup).items()]
        return setup.when(setup.store.schedule(jobs, keep))  # type: ignore[arg-type]

    def effect(setup: Setup, whole: Whole, _: Any) -> None:
        for key, (time, data) in wanted(setup).items():
            before = at(whole, key).waits
            if keep == "absent" and (before is not None or at(whole, key).out is not None):
                continue
            if keep == "absent" and is_odd(setup, key) and setup.store.when(key) is None:
                continue  # it is out under a lease whose record is none
            stands = before is not None and not is_odd(setup, key) and isinstance(before.at, float | int)
            if stands and before is not None:
                if keep == "first" or (keep == "earliest" and before.at <= time * 1000):  # type: ignore[operator]
                    continue
                if keep == "latest" and before.at >= time * 1000:  # type: ignore[operator]
                    continue
            move(whole, key, waits=Waits(time * 1000, 0, time * 1000))
            if data is not NOT_NAMED:
                move(whole, key, data=None if data is None else to_text(data))

    return Verb(f"schedule, {keep}{', data' * names_data}", "due", act, effect, adds=True)


def delays(setup: Setup) -> list[Job]:
    return [Job(setup.keys[place], timedelta(hours=1)) for place in ("due", "absent", "parked")]


def write_delays(setup: Setup, whole: Whole, _: Any) -> None:
    for job in delays(setup):
        move(whole, job.key, waits=Waits("+1 h", 0, "+1 h"))


def cancel(place: str) -> Verb:
    def effect(setup: Setup, whole: Whole, was_there: bool) -> None:
        where = at(whole, setup.keys[place])
        if not is_odd(setup, setup.keys[place]):
            assert was_there == (where.waits is not None or where.out is not None), f"it said {was_there}"
        move(whole, setup.keys[place], waits=None, out=None, data=None)

    return Verb(f"cancel, {place}", place, lambda setup: setup.store.cancel(setup.keys[place]), effect)


def look_up(setup: Setup) -> Any:
    found = setup.store.when(setup.keys["due"])
    return found and found.timestamp()


def peek(setup: Setup) -> Any:
    return [due.key for due in setup.store.peek(ALL)]


def all_waiting(setup: Setup, whole: Whole, reply: list[str]) -> None:
    assert sorted(reply) == sorted(setup.scheduled), f"it shows {reply}"


def snapshot(setup: Setup) -> Any:
    seen = setup.store.snapshot(ALL)
    listed = [[key for key, _ in each] for each in (seen.due_keys, seen.coming, seen.leases)]
    return seen.scheduled, seen.due, seen.claimed, seen.dead, listed


def stats(setup: Setup) -> Any:
    seen = setup.store.stats()
    return seen.scheduled, seen.due, seen.claimed, seen.dead, seen.lateness > 0


def locate(setup: Setup) -> Any:
    found = setup.store.locate([key for key in setup.keys.values() if key])
    return [(place.kind, place.run_at is None, place.died is None) for place in found]


def look_at_head(leases: bool) -> Callable[[Setup], Any]:
    def act(setup: Setup) -> Any:
        tracker = setup.store.head_tracker()
        try:
            return (tracker.head(), tracker.lease_end()) if leases else tracker.head()
        finally:
            tracker.close()

    return act


def dead_peek(setup: Setup) -> Any:
    return [letter.key for letter in setup.store.dead_peek(ALL)]


def all_dead(setup: Setup, whole: Whole, reply: list[str]) -> None:
    letters = {to_key(member) for member, where in whole.items() if where.letter is not None}
    assert sorted(reply) == sorted(letters), f"it shows only {reply}"


def revive(place: str | None) -> Verb:
    def act(setup: Setup) -> Any:
        return setup.store.revive(None if place is None else setup.keys[place])

    def effect(setup: Setup, whole: Whole, count: int) -> None:
        for key in [setup.keys[each] for each in ([place] if place else ("dead", "dead, due"))]:
            where = at(whole, key)
            if isinstance(where.letter, Letter):
                newer = where.waits is not None or where.out is not None
                run_at = where.letter.run_at
                if not newer:
                    data = where.letter.data or None
                    move(whole, key, letter=None, waits=Waits(run_at, 0, run_at), data=data)
                    count -= 1
        odd = setup.odd is not None and whole.get(setup.odd, Where()).letter
        if odd and count == 1:  # its run_at could be read after all
            move(whole, to_key(setup.odd or b""), letter=None, waits=Waits(0, 0, 0))
            count = 0
        assert count == 0, f"its count is wrong by {count}"

    return Verb(f"revive, {place or 'all'}", place or "dead", act, effect)


def drop(place: str | None) -> Verb:
    def effect(setup: Setup, whole: Whole, count: int) -> None:
        keys = (
            [member_of(setup.keys[place])]
            if place
            else [key for key, where in whole.items() if where.letter is not None]
        )
        assert count == sum(whole.get(key, Where()).letter is not None for key in keys), f"it said {count}"
        for key in keys:
            move(whole, to_key(key), letter=None)

    return Verb(
        f"drop, {place or 'all'}",
        place or "dead",
        lambda setup: setup.store.drop(None if place is None else setup.keys[place]),
        effect,
    )
