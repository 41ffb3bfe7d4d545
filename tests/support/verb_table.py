"""Every verb of the store, at every place where a key may lie that makes a difference.

A verb is asked about the key that lies at its `place` (see `whereabouts.py`); others lie at the other places. `act` may
be repeated: after a refusal the same verb is asked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest

from tests.support.verb import ALL, FEW, Verb
from tests.support.verbs_beside import (
    all_dead,
    all_waiting,
    cancel,
    dead_peek,
    delays,
    drop,
    locate,
    look_at_head,
    look_up,
    peek,
    revive,
    schedule,
    snapshot,
    stats,
    write_delays,
)
from tests.support.verbs_of_claims import (
    claimer_beside_newer,
    claimer_that_holds,
    close,
    give_back,
    given_back,
    lease,
    leased,
    leases_given_back,
    leasing_that_holds,
    new_claimer,
    new_leasing,
    owed,
    settle,
    take,
    taken,
    used_claimer,
    used_leasing,
)
from tests.support.whereabouts import FAR

_HELD = ("leased", "leased again", "leased, not begun", "leased, newer coming", "parked", "ended")
_VERBS = ("ack", "nack", "extend", "bury", "back", "begin")

VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        schedule("last", due=FAR / 1000 + 7, absent=FAR / 1000 + 9),
        Verb(
            "schedule, delays",
            "due",
            lambda setup: setup.when(setup.store.schedule(delays(setup), "last")),
            write_delays,
            adds=True,
        ),
        schedule("first", due=7, absent=8, coming=9, parked=10),
        schedule("earliest", due=7, absent=8, coming=9, parked=10),
        schedule("latest", due=7, absent=8, coming=9, parked=10),
        schedule("last", names_data=True, due=7, absent=8, coming=9, leased=10),
        schedule("absent", names_data=True, due=7, absent=8, leased=9, ended=10),
        *map(cancel, ("due", "leased", "parked", "ended", "between attempts, due")),
        Verb("when", "due", look_up, reads=True),
        Verb("peek", "due", peek, all_waiting, reads=True),
        Verb("size", "due", lambda setup: setup.store.size(None), reads=True),
        Verb("size, until", "due", lambda setup: setup.store.size(timedelta(hours=2)), reads=True),
        Verb("stats", "due", stats, reads=True),
        Verb("snapshot", "due", snapshot, reads=True),
        Verb("locate", "due", locate, reads=True),
        Verb("head", "due", look_at_head(False), reads=True),
        Verb("head, leases", "due", look_at_head(True), reads=True),
        Verb("claim, few", "due", take(FEW), taken, new_claimer),
        Verb("claim, all", "due", take(ALL), taken, new_claimer),
        Verb("claim, after another", "parked", take(ALL), taken, used_claimer),
        Verb("claim, resent", "due", take(ALL), lambda setup, whole, reply: None, owed(used_claimer), reads=True),
        Verb("hand back", "due", give_back, given_back, claimer_that_holds),
        Verb("hand back, newer", "due", give_back, given_back, claimer_beside_newer),
        Verb("close", "due", close, prepare=claimer_that_holds),
        Verb("close, owed", "due", close, prepare=owed(new_claimer), reads=True),
        Verb("lease, few", "due", lease(FEW), leased, new_leasing),
        Verb("lease, all", "due", lease(ALL), leased, new_leasing),
        Verb("lease, after another", "ended", lease(ALL), leased, used_leasing),
        Verb("lease, none", "ended", lease(0), leased, used_leasing),
        Verb("lease, resent", "due", lease(ALL), lambda setup, whole, reply: None, owed(used_leasing), reads=True),
        Verb("lease, hand back", "due", give_back, leases_given_back, leasing_that_holds, parts=True),
        Verb("lease, close", "due", close, prepare=leasing_that_holds),
        Verb("lease, close, owed", "due", close, prepare=owed(new_leasing), reads=True),
        *(settle((verb, place)) for verb in _VERBS for place in _HELD),
        settle(*zip(_VERBS, _HELD, strict=True)),
        settle(("ack", "leased"), next_run=str(FAR)),
        settle(("bury", "leased"), next_run=str(FAR)),
        Verb("dead peek", "dead", dead_peek, all_dead, reads=True),
        Verb("dead size", "dead", lambda setup: setup.store.dead_size(), reads=True),
        revive("dead"),
        revive("dead, due"),
        revive(None),
        drop("dead"),
        drop(None),
    )
}

_LOOKS = ("when", "peek", "size", "stats", "snapshot", "locate", "head")
_PLAIN = [
    verb._replace(name=f"{name}, plain queue", plain=True)
    for name, verb in VERBS.items()
    if verb.place == "due" and not name.startswith(_LOOKS)
]
VERBS |= {verb.name: verb for verb in _PLAIN}
_FEW_PLACES = {
    "ack": ("parked",),
    "nack": ("leased, not begun", "parked"),
    "bury": ("parked",),
    "begin": ("leased, not begun",),
}
SIMILAR = {
    *("schedule, first", "schedule, latest"),  # as "absent" and "earliest"
    *(f"{verb}, {place}" for verb in _VERBS for place in _HELD[1:] if place not in _FEW_PLACES.get(verb, ())),
    *(verb.name for verb in _PLAIN if not verb.name.startswith(("claim, all", "lease, all", "hand back, plain"))),
}
"""Names of verbs that differ so little from others that the default run leaves them out."""

TURNS = {name: turn for turn, name in enumerate(VERBS)}
"""The number of each verb; see `share_of` in `refusals.py`."""


def each_verb(verbs: Mapping[str, Verb] = VERBS) -> pytest.MarkDecorator:
    """Returns a parameter `verb`."""
    slow = pytest.mark.slow
    return pytest.mark.parametrize(
        "verb", [pytest.param(verb, id=name, marks=[slow] * (name in SIMILAR)) for name, verb in verbs.items()]
    )
