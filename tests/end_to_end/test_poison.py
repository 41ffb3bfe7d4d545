"""A crash blames only the work that had begun: real processes, whose work ends them, or which are deployed anew."""

from __future__ import annotations

import random
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from rx_runat import RunAt
from rx_runat.store.keys import claimed_key
from tests.support.servers import Server
from tests.support.waiting import wait_until
from tests.support.work_log import WorkLog
from tests.support.worker_pool import LONG, WorkerPool

Q = "RunAt~default"
ATTEMPTS = 5

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[WorkLog]:
    log = WorkLog(tmp_path / "log")
    yield log
    log.close()


@pytest.fixture
def pool(server: Server, client: redis.Redis, log: WorkLog) -> Iterator[WorkerPool]:
    """Workers with 100 claims in flight, of which they work on 8 at once."""
    settings = {"lease": 2.0, "in_flight": 100, "threads": 8, "settles": True, "attempts": ATTEMPTS}
    with WorkerPool(server.url, client, log, random.Random(0), **settings) as pool:
        yield pool


def living_leases(client: redis.Redis) -> int:
    seconds, microseconds = client.time()
    return client.zcount(claimed_key(Q), seconds * 1000 + microseconds // 1000, "+inf")


def highest_attempts(log: WorkLog, event: str) -> dict[str, int]:
    attempts: dict[str, int] = defaultdict(int)
    for line in log.read():
        if line.event == event:
            attempts[line.key] = max(attempts[line.key], line.attempt)
    return attempts


@pytest.mark.slow
@pytest.mark.parametrize("starts", ["at once", "after the leases have ended"])
def test_23_a_key_whose_work_kills_its_process_buries_only_itself(
    pool: WorkerPool, make: Callable[..., RunAt], client: redis.Redis, log: WorkLog, starts: str
) -> None:
    """The key is the third of 100, so that it begins together with the same neighbours each time."""
    queue = make()
    poison = "k000002"
    pool.schedule(100)
    deaths = 0
    pool.start(poison=poison)

    def is_empty() -> bool:
        return not queue.size() and not client.exists(claimed_key(Q))

    while not is_empty():
        wait_until(lambda: pool.workers[0].is_dead() or is_empty(), "the worker is dead, or all is settled", LONG)
        if pool.workers[0].is_dead():
            pool.kill(pool.workers[0])
            deaths += 1
            if starts != "at once":
                wait_until(lambda: not living_leases(client), "the leases have ended", LONG)
            pool.start(poison=poison)
    pool.finish(pool.workers[0])
    assert [(letter.key, deaths) for letter in queue.dead.peek()] == [(poison, ATTEMPTS)]
    attempts = highest_attempts(log, "begun")
    assert attempts.pop(poison) == ATTEMPTS
    assert log.done == attempts.keys() == set(pool.keys) - {poison}
    assert max(attempts.values()) <= 2


@pytest.mark.slow
def test_23_five_deploys_in_the_middle_of_healthy_work_bury_nothing(pool: WorkerPool, log: WorkLog) -> None:
    """Most of the keys wait in the same place through all five."""
    pool.schedule(100)
    worker = pool.start()
    for milestone in (3, 6, 9, 12, 15):
        pool.busy_at(milestone)
        pool.kill(worker, signal.SIGTERM)
        worker = pool.start()
    pool.end(receipts=5)
    assert max(highest_attempts(log, "claimed").values()) <= ATTEMPTS
