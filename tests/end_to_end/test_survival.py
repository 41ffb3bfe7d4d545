"""Claims survive: workers are killed, stalled and cut off in the middle of work, and their server is killed.

`python -m pytest tests/end_to_end/test_survival.py -m "slow or not slow" -rP --show-capture=stdout` shows the counts.
A failing test shows its seed; `SURVIVAL_SEED=... python -m pytest ...` draws the same random numbers again.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from rx_runat.store.client import TRIES
from rx_runat.store.keys import claimed_key
from tests.support.proxy import Proxy, script_argument
from tests.support.servers import Server
from tests.support.waiting import wait_until
from tests.support.work_log import WorkLog
from tests.support.worker_pool import LONG, WorkerPool

Q = "RunAt~default"
HOUR = 3600.0

Record = Callable[[str, object], None]
pytestmark = pytest.mark.timeout(120)
slow = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def rng() -> random.Random:
    seed = int(os.environ.get("SURVIVAL_SEED", random.SystemRandom().randrange(2**32)))
    print(f"SURVIVAL_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[WorkLog]:
    log = WorkLog(tmp_path / "log")
    yield log
    log.close()


def wait_at_random(rng: random.Random, seconds: float = 0.02) -> None:
    """Wait for a random time up to `seconds`; the default is longer than any step of a claim."""
    threading.Event().wait(rng.uniform(0, seconds))


by_hand_and_by_settle = pytest.mark.parametrize("settles", [False, True], ids=["by-hand", "by-settle"])

# Workers that are killed.


@pytest.mark.parametrize(
    "settles, keys, kills, lease",
    [
        pytest.param(True, 300, 2, 0.5, id="by-settle-quick"),
        pytest.param(True, 5000, 20, 1.0, id="by-settle-full", marks=slow),
        pytest.param(False, 5000, 20, 1.0, id="by-hand-full", marks=slow),
    ],
)
def test_workers_killed_at_random_lose_nothing(
    settles: bool,
    keys: int,
    kills: int,
    lease: float,
    server: Server,
    client: redis.Redis,
    log: WorkLog,
    rng: random.Random,
    record_property: Record,
) -> None:
    with WorkerPool(server.url, client, log, rng, lease=lease, settles=settles) as pool:
        pool.schedule(keys)
        pool.start(3)
        for milestone in pool.random_milestones(kills):
            victim = rng.choice(pool.busy_at(milestone))
            wait_at_random(rng)
            pool.kill(victim)
            pool.start()
        summary = pool.end(receipts=kills)
    summary.show(record_property, kills=kills)
    assert summary.unsettled_by_kill > 0


@pytest.mark.parametrize(
    "settles, dies, come_again, twice",
    [
        pytest.param(False, "claimed", 10, 0, id="by-hand-claimed", marks=slow),
        pytest.param(False, "done", 10, 1, id="by-hand-done", marks=slow),
        pytest.param(False, "acked", 9, 0, id="by-hand-acked", marks=slow),
        pytest.param(True, "claimed", 10, 0, id="by-settle-claimed", marks=slow),
        pytest.param(True, "done", 10, 1, id="by-settle-done", marks=slow),
        # After `acked`, settle has gone on with other claims, as it should; with how many is chance.
    ],
)
def test_the_claims_of_a_killed_worker_come_again_when_their_leases_end(
    settles: bool,
    dies: str,
    come_again: int,
    twice: int,
    server: Server,
    client: redis.Redis,
    log: WorkLog,
    rng: random.Random,
    record_property: Record,
) -> None:
    """They come to a worker whose next heartbeat is in an hour, and which stood still while they were claimed.

    Only the end of the leases can wake its source.
    """
    with WorkerPool(server.url, client, log, rng, interval=HOUR, settles=settles) as pool:
        other = pool.start(lease=HOUR)
        victim = pool.start(lease=0.5, threads=1, dies=dies, dies_at=10 if dies == "claimed" else 1, waits=True)
        wait_until(
            lambda: sum("t" in each["flags"] for each in client.client_list()) == 2,
            "both sources sleep and are tracked",
        )
        other.stall()
        pool.schedule(10)
        if dies != "claimed":
            wait_until(lambda: len(log.lines_of(victim.pid, "claimed")) == 10, "it has claimed all of them")
            victim.open_gate()
        wait_until(victim.is_dead, "the worker has died")
        other.go_on()
        pool.kill(victim)
        summary = pool.end(receipts=1)
        came = log.lines_of(other.pid, "claimed")
    # `settle` gives back the first claim of a source, which counts too early, and claims it once more.
    assert list(dict.fromkeys((line.key, line.attempt) for line in came)) == [
        (key, 2) for key in pool.keys[-come_again:]
    ]
    assert summary.twice == summary.by_kill == twice
    summary.show(record_property)


# Workers that stall.


@pytest.mark.slow
@by_hand_and_by_settle
def test_the_late_acks_of_a_stalled_worker_return_false_and_harm_nobody(
    settles: bool, server: Server, client: redis.Redis, log: WorkLog, rng: random.Random, record_property: Record
) -> None:
    """When it goes on, its lease has ended: half of its keys are done by others, half are claimed by others.

    Now it renews and acks all ten.
    """
    with WorkerPool(server.url, client, log, rng, settles=settles) as pool:
        pool.schedule(10)
        stalled = pool.start(lease=0.5, threads=10, waits=True, renews=not settles)
        wait_until(lambda: len(log.lines_of(stalled.pid, "begun")) == 10, "it works on all of them", LONG)
        stalled.stall()
        holder = pool.start(lease=HOUR, in_flight=5, waits=True)
        wait_until(lambda: len(log.unsettled(holder.pid)) == 5, "a second worker has claimed five", LONG)
        quick = pool.start(lease=HOUR)
        wait_until(lambda: len(log.lines_of(quick.pid, "acked")) == 5, "a third worker has done the other five", LONG)
        held = client.zrange(claimed_key(Q), 0, -1, withscores=True)
        stalled.open_gate()
        stalled.go_on()
        pool.finish(stalled)
        assert len(log.lines_of(stalled.pid, "lost")) == len(log.lines_of(stalled.pid, "begun"))
        assert client.zrange(claimed_key(Q), 0, -1, withscores=True) == held
        assert len(held) == 5
        holder.open_gate()
        summary = pool.end()
    assert len(log.lines_of(holder.pid, "acked")) == 5
    assert summary.by_lease == 10
    summary.show(record_property)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_workers_that_stall_at_random_lose_nothing(
    server: Server, client: redis.Redis, log: WorkLog, rng: random.Random, record_property: Record
) -> None:
    """Each goes on at the very moment at which its leases end."""
    with WorkerPool(server.url, client, log, rng, settles=True) as pool:
        pool.schedule(2000)
        pool.start(3)
        for milestone in pool.random_milestones(8):
            stalled = rng.choice(pool.busy_at(milestone))
            wait_at_random(rng)
            stalled.stall()
            ends = max((line.ends for line in log.unsettled(stalled.pid)), default=0)
            wait_until(lambda: now_ms(client) >= ends, "its leases have ended")  # noqa: B023
            stalled.go_on()
        summary = pool.end()
    summary.show(record_property, stalls=8)


def now_ms(client: redis.Redis) -> int:
    seconds, microseconds = client.time()
    return seconds * 1000 + microseconds // 1000


# A server that is killed.


@pytest.mark.parametrize(
    "settles, fsync, keys, kills",
    [
        pytest.param(False, "always", 3000, 10, id="by-hand-always-full", marks=slow),
        pytest.param(True, "always", 3000, 10, id="by-settle-always-full", marks=slow),
        pytest.param(True, "everysec", 3000, 10, id="by-settle-everysec-full", marks=slow),
    ],
)
def test_a_server_killed_and_restarted_on_its_append_only_file_loses_nothing(
    settles: bool, fsync: str, keys: int, kills: int, log: WorkLog, rng: random.Random, record_property: Record
) -> None:
    """`always` keeps every acknowledged write; `everysec` may lose some, and then work is done twice."""
    server = Server("--appendfsync", fsync)
    try:
        with server.client() as client, WorkerPool(server.url, client, log, rng, lease=0.5, settles=settles) as pool:
            pool.schedule(keys)
            pool.start(3)
            for milestone in pool.random_milestones(kills):
                pool.busy_at(milestone)
                wait_at_random(rng)
                server.kill()
                wait_at_random(rng, 0.2)
                server.start()
            summary = pool.end(server_forgot=fsync != "always", receipts=3 * kills)
    finally:
        server.end()
    summary.show(record_property, kills=kills)


# Replies that are cut.


@pytest.mark.parametrize(
    "settles, keys, times",
    [
        pytest.param(True, 3000, 200, id="by-settle-full", marks=slow),
        pytest.param(False, 3000, 200, id="by-hand-full", marks=slow),
    ],
)
def test_workers_whose_replies_are_cut_at_random_lose_nothing(
    settles: bool,
    keys: int,
    times: int,
    proxy: Proxy,
    client: redis.Redis,
    log: WorkLog,
    rng: random.Random,
    record_property: Record,
) -> None:
    with WorkerPool(proxy.url, client, log, rng, renews=not settles, settles=settles) as pool:
        pool.schedule(keys)
        pool.start(3)
        for milestone in pool.random_milestones(times):
            pool.busy_at(milestone)
            proxy.of = rng.choice([b":receipt:", script_argument("ack"), script_argument("extend")])
            proxy.cut = rng.randint(1, TRIES + 1)
        proxy.cut = 0
        summary = pool.end(receipts=proxy.cuts)
    summary.show(record_property, cuts=proxy.cuts)
    assert proxy.cuts > 0


# All faults together.


@pytest.mark.slow
@pytest.mark.timeout(300)
@by_hand_and_by_settle
def test_everything_at_once_loses_nothing(
    settles: bool, log: WorkLog, rng: random.Random, record_property: Record
) -> None:
    server = Server("--appendfsync", "always")
    proxy = Proxy(server)
    faults = rng.choices(["kill", "stall", "server", "cut"], k=40)
    stalled = None
    try:
        with (
            server.client() as client,
            WorkerPool(proxy.url, client, log, rng, renews=not settles, settles=settles) as pool,
        ):
            pool.schedule(4000)
            pool.start(4)
            for milestone, fault in zip(pool.random_milestones(len(faults)), faults, strict=True):
                victim = rng.choice(pool.busy_at(milestone))
                wait_at_random(rng)
                if stalled:
                    stalled.go_on()
                    stalled = None
                if fault == "kill":
                    pool.kill(victim)
                    pool.start()
                elif fault == "stall":
                    stalled = victim
                    stalled.stall()
                elif fault == "server":
                    server.kill()
                    wait_at_random(rng, 0.2)
                    server.start()
                else:
                    proxy.of = rng.choice([b":receipt:", script_argument("ack"), script_argument("extend")])
                    proxy.cut = rng.randint(1, TRIES + 1)
            if stalled:
                stalled.go_on()
            proxy.cut = 0
            summary = pool.end(receipts=4 * len(faults))
    finally:
        proxy.end()
        server.end()
    summary.show(record_property, cuts=proxy.cuts, **{fault: faults.count(fault) for fault in sorted(set(faults))})
