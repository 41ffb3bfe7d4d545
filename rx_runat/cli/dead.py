"""`rx-runat dead`: the keys whose work was given up."""

from __future__ import annotations

import argparse
import json

from rx_runat.cli.lines import with_data
from rx_runat.cli.opening import open_queue
from rx_runat.cli.pipe import print_lines
from rx_runat.cli.standard import print_error
from rx_runat.model.dead_letter import DeadLetter


def dead(options: argparse.Namespace) -> int:
    """Run a verb of the dead letters."""
    with open_queue(options) as queue:
        if options.verb == "peek":
            letters = queue.dead.peek(options.n)
            print_lines(*(_line(letter, options.json) for letter in letters))
            return 0
        if options.verb == "size":
            print_lines(str(queue.dead.size()))
            return 0
        act = queue.dead.revive if options.verb == "revive" else queue.dead.drop
        if options.all:
            print_lines(str(act(None)))
            return 0
        missing = [key for key in options.keys if not act(key)]
    what = "is no dead letter that can be revived" if options.verb == "revive" else "is no dead letter"
    for key in missing:
        print_error(f"{key!r} {what}")
    return 1 if missing else 0


def _line(letter: DeadLetter, as_json: bool) -> str:
    run_at, time = letter.run_at.isoformat(), letter.time.isoformat()
    if not as_json:
        return f"{letter.key} {run_at} {letter.attempts} {time} {letter.reason!r}"
    fields = {"key": letter.key, "run_at": run_at, "attempts": letter.attempts, "time": time, "reason": letter.reason}
    return json.dumps(with_data(fields, letter.data))
