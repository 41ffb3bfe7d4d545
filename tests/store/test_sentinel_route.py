"""The route by Sentinel: whom it asks, when, and whom it believes. The Sentinels are scripted; nobody calls a node."""

# pyright: reportUnknownMemberType=false
# (redis-py's connections are not annotated)
from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from rx_runat.errors import OutcomeUnknown, Refused, StoreError, Unavailable
from rx_runat.model.monotonic import monotonic
from rx_runat.store import sentinel_route, sentinels
from rx_runat.store.client import RedisClient
from rx_runat.store.connection import OwnPool, exchange
from rx_runat.store.request import Request
from rx_runat.store.route import Settings
from rx_runat.store.sentinel_route import SentinelRoute
from tests.support.fake_sentinel import FakeSentinel
from tests.support.signals import interruptible
from tests.support.waiting import wait_until

OLD, NEW = ("127.0.0.1", 1), ("127.0.0.1", 2)
NOBODY = ("127.0.0.1", 9)  # the port for what is thrown away: nothing listens there

Make = Callable[..., SentinelRoute]


@pytest.fixture
def scripted() -> Iterator[Callable[..., FakeSentinel]]:
    """Starts scripted Sentinels."""
    started: list[FakeSentinel] = []

    def start(primary: tuple[str, int] | None = OLD, epoch: int = 0) -> FakeSentinel:
        started.append(FakeSentinel(primary, epoch))
        return started[-1]

    yield start
    for sentinel in started:
        sentinel.end()


@pytest.fixture
def route_by(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes routes by some Sentinels, or addresses of Sentinels, that ask more often than usual."""
    monkeypatch.setattr(sentinel_route, "_EVERY", 0.02)
    monkeypatch.setattr(sentinel_route, "_LONGEST_ANSWER", 60.0)
    made: list[SentinelRoute] = []

    def make(*asked: Any, **settings: Any) -> SentinelRoute:
        addresses = [getattr(each, "address", each) for each in asked]
        ours = Settings(redis.Connection, {})
        made.append(SentinelRoute(ours, Settings(redis.Connection, settings), addresses, "mymaster"))
        return made[-1]

    yield make
    for route in made:
        route.close()


def port_of(pool: OwnPool) -> int:
    return int(pool.connection_kwargs["port"])


def is_named(route: SentinelRoute, primary: tuple[str, int]) -> bool:
    return port_of(route.pool()) == primary[1]


def askers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "rx_runat sentinel"]


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


# Whom it believes.


def test_an_answer_is_asked_for_again_while_there_are_calls(
    scripted: Callable[..., FakeSentinel], route_by: Make
) -> None:
    sentinel = scripted()
    route = route_by(sentinel)
    assert route.generation == route.pool().generation == 0
    sentinel.primary = NEW
    wait_until(lambda: is_named(route, NEW), "the new primary is used")
    assert route.generation == route.pool().generation == 1
    assert sentinel.lines == 1


def test_a_sentinel_that_has_missed_a_failover_is_not_believed(
    scripted: Callable[..., FakeSentinel], route_by: Make, caplog: pytest.LogCaptureFixture
) -> None:
    good, late = scripted(NEW, 7), scripted(OLD, 6)
    route = route_by(good, late)
    assert is_named(route, NEW)
    good.end()
    wait_until(lambda: late.asked > 2, "the one that is late was asked")
    assert is_named(route, NEW)
    assert route.generation == 0
    assert len(warnings_of(caplog)) == 1
    late.primary, late.epoch = ("127.0.0.1", 3), 8
    wait_until(lambda: is_named(route, ("127.0.0.1", 3)), "it has learnt of a later failover")


def test_sentinels_that_were_set_up_anew_are_believed_after_some_time(
    scripted: Callable[..., FakeSentinel], route_by: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [scripted(OLD, 7) for _ in range(3)]
    route = route_by(*asked)
    assert is_named(route, OLD)
    for sentinel in asked:
        sentinel.primary, sentinel.epoch = NEW, 0
    asked[2].end()
    wait_until(lambda: asked[1].asked > 1, "two of three say so")
    assert is_named(route, OLD)
    monkeypatch.setattr(sentinels, "LONGEST_LAG", 0.0)
    wait_until(lambda: is_named(route, NEW), "the new primary is used")


def test_few_sentinels_that_were_set_up_anew_are_not_believed(
    scripted: Callable[..., FakeSentinel], route_by: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentinels, "LONGEST_LAG", 0.0)
    known, anew = scripted(OLD, 7), scripted(NEW, 0)
    route = route_by(known, anew, NOBODY)
    assert is_named(route, OLD)
    known.end()
    wait_until(lambda: anew.asked > 2, "it was asked")
    assert is_named(route, OLD)


def test_where_the_primary_is_lost_another_sentinel_is_asked(
    scripted: Callable[..., FakeSentinel], route_by: Make
) -> None:
    late, good = scripted(OLD, 6), scripted(NEW, 7)
    route = route_by(late, good)
    first = route.pool()
    assert port_of(first) == OLD[1]
    route.lost(first)
    route.pool()  # the first one says the same as before
    assert late.asked == 2
    route.lost(first)
    assert is_named(route, NEW)
    assert late.asked == 2


def test_a_silent_sentinel_is_passed_over_and_asked_last(scripted: Callable[..., FakeSentinel], route_by: Make) -> None:
    silent, good = scripted(), scripted()
    silent.replies.clear()
    route = route_by(silent, good, socket_timeout=0.2)
    assert is_named(route, OLD)
    wait_until(lambda: route.pool() and good.asked > 2, "the good one is asked again and again")
    assert silent.asked == 1


def test_a_long_timeout_of_the_user_is_not_for_silent_sentinels(
    scripted: Callable[..., FakeSentinel], route_by: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentinel_route, "_LONGEST_ANSWER", 0.1)
    silent = scripted()
    silent.replies.clear()
    assert is_named(route_by(silent, scripted(), socket_timeout=300, socket_connect_timeout=300), OLD)


def test_an_answer_from_before_the_loss_does_not_count(
    scripted: Callable[..., FakeSentinel], route_by: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentinel_route, "_PATIENCE", 20.0)
    sentinel = scripted()
    route = route_by(sentinel, socket_timeout=20)
    first = route.pool()
    sentinel.replies.clear()
    wait_until(lambda: route.pool() and sentinel.asked == 2, "a question is under way")
    sentinel.primary = NEW
    route.lost(first)
    threading.Timer(0.1, sentinel.replies.set).start()
    assert is_named(route, NEW)


def test_an_answer_is_good_from_the_question_on(
    scripted: Callable[..., FakeSentinel], route_by: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [monotonic()]
    for module in (sentinel_route, sentinels):
        monkeypatch.setattr(module, "monotonic", lambda: now[0])
    monkeypatch.setattr(sentinel_route, "_EVERY", 60.0)  # nothing is asked but by calls
    sentinel = scripted()
    sentinel.replies.clear()
    route = route_by(sentinel, socket_timeout=20)
    first = threading.Thread(target=route.pool)
    first.start()
    wait_until(lambda: sentinel.asked == 1, "the question is under way")
    now[0] += 0.9
    sentinel.replies.set()
    first.join()
    route.pool()
    assert sentinel.asked == 1
    now[0] += 0.2
    route.pool()
    assert sentinel.asked == 2


# What is wrong, in words.


def test_errors_say_what_is_wrong(scripted: Callable[..., FakeSentinel], route_by: Make) -> None:
    nobody = route_by(NOBODY)
    with pytest.raises(Unavailable, match=r"nobody at redis\+sentinel://127.0.0.1:9/mymaster says where the primary"):
        nobody.pool()
    unknown = scripted(None)
    with pytest.raises(Refused, match=rf"the Sentinel 127.0.0.1:{unknown.address[1]} knows no primary named 'mymas"):
        route_by(NOBODY, unknown).pool()
    odd = scripted()
    odd.state = b"*1\r\n$3\r\nodd\r\n"
    with pytest.raises(Refused, match="answers as no Sentinel does"):
        route_by(odd).pool()
    assert is_named(route_by(unknown, odd, scripted()), OLD)


def test_each_caller_gets_an_error_of_its_own(scripted: Callable[..., FakeSentinel], route_by: Make) -> None:
    silent = scripted()
    silent.replies.clear()
    route = route_by(silent, socket_timeout=0.15)
    errors: list[StoreError] = []

    def call() -> None:
        try:
            route.pool()
        except StoreError as error:
            errors.append(error)
            error.args = (f"{error}; nothing of the list was written",)

    callers = [threading.Thread(target=call) for _ in range(8)]
    for each in callers:
        each.start()
    for each in callers:
        each.join()
    assert len({id(error) for error in errors}) == 8
    assert {str(error).count("nothing of the list") for error in errors} == {1}
    assert silent.asked <= 3, "those who come during a question share its answer"


def test_silence_is_warned_of_once_however_often_the_primary_is_lost(
    scripted: Callable[..., FakeSentinel], route_by: Make, caplog: pytest.LogCaptureFixture
) -> None:
    sentinel = scripted()
    route = route_by(sentinel)
    pool = route.pool()
    sentinel.end()
    for _ in range(5):
        route.lost(pool)
        assert route.pool() is pool
    wait_until(lambda: warnings_of(caplog), "it is warned of")
    assert [text.endswith("; the queue stays with the primary that it knows") for text in warnings_of(caplog)] == [True]


def test_what_asks_may_fail_and_asks_again(
    scripted: Callable[..., FakeSentinel],
    route_by: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    route = route_by(scripted())
    with monkeypatch.context() as patch:
        patch.setattr(sentinels.Sentinels, "ask", None)  # which cannot be called
        with pytest.raises(Unavailable, match="failed"):
            route.pool()
    assert is_named(route, OLD)
    wait_until(lambda: caplog.records, "it is logged")
    assert [record.levelname for record in caplog.records] == ["ERROR"]


# When another primary takes over.


def test_connections_to_the_former_primary_end(
    scripted: Callable[..., FakeSentinel], route_by: Make, nodes: tuple[FakeSentinel, FakeSentinel]
) -> None:
    first, second = nodes
    sentinel = scripted(first.address)
    route = route_by(sentinel)
    before = route.pool()
    busy = before.get_connection()
    route.shorten_timeout(1.0)
    pool = route.pool()
    assert pool is not before
    idle = pool.get_connection()
    exchange(idle, "PING")
    pool.release(idle)
    dedicated = RedisClient(route).open()
    dedicated.call("PING")
    wait_until(lambda: first.lines == 3, "all are open")
    sentinel.primary = second.address
    wait_until(lambda: is_named(route, second.address), "the new primary is used")
    wait_until(lambda: first.lines == 0, "all are closed")
    assert (before.has_ended, pool.has_ended, dedicated.is_open) == (True, True, False)
    busy.disconnect()


def test_the_generation_is_never_ahead_of_the_connections(
    scripted: Callable[..., FakeSentinel], route_by: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentinel = scripted()
    route = route_by(sentinel)
    route.pool()
    seen: list[int] = []
    make = Settings.pool

    def pool(settings: Settings, *args: Any, **others: Any) -> OwnPool:
        seen.append(route.generation)
        return make(settings, *args, **others)

    monkeypatch.setattr(Settings, "pool", pool)
    sentinel.primary = NEW
    wait_until(lambda: is_named(route, NEW), "the new primary is used")
    assert (seen, route.generation) == ([0], 1)


@pytest.fixture
def nodes(scripted: Callable[..., FakeSentinel]) -> tuple[FakeSentinel, FakeSentinel]:
    """Two data nodes that say OK to everything."""
    return scripted(None), scripted(None)


def test_a_call_that_can_connect_no_more_goes_to_the_new_primary_at_once(
    scripted: Callable[..., FakeSentinel], route_by: Make, nodes: tuple[FakeSentinel, FakeSentinel]
) -> None:
    first, second = nodes
    sentinel = scripted(first.address)
    client = RedisClient(route_by(sentinel))
    assert client.call("SET", "a", "1") == b"OK"
    first.end()
    sentinel.primary = second.address
    with contextlib.suppress(OutcomeUnknown):  # on the connection that was open
        client.call("SET", "b", "1")
    assert client.call("SET", "c", "1") == b"OK"
    assert b"SET" in second.commands


def test_nothing_is_sent_to_a_former_primary_by_a_call_that_was_on_its_way(
    scripted: Callable[..., FakeSentinel],
    route_by: Make,
    nodes: tuple[FakeSentinel, FakeSentinel],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = nodes
    sentinel = scripted(first.address)
    route = route_by(sentinel)
    client = RedisClient(route)
    connect: Any = OwnPool.get_connection  # pyright: ignore[reportUnknownVariableType]

    def late(pool: OwnPool) -> Any:
        if pool is first_pool:  # the call has its pool, and now there is another primary
            sentinel.primary = second.address
            wait_until(lambda: pool.has_ended, "the connections have ended")
        return connect(pool)

    first_pool = route.pool()
    monkeypatch.setattr(OwnPool, "get_connection", late)
    with pytest.raises(Unavailable, match="has another primary now"):
        client.call("SET", "a", "1")
    assert b"SET" not in first.commands
    assert client.send(Request(("SET", "a", "1"), bytes)) == b"OK"
    assert (first.lines, b"SET" in second.commands) == (0, True)
    client.close()
    with pytest.raises(Unavailable, match="are closed"):
        client.call("SET", "a", "1")


class _Uses(logging.Handler):
    """A handler of the log that uses the route, and waits for a thread that does."""

    def __init__(self, route: SentinelRoute) -> None:
        super().__init__()
        self.route = route
        self.ended = False

    def emit(self, record: logging.LogRecord) -> None:
        thread = threading.Thread(target=lambda: self.route.shorten_timeout(0.5), daemon=True)
        thread.start()
        thread.join(10)
        lost = threading.Thread(target=lambda: self.route.lost(self.route.pool()), daemon=True)
        lost.start()
        lost.join(10)
        self.ended = not thread.is_alive() and not lost.is_alive()
        self.route.close()


@pytest.mark.parametrize("event", ["a new primary", "silence"])
def test_a_handler_of_the_log_may_use_the_route_and_close_it(
    scripted: Callable[..., FakeSentinel], route_by: Make, event: str
) -> None:
    sentinel = scripted()
    route = route_by(sentinel)
    route.pool()
    handler = _Uses(route)
    logger = logging.getLogger("rx_runat")
    logger.addHandler(handler)
    try:
        if event == "silence":
            sentinel.end()
        else:
            sentinel.primary = NEW
        wait_until(lambda: handler.ended, "the handler has done all of it")
        wait_until(lambda: not askers(), "the asker has ended")
    finally:
        logger.removeHandler(handler)


# Its thread.


def test_nothing_is_asked_when_there_are_no_calls_and_then_again(
    scripted: Callable[..., FakeSentinel], route_by: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentinel_route, "_UNUSED", 0.0)
    sentinel = scripted()
    route = route_by(sentinel)
    for _ in range(3):
        route.lost(route.pool())
        wait_until(lambda: not askers() and not sentinel.lines, "no thread and no connection is left")


def test_who_listens_keeps_it_asking(
    scripted: Callable[..., FakeSentinel], route_by: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentinel_route, "_UNUSED", 0.0)
    sentinel = scripted()
    route = route_by(sentinel)
    listener = RedisClient(route).open()
    route.shorten_timeout(1.0)  # and those who listen on connections from before
    wait_until(lambda: sentinel.asked > 2, "it is asked without any call")
    sentinel.primary = NEW
    wait_until(lambda: not listener.is_open, "who listens is told of a new primary")


@pytest.mark.parametrize("when", ["answers", "is silent", "takes no connection"])
def test_at_the_end_no_thread_and_no_connection_is_left(
    scripted: Callable[..., FakeSentinel], route_by: Make, when: str
) -> None:
    sentinel = scripted()
    route = route_by(NOBODY if when == "takes no connection" else sentinel, socket_timeout=60)
    if when == "is silent":
        sentinel.replies.clear()
    errors: list[StoreError] = []

    def call() -> None:
        try:
            route.pool()
        except StoreError as error:
            errors.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    if when != "takes no connection":
        wait_until(lambda: sentinel.asked == 1, "it was asked")
    if when != "is silent":
        caller.join()
    route.close()
    assert not askers()
    caller.join()
    assert len(errors) == (0 if when == "answers" else 1)
    sentinel.replies.set()
    wait_until(lambda: not sentinel.lines, "its connection is closed")
    if when == "answers":
        route.lost(route.pool())
    with pytest.raises(Unavailable, match="are closed"):
        route.pool()
    assert not askers()


def test_where_no_thread_can_be_started_the_known_primary_is_used(
    scripted: Callable[..., FakeSentinel], route_by: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(sentinel_route, "_UNUSED", 0.0)
    route = route_by(scripted())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fails)
        with pytest.raises(Unavailable, match="can't start new thread"):
            route.pool()
    pool = route.pool()
    wait_until(lambda: not askers(), "the asker has ended")
    route.lost(pool)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fails)
        assert route.pool() is pool
    assert is_named(route, OLD)


def test_a_signal_may_end_a_call_that_waits(scripted: Callable[..., FakeSentinel], route_by: Make) -> None:
    sentinel = scripted()
    sentinel.replies.clear()
    route = route_by(sentinel, socket_timeout=20)

    def interrupt() -> None:
        wait_until(lambda: sentinel.asked == 1, "it was asked")
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    with interruptible():
        interrupter.start()
        with pytest.raises(KeyboardInterrupt):
            route.pool()
    interrupter.join()
    sentinel.replies.set()
    assert is_named(route, OLD)
    assert len(askers()) == 1


def test_a_signal_at_the_start_of_the_asker_leaves_one_asker(
    scripted: Callable[..., FakeSentinel], route_by: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        raise KeyboardInterrupt

    route = route_by(scripted())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            route.pool()
    assert is_named(route, OLD)
    assert len(askers()) == 1
