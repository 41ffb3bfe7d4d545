"""rx_runat: the plain stream, with its default interval.

Its promises are those of the README's table, each with its test.
"""

from __future__ import annotations

from reactivex import operators as ops

from rx_runat import Job, RunAt, signals
from tests.benchmarks.peers.jobs import URL, Jobs, note

WORKER = ["-m", "tests.benchmarks.peers.apps.stream"]
PACKAGES = ["redis"]
LOOKS = "an alarm at the next due time, and every 0.1 s"
PROMISES = (
    "at most once: a killed worker loses what it takes in a tenth of a second; a stopped one hands back what it has "
    "not delivered; on Redis's clock"
)
BACKLOG = 500_000


def main(interval: float = 0.1) -> None:
    """Receive until SIGTERM."""
    with RunAt(URL, interval=interval) as queue:
        queue.subscribe(note)
        signals().pipe(ops.first()).run()


def schedule(jobs: Jobs) -> None:
    """In lists of 1,000, each one round trip."""
    with RunAt(URL) as queue:
        for first in range(0, len(jobs), 1000):
            queue.on_next([Job(key, run_at) for key, run_at in jobs[first : first + 1000]])


if __name__ == "__main__":
    main()
