"""Promises 1 to 11, those of the stream: who gets a key, when, and which keys go back.

Each promise of the README has a number here, and tests whose names begin with it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import redis
from reactivex import operators as ops

from rx_runat import Job, Recovered, Refused, RunAt, StoreError
from rx_runat.testing import Faults, virtual_queue
from tests.support.jobs import PAST, overdue_jobs
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"


def test_01_one_taker(make: Callable[..., RunAt]) -> None:
    """Five queues in one process, each with a source of its own; `test_processes.py` has four processes."""
    got: list[str] = []
    queues = [make(limit=7) for _ in range(5)]
    for queue in queues:
        queue.subscribe(got.append)
    queues[0].on_next(overdue_jobs(2000))
    wait_until(lambda: len(got) >= 2000, "all keys came")
    assert Counter(got) == Counter(job.key for job in overdue_jobs(2000))


def test_02_one_clock(monkeypatch: pytest.MonkeyPatch, make: Callable[..., RunAt], client: redis.Redis) -> None:
    """The clock of this host is an hour ahead, but nothing falls due early, and a delay counts from Redis's clock."""
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    queue = make()
    got: list[str] = []
    queue.subscribe(got.append)
    seconds, microseconds = client.time()
    client.zadd(Q, {"in a minute": (seconds + 60) * 1000})
    stands = queue.schedule("soon", timedelta(seconds=0.05)).timestamp()
    assert 0.05 <= stands - (seconds + microseconds / 1e6) < 30
    wait_until(lambda: got == ["soon"], "the delayed key came")
    assert queue.when("in a minute") is not None


def test_03_never_early_and_exact(make: Callable[..., RunAt]) -> None:
    """With a heartbeat of a minute, keys come on time: the source sleeps until the next key, or the next write."""
    queue = make(interval=60)
    got = []
    queue.jobs.subscribe(got.append)
    queue.schedule("first", timedelta(seconds=0.1))
    queue.schedule("earlier", timedelta(seconds=0.05))
    queue.on_next([Job("last", timedelta(seconds=0.2))])
    wait_until(lambda: len(got) == 3, "all keys came, long before the heartbeat")
    assert [each.key for each in got] == ["earlier", "first", "last"]
    assert all(each.lateness >= 0 for each in got)


def test_03_woken_by_every_write(make: Callable[..., RunAt], client: redis.Redis) -> None:
    """With a heartbeat of an hour, a bare ZADD of another client wakes the source, for a key due now or later."""
    queue = make(interval=3600)
    got: list[str] = []
    queue.subscribe(got.append)
    for number in range(5):
        client.zadd(Q, {f"by another {number}": PAST})
        wait_until(lambda: len(got) == number + 1, "the key of another client came")  # noqa: B023
    seconds, microseconds = client.time()
    now = seconds * 1000 + microseconds // 1000
    client.zadd(Q, {"much later": now + 3_600_000})
    client.zadd(Q, {"later": now + 200})
    wait_until(lambda: got[5:] == ["later"], "its later key came, too")


def test_03_without_a_wake_up_within_an_interval(make: Callable[..., RunAt], client: redis.Redis) -> None:
    client.execute_command("ACL SETUSER untracked on >pw ~* &* +@all -client|tracking -subscribe")
    queue = make(f"unix://untracked:pw@{client.connection_pool.connection_kwargs['path']}", interval=0.05)
    got: list[str] = []
    queue.subscribe(got.append)
    client.zadd(Q, {"by another": PAST})
    wait_until(lambda: got == ["by another"], "a key that another client wrote came")


def test_04_last_schedule_wins() -> None:
    queue, scheduler = virtual_queue()
    got: list[tuple[str, float]] = []
    queue.subscribe(lambda key: got.append((key, scheduler.clock)))
    for key, keep, stands in (("a", "last", 5), ("b", "first", 10), ("c", "earliest", 5), ("d", "latest", 10)):
        queue.schedule(key, 10)
        assert queue.schedule(key, 5, keep=keep) == datetime.fromtimestamp(stands, UTC)  # type: ignore[arg-type]
    scheduler.advance_by(20)
    assert got == [("a", 5), ("c", 5), ("b", 10), ("d", 10)]


def test_05_ordered(queue: RunAt) -> None:
    """100,000 keys due at once arrive in order, in claims of a thousand."""
    got: list[str] = []
    queue.on_next([Job(f"k{i:06}", PAST) for i in reversed(range(100_000))])
    queue.subscribe(got.append)
    wait_until(lambda: len(got) == 100_000, "all keys came", 60)
    assert got == sorted(got)


def test_06_hot_and_shared() -> None:
    queue, scheduler = virtual_queue()
    first: list[str] = []
    second: list[str] = []
    joined = []

    def join_in_the_middle(key: str) -> None:
        first.append(key)
        if key == "b":
            joined.append(queue.subscribe(second.append))

    queue.on_next([Job(key, 1) for key in "abcd"])
    queue.subscribe(join_in_the_middle)
    scheduler.advance_by(1)
    assert first == ["a", "b", "c", "d"]
    assert second == ["c", "d"]


def test_06_ticks_end_with_the_last_subscriber_and_start_with_the_next(faults: Faults) -> None:
    queue, scheduler = virtual_queue(interval=0.1, faults=faults)
    subscription = queue.subscribe()
    scheduler.advance_by(1)
    subscription.dispose()
    scheduler.advance_by(1)
    commands = len(faults.commands)
    scheduler.advance_by(10)
    assert len(faults.commands) == commands
    got: list[str] = []
    queue.subscribe(got.append)
    queue.schedule("a", 13)
    scheduler.advance_by(1)
    assert got == ["a"]


def test_07_handed_back(queue: RunAt, client: redis.Redis) -> None:
    """`take(3)` takes three keys; the others go back to Redis with their own run_at, and no receipt is left."""
    queue.on_next([Job(f"k{i}", PAST + i) for i in range(10)])
    before = client.zrange(Q, 3, -1, withscores=True)
    got = queue.pipe(ops.take(3), ops.to_list()).run()
    assert got == ["k0", "k1", "k2"]
    wait_until(lambda: client.zrange(Q, 0, -1, withscores=True) == before, "the others are back")
    wait_until(lambda: client.keys() == [Q.encode()], "nothing else is left")


def test_07_a_schedule_made_meanwhile_stands() -> None:
    queue, scheduler = virtual_queue()
    queue.on_next([Job("a", 1), Job("b", 1)])

    def move_b_and_leave(_: str) -> None:
        queue.schedule("b", 100)
        subscription.dispose()

    subscription = queue.subscribe(move_b_and_leave)
    scheduler.advance_by(2)
    assert queue.when("b") == datetime.fromtimestamp(100, UTC)
    assert queue.size() == 1


def test_07_a_key_that_a_source_holds_counts_as_taken() -> None:
    queue, scheduler = virtual_queue()
    cancelled: list[bool] = []
    queue.on_next([Job("0", 0.5), Job("a", 1), Job("b", 1)])

    def cancel_b(key: str) -> None:
        if key == "a":
            cancelled.append(queue.cancel("b"))
            subscription.dispose()

    subscription = queue.subscribe(cancel_b)
    scheduler.advance_by(2)
    assert cancelled == [False]
    assert queue.cancel("b")


def test_08_demand_not_greed(make: Callable[..., RunAt], client: redis.Redis) -> None:
    """A subscriber takes 50 ms for each of 100 due keys: a second queue gets most of them at once."""
    slow, quick = make(), make()
    slow.on_next(overdue_jobs(100))
    slow_got: list[str] = []
    quick_got: list[str] = []
    held: list[int] = []

    def take_time(key: str) -> None:
        slow_got.append(key)
        held.append(100 - client.zcard(Q) - len(slow_got))
        threading.Event().wait(0.05)

    slow.subscribe(take_time)
    wait_until(lambda: len(slow_got) >= 4, "the slow subscriber works")
    assert max(held) <= 4, "at most four keys are claimed and undelivered"
    quick.subscribe(quick_got.append)
    wait_until(lambda: len(slow_got) + len(quick_got) == 100, "all keys came")
    assert len(quick_got) > 80
    assert Counter(slow_got + quick_got) == Counter(job.key for job in overdue_jobs(100))


def test_08_what_is_held_too_long_goes_back() -> None:
    """A quick subscriber becomes slow: the rest of its claim goes back after a tenth of a second."""
    queue, scheduler = virtual_queue(limit=64)
    queue.on_next(overdue_jobs(200))
    left: list[int] = []

    def slow_from_100(key: str) -> None:
        if key >= "k000100":
            left.append(queue.size())
            scheduler.sleep(0.06)

    queue.subscribe(slow_from_100)
    scheduler.advance_by(100)
    assert left[:2] == [200 - 149, 200 - 149], "the source holds a claim of 64"
    assert left[2] == 200 - 102 - 7, "the rest is back, and the next claim is small"
    assert left[-1] == 0


def test_09_a_bug_stays_where_it_is() -> None:
    queue, scheduler = virtual_queue()
    good: list[str] = []
    errors: list[Exception] = []

    def bad(key: str) -> None:
        raise ZeroDivisionError(key)

    queue.subscribe(bad, errors.append)
    queue.subscribe(good.append)
    queue.on_next([Job("a", 1), Job("b", 2)])
    scheduler.advance_by(3)
    assert good == ["a", "b"]
    assert [str(error) for error in errors] == ["a"]


def test_10_outages_are_survived(own_server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """The server is killed with -9 and restarted on its append-only file while a source runs."""
    with RunAt(own_server.url, interval=0.05) as queue:
        got: list[str] = []
        notices: list[StoreError] = []
        queue.errors.subscribe(notices.append)
        queue.subscribe(got.append)
        queue.schedule("later", timedelta(seconds=0.2))
        own_server.kill()
        wait_until(lambda: notices, "the outage is reported")
        own_server.start()
        wait_until(lambda: got == ["later"], "the key came after the restart")
    assert len(notices) == 2
    assert isinstance(notices[1], Recovered)
    assert [record.levelname for record in caplog.records if record.name == "rx_runat"] == ["WARNING", "WARNING"]


def test_10_what_cannot_heal_reaches_on_error(queue: RunAt, client: redis.Redis) -> None:
    client.set(Q, "not a zset")
    errors: list[Exception] = []
    queue.subscribe(print, errors.append)
    wait_until(lambda: errors, "the error came")
    assert isinstance(errors[0], Refused)
    assert "WRONGTYPE" in str(errors[0])
    client.delete(Q)
    got: list[str] = []
    queue.subscribe(got.append)
    queue.schedule("afresh", PAST)
    wait_until(lambda: got == ["afresh"], "a new subscription starts afresh")


def test_10_what_cannot_heal_reaches_on_error_at_once_while_the_source_sleeps(
    make: Callable[..., RunAt], client: redis.Redis
) -> None:
    errors: list[Exception] = []
    make(interval=3600).subscribe(print, errors.append)
    wait_until(lambda: [each for each in client.client_list() if "t" in each["flags"]], "the source sleeps")
    client.set(Q, "not a zset")
    wait_until(lambda: errors, "the error came, long before the heartbeat")
    assert "WRONGTYPE" in str(errors[0])


@pytest.mark.parametrize("lost", [1, 2, 3, 4, 7])
def test_11_no_silent_loss(faults: Faults, lost: int) -> None:
    """The keys come once and in order, however many replies in a row are lost."""
    queue, scheduler = virtual_queue(interval=0.1, faults=faults, limit=3)
    queue.on_next([Job(f"k{i}", 1) for i in range(10)])
    got: list[str] = []
    queue.subscribe(got.append)
    faults.lost = lost
    scheduler.advance_by(30)
    assert got == [f"k{i}" for i in range(10)]
    assert queue.size() == 0
