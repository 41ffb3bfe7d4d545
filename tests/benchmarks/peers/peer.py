"""An app, as this process sees it: it runs the app's programs, and imports none of its packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.peers.jobs import Jobs

ROOT = Path(__file__).parents[3]
OURS = ("stream", "long_interval", "claims")
PEERS = ("huey", "arq", "saq", "rq", "dramatiq")
TITLES = {"stream": "rx_runat", "long_interval": "rx_runat, interval=5", "claims": "rx_runat, claims and settle"}


@dataclass(frozen=True)
class Peer:
    """One row of the table.

    Attributes:
        name: of the app's file.
        python: the path of the Python that runs it.
        title: what the table calls it.
        versions: of its packages.
        worker: Python's arguments that start a worker.
        looks: how the worker finds what is due.
        promises: what a user can rely on.
        backlog: how many jobs a drain takes.
    """

    name: str
    python: str
    title: str
    versions: tuple[str, ...]
    worker: tuple[str, ...]
    looks: str
    promises: str
    backlog: int

    def schedule(self, url: str, jobs: Jobs) -> None:
        """Let the app schedule jobs, in a process of its own."""
        command = [self.python, "-m", "tests.benchmarks.peers.app", self.name, "schedule"]
        done = subprocess.run(
            command, cwd=ROOT, env=environment(url), input=json.dumps(jobs), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]


def environment(url: str, **others: str) -> dict[str, str]:
    """The environment of an app's processes: it finds this folder and the server, and says all it has to say."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PEER_URL": url, "RQ_REDIS_URL": url, **others}


def find(names: Iterable[str], python: str) -> tuple[list[Peer], dict[str, str]]:
    """Returns the apps that can run, and for each other one why not.

    Args:
        names: of apps.
        python: the path of the Python that has the peers' packages; our own apps run under this process's.
    """
    found: list[Peer] = []
    absent: dict[str, str] = {}
    for name in names:
        executable = sys.executable if name in OURS else python
        command = [executable, "-m", "tests.benchmarks.peers.app", name, "describe"]
        done = subprocess.run(
            command, cwd=ROOT, env=environment("redis://"), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        told = json.loads(done.stdout)
        if "missing" in told:
            absent[name] = told["missing"]
        else:
            versions, worker = tuple(told.pop("versions")), tuple(told.pop("worker"))
            title = TITLES.get(name, versions[0])
            found.append(Peer(name, executable, title, versions=versions, worker=worker, **told))
    return found, absent
