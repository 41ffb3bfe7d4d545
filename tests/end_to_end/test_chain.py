"""A chain of runs goes on, whatever happens to the processes that work on it, and to what Redis answers them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
import redis

from rx_runat import RunAt
from rx_runat.store.keys import claimed_key
from tests.support.proxy import Proxy, script_argument
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"
PERIOD_MS = 100
LEASE = 0.5
LONG = 60.0  # seconds, on a busy machine
ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


class Line(NamedTuple):
    """A line of the workers' log: a run, by its run_at, and when it was claimed; both epoch milliseconds."""

    event: str
    run_at: int
    claimed: float


class Chain:
    """Worker processes on one chain, and what they have logged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()
        self._workers: list[subprocess.Popen[bytes]] = []

    def start(self, url: str, n: int = 1) -> None:
        command = [sys.executable, "-m", "tests.support.chain_worker", url, str(self._path), str(PERIOD_MS / 1000)]
        self._workers += [subprocess.Popen([*command, str(LEASE)], cwd=ROOT, stdin=subprocess.PIPE) for _ in range(n)]

    def kill_all(self) -> None:
        for worker in self._workers:
            worker.kill()
            worker.communicate()
        self._workers.clear()

    def finish(self) -> None:
        while self._workers:
            worker = self._workers.pop()
            worker.communicate()
            assert worker.returncode == 0

    def lines(self) -> list[Line]:
        words = [line.split() for line in self._path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return [Line(event, int(run_at), float(claimed)) for event, run_at, claimed in words]

    def wait_for_runs(self, more: int) -> None:
        """Wait until so many more runs are done."""
        before = sum(line.event == "done" for line in self.lines())
        wait_until(
            lambda: sum(line.event == "done" for line in self.lines()) >= before + more, f"{more} more runs", LONG
        )

    def wait_for(self, event: str) -> None:
        """Wait until the last line that is logged tells of such an event."""
        seen = len(self.lines())
        wait_until(
            lambda: len(lines := self.lines()) > seen and lines[-1].event == event, f"the last line is {event}", LONG
        )

    def check(self) -> None:
        """Each run follows the one before: at the first slot after the moment at which that one was claimed last.

        So no run is lost, none is doubled, and no second seed has moved the chain.
        """
        last: dict[int, float] = {}  # run_at -> when the run was claimed last
        for line in self.lines():
            if line.event == "begun":
                assert not last or line.run_at >= max(last)
                last[line.run_at] = line.claimed
        runs = list(last)
        for run_at, following in pairwise(runs):
            slots = int((last[run_at] - run_at) // PERIOD_MS) + 1
            assert following == run_at + slots * PERIOD_MS
        done = {line.run_at for line in self.lines() if line.event == "done"}
        assert done >= set(runs[:-1])


class Watch:
    """Looks at Redis all the time: the key waits or is out at each moment; else the chain is broken."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.broken = False
        self.looks = 0

    def _look(self) -> None:
        while not self._stop.wait(0.001):
            both = self._client.pipeline(transaction=True).zscore(Q, "tick").zscore(claimed_key(Q), "tick").execute()
            self.broken = self.broken or both == [None, None]
            self.looks += 1

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    chain = Chain(tmp_path / "log")
    yield chain
    chain.kill_all()


@pytest.fixture
def begun(chain: Chain, server: Server, make: Callable[..., RunAt]) -> RunAt:
    """Two workers that have begun the chain at once; the queue shows what is in Redis."""
    queue = make()
    chain.start(server.url, 2)
    chain.wait_for_runs(3)
    return queue


def test_27_a_chain_survives_kill_9_in_the_work(
    chain: Chain, begun: RunAt, server: Server, client: redis.Redis
) -> None:
    with Watch(client) as watch:
        for _ in range(3):
            chain.wait_for("begun")
            chain.kill_all()
            chain.start(server.url, 2)
            chain.wait_for_runs(3)
    chain.finish()
    assert (watch.broken, watch.looks > 100) == (False, True)
    assert begun.when("tick") is not None
    chain.check()


def test_27_a_chain_survives_kill_9_between_two_runs(
    chain: Chain, begun: RunAt, server: Server, client: redis.Redis
) -> None:
    with Watch(client) as watch:
        for _ in range(3):
            chain.wait_for("done")
            wait_until(lambda: not client.zcard(claimed_key(Q)), "the run is over", LONG)
            chain.kill_all()
            chain.start(server.url, 2)
            chain.wait_for_runs(3)
    chain.finish()
    assert not watch.broken
    assert begun.when("tick") is not None
    chain.check()


def test_27_a_chain_survives_answers_that_are_cut(
    chain: Chain, server: Server, client: redis.Redis, proxy: Proxy, make: Callable[..., RunAt]
) -> None:
    """Each of six acks is answered by a closed connection: once, or so often that another sending has to be made."""
    queue = make()
    chain.start(proxy.url, 2)
    chain.wait_for_runs(3)
    with Watch(client) as watch:
        for cut in (1, 1, 2, 3, 3, 4):
            proxy.of, proxy.cut = script_argument("ack"), cut
            wait_until(lambda: proxy.cut == 0, "the answers are cut", LONG)
            chain.wait_for_runs(3)
    chain.finish()
    assert proxy.cuts == 14
    assert not watch.broken
    assert queue.when("tick") is not None
    chain.check()


def test_27_workers_that_begin_a_chain_together_begin_one(
    chain: Chain, begun: RunAt, server: Server, client: redis.Redis
) -> None:
    """Each worker that comes begins it, too: while the key waits, and while it is out."""
    with Watch(client) as watch:
        chain.start(server.url, 4)
        chain.wait_for_runs(20)
    chain.finish()
    assert not watch.broken
    assert begun.size() == 1
    chain.check()
