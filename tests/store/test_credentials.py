"""A provider of credentials is asked at each connection, and one that streams renews those that are open."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
import redis.asyncio

from rx_runat import Recovered, Refused, RunAt, Unavailable
from rx_runat.store import credentials
from rx_runat.store.connect import connect
from rx_runat.store.connection import own_pool
from tests.support.node import Node
from tests.support.providers import USER, Rotated, Streaming
from tests.support.waiting import wait_until

PAST = 1.0
FIRST, SECOND, THIRD = "first-secret", "second-secret", "third-secret"


@pytest.fixture
def node(shared_node: Node) -> Node:
    """An empty server, on which USER has the password FIRST."""
    shared_node.call("FLUSHALL")
    shared_node.call("ACL", "SETUSER", USER, "reset", "on", f">{FIRST}", "~*", "&*", "+@all")
    return shared_node


def rotate(node: Node, password: str) -> None:
    node.call("ACL", "SETUSER", USER, "resetpass", f">{password}")


def connections(node: Node) -> set[str]:
    """The ids of the connections of USER."""
    with node.client() as client:
        return {each["id"] for each in client.client_list() if each["user"] == USER}


FORMS: dict[str, Callable[[Node, Any], Any]] = {
    "a mapping": lambda node, provider: {"port": node.port, "credential_provider": provider},
    "a client": lambda node, provider: redis.Redis(port=node.port, credential_provider=provider),
    "a client of asyncio": lambda node, provider: redis.asyncio.Redis(port=node.port, credential_provider=provider),
}
form = pytest.mark.parametrize("form", FORMS)


class Stream:
    """A queue with a subscriber, on a server that asks for USER's password."""

    def __init__(self, target: Any, name: str = "RunAt~default", interval: float = 60) -> None:
        self.queue = RunAt(target, queue_name=name, interval=interval)
        self.got: list[str] = []
        self.heard: list[Exception] = []
        self.queue.errors.subscribe(self.heard.append)
        self.queue.subscribe(self.got.append, self.heard.append)

    def passes(self, key: str) -> None:
        """A key goes through Redis, and wakes the source, whose next heartbeat is far away."""
        self.queue.schedule(key, PAST)
        wait_until(lambda: key in self.got, f"{key} came")

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.queue.stop()


@form
def test_a_provider_is_asked_at_each_connection(form: str, node: Node) -> None:
    provider = Rotated(FIRST)
    with RunAt(FORMS[form](node, provider)) as queue:
        assert provider.asked == 0, "nothing connects before it must"
        queue.schedule("a", PAST)
        rotate(node, SECOND)
        assert queue.size() == 1, "a connection that is open stays so"
        asked = provider.asked
        provider.password = SECOND
        node.call("CLIENT", "KILL", "USER", USER)
        assert queue.size() == 1
        assert provider.asked == asked + 1


@form
def test_new_credentials_renew_all_connections_and_nobody_notices(
    form: str, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    provider = Streaming(FIRST)
    with Stream(FORMS[form](node, provider)) as stream:
        stream.passes("a")
        wait_until(lambda: len(connections(node)) >= 2, "one connection watches, beside another")
        for place, password in enumerate((SECOND, THIRD)):
            old = connections(node)
            rotate(node, password)
            provider.announce(password)
            wait_until(lambda old=old: not old & connections(node), "the old connections are closed")
            wait_until(lambda: len(connections(node)) >= 1, "the source watches again")
            stream.passes(f"b{place}")
        assert stream.heard == []
        assert stream.got == ["a", "b0", "b1"]
    assert [record.message for record in caplog.records if record.levelname != "INFO"] == []


def test_new_credentials_disturb_no_call_under_way(node: Node) -> None:
    provider = Streaming(FIRST)
    client = connect({"port": node.port, "credential_provider": provider}).client
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(client.call, "BLPOP", "list", 20)
        with node.client() as admin:
            wait_until(lambda: "blpop" in [each["cmd"] for each in admin.client_list()], "the call waits")
            old = connections(node)
            provider.announce(FIRST)
            admin.rpush("list", "a")
        assert under_way.result() == [b"list", b"a"]
    client.call("PING")
    assert not old & connections(node), "its connection was used no more"
    client.close()


@form
def test_two_queues_that_share_a_provider_are_both_renewed(form: str, node: Node) -> None:
    provider = Streaming(FIRST)
    with Stream(FORMS[form](node, provider), "one") as one, Stream(FORMS[form](node, provider), "two") as two:
        one.passes("a")
        two.passes("b")
        old = connections(node)
        provider.announce(FIRST)
        wait_until(lambda: not old & connections(node), "the old connections of both are closed")
        one.passes("c")
        two.passes("d")
        assert one.heard == two.heard == []


def test_a_queue_takes_the_place_of_a_client_that_was_made_before_it(node: Node) -> None:
    provider = Streaming(FIRST)
    with Stream({"port": node.port, "credential_provider": provider}, "one") as one:
        one.passes("a")
        with redis.Redis(port=node.port, credential_provider=provider):  # redis-py registers it, and forgets the queue
            with Stream({"port": node.port, "credential_provider": provider}, "two"):
                old = connections(node)
                provider.announce(FIRST)
                wait_until(lambda: not old & connections(node), "the old connections are closed")
            one.passes("b")


def test_a_token_that_expires_costs_nothing_even_if_nobody_tells(node: Node) -> None:
    """The callback is another client's now; the server closes the connections, and the next ones ask the provider."""
    provider = Streaming(FIRST)
    with Stream({"port": node.port, "credential_provider": provider}) as stream:
        stream.passes("a")
        provider.on_next(print)
        rotate(node, SECOND)
        provider.password = SECOND
        node.call("CLIENT", "KILL", "USER", USER)
        stream.passes("b")


def test_no_call_that_begins_after_the_news_uses_an_old_connection(node: Node) -> None:
    provider = Streaming(FIRST)
    client = connect({"port": node.port, "credential_provider": provider}).client
    oldest = [0]  # the id of the newest connection before the last news
    has_ended = threading.Event()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def call() -> list[tuple[int, int]]:
        seen: list[tuple[int, int]] = []
        while not has_ended.is_set():
            least = oldest[0]
            seen.append((least, client.call("CLIENT", "ID")))
        return seen

    try:
        with ThreadPoolExecutor(4) as threads:
            calls = [threads.submit(call) for _ in range(4)]
            for _ in range(100):
                with node.client() as admin:
                    newest = admin.client_id()
                provider.announce(FIRST)
                oldest[0] = newest
            has_ended.set()
            wrong = [pair for each in calls for pair in each.result() if pair[1] <= pair[0]]
    finally:
        has_ended.set()
        sys.setswitchinterval(before)
    client.close()
    assert wrong == []


# A provider that fails.


def test_a_provider_that_raises_is_an_outage_and_its_words_are_not_shown(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    provider = Rotated(FIRST)
    with Stream({"port": node.port, "credential_provider": provider}, interval=0.05) as stream:
        stream.passes("a")
        provider.error = RuntimeError(f"no {SECOND} for you")
        node.call("CLIENT", "KILL", "USER", USER)
        with pytest.raises(Unavailable, match=r"^the credential provider raised RuntimeError$") as caught:
            stream.queue.size()
        assert caught.value.__cause__ is provider.error, "who looks for the reason finds it"
        wait_until(lambda: stream.heard, "the outage was told")
        provider.error = None
        wait_until(lambda: len(stream.heard) == 2, "the end of the outage was told")
        assert isinstance(stream.heard[1], Recovered)
        stream.passes("b")
    assert SECOND not in caplog.text
    assert SECOND not in "".join(map(str, stream.heard))


@pytest.mark.parametrize("kind", [RuntimeError, OSError, ValueError, redis.ConnectionError, redis.AuthenticationError])
def test_whatever_a_provider_raises_may_heal(node: Node, kind: type[Exception]) -> None:
    provider = Rotated(FIRST)
    provider.error = kind("for some reason")
    with RunAt({"port": node.port, "credential_provider": provider}) as queue:
        with pytest.raises(Unavailable, match=kind.__name__):
            queue.size()
        provider.error = None
        assert queue.size() == 0


@pytest.mark.parametrize("given", [None, "word", (), ("a", "b", "c"), ("a", None), 5, b"word"])
def test_a_provider_that_gives_no_credentials_is_refused_in_words(node: Node, given: Any) -> None:
    class Odd(redis.CredentialProvider):
        def get_credentials(self) -> Any:
            return given

    target = {"port": node.port, "credential_provider": Odd()}
    with RunAt(target) as queue, pytest.raises(Refused, match=r"must return \(user, password\)") as caught:
        queue.size()
    assert "word" not in str(caught.value).replace("password", "")


def test_a_provider_for_event_loops_alone_is_refused_in_words(node: Node) -> None:
    class Later(redis.CredentialProvider):
        async def get_credentials_async(self) -> Any:
            return USER, FIRST

    target = redis.asyncio.Redis(port=node.port, credential_provider=Later())
    with RunAt(target) as queue, pytest.raises(Refused, match=r"has no get_credentials\(\)"):
        queue.size()


def test_a_renewal_that_failed_is_logged_without_its_words(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    provider = Streaming(FIRST)
    with Stream({"port": node.port, "credential_provider": provider}) as stream:
        stream.passes("a")
        provider.fail(RuntimeError(SECOND))
        stream.passes("b")
        assert stream.heard == []
    assert "the credential provider could not renew what it gives: RuntimeError" in caplog.text
    assert SECOND not in caplog.text


def test_a_wrong_password_of_a_provider_is_refused_and_not_shown(node: Node) -> None:
    target = {"port": node.port, "credential_provider": Rotated(SECOND)}
    with RunAt(target) as queue, pytest.raises(Refused, match="password") as caught:
        queue.size()
    assert SECOND not in "".join(traceback.format_exception(caught.value))


def test_an_event_loop_may_await_what_it_calls() -> None:
    """A provider that was started by a client of asyncio awaits its callbacks."""
    provider = Streaming(FIRST)
    own_pool(redis.Connection, {"credential_provider": provider})

    async def tell() -> None:
        assert await provider.announce(SECOND) is None
        assert await provider.fail(RuntimeError()) is None

    asyncio.run(tell())


# Memory.


def test_a_queue_that_is_gone_keeps_neither_its_provider_nor_its_connections() -> None:
    provider = Streaming(FIRST)
    queue = RunAt({"port": 1, "credential_provider": provider})
    pool = weakref.ref(queue._store._client.route.pool())
    queue.stop()
    del queue
    gc.collect()
    assert pool() is None
    provider.announce(SECOND)
    gone, number = weakref.ref(provider), id(provider)
    del provider
    gc.collect()
    assert gone() is None
    assert number not in credentials._renewals


def test_a_provider_need_not_be_hashable_and_equal_ones_are_two() -> None:
    class Equal(Streaming):
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Equal)

        __hash__ = None  # type: ignore[assignment]

    one, other = Equal(FIRST), Equal(FIRST)
    renewed: list[str] = []

    class Pool:
        def __init__(self, name: str) -> None:
            self.name = name

        def renew(self) -> None:
            renewed.append(self.name)

    pools = Pool("one"), Pool("other")
    credentials.renew_with(one, pools[0])
    credentials.renew_with(other, pools[1])
    other.announce(SECOND)
    one.announce(SECOND)
    assert renewed == ["other", "one"]


def test_connections_are_renewed_while_others_are_opened() -> None:
    """What renews them goes through all that are open, while threads open more."""
    provider = Streaming(FIRST)
    pool = own_pool(redis.Connection, {"credential_provider": provider})
    kept: list[Any] = []
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def open_some() -> None:
        for _ in range(300):
            kept.append(pool.dedicate(lambda *_: None))  # noqa: PERF401 (each must be seen at once)

    try:
        with ThreadPoolExecutor(2) as threads:
            opening = [threads.submit(open_some) for _ in range(2)]
            while not all(each.done() for each in opening):
                assert pool.has_listeners in (True, False)
                provider.announce(SECOND)
    finally:
        sys.setswitchinterval(before)
    pool.end()
    assert len(kept) == 600
    assert not any(each.is_open for each in kept)
