"""Promise 19, a refusal changes nothing: every verb meets every fault, one at a time, on every kind of server."""

from __future__ import annotations

import json

import pytest

from rx_runat import Job
from rx_runat.model.batch import EVERY, Counting, SettleRequest
from rx_runat.model.batch import Verb as StoreVerb
from rx_runat.store.redis_store import RedisStore
from tests.support.refusals import (
    DEMOTED,
    FULL,
    NONE,
    RECEIPT,
    RIGHT,
    WRONG,
    Fault,
    Laboratory,
    forbidden,
    forbidden_name,
    wrong_type,
)
from tests.support.scripts import used_commands
from tests.support.stores import Clock, FlakyClient
from tests.support.verb import Verb
from tests.support.verb_table import TURNS, VERBS, each_verb
from tests.support.whereabouts import DATA, EARLY, ENDED, FAR, FENCE, HOUR, NAMES, NEWER, PLACES, RETRY, place

pytestmark = pytest.mark.no_cover  # it would add half to the time of thousands of calls that are alike

COMMANDS = sorted({*used_commands(), "ping", "select", "client|tracking", "client|setinfo"})


def complaints(laboratory: Laboratory, verb: Verb, faults: list[Fault]) -> list[str]:
    usual = laboratory.complaint(verb, NONE)
    return [usual] if usual else [found for fault in faults if (found := laboratory.complaint(verb, fault))]


@each_verb()
def test_19_what_the_acl_forbids_changes_nothing(laboratory: Laboratory, verb: Verb) -> None:
    """Any command that a script or the store uses, one at a time, or a name; permitted again, the same verb works."""
    commands = set(filter(laboratory.can_forbid, COMMANDS))
    tried = {*laboratory.some(COMMANDS, 0, TURNS[verb.name]), *laboratory.commands_of(verb)}
    faults = [*map(forbidden, sorted(commands & tried)), *map(forbidden_name, RIGHT)]
    assert complaints(laboratory, verb, faults) == []


@each_verb()
def test_19_a_wrong_type_changes_nothing(laboratory: Laboratory, verb: Verb) -> None:
    """At any of our names, the receipt of the source included; taken away again, the same verb works."""
    names = RIGHT | ({RECEIPT: "string"} if laboratory.has_receipt(verb) else {})
    kinds = laboratory.some(list(WRONG), 2, TURNS[verb.name])
    faults = [wrong_type(name, kind) for name, right in names.items() for kind in kinds if kind != right]
    assert complaints(laboratory, verb, faults) == []


@each_verb()
def test_19_a_full_or_read_only_server_changes_nothing(laboratory: Laboratory, verb: Verb) -> None:
    """A full server refuses to schedule, and nothing else; a read-only one permits what only reads."""
    assert complaints(laboratory, verb, [FULL, DEMOTED]) == []
    assert laboratory.refuses(verb, FULL) == verb.adds
    assert laboratory.refuses(verb, DEMOTED) == (not verb.reads)


def test_the_scripts_run_no_command_that_the_matrix_does_not_forbid(laboratory: Laboratory) -> None:
    """The list of commands is read from the text of the scripts; here the server says what was run."""
    run = set[str]().union(*(laboratory.commands_of(verb) for verb in VERBS.values()))
    beside = {"flushall", "keys", "hgetall", "info", "config", "config|resetstat", "acl", "acl|setuser"}
    assert run - beside <= {*COMMANDS}


STEPS: dict[str, list[str]] = {
    "absent": [],
    "due": ["due"],
    "coming": ["later"],
    "leased": ["due", "claim"],
    "leased again": ["due", "claim", "retry", "claim"],
    "leased, not begun": ["due", "claim", "retry", "claim without begin"],
    "leased, newer coming": ["due", "claim", "later"],
    "leased, newer due": ["due", "claim", "newer"],
    "parked": ["due", "claim", "newer", "claim"],
    "ended": ["due", "short claim"],
    "ended, not begun": ["due", "claim", "retry", "short claim without begin"],
    "ended, newer coming": ["due", "short claim", "later"],
    "ended, parked": ["due", "short claim", "newer", "claim"],
    "between attempts, due": ["due", "claim", "retry", "claim", "retry"],
    "between attempts, coming": ["due", "claim", "retry", "claim", "retry later"],
    "dead": ["due", "claim", "retry", "claim", "retry", "claim", "bury"],
    "dead, due": ["due", "claim", "retry", "claim", "retry", "claim", "bury", "due"],
}


@pytest.mark.parametrize("name", PLACES)
def test_the_states_of_the_matrix_are_those_that_verbs_make(
    store: RedisStore, flaky: FlakyClient, clock: Clock, name: str
) -> None:
    clock.us = RETRY * 1000
    leased = None
    for step in STEPS[name]:
        if step in ("due", "newer", "later"):
            time = {"due": EARLY, "newer": NEWER, "later": FAR}[step] / 1000
            store.schedule([Job("a", time, data=json.loads(DATA)) if step == "due" else Job("a", time)], "last")
        elif "claim" in step:
            lease = ENDED - RETRY if "short" in step else HOUR
            claimed = store.leasing_claimer(lease, Counting(1 if "without" in step else EVERY)).claim(9)
            leased = claimed if claimed.keys else leased
        else:
            assert leased is not None
            verb: StoreVerb = "bury" if step == "bury" else "nack"
            argument = {"bury": "no such address", "retry later": FAR - RETRY}.get(step, 0)
            store.settle([SettleRequest(verb, "a", leased.fence, argument, leased.deadline, 0, "", leased.data[0])])
    raw = place(RETRY, name)
    record = flaky.call("HGET", NAMES.leases, "a")
    assert flaky.call("ZSCORE", NAMES.schedule, "a") == (None if raw.score is None else float(raw.score))
    assert flaky.call("ZSCORE", NAMES.claimed, "a") == raw.deadline
    assert (record and record.decode().replace(leased.fence if leased else "", FENCE)) == raw.record
    assert flaky.call("HGET", NAMES.dead, "a") == (raw.letter and str(raw.letter).encode())
    assert flaky.call("HGET", NAMES.data, "a") == (raw.data and raw.data.encode())
