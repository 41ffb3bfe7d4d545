"""Promise 19, a refusal changes nothing: every verb meets every fault, one at a time, on every kind of server."""

from __future__ import annotations

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
    wrong_type,
)
from tests.support.scripts import used_commands
from tests.support.verb_table import Verb, each_verb

COMMANDS = sorted({*used_commands(), "ping", "select", "client|tracking", "client|setinfo"})


def complaints(laboratory: Laboratory, verb: Verb, faults: list[Fault]) -> list[str]:
    usual = laboratory.complaint(verb, NONE)
    return [usual] if usual else [found for fault in faults if (found := laboratory.complaint(verb, fault))]


@each_verb()
def test_19_a_forbidden_command_changes_nothing(laboratory: Laboratory, verb: Verb) -> None:
    """Any command that a script or the store uses, one at a time; permitted again, the same verb works."""
    commands = set(filter(laboratory.can_forbid, COMMANDS))
    used = laboratory.some([*COMMANDS], 0) or laboratory.commands_of(verb)  # what is not asked for is no fault
    assert complaints(laboratory, verb, list(map(forbidden, sorted(commands.intersection(used))))) == []


@each_verb()
def test_19_a_wrong_type_changes_nothing(laboratory: Laboratory, verb: Verb) -> None:
    """At any of our names, the receipt of the source included; taken away again, the same verb works."""
    names = RIGHT | ({RECEIPT: "string"} if laboratory.has_receipt(verb) else {})
    kinds = laboratory.some(list(WRONG), 3)
    assert (
        complaints(
            laboratory,
            verb,
            [wrong_type(name, kind) for name, right in names.items() for kind in kinds if kind != right],
        )
        == []
    )


@each_verb()
def test_19_a_full_or_read_only_server_changes_nothing(laboratory: Laboratory, verb: Verb) -> None:
    """A full server refuses to schedule, and nothing else; a read-only one permits what only reads."""
    assert complaints(laboratory, verb, [FULL, DEMOTED]) == []
    assert laboratory.refuses(verb, FULL) == verb.adds
    assert laboratory.refuses(verb, DEMOTED) == (not verb.reads)
