"""Processes that compete for one queue."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import redis

from rx_runat import Job, RunAt
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"

WORKER = """
import sys
from rx_runat import RunAt
with RunAt(sys.argv[1], limit=100) as queue:
    queue.subscribe(lambda key: print(key))
    print("ready", flush=True)
    sys.stdin.readline()
"""


def start_workers(server: Server, n: int) -> list[subprocess.Popen[str]]:
    """Start n processes at once, and wait until each is subscribed."""
    command = [sys.executable, "-c", WORKER, server.url]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(n)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    return workers


def test_four_processes_get_each_of_20_000_keys_exactly_once(server: Server, client: redis.Redis) -> None:
    workers = start_workers(server, 4)
    with RunAt(server.url) as queue:
        for first in range(0, 20_000, 1000):
            queue.on_next([Job(f"k{i}", 1) for i in range(first, first + 1000)])
    wait_until(lambda: client.zcard(Q) == 0, "all keys are taken", 40)
    shares = [worker.communicate("\n")[0].split() for worker in workers]
    assert all(worker.returncode == 0 for worker in workers)
    # A worker that was still to deliver some of its keys when it was told to stop has handed them back.
    left = [member.decode() for member in client.zrange(Q, 0, -1)]
    assert Counter([*left, *(key for share in shares for key in share)]) == Counter(f"k{i}" for i in range(20_000))
    assert client.keys() == [Q.encode()] * bool(left)


def test_a_killed_process_loses_no_more_than_it_held(server: Server, client: redis.Redis) -> None:
    with RunAt(server.url) as queue:
        queue.on_next([Job(f"k{i}", 1) for i in range(1000)])
        command = [sys.executable, "-c", WORKER.replace("print(key)", "__import__('time').sleep(99)"), server.url]
        worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        wait_until(lambda: client.zcard(Q) < 1000, "the worker has claimed")
        worker.kill()
        worker.communicate()
        assert queue.size() == 999
