"""rx_runat: the plain stream with an interval of 5 s, which changes nothing but the cost of idleness."""

from __future__ import annotations

from tests.benchmarks.peers.apps.stream import BACKLOG, PACKAGES, main, schedule

__all__ = ["BACKLOG", "LOOKS", "PACKAGES", "PROMISES", "WORKER", "schedule"]

WORKER = ["-m", "tests.benchmarks.peers.apps.long_interval"]
LOOKS = "an alarm at the next due time, and every 5 s"
PROMISES = "the same: every write wakes it"

if __name__ == "__main__":
    main(interval=5)
