"""rx_runat: `claims` with `settle`, for work that must survive.

Its promises are those of the README's table, each with its test.
"""

from __future__ import annotations

from reactivex import operators as ops

from rx_runat import RunAt, settle, signals
from tests.benchmarks.peers.apps.stream import LOOKS, PACKAGES, schedule
from tests.benchmarks.peers.jobs import URL, note

__all__ = ["BACKLOG", "LOOKS", "PACKAGES", "PROMISES", "WORKER", "schedule"]

WORKER = ["-m", "tests.benchmarks.peers.apps.claims"]
PROMISES = (
    "at least once: the jobs of a killed worker come again when their leases end, within 30 s; one that raises comes "
    "again after a backoff, 5 attempts in all, and is then a dead letter; on Redis's clock"
)
BACKLOG = 50_000


def main() -> None:
    """Settle until SIGTERM."""
    with RunAt(URL) as queue:
        work = settle(lambda claim: note(claim.key), until=signals())
        queue.claims().pipe(work, ops.count()).run()


if __name__ == "__main__":
    main()
