"""The Lua scripts, and what a server does when they run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

from rx_runat.store import candidates, claimers, dead_letter_store, overview, verbs
from tests.support.servers import Server

SCRIPTS = {
    "cancel": verbs.CANCEL,
    "claim": claimers.CLAIM,
    "gc": verbs.GC,
    "page": verbs.PAGE,
    "hand_back": claimers.HAND_BACK,
    "lease": claimers.LEASE,
    "locate": overview.LOCATE,
    "measure": candidates.MEASURE,
    "peek": verbs.PEEK,
    "revive": dead_letter_store.REVIVE,
    "schedule": verbs.SCHEDULE,
    "settle": verbs.SETTLE,
    "snapshot": overview.SNAPSHOT,
    "stats": overview.STATS,
    "take": candidates.TAKE,
}


def lua(name: str) -> str:
    """Returns the text of a file in `lua/`."""
    return files("rx_runat.store").joinpath("lua", f"{name}.lua").read_text()


def watched(server: Server, act: Callable[[], object]) -> list[tuple[str, list[str]]]:
    """The commands that the server ran during `act`: for each, the kind of its client (or `lua`), and its words."""
    with server.client() as asker, server.client() as watcher, watcher.monitor() as monitor:
        act()
        asker.echo("that was all")
        seen: list[tuple[str, list[str]]] = []
        while True:
            each = monitor.next_command()
            if "that was all" in each["command"]:
                return seen
            seen.append((each["client_type"], each["command"].split(" ")))


def runs_of(name: str, seen: Sequence[tuple[str, list[str]]]) -> list[list[str]]:
    """The ARGV of each run of a script."""
    calls = [words for kind, words in seen if kind != "lua" and words[0].upper() == "EVALSHA"]
    return [words[3 + int(words[2]) :] for words in calls if words[1] == SCRIPTS[name].sha]


def inside(server: Server, act: Callable[[], object]) -> list[str]:
    """The commands that scripts ran during `act`."""
    return [words[0].upper() for kind, words in watched(server, act) if kind == "lua"]


def used_commands() -> frozenset[str]:
    """The commands in the text of the scripts and of the store, in lower case; without subcommands."""
    store = Path(__file__).parents[2] / "rx_runat" / "store"
    used = {"hello", "eval", "evalsha"}
    for script in store.glob("lua/*.lua"):
        used |= {name.lower() for name in re.findall(r"\w\('([A-Z]+)'", script.read_text())}
    for module in store.glob("*.py"):
        used |= {name.lower() for name in re.findall(r'(?:call\(|Request\(\()"(\w+)"', module.read_text())}
        if module.name in ("ahead.py", "candidates.py"):  # they write lists of commands
            used |= {name.lower() for name in re.findall(r'[\[ ]\("([A-Z]+)"', module.read_text())}
    return frozenset(used)
