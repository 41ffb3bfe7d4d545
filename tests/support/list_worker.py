"""A worker that settles lists of claims: `python -m tests.support.list_worker URL LOG POISON LEASE`.

It logs a line for each list whose work begins (`begun`), with the keys and attempts, and one when it ends (`done`). It
kills itself at the work on a list that holds the key POISON, in the first two attempts of that key. It ends with its
input.
"""

from __future__ import annotations

import json
import os
import signal
import sys

from reactivex import operators as ops

from rx_runat import Claim, RunAt, settle


def main(url: str, path: str, poison: str, lease: str) -> None:
    """Work until the input ends."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(event: str, claims: list[Claim]) -> None:
        line = {"event": event, "claims": {claim.key: claim.attempt for claim in claims}}
        os.write(log, json.dumps(line).encode() + b"\n")

    def work(claims: list[Claim]) -> None:
        write("begun", claims)
        if any(claim.key == poison and claim.attempt <= 2 for claim in claims):
            os.kill(os.getpid(), signal.SIGKILL)
        write("done", claims)

    with RunAt(url) as queue:
        queue.claims(lease=float(lease), max_in_flight=1000).pipe(
            ops.buffer_with_time_or_count(0.05, 100), settle(work)
        ).subscribe()
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
