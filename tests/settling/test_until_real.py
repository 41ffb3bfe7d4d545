"""`settle(until=...)` on a real server: whenever it fires, each key was worked on, or waits with its attempt unused."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import reactivex as rx
import redis
from reactivex import Observable
from reactivex import operators as ops
from reactivex.subject import Subject

from rx_runat import Claim, Job, RunAt, settle
from rx_runat.store.keys import claimed_key
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"


class Consumer:
    """Consumes with `settle`, and notes outcomes, errors and the end."""

    def __init__(
        self, claims: Observable[Claim], work: Callable[[Claim], Any], until: Observable[Any], **settings: Any
    ) -> None:
        self.got: list[Any] = []
        self.errors: list[Exception] = []
        self.ended = threading.Event()
        claims.pipe(settle(work, until=until, **settings)).subscribe(self.got.append, self._fail, self.ended.set)

    def _fail(self, error: Exception) -> None:
        self.errors.append(error)
        self.ended.set()

    def wait(self) -> None:
        assert self.ended.wait(20), "the stream ended"


def write(queue: RunAt, n: int) -> None:
    queue.on_next([Job(f"k{each:04}", 1) for each in range(n)])


def all_are_back(client: redis.Redis, n: int, name: str = Q) -> None:
    """Wait until so many keys wait, and none is out: a claim that was on its way goes back after the end."""
    wait_until(lambda: (client.zcard(name), client.zcard(claimed_key(name))) == (n, 0), f"{n} keys wait")


def test_it_fires_within_the_work(queue: RunAt, client: redis.Redis) -> None:
    end: Subject[int] = Subject()
    write(queue, 200)
    consumer = Consumer(queue.claims(), lambda _: end.on_next(1), end, max_concurrent=4)
    consumer.wait()
    assert 1 <= len(consumer.got) <= 4
    all_are_back(client, 200 - len(consumer.got))


def test_an_until_that_raises_fails_the_stream_and_begins_nothing(queue: RunAt, client: redis.Redis) -> None:
    def fail(*_: Any) -> Any:
        raise ValueError("no")

    begun: list[Claim] = []
    write(queue, 20)
    consumer = Consumer(queue.claims(), begun.append, rx.create(fail))
    consumer.wait()
    assert [str(error) for error in consumer.errors] == ["no"]
    all_are_back(client, 20)
    assert begun == []


def test_the_queue_stops_at_the_same_time(make: Callable[..., RunAt], client: redis.Redis) -> None:
    for _ in range(10):
        queue = make()
        end: Subject[int] = Subject()
        write(queue, 50)
        consumer = Consumer(queue.claims(), lambda _: threading.Event().wait(0.002), end, max_concurrent=4)
        wait_until(lambda consumer=consumer: len(consumer.got) > 2, "work goes on")  # type: ignore[misc]
        stopping = threading.Thread(target=queue.stop)
        stopping.start()
        end.on_next(1)
        stopping.join(20)
        assert not stopping.is_alive()
        consumer.wait()
        assert consumer.errors == []
        all_are_back(client, 50 - len(consumer.got))
        client.delete(Q)


def test_claims_of_two_queues(make: Callable[..., RunAt], client: redis.Redis) -> None:
    queues = [make(queue_name=name) for name in "ab"]
    for queue in queues:
        write(queue, 100)
    end: Subject[int] = Subject()
    claims = rx.merge(*(queue.claims() for queue in queues))
    consumer = Consumer(claims, lambda _: threading.Event().wait(0.005), end, max_concurrent=3)
    wait_until(lambda: len(consumer.got) > 5, "work goes on")
    end.on_next(1)
    consumer.wait()
    done = [outcome.claim for outcome in consumer.got]
    wait_until(lambda: client.zcard("a") + client.zcard("b") == 200 - len(done), "the others wait")
    assert not client.exists(claimed_key("a"), claimed_key("b"))


def test_redis_is_silent_while_the_claims_go_back(own_server: Server, make: Callable[..., RunAt]) -> None:
    queue = make(own_server.url)
    end: Subject[int] = Subject()
    goes_on = threading.Event()
    write(queue, 100)
    begun: list[Claim] = []
    consumer = Consumer(queue.claims(), lambda claim: (begun.append(claim), goes_on.wait(20)), end, max_concurrent=2)
    with own_server.client() as client:
        wait_until(lambda: len(begun) == 2 and client.zcard(claimed_key(Q)) >= 50, "they are claimed")
        own_server.freeze()
        end.on_next(1)
        goes_on.set()
        assert not consumer.ended.wait(0.15)
        own_server.thaw()
        consumer.wait()
        all_are_back(client, 100 - len(consumer.got))
    assert len(consumer.got) == 2


def test_a_thousand_claims_in_flight(queue: RunAt, client: redis.Redis) -> None:
    begun: list[str] = []
    done: list[str] = []

    async def main() -> int:
        end: Subject[int] = Subject()

        async def work(claim: Claim) -> None:
            begun.append(claim.key)
            if len(begun) == 700:
                end.on_next(1)
            await asyncio.sleep(0.1)
            done.append(claim.key)

        claims = queue.claims(max_in_flight=1000)
        return await claims.pipe(settle(work, until=end, max_concurrent=500, timeout=20), ops.count())

    write(queue, 2000)
    count = asyncio.run(main())
    assert count == len(begun) == len(done) == len(set(done))
    all_are_back(client, 2000 - count)


@pytest.mark.slow
def test_it_fires_at_each_moment(make: Callable[..., RunAt], client: redis.Redis) -> None:
    """A key's next attempt is the number of times that its work began, and one more."""
    for n in range(40):
        queue = make()
        write(queue, 30)
        begun: Counter[str] = Counter()

        def fail(claim: Claim, begun: Counter[str] = begun) -> None:
            begun[claim.key] += 1
            raise ValueError

        for _ in range(2):
            settling = settle(
                fail, until=rx.timer(0.001 * n), max_concurrent=2, backoff=lambda _: 0, max_attempts=10**6
            )
            queue.claims().pipe(settling, ops.count()).run()
            all_are_back(client, 30)
        attempts: dict[str, int] = {}
        queue.claims().subscribe(lambda claim, attempts=attempts: attempts.update({claim.key: claim.attempt}))
        wait_until(lambda attempts=attempts: len(attempts) == 30, "all come again")  # type: ignore[misc]
        assert attempts == {key: begun[key] + 1 for key in attempts}
        queue.stop()
        client.flushall()


@pytest.mark.parametrize("ends", ["by stop", "by itself"])
def test_a_timer_of_an_event_loop_is_cancelled_on_its_thread(
    make: Callable[..., RunAt], monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    queue = make()
    queue.on_next([Job(key, 1) for key in "abc"])
    real, threads = asyncio.TimerHandle.cancel, set[threading.Thread]()

    def cancel(timer: asyncio.TimerHandle) -> None:
        threads.add(threading.current_thread())
        real(timer)

    monkeypatch.setattr(asyncio.TimerHandle, "cancel", cancel)

    async def main() -> None:
        claims = queue.claims() if ends == "by stop" else queue.claims().pipe(ops.take(3))
        outcomes = claims.pipe(settle(lambda claim: claim.key, until=rx.timer(3600)), ops.to_list())
        stopping = threading.Thread(target=lambda: (wait_until(lambda: queue.size() == 0, "taken"), queue.stop()))
        if ends == "by stop":
            stopping.start()
        async with asyncio.timeout(20):
            await outcomes
        if ends == "by stop":
            await asyncio.to_thread(stopping.join)

    asyncio.run(main())
    assert threads == {threading.current_thread()}
