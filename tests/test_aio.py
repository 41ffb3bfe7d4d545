"""`queue.aio` and `claim.aio`: the verbs as coroutines, on a real server and on both kinds of event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeAlias

import pytest
import redis
import uvloop

from rx_runat import (
    Claim,
    InvalidJob,
    InvalidSetting,
    Job,
    OutcomeUnknown,
    Refused,
    RunAt,
    Stats,
    Stopped,
    StoreError,
    Unavailable,
    settle,
)
from rx_runat.store.keys import claimed_key
from tests.support.forks import in_child
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"
FAR = 4_000_000_000


Run: TypeAlias = Callable[[Callable[[], Any]], Any]


@pytest.fixture(params=["asyncio", pytest.param("uvloop", marks=pytest.mark.slow)])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine function on an event loop of its own: one of asyncio's, and one of uvloop's."""

    def run(main: Callable[[], Any]) -> Any:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop if request.param == "uvloop" else None) as runner:
            return runner.run(main())

    return run


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


async def are_behind(queue: RunAt, *tasks: asyncio.Task[Any]) -> None:
    """Return when those that came before these tasks are sent, and these wait for their turn."""
    await until(lambda: len(queue._store.batches._new) == len(tasks))
    await asyncio.sleep(0.02)  # in which the thread sends what it has taken


def test_each_verb_does_what_the_one_of_the_same_name_does(run: Run, queue: RunAt) -> None:
    async def main() -> None:
        aio = queue.aio
        at = await aio.schedule("a", FAR)
        assert at == queue.when("a") == await aio.when("a")
        assert await aio.schedule("a", FAR + 1, keep="first") == at
        await aio.on_next(Job("b", FAR + 2))
        await aio.on_next([{"runAt": (FAR + 3) * 1000, "key": "c"}, Job("d", timedelta(days=1))])
        await aio.on_next([])
        assert await aio.peek() == queue.peek() or [due.key for due in await aio.peek()] == ["d", "a", "b", "c"]
        assert [due.key for due in await aio.peek(2)] == ["d", "a"]
        assert (await aio.size(), await aio.size(until=timedelta(days=2))) == (4, 1)
        assert await aio.stats() == queue.stats() == Stats(scheduled=4, due=0, claimed=0, dead=0, lateness=0.0)
        assert (await aio.cancel("b"), await aio.cancel("b")) == (True, False)
        assert await aio.when("b") is None

    run(main)
    assert queue.size() == 3


def test_the_verbs_of_dead_letters(run: Run, queue: RunAt) -> None:
    async def main() -> None:
        await queue.aio.on_next([Job(key, 1) for key in "abc"])
        n = 0
        async for claim in queue.claims():
            assert await claim.aio.bury(f"no {claim.key}")
            n += 1
            if n == 3:
                break
        dead = queue.aio.dead
        assert await dead.size() == 3
        assert [letter.reason for letter in await dead.peek()] == ["no a", "no b", "no c"]
        assert (await dead.revive("a"), await dead.drop("b"), await dead.revive(None), await dead.drop(None)) == (
            1,
            1,
            1,
            0,
        )

    run(main)
    assert {due.key for due in queue.peek()} == {"a", "c"}


def test_bad_input_is_refused_before_anything_is_sent(run: Run, queue: RunAt) -> None:
    async def main() -> None:
        with pytest.raises(InvalidJob):
            await queue.aio.schedule("", FAR)
        with pytest.raises(InvalidSetting):
            await queue.aio.schedule("a", FAR, keep="newest")  # type: ignore[arg-type]
        with pytest.raises(InvalidSetting):
            await queue.aio.peek(-1)

    run(main)
    assert queue.size() == 0


def test_each_of_many_awaits_has_its_own_answer_and_its_own_error(
    run: Run, make: Callable[..., RunAt], client: redis.Redis
) -> None:
    queue = make()
    client.set(f"{{{Q}}}:dead", "no hash")

    async def main() -> list[Any]:
        aio = queue.aio
        asked = [aio.schedule(f"k{n}", FAR + n) if n != 50 else aio.schedule("", FAR) for n in range(100)]
        return await asyncio.gather(*asked, aio.dead.size(), aio.size(), return_exceptions=True)

    *written, dead, size = run(main)
    assert [type(each) for each in written if isinstance(each, Exception)] == [InvalidJob]
    assert isinstance(dead, Refused)
    assert size == 99


def test_awaits_are_carried_out_in_the_order_in_which_they_were_asked_for(run: Run, queue: RunAt) -> None:
    """A script (keep=) beside plain commands, on one key: with NOSCRIPT in between the order would be another."""

    async def main() -> list[Any]:
        aio = queue.aio
        return await asyncio.gather(
            aio.schedule("a", FAR),
            aio.schedule("a", FAR + 5, keep="latest"),
            aio.cancel("a"),
            aio.when("a"),
            aio.schedule("a", FAR + 1),
            aio.when("a"),
            aio.cancel("a"),
            aio.cancel("a"),
        )

    for _ in range(3):
        got = run(main)
        assert [each.timestamp() if hasattr(each, "timestamp") else each for each in got] == [
            *(FAR, FAR + 5, True, None),
            *(FAR + 1, FAR + 1, True, False),
        ]


def test_scripts_that_the_server_forgets_are_sent_again(run: Run, queue: RunAt, client: redis.Redis) -> None:
    async def main() -> None:
        for _ in range(3):
            got = await asyncio.gather(*(queue.aio.schedule(f"k{n}", FAR, keep="first") for n in range(10)))
            assert len(got) == 10
            client.script_flush()

    run(main)
    assert queue.size() == 10


def test_many_awaits_share_round_trips(run: Run, queue: RunAt, client: redis.Redis) -> None:
    def reads() -> int:
        return int(client.info("stats")["total_reads_processed"])

    async def main() -> int:
        await queue.aio.size()
        before = reads()
        await asyncio.gather(*(queue.aio.schedule(f"k{n}", FAR) for n in range(500)))
        return reads() - before

    assert run(main) < 100


def test_a_cancelled_await_that_was_not_sent_changes_nothing(
    run: Run, own_server: Server, make: Callable[..., RunAt]
) -> None:
    queue = make(own_server.url)

    async def main() -> None:
        await queue.aio.schedule("first", FAR)
        own_server.freeze()
        under_way = asyncio.create_task(queue.aio.schedule("under way", FAR))
        await asyncio.sleep(0)  # it begins
        await are_behind(queue)
        tasks = [asyncio.create_task(queue.aio.schedule(f"late{n}", FAR)) for n in range(5)]
        await are_behind(queue, *tasks)
        for task in (*tasks, under_way):
            task.cancel()
        await asyncio.gather(*tasks, under_way, return_exceptions=True)
        own_server.thaw()
        await queue.aio.schedule("last", FAR)

    run(main)
    assert {due.key for due in queue.peek()} == {"first", "under way", "last"}


def test_28_a_silent_redis_delays_an_await_and_nothing_else(
    run: Run, own_server: Server, make: Callable[..., RunAt]
) -> None:
    queue = make(own_server.url)

    async def main() -> None:
        await queue.aio.size()
        own_server.freeze()
        waiting = asyncio.gather(*(queue.aio.schedule(f"k{n}", FAR) for n in range(20)), queue.aio.size())
        for _ in range(20):  # the event loop goes on while all of them wait
            await asyncio.sleep(0.01)
            assert not waiting.done()
        own_server.thaw()
        await waiting

    run(main)
    assert queue.size() == 20


def test_11_lost_answers_are_asked_for_again(
    run: Run, proxy: Proxy, make: Callable[..., RunAt], client: redis.Redis
) -> None:
    queue = make(proxy.url)

    async def main() -> list[Any]:
        await queue.aio.size()
        proxy.cut = 1
        return await asyncio.gather(
            *(queue.aio.schedule(f"k{n}", FAR) for n in range(30)), queue.aio.size(), return_exceptions=True
        )

    *written, size = run(main)
    assert [each for each in written if isinstance(each, Exception)] == []
    assert size == client.zcard(Q) == 30


def test_while_redis_is_away_each_await_fails_in_words(
    run: Run, own_server: Server, make: Callable[..., RunAt]
) -> None:
    queue = make(own_server.url)

    async def main() -> list[Any]:
        await queue.aio.size()
        own_server.kill()
        return await asyncio.gather(
            *(queue.aio.schedule(f"k{n}", FAR) for n in range(30)), queue.aio.size(), return_exceptions=True
        )

    assert {type(each) for each in run(main)} <= {Unavailable, OutcomeUnknown}


def test_stop_answers_what_is_under_way_and_refuses_the_rest(
    run: Run, own_server: Server, make: Callable[..., RunAt]
) -> None:
    queue = make(own_server.url)

    async def main() -> list[Any]:
        await queue.aio.size()
        own_server.freeze()
        first = asyncio.create_task(queue.aio.schedule("under way", FAR))
        await asyncio.sleep(0)  # it begins
        await are_behind(queue)
        rest = [asyncio.create_task(queue.aio.schedule(f"late{n}", FAR)) for n in range(5)]
        await are_behind(queue, *rest)
        stopping = asyncio.create_task(queue.aio.stop())
        await until(lambda: queue._store.batches._why is not None)
        own_server.thaw()
        got = await asyncio.gather(first, *rest, return_exceptions=True)
        await stopping
        with pytest.raises(Stopped):
            await queue.aio.size()
        return got

    first, *rest = run(main)
    assert first.timestamp() == FAR
    assert [type(each) for each in rest] == [Stopped] * 5
    with own_server.client() as client:
        assert client.zrange(Q, 0, -1) == [b"under way"]


def test_a_cancelled_stop_stops_all_the_same(run: Run, queue: RunAt) -> None:
    goes_on = threading.Event()
    begun = threading.Event()
    queue.subscribe(lambda _: (begun.set(), goes_on.wait(20)))
    queue.schedule("a", 1)
    assert begun.wait(20)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.aio.stop(), 0.1)
        goes_on.set()
        while not queue._sources.is_stopped:
            await asyncio.sleep(0.01)

    run(main)
    queue.stop()


@pytest.mark.parametrize(
    "subscribe",
    [
        lambda queue, handler: queue.subscribe(handler),
        lambda queue, handler: queue.claims().pipe(settle(handler)).subscribe(),
        lambda queue, handler: queue.claims().pipe(settle(lambda claim: None)).subscribe(handler),
    ],
    ids=["on_next", "work", "outcome"],
)
def test_14_a_stop_in_an_event_loop_of_a_callback_waits_for_nothing(
    run: Run, queue: RunAt, subscribe: Callable[[RunAt, Callable[[Any], None]], object]
) -> None:
    returned = threading.Event()

    def handler(_: object) -> None:
        run(queue.aio.stop)
        returned.set()

    subscribe(queue, handler)
    queue.schedule("a", 1)
    assert returned.wait(20)
    with pytest.raises(Stopped):
        queue.size()


def test_async_with_stops_the_queue(run: Run, server: Server, client: redis.Redis) -> None:
    async def main() -> RunAt:
        async with RunAt(server.url) as queue:
            await queue.aio.schedule("a", FAR)
        return queue

    queue = run(main)
    with pytest.raises(Stopped):
        queue.size()
    assert len(client.client_list()) == 1


def test_async_for_on_claims_and_jobs(run: Run, queue: RunAt) -> None:
    async def main() -> None:
        await queue.aio.on_next([Job(key, 1) for key in "abcdef"])
        got: list[str] = []
        async for claim in queue.claims(lease=30, max_in_flight=2):
            got.append(claim.key)
            assert await claim.aio.ack()  # frees its slot, so that the next one comes
            if len(got) == 4:
                break
        async for due in queue.jobs:
            got.append(due.key)
            if len(got) == 6:
                break
        assert sorted(got) == list("abcdef")

    run(main)
    assert queue.size() == 0


def test_the_verbs_of_a_claim(run: Run, queue: RunAt, client: redis.Redis) -> None:
    async def main() -> None:
        await queue.aio.on_next([Job(key, 1) for key in "abcd"])
        claims: dict[str, Any] = {}
        async for claim in queue.claims(lease=30):
            claims[claim.key] = claim
            if len(claims) == 4:
                break
        before = claims["c"].deadline
        got = await asyncio.gather(
            claims["a"].aio.ack(),
            claims["b"].aio.nack(3600),
            claims["c"].aio.extend(timedelta(hours=1)),
            claims["d"].aio.bury("no"),
        )
        assert got == [True] * 4
        assert claims["c"].deadline > before
        assert await asyncio.gather(*(claims[key].aio.ack() for key in "abd")) == [False] * 3
        with pytest.raises(InvalidSetting):
            await claims["c"].aio.bury(3)
        assert "aio of <Claim 'c'" in repr(claims["c"].aio)

    run(main)
    assert (queue.dead.size(), [due.key for due in queue.peek()], client.zcard(claimed_key(Q))) == (1, ["b"], 1)


def test_after_stop_a_claim_says_so(run: Run, queue: RunAt) -> None:
    async def main() -> None:
        await queue.aio.schedule("a", 1)
        claims: list[Claim] = []
        async for claim in queue.claims():
            claims.append(claim)
            break
        await queue.aio.stop()
        with pytest.raises(Stopped, match="its queue was stopped"):
            await claims[0].aio.ack()

    run(main)


def test_its_thread_ends_when_nobody_asks(run: Run, queue: RunAt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rx_runat.store.batches._IDLE_SECONDS", 0.05)

    def threads() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "rx_runat aio"]

    for _ in range(2):
        assert run(lambda: queue.aio.size()) == 0
        wait_until(lambda: not threads(), "the thread has ended")


def test_many_event_loops_at_once(run: Run, queue: RunAt) -> None:
    async def main(name: str) -> None:
        await asyncio.gather(*(queue.aio.schedule(f"{name}{n}", FAR) for n in range(100)))

    threads = [threading.Thread(target=lambda name=name: run(lambda: main(name))) for name in "abcdefgh"]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert queue.size() == 800


def test_24_a_forked_child_has_awaits_of_its_own(run: Run, queue: RunAt) -> None:
    assert run(lambda: queue.aio.size()) == 0

    def schedule() -> int:
        run(lambda: queue.aio.schedule("a", FAR))
        with queue:
            return queue.size()

    assert in_child(schedule) == 1
    assert run(lambda: queue.aio.size()) == 1


def test_a_write_wakes_a_source(run: Run, make: Callable[..., RunAt]) -> None:
    queue = make(interval=60)
    got: list[str] = []
    queue.subscribe(got.append)

    async def main() -> None:
        await queue.aio.schedule("far", FAR)
        await asyncio.sleep(0.1)
        await queue.aio.schedule("a", 1)

    run(main)
    wait_until(lambda: got == ["a"], "the key came")


def test_virtual_time_and_fakeredis(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with RunAt("memory://") as queue:
            got = await asyncio.gather(
                queue.aio.schedule("a", FAR), queue.aio.size(), queue.aio.cancel("a"), return_exceptions=True
            )
            assert got[1:] == [1, True]
            assert not isinstance(got[0], StoreError)

    run(main)
