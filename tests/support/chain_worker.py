"""A worker on a chain of runs: `python -m tests.support.chain_worker URL LOG PERIOD LEASE`, both times in seconds.

It begins the chain of the key `tick` with `keep="absent"`, as each worker does. It logs a line when the work of a run
begins and when it is done: `begun` or `done`, the run's run_at and the moment of its claim, both in epoch milliseconds
on Redis's clock. It ends with its input.
"""

from __future__ import annotations

import os
import sys
import threading
from datetime import timedelta

from rx_runat import Claim, RunAt, every, settle


def main(url: str, path: str, period: str, lease: str) -> None:
    """Work until the input ends."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(event: str, claim: Claim) -> None:
        run_at = round(claim.run_at.timestamp() * 1000)
        os.write(log, f"{event} {run_at} {run_at + claim.lateness * 1000:.3f}\n".encode())

    def work(claim: Claim) -> None:
        write("begun", claim)
        threading.Event().wait(0.03)  # stands for work, so that a test can kill this process in the middle of it
        write("done", claim)

    with RunAt(url) as queue:
        queue.claims(lease=float(lease)).pipe(settle(work, again=every(float(period)), max_attempts=1000)).subscribe()
        queue.schedule("tick", timedelta(0), keep="absent")
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
