"""Real faults: servers that are full, frozen, demoted or killed, and threads that compete."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
import redis
from reactivex import operators as ops

from rx_runat import Job, Recovered, RunAt, Stopped, StoreError, Unavailable
from tests.support.jobs import overdue_jobs
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"


def test_a_full_server_lets_keys_out_and_back(own_server: Server) -> None:
    with RunAt(own_server.url, interval=0.05, limit=100) as queue, own_server.client() as client:
        queue.on_next(overdue_jobs(1000))
        client.config_set("maxmemory", 1)
        with pytest.raises(Unavailable, match="OOM"):
            queue.on_next(Job("more", 1))
        with pytest.raises(Unavailable, match="OOM"):
            queue.schedule("more", timedelta(seconds=1))
        assert queue.pipe(ops.take(150), ops.count()).run() == 150
        wait_until(lambda: client.zcard(Q) == 850, "the rest is back")
        client.config_set("maxmemory", 0)


def test_a_frozen_server_is_an_outage_that_is_survived(own_server: Server) -> None:
    settings = {"socket_timeout": 0.1}
    with RunAt(own_server.client(**settings), interval=0.05) as queue:
        got: list[str] = []
        notices: list[StoreError] = []
        queue.errors.subscribe(notices.append)
        queue.subscribe(got.append)
        queue.schedule("a", timedelta(seconds=0.2))
        own_server.freeze()
        wait_until(lambda: notices, "the outage is reported")
        own_server.thaw()
        wait_until(lambda: got == ["a"], "the key came")
        assert [type(notice) for notice in notices[1:]] == [Recovered]


def test_ten_threads_that_come_and_go_lose_nothing(make: Callable[..., RunAt], client: redis.Redis) -> None:
    """10 threads subscribe and dispose, 50 times each, while keys flow: each key came or is left, and none is both."""
    queue = make(limit=50)
    queue.on_next(overdue_jobs(20_000))
    got: list[str] = []

    def come_and_go() -> None:
        for _ in range(50):
            seen = threading.Event()

            def take(key: str, seen: threading.Event = seen) -> None:
                got.append(key)
                seen.set()

            subscription = queue.subscribe(take)
            seen.wait(0.02)
            subscription.dispose()

    threads = [threading.Thread(target=come_and_go) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    queue.stop()
    left = [member.decode() for member in client.zrange(Q, 0, -1)]
    assert set(got) | set(left) == {job.key for job in overdue_jobs(20_000)}
    assert not set(got) & set(left)
    assert client.keys("*receipt*") == []


def test_start_and_stop_of_many_sources_loses_nothing(make: Callable[..., RunAt], client: redis.Redis) -> None:
    """10 threads each make a queue that takes some keys and stops, 5 times: each key came once or is left."""
    make().on_next(overdue_jobs(5000))
    got: list[str] = []

    def start_and_stop() -> None:
        for _ in range(5):
            queue = make(limit=20)
            seen = threading.Semaphore(0)

            def take(key: str, seen: threading.Semaphore = seen) -> None:
                got.append(key)
                seen.release()

            queue.subscribe(take)
            seen.acquire(timeout=1)
            queue.stop()

    threads = [threading.Thread(target=start_and_stop) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left = [member.decode() for member in client.zrange(Q, 0, -1)]
    assert Counter(got + left) == Counter(job.key for job in overdue_jobs(5000))
    assert client.keys() in ([Q.encode()], [])


def test_a_failover_behind_one_address_is_followed(
    server: Server, own_server: Server, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The primary is demoted and keeps our connection open, while its address leads to another server."""
    monkeypatch.setattr("rx_runat.stream.source._LONGEST_WITHOUT_CLAIM", 0.2)  # only a claim is refused there
    with RunAt(proxy.url, interval=0.05) as queue, server.client() as old, own_server.client() as new:
        got: list[str] = []
        notices: list[type[StoreError]] = []
        queue.errors.subscribe(lambda error: notices.append(type(error)))
        queue.subscribe(got.append)
        queue.schedule("a", 1)
        wait_until(lambda: got == ["a"], "the source works")
        proxy.target = own_server.path
        old.replicaof("127.0.0.1", 1)
        try:
            new.zadd(Q, {"b": 1})
            wait_until(lambda: got == ["a", "b"], "the source has followed")
            queue.schedule("c", 1)
            wait_until(lambda: got == ["a", "b", "c"], "the sink has followed")
        finally:
            old.replicaof("NO", "ONE")
        assert notices == [Unavailable, Recovered]


def test_21_reads_beside_stop_raise_stopped(make: Callable[..., RunAt], client: redis.Redis) -> None:
    queues = [make() for _ in range(20)]
    for queue in queues:
        failures: list[BaseException] = []

        def call_size(queue: RunAt = queue, failures: list[BaseException] = failures) -> None:
            try:
                while True:
                    queue.size()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=call_size) for _ in range(4)]
        for thread in threads:
            thread.start()
        queue.size()
        queue.stop()
        for thread in threads:
            thread.join()
        assert [type(failure) for failure in failures] == [Stopped] * 4
    wait_until(lambda: len(client.client_list()) == 1, "our connections are closed")


def test_stop_in_a_coroutine_while_errors_are_reported_to_its_event_loop(own_server: Server) -> None:
    import asyncio

    from reactivex.scheduler.eventloop import AsyncIOScheduler

    async def main() -> None:
        queue = RunAt(own_server.url, interval=0.05)
        scheduler = AsyncIOScheduler(asyncio.get_running_loop())
        queue.errors.subscribe(lambda _: None, scheduler=scheduler)
        queue.subscribe()
        await asyncio.sleep(0)
        own_server.kill()
        wait_until(lambda: queue._source._outage._since is not None, "the outage is noticed")
        queue.stop()

    asyncio.run(main())


def test_an_on_next_that_never_returns_does_not_keep_the_interpreter(server: Server) -> None:
    script = """
import sys, threading, rx_runat.stream.at_exit
from rx_runat import RunAt
rx_runat.stream.at_exit.LONGEST_AT_EXIT = 0.1
queue = RunAt(sys.argv[1])
queue.schedule("a", 0)
arrived = threading.Event()
queue.subscribe(lambda _: (arrived.set(), threading.Event().wait()))
arrived.wait()
"""
    command = [sys.executable, "-c", script, server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0
    assert "an on_next did not return" in done.stderr
