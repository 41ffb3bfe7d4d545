"""Jobs that are due at once."""

from __future__ import annotations

from rx_runat import Job

PAST = 1.0  # epoch seconds


def overdue_jobs(n: int) -> list[Job]:
    """Returns n jobs that have been due for long, in the order of their keys."""
    return [Job(f"k{number:06}", PAST) for number in range(n)]
