"""An exception that a signal handler raises in the midst of a verb: the next verb reads its own reply, no other."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import redis

from rx_runat import Refused, RunAt
from rx_runat.store.connect import connect
from tests.support.interruptions import Interrupted, Interruption
from tests.support.servers import Server
from tests.support.waiting import wait_until

OTHER = 3  # a database that a connection must select before its first command
PLACES = ("rx_runat.store.client", "rx_runat.store.connection", "redis.connection")


def is_interrupted(lines: int, work: Callable[[], object]) -> bool:
    """Do the work, interrupted after so many lines in `PLACES`. Returns False if it was done before that."""
    try:
        with Interruption(lines, lambda frame: frame.f_globals.get("__name__") in PLACES):
            work()
    except Interrupted:
        return True
    return False


@pytest.fixture
def two_keys(queue: RunAt) -> RunAt:
    queue.schedule("k1", 1.0)
    queue.schedule("k2", 2.0)
    return queue


@pytest.fixture
def interrupts() -> Iterator[None]:
    """SIGALRM raises `Interrupted` in the main thread."""

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def when(queue: RunAt, key: str) -> float | None:
    found = queue.when(key)
    return found and found.timestamp()


@pytest.mark.usefixtures("interrupts")
def test_24_a_signal_between_request_and_reply_leaves_no_reply_to_the_next_verb(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunAt(own_server.url) as queue:
        queue.schedule("k1", 1.0)
        queue.schedule("k2", 2.0)
        read = redis.UnixDomainSocketConnection.read_response
        before_reads = [lambda: os.kill(os.getpid(), signal.SIGALRM), own_server.thaw]

        def read_later(self: Any, *args: Any, **options: Any) -> Any:
            if before_reads:
                before_reads.pop(0)()
            return read(self, *args, **options)

        monkeypatch.setattr(redis.UnixDomainSocketConnection, "read_response", read_later)
        own_server.freeze()  # so that the first reply comes only after the second request was sent
        with pytest.raises(Interrupted):
            queue.when("k1")
        assert when(queue, "k2") == 2.0


@pytest.mark.usefixtures("interrupts")
def test_24_a_signal_ends_the_wait_for_a_silent_server(own_server: Server) -> None:
    with RunAt(own_server.url) as queue:
        queue.schedule("k1", 1.0)
        queue.schedule("k2", 2.0)
        own_server.freeze()
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Interrupted):
            queue.when("k1")
        own_server.thaw()
        assert (when(queue, "k2"), when(queue, "k1")) == (2.0, 1.0)


def test_24_a_verb_interrupted_at_any_line_leaves_no_reply_and_no_connection(
    two_keys: RunAt, client: redis.Redis
) -> None:
    before = len(client.client_list())
    lines = 0
    while is_interrupted(lines, lambda: two_keys.when("k1")):
        assert when(two_keys, "k2") == 2.0
        lines += 1
    assert lines > 50
    assert len(client.client_list()) == before


# A socket that redis-py has not stored yet is closed by the interpreter, which warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("step", [13, pytest.param(1, marks=pytest.mark.slow)])
def test_24_a_connection_interrupted_at_any_line_of_its_making_is_not_used(
    step: int, server: Server, client: redis.Redis
) -> None:
    client.select(OTHER)
    client.set("where", OTHER)
    before = len(client.client_list())

    lines, interrupted = 0, True
    while interrupted:
        ours = connect(f"{server.url}?db={OTHER}").client
        interrupted = is_interrupted(lines, partial(ours.call, "GET", "where"))
        assert ours.call("GET", "where") == b"3"
        ours.close()
        lines += step
    assert lines > 200
    assert len(client.client_list()) == before


# As above.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("step", [13, pytest.param(1, marks=pytest.mark.slow)])
def test_24_a_connection_of_ones_own_interrupted_at_any_line_is_not_left_open(
    step: int, server: Server, client: redis.Redis
) -> None:
    ours = connect(server.url).client
    before = len(client.client_list())

    def use() -> None:
        own = ours.open()
        try:
            assert own.call("PING") == b"PONG"
            own.listen(0.001)
        finally:
            own.close()

    lines = 0
    while is_interrupted(lines, use):
        wait_until(lambda: len(client.client_list()) == before, "no connection is left")
        lines += step
    assert lines > 200
    ours.close()


def test_24_what_raises_on_a_connection_of_ones_own_closes_it(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = connect(server.url).client
    for use in (lambda own: own.call("PING"), lambda own: own.listen(0.01)):
        own = ours.open()
        with pytest.raises(Refused):
            own.call("NO-SUCH-COMMAND")
        assert own.call("PING") == b"PONG"  # a refusal is a reply, and closes nothing

        with monkeypatch.context() as patch:
            for name in ("read_response", "can_read"):
                patch.setattr(redis.UnixDomainSocketConnection, name, _interrupt)
            with pytest.raises(KeyboardInterrupt):
                use(own)
        assert not own.is_open
    ours.close()


def _interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
