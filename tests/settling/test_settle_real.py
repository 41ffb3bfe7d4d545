"""`settle` in real time: on which threads work runs, what renews leases meanwhile, and how all of it ends."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import reactivex as rx
import redis
from reactivex import operators as ops
from reactivex.scheduler.eventloop import AsyncIOThreadSafeScheduler

from rx_runat import Claim, Job, Outcome, RunAt, settle
from rx_runat.model.claim import lease_of
from rx_runat.settling.threads import Pool
from tests.support.helpers import Proxy, Server, wait_until

Q = "RunAt~default"
PAST = 1.0


def jobs(n: int) -> list[Job]:
    return [Job(f"k{i:04}", PAST) for i in range(n)]


def verdicts(outcomes: list[Outcome[Any]]) -> list[tuple[str, int, str]]:
    return sorted((outcome.claim.key, outcome.claim.attempt, outcome.verdict) for outcome in outcomes)


def deadline(client: redis.Redis, key: str) -> float:
    return client.zscore("{RunAt~default}:claimed", key) or 0.0


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


def test_leases_are_renewed_while_work_takes_longer(make: Callable[..., RunAt], client: redis.Redis) -> None:
    """Of the one at work, and of those that wait for their turn; another thread keeps the interpreter busy."""
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
    wait_until(lambda: deadline(client, "k0000"), "it is out")
    first = deadline(client, "k0000")
    wait_until(
        lambda: deadline(client, "k0000") > first + 1000, "its lease has been renewed for three times its length"
    )
    enough.set()
    busy.join()
    wait_until(lambda: len(got) == 3, "all are settled")
    assert verdicts(got) == [(job.key, 1, "acked") for job in jobs(3)]


def test_stop_waits_for_a_function_under_way_and_its_ack(make: Callable[..., RunAt], client: redis.Redis) -> None:
    queue = make()
    got: list[Any] = []
    begun, go_on = threading.Event(), threading.Event()

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
    assert client.zrange(Q, 0, -1) == [b"k0001", b"k0002"]
    assert client.keys() == [Q.encode()]


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


def test_coroutines_run_on_the_event_loop_that_awaits(make: Callable[..., RunAt]) -> None:
    queue = make()
    loops: set[asyncio.AbstractEventLoop] = set()
    most = running = 0

    async def work(claim: Claim) -> str:
        nonlocal most, running
        running += 1
        most = max(most, running)
        loops.add(asyncio.get_running_loop())
        await asyncio.sleep(0.01)
        running -= 1
        return claim.key

    async def main() -> list[Outcome[str]]:
        mine = asyncio.get_running_loop()
        got = await queue.claims().pipe(settle(work, max_concurrent=5), ops.take(20), ops.to_list())
        assert loops == {mine}
        return got

    queue.on_next(jobs(20))
    got = asyncio.run(main())
    assert verdicts(got) == [(job.key, 1, "acked") for job in jobs(20)]
    assert most == 5


def test_coroutines_are_cancelled_on_disposal_and_their_keys_go_back(
    make: Callable[..., RunAt], client: redis.Redis
) -> None:
    queue = make()
    begun: list[str] = []
    cancelled: list[str] = []

    async def work(claim: Claim) -> None:
        begun.append(claim.key)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(claim.key)
            raise

    async def until(condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0.005)

    async def main() -> None:
        scheduler = AsyncIOThreadSafeScheduler(asyncio.get_running_loop())
        subscription = queue.claims().pipe(settle(work, max_concurrent=2)).subscribe(scheduler=scheduler)
        await until(lambda: client.zcard("{RunAt~default}:claimed") == 3 and len(begun) == 2)
        subscription.dispose()
        await until(lambda: len(cancelled) == 2 and client.zcard(Q) == 3)

    queue.on_next(jobs(3))
    asyncio.run(main())


def test_a_coroutine_that_is_cancelled_is_over_when_it_has_cleaned_up(
    make: Callable[..., RunAt], client: redis.Redis
) -> None:
    """One that came to its end all the same has done its work."""
    queue = make()
    cleaning: list[str] = []

    async def until(condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0.005)

    async def main() -> None:
        go_on = asyncio.Event()
        begun: list[str] = []

        async def work(claim: Claim) -> None:
            begun.append(claim.key)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cleaning.append(claim.key)
                await go_on.wait()
                if claim.key == "k0000":
                    raise

        scheduler = AsyncIOThreadSafeScheduler(asyncio.get_running_loop())
        subscription = queue.claims(lease=0.3).pipe(settle(work)).subscribe(scheduler=scheduler)
        await until(lambda: len(begun) == 2)
        subscription.dispose()
        await until(lambda: len(cleaning) == 2)
        queue.stop()  # it cancels no clean-up
        first = min(deadline(client, key) for key in begun)
        await until(lambda: min(deadline(client, key) for key in begun) > first + 300)  # their leases are renewed
        go_on.set()
        await until(lambda: client.keys() == [Q.encode()])

    queue.on_next(jobs(2))
    asyncio.run(main())
    assert client.zrange(Q, 0, -1) == [b"k0000"]


def test_stop_from_a_coroutine_at_work_waits_for_nothing(make: Callable[..., RunAt], client: redis.Redis) -> None:
    queue = make()
    ended = threading.Event()

    async def work(claim: Claim) -> None:
        queue.stop()

    async def main() -> None:
        scheduler = AsyncIOThreadSafeScheduler(asyncio.get_running_loop())
        queue.claims().pipe(settle(work)).subscribe(on_completed=ended.set, scheduler=scheduler)
        while not ended.is_set():
            await asyncio.sleep(0.005)

    queue.on_next(jobs(1))
    asyncio.run(main())


def test_stop_ends_though_the_event_loop_was_closed_before(make: Callable[..., RunAt], client: redis.Redis) -> None:
    queue = make()
    got: list[Outcome[None]] = []

    async def main() -> None:
        scheduler = AsyncIOThreadSafeScheduler(asyncio.get_running_loop())
        queue.claims().pipe(settle(lambda _: None)).subscribe(got.append, scheduler=scheduler)
        while not got:
            await asyncio.sleep(0.005)

    queue.on_next(jobs(1))
    asyncio.run(main())
    stopping = threading.Thread(target=queue.stop, daemon=True)
    stopping.start()
    stopping.join(20)
    assert not stopping.is_alive()
    assert client.keys() == []


def test_a_coroutine_whose_event_loop_was_closed_is_no_failed_attempt(
    make: Callable[..., RunAt], client: redis.Redis
) -> None:
    queue = make()
    begun, closed = threading.Event(), threading.Event()

    async def later() -> None: ...

    def work(_: Claim) -> Any:
        begun.set()
        closed.wait(20)
        return later()

    async def main() -> None:
        scheduler = AsyncIOThreadSafeScheduler(asyncio.get_running_loop())
        queue.claims().pipe(settle(work, max_concurrent=1)).subscribe(on_error=print, scheduler=scheduler)
        while client.zcard("{RunAt~default}:claimed") < 3 or not begun.is_set():
            await asyncio.sleep(0.005)

    queue.on_next(jobs(3))
    asyncio.run(main())
    closed.set()
    wait_until(lambda: client.zcard(Q) == 3, "all are back")
    assert client.zrange(Q, 0, -1, withscores=True) == [(job.key.encode(), 1000.0) for job in jobs(3)]
    wait_until(lambda: client.keys() == [Q.encode()], "no attempt is counted")


def test_stop_ends_though_a_future_s_event_loop_does_not_run_any_more(
    make: Callable[..., RunAt], client: redis.Redis
) -> None:
    queue = make()
    loop = asyncio.new_event_loop()
    begun: list[asyncio.Future[None]] = []

    def work(_: Claim) -> asyncio.Future[None]:
        begun.append(loop.create_future())
        return begun[-1]

    async def main() -> None:
        queue.claims().pipe(settle(work)).subscribe(scheduler=AsyncIOThreadSafeScheduler(loop))
        while not begun:
            await asyncio.sleep(0.005)

    queue.on_next(jobs(1))
    loop.run_until_complete(main())
    stopping = threading.Thread(target=queue.stop, daemon=True)
    stopping.start()
    stopping.join(20)
    assert not stopping.is_alive()
    assert client.keys() == [Q.encode()]
    loop.close()


def test_work_that_never_returns_keeps_the_interpreter_no_longer_than_one_of_it(server: Server) -> None:
    script = """
import sys, threading, rx_runat.queue
from rx_runat import Job, RunAt, settle
rx_runat.queue.LONGEST_AT_EXIT = 2.0
queue = RunAt(sys.argv[1])
queue.on_next([Job(f"k{i}", 1) for i in range(8)])
arrived = threading.Semaphore(0)
queue.claims().pipe(settle(lambda _: (arrived.release(), threading.Event().wait()))).subscribe()
for _ in range(8):
    arrived.acquire()
"""
    done = subprocess.run([sys.executable, "-c", script, server.url], timeout=15, check=False)
    assert done.returncode == 0


def test_stop_needs_no_new_thread(make: Callable[..., RunAt], monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter that exits starts none any more; ours have been idle for so long that they are gone."""
    queue = make()
    got: list[Any] = []
    queue.claims().pipe(settle(lambda claim: rx.never() if claim.key == "k0001" else None, max_concurrent=2)).subscribe(
        lambda outcome: got.append(outcome.verdict), on_completed=lambda: got.append("end")
    )
    queue.on_next(jobs(2))
    wait_until(lambda: got, "one is settled")
    wait_until(lambda: "rx_runat work" not in [thread.name for thread in threading.enumerate()], "work has ended")

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", start)
    queue._stop(5)
    assert got == ["acked", "end"]


def test_stop_waits_for_no_answer_of_a_server_that_is_there_and_silent(own_server: Server) -> None:
    queue = RunAt(own_server.client(socket_timeout=None), interval=0.05)
    begun: list[Claim] = []
    ended = threading.Event()

    def work(claim: Claim) -> rx.Observable[None]:
        begun.append(claim)
        return rx.never()

    queue.claims(lease=0.6, max_in_flight=1).pipe(settle(work)).subscribe(on_completed=ended.set)
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


def test_a_slow_subscriber_slows_work_down(make: Callable[..., RunAt]) -> None:
    """Outcomes do not heap up: the backlog waits in Redis."""
    queue = make()
    ran: list[str] = []
    go_on = threading.Event()
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


def test_acks_and_renewals_whose_answers_are_cut(make: Callable[..., RunAt], proxy: Proxy, client: redis.Redis) -> None:
    queue = make(proxy.url, interval=0.05)
    queue.size()
    got: list[Outcome[None]] = []
    go_on = threading.Event()
    queue.claims(lease=0.6, max_in_flight=20).pipe(settle(lambda _: go_on.wait(20), max_concurrent=20)).subscribe(
        got.append
    )
    queue.on_next(jobs(20))
    wait_until(lambda: client.zcard("{RunAt~default}:claimed") == 20, "all are out")
    proxy.of, proxy.cut = b"extend", 4
    wait_until(lambda: proxy.cuts == 4, "renewals were cut")
    proxy.of, proxy.cut = b"ack", 4
    go_on.set()
    wait_until(lambda: len(got) == 20, "all are settled")
    assert verdicts(got) == [(job.key, 1, "acked") for job in jobs(20)]
    queue.stop()
    assert client.keys() == []


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


def test_what_a_function_comes_to_after_disposal_is_asked_for_through_an_outage(own_server: Server) -> None:
    """No hurry: the queue goes on, and its ack is due."""
    with RunAt(own_server.url, interval=0.05) as queue, own_server.client() as client:
        begun, go_on = threading.Event(), threading.Event()
        subscription = queue.claims().pipe(settle(lambda _: (begun.set(), go_on.wait(20)))).subscribe()
        queue.schedule("a", 1)
        assert begun.wait(20)
        subscription.dispose()
        own_server.kill()
        go_on.set()
        own_server.start()
        wait_until(lambda: deadline(client, "a") == 0.0, "it is acked")
        assert queue.size() == 0


# The pool alone.


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
