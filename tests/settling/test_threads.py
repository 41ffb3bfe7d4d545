"""On which threads the user's code runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from reactivex import operators as ops

from rx_runat import Claim, Outcome, RunAt, settle
from rx_runat.settling.threads import Pool
from tests.support.settling import jobs
from tests.support.waiting import wait_until


def test_work_runs_on_threads_of_ours_and_outcomes_come_on_one(make: Callable[..., RunAt]) -> None:
    queue = make()
    at_work: set[threading.Thread] = set()
    told: set[threading.Thread] = set()
    together = threading.Barrier(4)

    def work(_: Claim) -> None:
        at_work.add(threading.current_thread())
        together.wait(10)  # four are under way at once

    done: list[Outcome[None]] = []
    queue.claims().pipe(
        settle(work, max_concurrent=4), ops.do_action(lambda _: told.add(threading.current_thread()))
    ).subscribe(done.append)
    queue.on_next(jobs(40))
    wait_until(lambda: len(done) == 40, "all are settled")
    assert {thread.name for thread in at_work} == {"rx_runat work"}
    assert len(at_work) == 4
    assert [thread.name for thread in told] == ["rx_runat outcomes"]


def test_work_may_be_a_future_of_the_user_s_own_threads(make: Callable[..., RunAt]) -> None:
    queue = make()
    got: list[Outcome[str]] = []
    with ThreadPoolExecutor(3, thread_name_prefix="mine") as threads:

        def work(claim: Claim) -> Future[str]:
            return threads.submit(lambda: threading.current_thread().name)

        queue.claims().pipe(settle(work)).subscribe(got.append)
        queue.on_next(jobs(100))
        wait_until(lambda: len(got) == 100, "all are settled")
        queue.stop()
    assert {str(outcome.result)[:4] for outcome in got} == {"mine"}


def test_a_slow_subscriber_slows_work_down(make: Callable[..., RunAt], go_on: threading.Event) -> None:
    """Outcomes do not pile up in memory: the backlog waits in Redis."""
    queue = make()
    ran: list[str] = []
    got: list[Outcome[None]] = []

    def receive(outcome: Outcome[None]) -> None:
        go_on.wait(20)
        got.append(outcome)

    queue.claims(max_in_flight=50).pipe(settle(lambda claim: ran.append(claim.key), max_concurrent=2)).subscribe(
        receive
    )
    queue.on_next(jobs(500))
    wait_until(lambda: len(ran) >= 100, "outcomes wait")
    assert queue.size() > 0
    go_on.set()
    wait_until(lambda: len(got) == 500, "all are settled")
    assert sorted(ran) == [job.key for job in jobs(500)]


def test_a_pool_starts_no_more_threads_than_are_needed() -> None:
    pool = Pool("rx_runat test", 3)
    seen: set[str] = set()
    done = threading.Semaphore(0)

    def action() -> None:
        seen.add(threading.current_thread().name + str(threading.get_ident()))
        done.release()

    for _ in range(20):
        pool.run(action)
        assert done.acquire(timeout=20)
        wait_until(lambda: pool._idle == 1, "its thread waits again")
    assert len(seen) == 1
    gate = threading.Barrier(4)
    for _ in range(3):
        pool.run(lambda: (gate.wait(20), None)[1])
    gate.wait(20)
    pool.end()
    pool.join()
    assert pool._threads == []
