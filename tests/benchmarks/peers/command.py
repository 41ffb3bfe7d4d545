"""What `--peers` does: measure each queue in turn, on the same server, and print one table."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.bench import Bench
from tests.benchmarks.peers.measure import Figures, measure
from tests.benchmarks.peers.peer import OURS, PEERS, ROOT, Peer, find
from tests.benchmarks.peers.table import peers_table

REQUIREMENTS = Path(__file__).with_name("requirements.txt").relative_to(ROOT)
HOME = ".venv-peers"  # an environment of their own, because arq and saq want an older redis-py than rx_runat does
INSTALL = f"python3 -m venv {HOME} && {HOME}/bin/pip install -r {REQUIREMENTS}"


def default_python() -> str:
    """The Python of the peers' environment where there is one, else this process's."""
    theirs = ROOT / HOME / "bin" / "python"
    return str(theirs) if theirs.exists() else sys.executable


def run(bench: Bench, names: Sequence[str], python: str, origin: str) -> list[str]:
    """Measure ours and those peers that are installed, print the table, and return the names of those that failed.

    Args:
        bench: the server to measure on.
        names: of apps; empty: all of them.
        python: the path of the Python that has the peers.
        origin: the line that tells of this machine.
    """
    peers, absent = find(names or (*OURS, *PEERS), python)
    for name, why in absent.items():
        print(f"{name} is absent: {why}", file=sys.stderr)
    if absent:
        print(f"to install the peers: {INSTALL}", file=sys.stderr)
    rows: dict[Peer, Figures] = {}
    failed: list[str] = []
    try:
        for peer in peers:
            print(f"{peer.name} ...", file=sys.stderr, flush=True)
            try:
                rows[peer] = measure(bench, peer)
            except Exception:
                traceback.print_exc()
                failed.append(peer.name)
    finally:  # also after Ctrl-C
        versions = sorted({version for peer in rows if peer.name in PEERS for version in peer.versions})
        print(f"{origin}{'; the peers: ' if versions else ''}{', '.join(versions)}\n\n{peers_table(rows)}")
        if absent:
            print(f"\nabsent: {', '.join(absent)}; to install them: {INSTALL}")
    return failed
