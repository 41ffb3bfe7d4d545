"""`queue.waiting`: the schedule as a cold stream, read page by page; and the bulk move that begins with it."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from reactivex import operators as ops
from reactivex.disposable import SerialDisposable
from reactivex.scheduler import NewThreadScheduler
from reactivex.scheduler.eventloop import AsyncIOScheduler

from rx_runat import Due, InvalidJob, InvalidSetting, Job, Refused, RunAt, Stopped, Unavailable
from rx_runat.store import verbs
from rx_runat.testing import Faults, virtual_queue
from tests.support.forks import in_child
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"
FAR = 4_000_000_000


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page has two keys."""
    monkeypatch.setattr(verbs, "PAGE_KEYS", 2)


@pytest.fixture
def ten(queue: RunAt) -> RunAt:
    """A queue in which k0 to k9 wait, on a server that has the script: where it does not, a first page is two calls."""
    queue.on_next([Job(f"k{n}", FAR + n) for n in range(10)])
    keys(queue.waiting())
    return queue


def pages_read(client: redis.Redis) -> int:
    """Calls of a script since the last `CONFIG RESETSTAT`."""
    stats: dict[str, Any] = client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "eval"))


def keys(stream: Any) -> list[str]:
    found: list[str] = []
    stream.subscribe(lambda due: found.append(due.key))
    return found


# Cold, page by page.


def test_each_subscriber_lists_for_itself(ten: RunAt) -> None:
    stream = ten.waiting()
    ten.cancel("k3")
    assert keys(stream) == [f"k{n}" for n in range(10) if n != 3]
    ten.schedule("new", FAR + 99)
    assert keys(stream)[-1] == "new"
    assert ten.size() == 10


def test_an_empty_schedule_completes_at_once(queue: RunAt) -> None:
    ends: list[str] = []
    queue.waiting().subscribe(print, lambda _: ends.append("error"), lambda: ends.append("end"))
    assert ends == ["end"]


@pytest.mark.usefixtures("small_pages")
def test_the_next_page_is_read_when_the_one_before_was_delivered(ten: RunAt, client: redis.Redis) -> None:
    read: list[int] = []
    client.config_resetstat()
    ten.waiting().subscribe(lambda _: read.append(pages_read(client)))
    assert read == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert pages_read(client) == 6


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("taken, pages", [(1, 1), (2, 1), (3, 2)])
def test_nothing_is_read_for_a_subscriber_that_has_left(
    ten: RunAt, client: redis.Redis, taken: int, pages: int
) -> None:
    client.config_resetstat()
    assert keys(ten.waiting().pipe(ops.take(taken))) == [f"k{n}" for n in range(taken)]
    assert pages_read(client) == pages


@pytest.mark.usefixtures("small_pages")
def test_who_disposes_in_the_middle_receives_nothing_more(ten: RunAt) -> None:
    subscription = SerialDisposable()
    found: list[str] = []

    def receive(due: Due) -> None:
        found.append(due.key)
        if due.key == "k4":
            subscription.dispose()

    ended = threading.Event()
    stream = ten.waiting().pipe(ops.finally_action(ended.set))
    # On a thread of its own, so that the subscription is known before the first key comes.
    known = threading.Event()

    def wait(_: Due) -> None:
        known.wait(20)

    subscription.disposable = stream.pipe(ops.do_action(wait)).subscribe(
        receive, on_completed=lambda: found.append("end"), scheduler=NewThreadScheduler()
    )
    known.set()
    assert ended.wait(20)
    assert found == ["k0", "k1", "k2", "k3", "k4"]


def test_what_is_listed_stays(ten: RunAt) -> None:
    before = ten.peek(100)
    assert [due.key for due in before] == keys(ten.waiting())
    assert [(due.key, due.run_at) for due in ten.peek(100)] == [(due.key, due.run_at) for due in before]


# Which keys.


@pytest.mark.parametrize(
    "match, found",
    [
        (None, ["mail:1", "mail:2", "Mail:3", "sms:1", "a\nb", "mail:x", "[x]"]),
        ("*", ["mail:1", "mail:2", "Mail:3", "sms:1", "a\nb", "mail:x", "[x]"]),
        ("mail:*", ["mail:1", "mail:2", "mail:x"]),
        ("mail:?", ["mail:1", "mail:2", "mail:x"]),
        ("mail:[12]", ["mail:1", "mail:2"]),
        ("mail:[!12]", ["mail:x"]),
        ("a?b", ["a\nb"]),
        ("a*", ["a\nb"]),
        ("a", []),
        ("[[]x]", ["[x]"]),
        ("", []),
    ],
)
def test_match_is_a_pattern_of_fnmatch_for_the_whole_key(queue: RunAt, match: str | None, found: list[str]) -> None:
    names = ["mail:1", "mail:2", "Mail:3", "sms:1", "a\nb", "mail:x", "[x]"]
    queue.on_next([Job(key, FAR + n) for n, key in enumerate(names)])
    assert keys(queue.waiting(match)) == found


def test_20_a_key_that_is_not_utf_8_is_listed_and_can_be_matched(queue: RunAt, client: redis.Redis) -> None:
    client.zadd(Q, {b"\xff1": FAR * 1000.0, b"": FAR * 1000.0})
    assert keys(queue.waiting()) == ["", "\udcff1"]
    assert keys(queue.waiting("\udcff*")) == ["\udcff1"]


def test_until_is_a_moment_or_a_delay_from_the_subscription() -> None:
    queue, scheduler = virtual_queue()
    queue.on_next([Job(str(n), float(n)) for n in range(20)])
    stream = queue.waiting(until=timedelta(seconds=3))
    assert keys(stream) == ["0", "1", "2", "3"]
    scheduler.advance_to(5)
    assert keys(stream) == [str(n) for n in range(9)]
    assert keys(queue.waiting(until=2.5)) == keys(queue.waiting(until=datetime.fromtimestamp(2, UTC)))
    queue.stop()


def test_until_counts_from_rediss_clock(queue: RunAt) -> None:
    queue.on_next([Job("soon", timedelta(hours=1)), Job("later", timedelta(hours=3))])
    assert keys(queue.waiting(until=timedelta(hours=2))) == ["soon"]


@pytest.mark.parametrize("match", [b"mail:*", 5, ["a"]])
def test_a_match_that_is_no_str_is_refused(queue: RunAt, match: Any) -> None:
    with pytest.raises(InvalidSetting, match=r"match: got .* such as 'mail:\*'"):
        queue.waiting(match)


@pytest.mark.parametrize("until", [True, "soon", float("nan"), datetime(2030, 1, 1), 1_700_000_000_000])
def test_an_until_that_is_no_moment_is_refused(queue: RunAt, until: Any) -> None:
    with pytest.raises(InvalidJob, match="until"):
        queue.waiting(until=until)


# Errors.


@pytest.mark.parametrize("fault, error", [({"away": True}, Unavailable), ({"refusal": "NOPERM no"}, Refused)])
def test_what_a_verb_raises_reaches_on_error(faults: Faults, fault: dict[str, Any], error: type) -> None:
    queue, _ = virtual_queue(faults=faults)
    queue.schedule("a", 1)
    for name, value in fault.items():
        setattr(faults, name, value)
    seen: list[Exception] = []
    queue.waiting().subscribe(print, seen.append)
    assert [type(each) for each in seen] == [error]
    faults.away, faults.refusal = False, None
    assert keys(queue.waiting()) == ["a"]
    queue.stop()


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("at", ["before", "in the middle"])
def test_a_stopped_queue_fails_the_listing(ten: RunAt, at: str) -> None:
    seen: list[Any] = []
    stream = ten.waiting()
    if at == "before":
        ten.stop()
    stream.subscribe(lambda due: (seen.append(due.key), ten.stop()), lambda error: seen.append(type(error)))
    assert seen == ([Stopped] if at == "before" else ["k0", "k1", Stopped])


@pytest.mark.usefixtures("small_pages")
def test_an_outage_in_the_middle_fails_the_listing(own_server: Server, make: Callable[..., RunAt]) -> None:
    queue = make(own_server.url)
    queue.on_next([Job(f"k{n}", FAR + n) for n in range(4)])
    seen: list[Any] = []

    def receive(due: Due) -> None:
        seen.append(due.key)
        own_server.kill()

    queue.waiting().subscribe(receive, lambda error: seen.append(type(error)))
    assert seen == ["k0", "k1", Unavailable]


@pytest.mark.usefixtures("small_pages")
def test_a_page_whose_reply_was_lost_is_read_again(proxy: Proxy, make: Callable[..., RunAt]) -> None:
    queue = make(proxy.url)
    queue.on_next([Job(f"k{n}", FAR + n) for n in range(6)])
    proxy.of, proxy.cut = b"k1", 1
    assert keys(queue.waiting()) == [f"k{n}" for n in range(6)]


@pytest.mark.parametrize("error", [ValueError("x"), StopIteration("x"), KeyError("x")])
def test_what_the_subscriber_raises_reaches_its_on_error(ten: RunAt, error: Exception) -> None:
    """As in RxPY's own cold streams."""
    seen: list[Any] = []

    def receive(due: Due) -> None:
        seen.append(due.key)
        raise error

    ten.waiting().subscribe(receive, seen.append, lambda: seen.append("end"))
    assert seen == ["k0", error]
    with pytest.raises(type(error)):
        ten.waiting().subscribe(receive)
    with pytest.raises(type(error)):
        ten.waiting().pipe(ops.do_action(receive)).run()


def test_21_a_system_exit_ends_the_wait_for_the_listing_and_is_shown(ten: RunAt, shown: list[Any]) -> None:
    with pytest.raises(SystemExit):
        ten.waiting().subscribe(lambda _: sys.exit(3))
    with pytest.raises(SystemExit):
        ten.waiting().pipe(ops.map(lambda _: sys.exit(3))).run()
    wait_until(lambda: shown == [SystemExit], "it is shown")


# Where it runs.


def test_it_runs_on_the_thread_that_subscribes_or_by_its_scheduler() -> None:
    queue, scheduler = virtual_queue()
    queue.on_next([Job("a", 1), Job("b", 2)])
    seen: list[Any] = []
    queue.waiting().subscribe(lambda _: seen.append(threading.current_thread()))
    assert seen == [threading.current_thread()] * 2
    queue.waiting().subscribe(lambda due: seen.append((scheduler.clock, due.key)), scheduler=scheduler)
    assert len(seen) == 2
    scheduler.advance_by(0.5)
    assert [key for _, key in seen[2:]] == ["a", "b"]
    queue.stop()


def test_run_waits_for_the_end(ten: RunAt) -> None:
    assert [due.key for due in ten.waiting().pipe(ops.to_list()).run()] == [f"k{n}" for n in range(10)]
    assert ten.waiting().pipe(ops.take(2), ops.count()).run() == 2


def test_24_a_forked_child_lists_with_an_inherited_queue(ten: RunAt) -> None:
    stream = ten.waiting("k[12]")
    assert keys(stream) == ["k1", "k2"]
    assert in_child(lambda: keys(stream)) == ["k1", "k2"]
    assert keys(stream) == ["k1", "k2"]


# On an event loop.


@pytest.mark.usefixtures("small_pages")
def test_28_await_does_not_block_the_event_loop_while_a_server_is_silent(
    own_server: Server, make: Callable[..., RunAt]
) -> None:
    queue = make(own_server.url)
    queue.on_next([Job(f"k{n}", FAR + n) for n in range(4)])

    async def main() -> list[str]:
        assert await queue.aio.size() == 4
        own_server.freeze()
        listing = asyncio.ensure_future(queue.waiting().pipe(ops.map(lambda due: due.key), ops.to_list()))
        for _ in range(50):  # the event loop turns; were it blocked, nobody would thaw the server
            await asyncio.sleep(0.001)
        assert not listing.done()
        own_server.thaw()
        return await listing

    assert asyncio.run(main()) == ["k0", "k1", "k2", "k3"]


def test_28_on_next_runs_on_the_event_loop(ten: RunAt) -> None:
    async def main() -> set[threading.Thread]:
        stream = ten.waiting().pipe(ops.map(lambda _: threading.current_thread()), ops.to_set())
        return await stream

    assert asyncio.run(main()) == {threading.current_thread()}


def test_a_cancelled_await_ends_the_listing(own_server: Server, make: Callable[..., RunAt]) -> None:
    queue = make(own_server.url)
    queue.schedule("a", FAR)
    seen: list[Any] = []

    async def main() -> None:
        await queue.aio.size()
        own_server.freeze()
        listing = asyncio.ensure_future(queue.waiting().pipe(ops.do_action(seen.append), ops.to_list()))
        await asyncio.sleep(0.02)
        listing.cancel()
        own_server.thaw()
        with pytest.raises(asyncio.CancelledError):
            await listing
        assert await queue.aio.size() == 1
        assert {task.get_name() for task in asyncio.all_tasks()} == {asyncio.current_task().get_name()}  # type: ignore[union-attr]

    asyncio.run(main())
    assert seen == []


@pytest.mark.usefixtures("small_pages")
def test_who_leaves_on_an_event_loop_receives_nothing_more(ten: RunAt, client: redis.Redis) -> None:
    client.config_resetstat()

    async def main() -> list[Due]:
        return await ten.waiting().pipe(ops.take(3), ops.to_list())

    assert [due.key for due in asyncio.run(main())] == ["k0", "k1", "k2"]
    assert pages_read(client) == 2


class OwnError(BaseException):
    """No `Exception`."""


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit, OwnError])
def test_21_whatever_an_operator_raises_ends_the_await_of_a_listing(
    ten: RunAt, error: type[BaseException], shown: list[Any]
) -> None:
    def fails(_: Due) -> None:
        raise error("x")

    async def main() -> None:
        async with asyncio.timeout(20):
            await ten.waiting().pipe(ops.map(fails))

    with pytest.raises(error, match="x"):
        asyncio.run(main())
    assert shown == [error]


@pytest.mark.parametrize("error", [ValueError("x"), StopIteration("x")])
def test_what_fails_on_an_event_loop_reaches_the_await(ten: RunAt, error: Exception) -> None:
    def fails(_: Due) -> None:
        raise error

    async def subscribe() -> list[Any]:
        seen: list[Any] = []
        scheduler = AsyncIOScheduler(asyncio.get_running_loop())
        ten.waiting().subscribe(fails, seen.append, scheduler=scheduler)
        while not seen:
            await asyncio.sleep(0.001)
        return seen

    assert asyncio.run(subscribe()) == [error]

    async def stopped() -> None:
        await asyncio.wait_for(ten.waiting(), 20)

    ten.stop()
    with pytest.raises(Stopped):
        asyncio.run(stopped())


# A bulk move.


def nothing(_: Due) -> None:
    pass


def move(queue: RunAt, to: float, lists_of: int = 3, meanwhile: Callable[[Due], None] = nothing) -> None:
    def moved(due: Due) -> Job:
        meanwhile(due)
        return Job(due.key, to)

    queue.waiting("k*").pipe(ops.map(moved), ops.buffer_with_count(lists_of)).subscribe(queue.sink(only_waiting=True))


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("to", [FAR - 100, FAR + 5, FAR + 100])
def test_a_bulk_move_moves_each_key_once(ten: RunAt, to: int) -> None:
    ten.schedule("other", FAR)
    move(ten, to)
    assert {ten.when(f"k{n}") for n in range(10)} == {datetime.fromtimestamp(to, UTC)}
    assert ten.when("other") == datetime.fromtimestamp(FAR, UTC)
    assert ten.size() == 11


@pytest.mark.usefixtures("small_pages")
def test_a_bulk_move_brings_nothing_back_that_was_taken_or_cancelled_meanwhile(ten: RunAt, client: redis.Redis) -> None:
    def meanwhile(due: Due) -> None:
        if due.key in ("k0", "k4"):
            ten.cancel(due.key)
        if due.key in ("k2", "k7"):  # an npm runat claims it
            client.zrem(Q, due.key)

    move(ten, FAR + 100, meanwhile=meanwhile)
    assert sorted(due.key for due in ten.peek(100)) == ["k1", "k3", "k5", "k6", "k8", "k9"]


def test_26_a_bulk_move_keeps_the_data_that_is_there(queue: RunAt) -> None:
    """Also newer data than what was listed, because the job that is made of a Due names none."""
    queue.on_next([Job("k1", FAR, data="old"), Job("k2", FAR, data=[2])])

    def meanwhile(due: Due) -> None:
        if due.key == "k1":
            queue.schedule("k1", FAR, data="new")

    move(queue, FAR + 1, meanwhile=meanwhile)
    assert [(due.key, due.data) for due in queue.peek()] == [("k1", "new"), ("k2", [2])]


@pytest.mark.usefixtures("small_pages")
def test_a_bulk_move_that_fails_says_so_where_it_was_begun(own_server: Server, make: Callable[..., RunAt]) -> None:
    queue = make(own_server.url)
    queue.on_next([Job(f"k{n}", FAR + n) for n in range(4)])

    def meanwhile(due: Due) -> None:
        if due.key == "k1":
            own_server.kill()

    with pytest.raises(Unavailable):
        move(queue, FAR + 100, lists_of=1, meanwhile=meanwhile)


def test_a_bulk_move_on_an_event_loop(ten: RunAt) -> None:
    async def main() -> int:
        listed: list[Due] = await ten.waiting().pipe(ops.to_list())
        moved = await asyncio.gather(*(ten.aio.reschedule(due.key, FAR + 100) for due in listed))
        return len(moved) + await ten.aio.size(until=FAR + 50)

    assert asyncio.run(main()) == 10


def test_listings_leave_no_thread(ten: RunAt) -> None:
    ten.waiting().pipe(ops.to_list()).run()
    wait_until(lambda: not [each for each in threading.enumerate() if each.name.startswith("rx_")], "no thread is left")
