"""`settle` in real time, with a real server: everything together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import reactivex as rx
import redis
from reactivex import operators as ops

from rx_runat import Outcome, RunAt, settle
from tests.support.settling import deadline, jobs, verdicts
from tests.support.waiting import wait_until


def test_a_thousand_keys_are_settled_once_each(make: Callable[..., RunAt], client: redis.Redis) -> None:
    queue = make()
    got: list[Outcome[str]] = []
    queue.claims().pipe(settle(lambda claim: claim.key)).subscribe(got.append)
    queue.on_next(jobs(1000))
    wait_until(lambda: len(got) == 1000, "all are settled")
    assert verdicts(got) == [(job.key, 1, "acked") for job in jobs(1000)]
    assert all(outcome.result == outcome.claim.key for outcome in got)
    queue.stop()
    assert client.keys() == []


def test_leases_are_renewed_while_work_takes_longer(make: Callable[..., RunAt], client: redis.Redis) -> None:
    """The lease of the claim at work, and those of claims that wait; another thread keeps the interpreter busy."""
    queue = make()
    got: list[Outcome[None]] = []
    enough = threading.Event()

    def spin() -> None:
        while not enough.is_set():
            sum(range(1000))

    busy = threading.Thread(target=spin)
    busy.start()
    queue.claims(lease=0.3).pipe(settle(lambda _: enough.wait(20), max_concurrent=1)).subscribe(got.append)
    queue.on_next(jobs(3))
    wait_until(lambda: deadline(client, "k000"), "it is out")
    first = deadline(client, "k000")
    wait_until(lambda: deadline(client, "k000") > first + 300, "its lease has been renewed again and again")
    enough.set()
    busy.join()
    wait_until(lambda: len(got) == 3, "all are settled")
    assert verdicts(got) == [(job.key, 1, "acked") for job in jobs(3)]


def test_subscribe_and_dispose_many_times_loses_nothing(make: Callable[..., RunAt], client: redis.Redis) -> None:
    queue = make(interval=0.01)
    ran: list[str] = []
    queue.on_next(jobs(2000))

    def come_and_go() -> None:
        for n in range(15):
            queue.claims(max_in_flight=10).pipe(
                settle(lambda claim: ran.append(claim.key), max_concurrent=3), ops.take(1 + n % 5)
            ).run()

    threads = [threading.Thread(target=come_and_go) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    queue.claims().pipe(settle(lambda claim: ran.append(claim.key))).subscribe()
    wait_until(lambda: set(ran) == {job.key for job in jobs(2000)}, "all were worked on")
    queue.stop()
    assert client.keys() == []
    assert len(ran) == 2000


def test_rx_operators_compose_around_it(make: Callable[..., RunAt]) -> None:
    queue = make()
    got: list[Any] = []
    queue.claims().pipe(
        ops.filter(lambda claim: claim.key.startswith("k")),
        settle(lambda claim: rx.timer(0.001).pipe(ops.map(lambda _: claim.key))),
        ops.map(lambda outcome: outcome.result),
        ops.buffer_with_count(10),
    ).subscribe(got.append)
    queue.on_next(jobs(30))
    wait_until(lambda: len(got) == 3, "three lists of ten")
    assert sorted(key for keys in got for key in keys) == [job.key for job in jobs(30)]
