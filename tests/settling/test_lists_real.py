"""Lists in `settle` in real time: coroutines on event loops, and a process that is killed in its work."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from reactivex import operators as ops

from rx_runat import Claim, Job, Outcome, RunAt, settle
from tests.support.servers import Server
from tests.support.settling import PAST, jobs, verdicts
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]


def test_coroutines_work_on_lists_under_await(make: Callable[..., RunAt], client: redis.Redis) -> None:
    queue = make()
    lists: list[int] = []

    async def work(claims: list[Claim]) -> int:
        lists.append(len(claims))
        await asyncio.sleep(0.01)
        assert await claims[0].aio.bury("by hand")
        return len(claims)

    async def main() -> list[Outcome[int]]:
        return await queue.claims().pipe(ops.buffer_with_count(10), settle(work), ops.take(100), ops.to_list())

    queue.on_next(jobs(100))
    got = asyncio.run(main())
    assert lists == [10] * 10
    assert Counter(each.verdict for each in got) == {"acked": 90, "buried": 10}
    assert {each.result for each in got} == {10}
    assert queue.dead.size() == 10


@pytest.mark.parametrize("fails", [False, True])
def test_a_thousand_keys_are_settled_once_each_in_lists(
    make: Callable[..., RunAt], client: redis.Redis, fails: bool
) -> None:
    queue = make()
    got: list[Outcome[int]] = []

    def work(claims: list[Claim]) -> int:
        if fails and claims[0].attempt == 1:
            raise ValueError("the first attempt")
        return len(claims)

    queue.claims().pipe(
        ops.buffer_with_time_or_count(0.02, 50), settle(work, backoff=lambda _: 0.01, max_attempts=50)
    ).subscribe(got.append)
    queue.on_next(jobs(1000))
    wait_until(lambda: sum(each.verdict == "acked" for each in got) == 1000, "all are acked")
    acked = [each for each in got if each.verdict == "acked"]
    assert sorted(each.claim.key for each in acked) == [job.key for job in jobs(1000)]
    assert fails or verdicts(got) == [(job.key, 1, "acked") for job in jobs(1000)]
    queue.stop()
    assert client.keys() == []


def worker(url: str, log: Path, poison: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.list_worker", url, str(log), poison, "2"]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_23_a_list_that_kills_its_process_blames_its_keys_and_no_others(
    make: Callable[..., RunAt], server: Server, client: redis.Redis, tmp_path: Path
) -> None:
    """5,000 keys; one of them kills its process in two attempts. At most 1,000 claims are out at once."""
    queue, poison = make(), "k02500"
    keys = {f"k{i:05}" for i in range(5000)}
    queue.on_next([Job(key, PAST) for key in sorted(keys)])
    for _ in range(2):
        with worker(server.url, tmp_path / "log", poison) as dying:
            assert dying.wait(60) == -signal.SIGKILL
    with worker(server.url, tmp_path / "log", poison) as last:  # it ends with its input
        wait_until(lambda: all(b":receipt:" in key for key in client.scan_iter()), "every key is settled", 60)
    assert last.returncode == 0

    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    done = {key for line in lines if line["event"] == "done" for key in line["claims"]}
    assert done == keys
    attempts = {key: max(line["claims"].get(key, 0) for line in lines) for key in keys}
    fatal = [line["claims"] for line in lines if line["event"] == "begun" and line["claims"].get(poison, 3) <= 2]
    assert [claims[poison] for claims in fatal] == [1, 2]
    for claims in fatal:
        assert all(attempts[key] > attempt for key, attempt in claims.items()), "all keys of the list count an attempt"
    blamed = fatal[0].keys() & fatal[1].keys()
    assert all(attempts[key] <= 2 for key in keys - fatal[1].keys()), "no other key loses more than one attempt"
    assert attempts[poison] == 3
    assert poison in blamed
    assert sum(attempt == 2 for attempt in attempts.values()) <= 2 * 1000  # two crashes, and what was out at each
