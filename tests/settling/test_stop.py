"""`queue.stop()` and the exit of the interpreter, while `settle` works; in real time."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import reactivex as rx
import redis
from reactivex import operators as ops

from rx_runat import Claim, Job, Outcome, RunAt, settle
from rx_runat.model.claim import lease_of
from rx_runat.settling.threads import Pool
from rx_runat.stream.leases import LeaseManager, manager_of
from tests.support.servers import Server
from tests.support.settling import PAST, Q, jobs, verdicts
from tests.support.waiting import wait_until


def test_stop_waits_for_a_function_under_way_and_its_ack(
    make: Callable[..., RunAt], client: redis.Redis, go_on: threading.Event
) -> None:
    queue = make()
    got: list[Any] = []
    begun = threading.Event()

    def work(claim: Claim) -> None:
        begun.set()
        go_on.wait(20)

    queue.claims().pipe(settle(work, max_concurrent=1)).subscribe(
        lambda outcome: got.append(outcome.verdict), on_completed=lambda: got.append("end")
    )
    queue.on_next(jobs(3))
    assert begun.wait(20)
    stopping = threading.Thread(target=queue.stop)
    stopping.start()
    wait_until(lambda: client.zcard(Q) == 2, "what was not begun is back")
    assert stopping.is_alive()
    go_on.set()
    stopping.join(20)
    assert got == ["acked", "end"]
    assert client.zrange(Q, 0, -1) == [b"k001", b"k002"]
    assert client.keys() == [Q.encode()]


def test_14_stop_during_the_first_claim_waits_until_that_claim_is_back(
    make: Callable[..., RunAt], client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first claim makes `settle` known to the queue, which may be stopping already."""
    queue = make()
    got: list[Any] = []
    begun = threading.Event()
    real = LeaseManager.register

    def register(manager: LeaseManager, holder: Any) -> Callable[[], None]:
        begun.set()
        wait_until(lambda: queue._sources.is_stopped, "the queue stops")
        return real(manager, holder)

    monkeypatch.setattr(LeaseManager, "register", register)
    queue.on_next(jobs(300))
    queue.claims().pipe(settle(lambda claim: None)).subscribe(got.append, on_completed=lambda: got.append("end"))
    assert begun.wait(20)
    queue.stop()
    assert got == ["end"]
    assert (client.zcard(Q), client.keys()) == (300, [Q.encode()])


@pytest.mark.parametrize("where", ["work", "on_next"])
def test_stop_from_work_or_from_on_next_waits_for_nothing(
    make: Callable[..., RunAt], client: redis.Redis, where: str
) -> None:
    queue = make()
    ended = threading.Event()

    def stop(_: object) -> None:
        queue.stop()

    nothing: Callable[[object], None] = lambda _: None  # noqa: E731
    work, on_next = (stop, nothing) if where == "work" else (nothing, stop)
    queue.claims(max_in_flight=1).pipe(settle(work)).subscribe(on_next, on_completed=ended.set)
    queue.on_next(jobs(1))
    assert ended.wait(20)
    wait_until(lambda: client.keys() == [], "the key is acked, and nothing is left")


def test_14_stop_on_the_thread_of_the_leases_waits_for_nothing(make: Callable[..., RunAt], client: redis.Redis) -> None:
    """A handler of the log may call it there."""
    queue = make()
    begun: list[Claim] = []
    stopped, ended = threading.Event(), threading.Event()

    def work(claim: Claim) -> bool:
        begun.append(claim)
        return stopped.wait(20)

    def stop() -> None:
        queue.stop()
        stopped.set()

    queue.claims().pipe(settle(work)).subscribe(on_completed=ended.set)
    queue.on_next(jobs(1))
    wait_until(lambda: begun, "the work begins")
    manager_of(lease_of(begun[0])).thread.run(stop)
    assert ended.wait(20)
    assert stopped.is_set()
    assert client.keys() == []


def test_work_that_never_returns_keeps_the_interpreter_no_longer_than_one_of_it(server: Server) -> None:
    script = """
import sys, threading, rx_runat.stream.at_exit
from rx_runat import Job, RunAt, settle
rx_runat.stream.at_exit.LONGEST_AT_EXIT = 0.2
queue = RunAt(sys.argv[1])
queue.on_next([Job(f"k{i}", 1) for i in range(100)])
arrived = threading.Semaphore(0)
work = lambda _: (arrived.release(), threading.Event().wait())
queue.claims().pipe(settle(work, max_concurrent=100)).subscribe()
for _ in range(100):
    arrived.acquire()
"""
    done = subprocess.run([sys.executable, "-c", script, server.url], timeout=15, check=False)
    assert done.returncode == 0


def test_stop_needs_no_new_thread(make: Callable[..., RunAt], monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter that exits starts none, and the work threads have been idle for so long that they have ended."""
    monkeypatch.setattr("rx_runat.settling.threads._IDLE_SECONDS", 0.05)
    queue = make()
    got: list[Any] = []
    queue.claims().pipe(settle(lambda claim: rx.never() if claim.key == "k001" else None, max_concurrent=2)).subscribe(
        lambda outcome: got.append(outcome.verdict), on_completed=lambda: got.append("end")
    )
    queue.on_next(jobs(2))
    wait_until(lambda: got, "one is settled")
    wait_until(lambda: "rx_runat work" not in [thread.name for thread in threading.enumerate()], "work has ended")

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", start)
    queue._sources.stop(5)
    assert got == ["acked", "end"]


def test_14_counted_work_that_no_thread_can_begin_goes_back(
    make: Callable[..., RunAt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leases thread, which finds that out, goes on; and so `stop` returns."""
    queue = make()
    got: list[str] = []
    run, refused = Pool.run, list[str]()

    def run_not(pool: Pool, action: Callable[[], None]) -> None:
        if pool._name == "rx_runat work" and threading.current_thread().name == "rx_runat leases" and not refused:
            refused.append("can't start new thread")
            raise RuntimeError(refused[0])
        run(pool, action)

    def work(claim: Claim) -> None:
        if claim.attempt == 1:
            raise ValueError("again")

    monkeypatch.setattr(Pool, "run", run_not)
    queue.claims().pipe(settle(work, backoff=lambda _: 0.01)).subscribe(lambda outcome: got.append(outcome.verdict))
    queue.on_next(jobs(5))
    wait_until(lambda: got.count("acked") == 5, "each came again, and is settled")
    assert refused
    queue._sources.stop(5)
    assert got.count("nacked") == 5


def test_stop_does_not_wait_for_a_server_that_is_reachable_and_silent(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis has a second to reply, as far as leases go, and the source's call has one: here both have less."""
    monkeypatch.setattr("rx_runat.stream.lease_thread._LAST_SECONDS", 0.2)
    monkeypatch.setattr("rx_runat.stream.hold.SHORTEST_SILENCE", 0.2)
    queue = RunAt(own_server.client(socket_timeout=None), interval=0.05)
    begun: list[Claim] = []
    ended = threading.Event()

    def work(claim: Claim) -> rx.Observable[None]:
        begun.append(claim)
        return rx.never()

    queue.claims(lease=0.3, max_in_flight=1).pipe(settle(work)).subscribe(on_completed=ended.set)
    queue.on_next(jobs(1))
    wait_until(lambda: begun, "the key is out: the source asks for no other")
    own_server.freeze()
    (thread,) = (lease_of(claim).manager.thread for claim in begun)  # type: ignore[attr-defined]
    wait_until(lambda: thread._called_at is not None, "a renewal waits for its answer")
    stopping = threading.Thread(target=queue.stop, daemon=True)
    stopping.start()
    stopping.join(10)
    assert not stopping.is_alive()
    assert ended.is_set()


def test_a_stop_waits_for_its_own_queue_though_claims_of_another_are_merged_in(
    make: Callable[..., RunAt], client: redis.Redis, go_on: threading.Event
) -> None:
    """The other queue's source goes on for another subscription, and so does its leases thread."""
    one, other = make(), make(queue_name="other")
    begun = threading.Event()
    merged: list[str] = []
    got: list[Outcome[Any]] = []

    def work(claim: Claim) -> None:
        begun.set()
        go_on.wait(20)

    others = other.claims(lease=0.3)
    others.pipe(ops.filter(lambda claim: claim.key == "slow"), settle(work)).subscribe(got.append)
    rx.merge(one.claims(), others.pipe(ops.filter(lambda claim: claim.key == "quick"))).pipe(
        settle(lambda claim: merged.append(claim.key))
    ).subscribe(on_completed=lambda: merged.append("end"))
    one.schedule("mine", PAST)
    other.on_next([Job("quick", PAST), Job("slow", PAST)])
    wait_until(lambda: sorted(merged) == ["mine", "quick"] and begun.is_set(), "all is under way or done")
    one.stop()
    assert merged[2:] == ["end"]
    first = client.zscore("{other}:claimed", "slow") or 0
    wait_until(lambda: (client.zscore("{other}:claimed", "slow") or 0) > first + 150, "the lease is renewed")
    go_on.set()
    wait_until(lambda: got, "the other one is settled")
    assert verdicts(got) == [("slow", 1, "acked")]
