"""`queue.aio` and `claim.aio` when something fails: each await has its own outcome, in order, and nobody hangs."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import redis

from rx_runat import Claim, Job, OutcomeUnknown, Refused, RunAt, Stopped, Unavailable, settle
from rx_runat.store.keys import claimed_key
from rx_runat.testing import virtual_queue
from tests.support.forks import in_child
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"
FAR = 4_000_000_000


async def all_of(*awaits: Coroutine[Any, Any, Any]) -> list[Any]:
    """Returns what each of them returned or raised."""
    return await asyncio.gather(*awaits, return_exceptions=True)


def kinds(outcomes: list[Any]) -> list[type]:
    return [type(each) for each in outcomes]


async def take(queue: RunAt, n: int = 1) -> list[Claim]:
    claims: list[Claim] = []
    async for claim in queue.claims(lease=30):
        claims.append(claim)
        if len(claims) == n:
            break
    return claims


@contextmanager
def no_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def fails(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fails)
        yield


def test_11_what_is_unknown_about_one_await_says_nothing_of_the_next(
    own_server: Server, make: Callable[..., RunAt]
) -> None:
    """The resent cancel cannot tell whether the key was there; the server is, so the others are asked again."""
    proxy = Proxy(own_server)
    queue = make(proxy.url)

    async def main() -> list[Any]:
        aio = queue.aio
        await aio.size()
        proxy.of, proxy.cut = b"\r\nk5\r\n", 1
        own_server.freeze()
        first = asyncio.create_task(aio.schedule("k", FAR))
        await asyncio.sleep(0.05)  # the first one is under way, so those that are asked for now go together
        others = asyncio.create_task(
            all_of(aio.cancel("absent"), *(aio.schedule(f"k{n}", FAR) for n in range(10)), aio.size())
        )
        await asyncio.sleep(0.05)
        own_server.thaw()
        await first
        return await others

    unknown, *written, size = asyncio.run(main())
    proxy.end()
    assert isinstance(unknown, OutcomeUnknown)
    assert "absent" in str(unknown)
    assert [each for each in written if isinstance(each, Exception)] == []
    assert size == 11


def test_where_nothing_answers_each_await_raises_an_error_of_its_own(
    own_server: Server, make: Callable[..., RunAt]
) -> None:
    queue = make(own_server.url)
    long = [Job(f"k{n}", timedelta(days=1)) for n in range(20_001)]

    async def main() -> list[Any]:
        await queue.aio.size()
        own_server.kill()
        await all_of(queue.aio.size())
        return await all_of(queue.aio.on_next(long), queue.aio.size(), queue.aio.when("a"))

    errors = asyncio.run(main())
    assert kinds(errors) == [Unavailable] * 3
    assert len({id(each) for each in errors}) == 3
    assert ["of the list's 20,001 jobs" in str(each) for each in errors] == [True, False, False]


def test_a_claim_that_is_unsure_is_asked_for_again_alone_and_the_others_go_together(
    proxy: Proxy, make: Callable[..., RunAt], client: redis.Redis
) -> None:
    queue = make(proxy.url)

    async def main() -> list[Any]:
        await queue.aio.schedule("a", 1)
        (claim,) = await take(queue)
        proxy.of, proxy.cut = b"\r\nack\r\n", 3
        with pytest.raises(OutcomeUnknown):
            await claim.aio.ack()
        before = client.info("stats")["total_reads_processed"]
        outcomes = await all_of(
            *(queue.aio.schedule(f"k{n}", FAR) for n in range(200)), claim.aio.ack(), queue.aio.size()
        )
        assert client.info("stats")["total_reads_processed"] - before < 60
        return outcomes

    *_, acked, size = asyncio.run(main())
    assert acked is True
    assert size == 200
    assert not client.exists(claimed_key(Q))


def test_a_server_that_hangs_is_waited_for_once_by_all_awaits(own_server: Server) -> None:
    """An unsure claim among them: were each sent by itself, they would take eighty timeouts."""
    proxy = Proxy(own_server)
    with RunAt({"unix_socket_path": proxy.path, "socket_timeout": 0.1}) as queue:

        async def main() -> tuple[list[Any], float]:
            await queue.aio.schedule("a", 1)
            (claim,) = await take(queue)
            proxy.of, proxy.cut = b"\r\nack\r\n", 3
            with pytest.raises(OutcomeUnknown):
                await claim.aio.ack()
            own_server.freeze()
            loop = asyncio.get_running_loop()
            began = loop.time()
            outcomes = await all_of(claim.aio.ack(), *(queue.aio.schedule(f"k{n}", FAR) for n in range(80)))
            own_server.thaw()
            return outcomes, loop.time() - began

        outcomes, seconds = asyncio.run(main())
    proxy.end()
    assert set(kinds(outcomes)) <= {OutcomeUnknown, Unavailable}
    assert seconds < 5


def test_a_server_that_hangs_from_the_beginning_is_waited_for_once_by_all_awaits(own_server: Server) -> None:
    with RunAt({"unix_socket_path": own_server.path, "socket_timeout": 0.1}) as queue:

        async def main() -> float:
            await queue.aio.size()
            own_server.freeze()
            loop = asyncio.get_running_loop()
            began = loop.time()
            outcomes = await all_of(*(queue.aio.schedule(f"k{n}", FAR) for n in range(80)))
            assert set(kinds(outcomes)) <= {OutcomeUnknown, Unavailable}
            own_server.thaw()
            return loop.time() - began

        assert asyncio.run(main()) < 5


def test_scripts_keep_their_order_when_the_server_forgets_them(queue: RunAt, client: redis.Redis) -> None:
    async def main() -> None:
        for _ in range(5):
            client.script_flush()
            got = await asyncio.gather(
                queue.aio.schedule("a", FAR, keep="latest"),
                queue.aio.cancel("a"),
                queue.aio.when("a"),
                queue.aio.schedule("a", FAR + 1),
                queue.aio.schedule("a", FAR, keep="first"),
                queue.aio.cancel("a"),
                queue.aio.size(),
            )
            assert (got[1:3], got[4].timestamp(), got[5:]) == ([True, None], FAR + 1, [True, 0])

    asyncio.run(main())


def test_a_full_server_refuses_what_writes_and_answers_what_reads(
    own_server: Server, make: Callable[..., RunAt]
) -> None:
    queue = make(own_server.url)

    async def main() -> list[Any]:
        await queue.aio.schedule("a", FAR)
        with own_server.client() as client:
            client.config_set("maxmemory", 1)
            got = await all_of(
                queue.aio.schedule("b", FAR), queue.aio.size(), queue.aio.schedule("c", FAR, "first"), queue.aio.peek()
            )
            client.config_set("maxmemory", 0)
        await queue.aio.schedule("d", FAR)
        return got

    first, size, second, peeked = asyncio.run(main())
    assert kinds([first, second]) == [Unavailable] * 2
    assert (size, [due.key for due in peeked]) == (1, ["a"])
    assert queue.size() == 2


def test_25_many_awaits_follow_a_primary_that_was_demoted(
    own_server: Server, make: Callable[..., RunAt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It refuses writes, and another one may have its address: the next awaits connect anew."""
    queue = make(own_server.url)

    async def main() -> None:
        await all_of(queue.aio.size(), queue.aio.size())
        with own_server.client() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", "1")
            got = await all_of(queue.aio.schedule("a", FAR), queue.aio.schedule("b", FAR))
            assert kinds(got) == [Unavailable] * 2
            before = client.info("stats")["total_connections_received"]
            await all_of(queue.aio.schedule("a", FAR), queue.aio.schedule("b", FAR))
            assert client.info("stats")["total_connections_received"] > before
            client.execute_command("REPLICAOF", "NO", "ONE")
        await all_of(queue.aio.schedule("a", FAR), queue.aio.schedule("b", FAR))

    asyncio.run(main())
    assert queue.size() == 2


def test_24_in_a_forked_child_an_inherited_claim_says_so(queue: RunAt) -> None:
    async def main() -> Claim:
        await queue.aio.schedule("a", 1)
        return (await take(queue))[0]

    claim = asyncio.run(main())

    def ack() -> str:
        try:
            asyncio.run(asyncio.wait_for(claim.aio.ack(), 10))
        except Exception as error:
            return type(error).__name__
        return "acked"

    def sync() -> str:
        try:
            claim.ack()
        except Exception as error:
            return type(error).__name__
        return "acked"

    assert in_child(ack) == in_child(sync)
    assert claim.ack()


def test_where_no_thread_can_be_started_an_await_fails_and_stop_stops(
    make: Callable[..., RunAt], monkeypatch: pytest.MonkeyPatch, client: redis.Redis
) -> None:
    queue = make()

    async def main() -> None:
        with no_thread(monkeypatch):
            with pytest.raises(Unavailable, match="no thread can be started"):
                await queue.aio.size()
            await queue.aio.stop()
        with pytest.raises(Stopped):
            await queue.aio.size()

    asyncio.run(main())


def test_14_work_that_is_broken_off_can_still_settle_its_claim(queue: RunAt, client: redis.Redis) -> None:
    """As with `claim.nack`: the queue waits for this work, and so does its connection."""
    told: list[object] = []

    async def work(claim: Claim) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            told.append(await claim.aio.nack(3600))

    async def main() -> None:
        await queue.aio.schedule("a", 1)
        ended = asyncio.Event()
        queue.claims().pipe(settle(work)).subscribe(on_completed=lambda: loop.call_soon_threadsafe(ended.set))
        loop = asyncio.get_running_loop()
        while not client.exists(claimed_key(Q)):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        await queue.aio.stop()
        await ended.wait()

    asyncio.run(main())
    assert told == [True]
    assert client.zcard(Q) == 1


def test_after_stop_each_await_of_a_claim_raises_an_error_of_its_own(queue: RunAt) -> None:
    async def main() -> list[Any]:
        await queue.aio.schedule("a", 1)
        (claim,) = await take(queue)
        await queue.aio.stop()
        return await all_of(*(claim.aio.ack() for _ in range(3)))

    errors = asyncio.run(main())
    assert kinds(errors) == [Stopped] * 3
    causes = [error.__cause__ or error for error in errors]
    assert len({id(each) for each in causes}) == 3


def test_an_await_that_is_closed_or_cancelled_leaves_no_noise(own_server: Server, make: Callable[..., RunAt]) -> None:
    queue = make(own_server.url)
    noise: list[Any] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
        await queue.aio.size()
        own_server.kill()
        closed = queue.aio.size()
        closed.send(None)
        closed.close()
        for n in range(200):
            task = asyncio.ensure_future(queue.aio.size())
            for _ in range(n % 7):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises((asyncio.CancelledError, Unavailable)):
                await task
        await all_of(queue.aio.size())
        await asyncio.sleep(0.05)
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(main())
    assert noise == []


def test_an_event_loop_that_closes_while_awaits_are_under_way_harms_nobody(
    own_server: Server, make: Callable[..., RunAt]
) -> None:
    queue = make(own_server.url)

    async def main() -> None:
        await queue.aio.size()
        own_server.freeze()
        tasks = [asyncio.create_task(queue.aio.schedule(f"k{n}", FAR)) for n in range(5)]
        await asyncio.sleep(0.2)
        assert not any(task.done() for task in tasks)

    asyncio.run(main())
    own_server.thaw()
    assert asyncio.run(queue.aio.size()) == 5


def test_again_and_again_with_a_loop_of_its_own(queue: RunAt) -> None:
    for n in range(20):
        asyncio.run(queue.aio.schedule(f"k{n}", FAR))
    assert queue.size() == 20


def test_stop_from_anywhere_while_awaits_are_pending(make: Callable[..., RunAt], client: redis.Redis) -> None:
    """From another thread, from a callback of an await, twice, and from within `async for`."""

    async def pending(queue: RunAt, stop: Callable[[], Any]) -> list[Any]:
        tasks = [asyncio.ensure_future(queue.aio.schedule(f"k{n}", FAR)) for n in range(3000)]
        tasks[0].add_done_callback(lambda _: stop())
        return await asyncio.gather(*tasks, return_exceptions=True)

    for stop_by in ("thread", "callback", "twice"):
        queue = make()

        def stop(queue: RunAt = queue, stop_by: str = stop_by) -> None:
            if stop_by == "thread":
                threading.Thread(target=queue.stop).start()
            else:
                for _ in range(2 if stop_by == "twice" else 1):
                    queue.stop()

        outcomes = asyncio.run(pending(queue, stop))
        written = [each for each in outcomes if not isinstance(each, Exception)]
        assert {type(each) for each in outcomes if isinstance(each, Exception)} <= {Stopped}
        assert client.zcard(Q) == len(written)
        client.delete(Q)

    queue = make()

    async def inside() -> list[str]:
        await queue.aio.on_next([Job(key, 1) for key in "abc"])
        got: list[str] = []
        async for key in queue:
            got.append(key)
            await queue.aio.stop()
        return got

    got = asyncio.run(inside())
    assert sorted([*got, *(member.decode() for member in client.zrange(Q, 0, -1))]) == ["a", "b", "c"]


def test_a_lost_lease_and_a_resent_ack(proxy: Proxy, make: Callable[..., RunAt], client: redis.Redis) -> None:
    queue = make(proxy.url)

    async def main() -> None:
        await queue.aio.on_next([Job("a", 1), Job("b", 1)])
        a, b = sorted(await take(queue, 2), key=lambda claim: claim.key)
        proxy.of = b"\r\nack\r\n"
        proxy.cut = 1
        assert await a.aio.ack(), "resent at once"
        proxy.cut = 3
        with pytest.raises(OutcomeUnknown):
            await b.aio.ack()
        proxy.cut = 0
        assert await b.aio.ack(), "the earlier sending ended it"
        assert await b.aio.ack() is False
        await queue.aio.schedule("c", 1)
        (c,) = await take(queue)
        queue.cancel("c")
        assert await all_of(c.aio.ack(), c.aio.extend(5), c.aio.bury("no")) == [False] * 3

    asyncio.run(main())
    assert not client.exists(claimed_key(Q))


@pytest.mark.slow
def test_ten_thousand_awaits_beside_a_verb_of_many_steps(queue: RunAt, client: redis.Redis) -> None:
    dead = {f"d{n}": f"{1000} 1 1 no" for n in range(3000)}
    client.hset(f"{{{Q}}}:dead", mapping=dead)

    async def main() -> list[Any]:
        await queue.aio.size()
        order: list[str] = []
        revive = asyncio.ensure_future(queue.aio.dead.revive(None))
        revive.add_done_callback(lambda _: order.append("revive"))
        jobs = [Job(f"j{n}", FAR) for n in range(200_000)]
        long = asyncio.ensure_future(queue.aio.on_next(jobs))
        outcomes = await all_of(*(queue.aio.schedule(f"k{n}", FAR) for n in range(10_000)))
        return [await revive, await long, *outcomes]

    revived, _, *rest = asyncio.run(main())
    assert revived == 3000
    assert [each for each in rest if isinstance(each, Exception)] == []
    assert queue.size() == 213_000


def test_in_virtual_time_the_scheduler_decides(client: redis.Redis) -> None:
    queue, scheduler = virtual_queue()
    got: list[str] = []
    queue.subscribe(got.append)

    async def main() -> None:
        await queue.aio.schedule("a", timedelta(seconds=5))
        await queue.aio.schedule("b", timedelta(seconds=6))
        scheduler.advance_by(5)
        assert got == ["a"]
        assert await queue.aio.size(until=timedelta(seconds=1)) == 1
        scheduler.advance_by(1)
        await queue.aio.stop()

    asyncio.run(main())
    assert got == ["a", "b"]


def test_refusals_of_a_batch_are_those_of_the_verbs(queue: RunAt, client: redis.Redis) -> None:
    client.set(Q, "no zset")

    async def main() -> list[Any]:
        return await all_of(queue.aio.schedule("a", FAR), queue.aio.dead.size(), queue.aio.cancel("a"))

    first, dead, last = asyncio.run(main())
    assert kinds([first, last]) == [Refused] * 2
    assert dead == 0


@pytest.mark.parametrize("spared", range(7))
def test_11_a_connection_that_is_cut_at_each_place(spared: int, proxy: Proxy, make: Callable[..., RunAt]) -> None:
    queue = make(proxy.url)

    async def main() -> list[Any]:
        aio = queue.aio
        await aio.schedule("x", FAR)
        proxy.spared, proxy.cut = [spared], 1
        first = await all_of(aio.schedule("a", FAR), aio.cancel("a"), aio.when("a"))
        second = await all_of(aio.schedule("b", FAR), aio.cancel("x"), aio.size())
        third = await all_of(aio.schedule("c", FAR), aio.cancel("none"), aio.size())
        return [*first, *second, *third]

    at, cancelled, when, _, gone, size, _, none, all_ = asyncio.run(main())
    assert at.timestamp() == FAR
    assert cancelled is True or isinstance(cancelled, OutcomeUnknown)
    assert when is None
    assert gone is True or isinstance(gone, OutcomeUnknown)
    assert none is False or isinstance(none, OutcomeUnknown)
    assert (size, all_) == (1, 2)
    wait_until(lambda: queue.size() == 2, "b and c wait")
