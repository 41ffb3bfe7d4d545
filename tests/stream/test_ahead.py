"""A source asks for the next claim while it delivers one, where its subscribers are fast and more is due."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from reactivex import operators as ops

from rx_runat import Job, RunAt
from rx_runat.stream.demand import Pace
from rx_runat.testing import Faults, virtual_queue
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"
COUNT = 20_000


@pytest.fixture
def backlog(client: redis.Redis) -> dict[bytes, float]:
    """The schedule: so many due keys, each with a time of its own."""
    wrote: dict[bytes, float] = {f"k{n:06}".encode(): n + 0.5 for n in range(COUNT)}
    client.zadd(Q, wrote)  # type: ignore[arg-type]
    return wrote


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many keys each claim was asked to take ahead; a test that uses it fails if none was."""
    asked: list[int] = []
    ahead: Any = Pace.ahead

    def note(pace: Pace) -> int:
        asked.append(ahead.fget(pace))
        return asked[-1]

    monkeypatch.setattr(Pace, "ahead", property(note))
    yield asked
    assert any(asked), "the subscribers were fast enough"


def waits(client: redis.Redis) -> dict[bytes, float]:
    return dict(client.zrange(Q, 0, -1, withscores=True))  # type: ignore[arg-type]


def rest_of(backlog: dict[bytes, float], got: list[str]) -> dict[bytes, float]:
    came = {key.encode() for key in got}
    return {key: score for key, score in backlog.items() if key not in came}


# The pace.


@pytest.mark.parametrize(
    "limit, keys, seconds, ahead",
    [
        (1000, 1000, 0.025, 1000),
        (1000, 1000, 0.026, 0),
        (1000, 250, 0.001, 1000),
        (1000, 249, 0.0001, 0),
        (1000, 1000, 0.0, 1000),
        (2, 2, 0.0, 2),
        (1, 1, 0.0, 0),
    ],
)
def test_a_full_claim_is_asked_for_ahead_if_two_are_received_in_time(
    limit: int, keys: int, seconds: float, ahead: int
) -> None:
    """The time is a twentieth of a second. With a limit of one, nothing waits behind an `on_next`."""
    pace = Pace(limit)
    assert pace.ahead == 0
    pace.note_delivery(keys, seconds)
    assert pace.ahead == ahead
    pace.reset()
    assert pace.ahead == 0


def test_in_virtual_time_none_is_asked_for() -> None:
    faults = Faults()
    queue, scheduler = virtual_queue(faults=faults, limit=10)
    queue.on_next([Job(f"k{n:03}", 0) for n in range(300)])
    got: list[str] = []
    queue.subscribe(got.append)
    faults.commands.clear()
    scheduler.advance_by(1)
    assert len(got) == 300
    claims = [name for name in faults.commands if name in ("EVAL", "EVALSHA")]
    assert len(faults.commands) == len(claims), "no command comes beside the claims"


# What comes.


def test_5_all_keys_come_once_and_in_order(queue: RunAt, backlog: dict[bytes, float], asked: list[int]) -> None:
    got: list[str] = []
    queue.subscribe(got.append)
    wait_until(lambda: len(got) >= COUNT, "all keys came")
    assert got == [key.decode() for key in backlog]


def test_1_two_sources_share_a_backlog(
    make: Callable[..., RunAt], backlog: dict[bytes, float], asked: list[int]
) -> None:
    got: list[list[str]] = [[], []]
    for each in got:
        make().subscribe(each.append)
    wait_until(lambda: sum(map(len, got)) >= COUNT, "all keys came")
    assert Counter(got[0] + got[1]) == Counter(key.decode() for key in backlog)
    assert all(each == sorted(each) for each in got)


def test_dues_have_their_own_times(queue: RunAt, backlog: dict[bytes, float], asked: list[int]) -> None:
    got: list[tuple[str, float]] = []
    queue.jobs.subscribe(lambda due: got.append((due.key, due.run_at.timestamp() * 1000)))
    wait_until(lambda: len(got) >= COUNT, "all keys came")
    assert got == [(key.decode(), pytest.approx(score)) for key, score in backlog.items()]


def test_3_what_is_written_during_the_last_delivery_is_found(
    make: Callable[..., RunAt], client: redis.Redis, backlog: dict[bytes, float], asked: list[int]
) -> None:
    """No heartbeat comes. The claim that was asked for before the write reports that nothing is scheduled."""
    queue = make(interval=3600)
    got: list[str] = []

    def receive(key: str) -> None:
        got.append(key)
        if key == f"k{COUNT - 1:06}":
            client.zadd(Q, {"later": 5})

    queue.subscribe(receive)
    wait_until(lambda: got[-1:] == ["later"], "the key came")
    assert len(got) == COUNT + 1


def test_a_backlog_that_grows_is_drained(
    queue: RunAt, client: redis.Redis, backlog: dict[bytes, float], asked: list[int]
) -> None:
    got: list[str] = []
    queue.subscribe(got.append)
    for first in range(0, 10_000, 500):
        client.zadd(Q, {f"n{n}": 1 for n in range(first, first + 500)})
    wait_until(lambda: len(got) >= COUNT + 10_000, "all keys came")
    assert len(set(got)) == len(got)


# What goes back.


def test_7_what_was_asked_for_ahead_goes_back_when_the_last_subscriber_leaves(
    queue: RunAt, client: redis.Redis, backlog: dict[bytes, float], asked: list[int]
) -> None:
    got = queue.pipe(ops.take(9_876), ops.to_list()).run()
    assert got == [key.decode() for key in backlog][:9_876]
    rest = rest_of(backlog, got)
    wait_until(lambda: client.zcard(Q) == len(rest), "the others went back")
    assert waits(client) == rest
    queue.stop()
    assert client.keys("*:receipt:*") == []


def test_7_an_error_in_a_pipeline_hands_back_both_claims(
    queue: RunAt, client: redis.Redis, backlog: dict[bytes, float], asked: list[int]
) -> None:
    """The other subscriber receives all keys: nothing is lost between the two claims."""
    got: list[str] = []
    errors: list[Exception] = []

    def fail(key: str) -> None:
        if key == "k012345":
            raise ValueError(key)

    queue.subscribe(fail, errors.append)
    queue.subscribe(got.append)
    wait_until(lambda: len(got) >= COUNT, "all keys came")
    assert got == [key.decode() for key in backlog]
    assert [str(error) for error in errors] == ["k012345"]


def test_14_stop_hands_back_both_claims(
    queue: RunAt, client: redis.Redis, backlog: dict[bytes, float], asked: list[int]
) -> None:
    got: list[str] = []

    def receive(key: str) -> None:
        got.append(key)
        if len(got) == 7_777:
            queue.stop()

    queue.subscribe(receive)
    wait_until(lambda: queue._sources.is_stopped and client.zcard(Q) == COUNT - 7_777, "the others went back")
    assert waits(client) == rest_of(backlog, got)
    wait_until(lambda: client.keys("*:receipt:*") == [], "the receipts are gone")


def test_22_keys_that_were_asked_for_ahead_go_back_while_an_on_next_blocks(
    make: Callable[..., RunAt], client: redis.Redis, backlog: dict[bytes, float], asked: list[int]
) -> None:
    """At most two claims are in hand, and all but the one key go back in time. A colleague receives them."""
    queue, release = make(), threading.Event()
    got: list[str] = []

    def receive(key: str) -> None:
        got.append(key)
        if len(got) == 8_888:
            assert COUNT - client.zcard(Q) - len(got) < 2 * 1000, "two claims of the limit"  # type: ignore[operator]
            release.wait(30)

    try:
        queue.subscribe(receive)
        wait_until(lambda: len(got) == 8_888 and client.zcard(Q) == COUNT - 8_888, "all but one key went back")
        assert waits(client) == rest_of(backlog, got)
        theirs = make(limit=COUNT).pipe(ops.take(COUNT - 8_888), ops.to_list()).run()
    finally:
        release.set()
    wait_until(lambda: client.zcard(Q) == 0, "nothing is left")
    queue.stop()
    assert Counter(got + theirs) == Counter(key.decode() for key in backlog)


WORKER = """
import os, sys
from rx_runat import RunAt
with RunAt(sys.argv[1]) as queue:
    queue.subscribe(lambda key: os.write(1, key.encode() + b"\\n"))
    sys.stdin.readline()
"""


def test_8_a_killed_process_loses_two_claims_at_most(
    server: Server, client: redis.Redis, backlog: dict[bytes, float], tmp_path: Path
) -> None:
    """It writes each key down, and drains fast, so that it has a claim in delivery and one that it asked for ahead."""
    got = tmp_path / "got"
    with got.open("wb") as out:
        worker = subprocess.Popen([sys.executable, "-c", WORKER, server.url], stdin=subprocess.PIPE, stdout=out)
        wait_until(lambda: client.zcard(Q) < COUNT - 5_000, "it drains")  # type: ignore[operator]
        worker.kill()
        worker.communicate()
    came = got.read_bytes().split()
    left = waits(client)
    assert len(came) == len(set(came))
    assert not left.keys() & set(came)
    assert COUNT - len(left) - len(came) <= 2 * 1000, "two claims of the limit"
    for name in client.keys("*:receipt:*"):  # type: ignore[union-attr]
        assert client.pttl(name) > 0, "what it leaves behind expires"  # type: ignore[operator]


# What goes wrong.


def test_11_a_server_that_dies_and_comes_back_loses_no_key(own_server: Server, asked: list[int]) -> None:
    """It keeps what it has answered: the append-only file is written before each reply."""
    with own_server.client() as client:
        client.config_set("appendonly", "yes")
        client.config_set("appendfsync", "always")
        client.zadd(Q, {f"k{n:06}": n for n in range(COUNT)})
    got: list[str] = []
    died = threading.Event()

    def receive(key: str) -> None:
        got.append(key)
        if len(got) == 5_000:
            own_server.kill()
            own_server.start()
            died.set()

    with RunAt(own_server.url, interval=0.05) as queue:
        queue.subscribe(receive)
        assert died.wait(30)
        wait_until(lambda: len(set(got)) >= COUNT, "all keys came")
        assert len(got) == COUNT
