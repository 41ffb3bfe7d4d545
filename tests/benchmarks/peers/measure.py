"""The four measurements of a peer: how fast it drains, how late it is, what idleness and what a scheduled job cost."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass

from tests.benchmarks.bench import Bench, middle, percentile
from tests.benchmarks.peers.jobs import Jobs
from tests.benchmarks.peers.peer import Peer
from tests.benchmarks.peers.worker import Worker

HOUR = 3600.0


@dataclass(frozen=True)
class Figures:
    """What was measured of a peer.

    Attributes:
        drain: jobs a second, of a backlog of due jobs; the median of the repeats.
        earliest: ms from its moment to the run of a job, the least of all repeats; below 0 if it ran early.
        p50, p99: ms of lateness, of the jobs of all repeats.
        commands: of the server, each second while nothing is due, with those inside scripts.
        server: CPU of the server meanwhile, in % of a core.
        worker: CPU of the worker's processes meanwhile, in % of a core; None where it is not known.
        size: bytes in Redis for each scheduled job.
    """

    drain: float
    earliest: float
    p50: float
    p99: float
    commands: float
    server: float
    worker: float | None
    size: float


def measure(bench: Bench, peer: Peer) -> Figures:
    """Measure a peer; each measurement on an empty server, with a worker of its own."""
    repeats = range(min(bench.repeats, 3))
    drains = [bench.sample(lambda: _drain(bench, peer)) for _ in repeats]
    late = [each for _ in repeats for each in bench.sample(lambda: _lateness(bench, peer))]
    idle = bench.sample(lambda: _idle(bench, peer))
    return Figures(middle(drains), min(late), percentile(late, 50), percentile(late, 99), *idle)


def _drain(bench: Bench, peer: Peer) -> float:
    """From the first job's run to the last one's, so without the start of the worker."""
    jobs = _jobs(bench.pick(peer.backlog, 50), [time.time() - 1])
    peer.schedule(bench.server.url, jobs)
    with Worker(peer, bench.server.url) as worker:
        got = worker.wait(len(jobs))
    _check(got, jobs)
    moments = [moment for _, moment in got]
    return (len(jobs) - 1) / (max(moments) - min(moments))


def _lateness(bench: Bench, peer: Peer) -> list[float]:
    """Jobs at random moments of some seconds, all scheduled before the first is due, by a worker that runs already."""
    count, ahead, seconds = bench.pick((200, 3.0, 5.0), (10, 1.5, 0.5))
    rng = random.Random(0)
    with Worker(peer, bench.server.url) as worker:
        probe = _ready(bench, peer, worker)
        start = time.time() + ahead
        jobs = _jobs(count, [start + rng.uniform(0, seconds) for _ in range(count)])
        peer.schedule(bench.server.url, jobs)
        assert time.time() < start, "the jobs were not scheduled in time"
        got = worker.wait(count + len(probe))
    _check(got, probe + jobs)
    due = dict(jobs)
    return [(moment - due[key]) * 1000 for key, moment in got if key in due]


def _idle(bench: Bench, peer: Peer) -> tuple[float, float, float | None, float]:
    """A worker beside jobs that are due in an hour: commands a second, the server's CPU, the worker's, bytes a job."""
    count, settle, seconds = bench.pick((1_000, 4.0, 10.0), (100, 0.5, 0.5))
    with Worker(peer, bench.server.url) as worker:
        _ready(bench, peer, worker)
        threading.Event().wait(settle)
        before = _bytes(bench)
        peer.schedule(bench.server.url, _jobs(count, [time.time() + HOUR]))
        threading.Event().wait(settle)
        size = (_bytes(bench) - before) / count
        commands, server, cpu, began = *_spent(bench), worker.cpu(), time.monotonic()
        threading.Event().wait(seconds)
        commands_after, server_after, cpu_after, took = *_spent(bench), worker.cpu(), time.monotonic() - began
    share = None if cpu is None or cpu_after is None else (cpu_after - cpu) / took * 100
    return (commands_after - commands - 1) / took, (server_after - server) / took * 100, share, size


def _jobs(count: int, moments: list[float]) -> Jobs:
    """So many jobs at these moments, which begin again where there are fewer."""
    return [(f"job:{number:06}", moments[number % len(moments)]) for number in range(count)]


def _ready(bench: Bench, peer: Peer, worker: Worker) -> Jobs:
    """Wait until the worker has run a job; returns that job."""
    probe = [("job:999999", time.time())]
    peer.schedule(bench.server.url, probe)
    worker.wait(1)
    return probe


def _check(got: Jobs, jobs: Jobs) -> None:
    assert sorted(key for key, _ in got) == sorted(key for key, _ in jobs), "a job is missing, or ran twice"


def _spent(bench: Bench) -> tuple[int, float]:
    """Returns how many commands the server has run, and its CPU seconds."""
    info = bench.client.info()
    return info["total_commands_processed"], info["used_cpu_user"] + info["used_cpu_sys"]


def _bytes(bench: Bench) -> int:
    return sum(bench.client.memory_usage(key, samples=0) or 0 for key in bench.client.scan_iter(count=1000))
