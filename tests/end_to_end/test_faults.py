"""Real faults: replies that a proxy cuts, servers that are full, frozen, demoted or killed, threads that compete."""

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

from rx_runat import Job, OutcomeUnknown, Recovered, RunAt, RunAtError, StoreError, Unavailable
from tests.support.jobs import overdue_jobs
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"


@pytest.mark.parametrize("cuts", [1, 2, 5])
def test_a_claim_whose_reply_is_cut_brings_the_same_keys(
    make: Callable[..., RunAt], proxy: Proxy, client: redis.Redis, cuts: int
) -> None:
    queue = make(proxy.url, limit=10, interval=0.05)
    queue.on_next(overdue_jobs(50))
    got: list[str] = []
    proxy.of, proxy.cut = b":receipt:", cuts
    queue.subscribe(got.append)
    wait_until(lambda: len(got) == 50, "all keys came")
    assert got == [job.key for job in overdue_jobs(50)]
    assert proxy.cuts == cuts
    assert client.zcard(Q) == 0


@pytest.mark.parametrize("cuts", [1, 2, 5])
def test_a_hand_back_whose_reply_is_cut_is_done_once(
    make: Callable[..., RunAt], proxy: Proxy, client: redis.Redis, cuts: int
) -> None:
    """Before the request is resent, another client takes some of the keys: they must not come back."""
    queue = make(proxy.url, interval=0.05)
    queue.on_next(overdue_jobs(10))
    taken: list[bytes] = []

    def cut_and_leave(_: str) -> None:
        proxy.of, proxy.cut = b":receipt:", cuts
        subscription.dispose()
        threading.Thread(target=steal).start()

    def steal() -> None:
        wait_until(lambda: client.zcard(Q) > 0, "the first request has acted")
        taken.extend(member for member, _ in client.zpopmin(Q, 4))

    subscription = queue.subscribe(cut_and_leave)
    wait_until(lambda: len(taken) == 4 and proxy.cuts == cuts, "another client took keys that were handed back")
    queue.stop()
    assert Counter(taken + client.zrange(Q, 0, -1)) == Counter(job.key.encode() for job in overdue_jobs(10)[1:])


@pytest.mark.parametrize("cuts", [1, 2])
def test_verbs_of_a_queue_whose_replies_are_cut_return_the_truth(
    make: Callable[..., RunAt], proxy: Proxy, client: redis.Redis, cuts: int
) -> None:
    queue = make(proxy.url)

    assert queue.size() == 0  # makes a connection first: a cut while it is made would not be a lost reply
    assert not queue.cancel("nobody")  # loads the script first: the loss of a NOSCRIPT error would not be one either

    def cut() -> None:
        proxy.cut = cuts

    cut()
    queue.on_next(overdue_jobs(3))
    assert client.zcard(Q) == 3
    cut()
    stands = queue.schedule("a", timedelta(hours=1), keep="first")
    assert queue.when("a") == stands
    cut()
    assert queue.schedule("a", timedelta(hours=2), keep="first") == stands
    cut()
    assert queue.size() == 4
    cut()
    assert [each.key for each in queue.peek(1)] == ["k000000"]
    cut()
    assert queue.when("a") == stands
    cut()
    with pytest.raises(OutcomeUnknown, match="does not wait any more"):
        queue.cancel("a")
    assert queue.when("a") is None
    assert not queue.cancel("a")


def test_the_outcome_of_a_write_without_any_reply_is_unknown(
    make: Callable[..., RunAt], proxy: Proxy, client: redis.Redis
) -> None:
    queue = make(proxy.url)
    queue.size()
    proxy.of, proxy.cut = b"ZADD", 3
    with pytest.raises(OutcomeUnknown):
        queue.on_next(Job("a", 1))
    assert client.zscore(Q, "a") == 1000


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
    settings = {"socket_timeout": 0.2}
    with RunAt(own_server.client(**settings), interval=0.05) as queue:
        got: list[str] = []
        notices: list[StoreError] = []
        queue.errors.subscribe(notices.append)
        queue.subscribe(got.append)
        queue.schedule("a", timedelta(seconds=0.5))
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


def test_a_failover_behind_one_address_is_followed(server: Server, own_server: Server, proxy: Proxy) -> None:
    """The primary is demoted and keeps our connection open, while its address leads to another server."""
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


def test_a_lost_reply_to_an_empty_claim_is_resolved_on_a_full_server(own_server: Server) -> None:
    proxy = Proxy(own_server)
    try:
        with RunAt(proxy.url, interval=0.05) as queue, own_server.client() as client:
            notices: list[StoreError] = []
            got: list[str] = []
            queue.errors.subscribe(notices.append)
            queue.subscribe(got.append)
            client.config_set("maxmemory", 1)
            proxy.of, proxy.cut = b":receipt:", 1
            wait_until(lambda: proxy.cuts == 1, "a reply was cut")
            client.config_set("maxmemory", 0)
            queue.schedule("a", 1)
            wait_until(lambda: got == ["a"], "the source goes on")
        assert notices == []
    finally:
        proxy.end()


def test_stop_during_verbs_of_other_threads_leaves_no_socket(make: Callable[..., RunAt], client: redis.Redis) -> None:
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
        assert all(isinstance(failure, RunAtError) for failure in failures)
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


def test_an_on_next_that_never_returns_does_not_keep_the_interpreter() -> None:
    script = """
import threading, rx_runat.stream.at_exit
from rx_runat import RunAt
rx_runat.stream.at_exit.LONGEST_AT_EXIT = 0.1
queue = RunAt("memory://")
queue.schedule("a", 0)
arrived = threading.Event()
queue.subscribe(lambda _: (arrived.set(), threading.Event().wait()))
arrived.wait()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0
    assert "an on_next did not return" in done.stderr
