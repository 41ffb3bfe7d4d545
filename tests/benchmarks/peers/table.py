"""The peers' figures as one Markdown table."""

from __future__ import annotations

from collections.abc import Mapping

from tests.benchmarks.peers.measure import Figures
from tests.benchmarks.peers.peer import Peer
from tests.benchmarks.table import aligned, number

HEAD = (
    *("queue", "looks for due jobs", "drain, jobs/s", "late, p50 ms", "p99 ms", "earliest ms", "idle: commands/s"),
    *("server, % of a core", "worker, % of a core", "bytes a job", "what it promises, by default"),
)


def peers_table(rows: Mapping[Peer, Figures]) -> str:
    """Returns the table, a row for each peer."""
    return aligned([HEAD, *(_cells(peer, figures) for peer, figures in rows.items())])


def _cells(peer: Peer, figures: Figures) -> tuple[str, ...]:
    worker = "unknown" if figures.worker is None else number(figures.worker)
    numbers = (figures.drain, figures.p50, figures.p99, figures.earliest, figures.commands, figures.server)
    return peer.title, peer.looks, *map(number, numbers), worker, number(figures.size), peer.promises
