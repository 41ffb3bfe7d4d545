"""Promises 12 to 17, those of the sink and the end: producers, writes, `stop`, the wire, secrets, virtual time."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import reactivex as rx
import redis
from reactivex import operators as ops

from rx_runat import Job, NotReturned, Refused, RunAt, Stopped, StoreError
from rx_runat.store import steps
from rx_runat.testing import Faults, virtual_queue
from tests.support.jobs import overdue_jobs
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"


def test_12_finite_producers_are_welcome() -> None:
    queue, scheduler = virtual_queue()
    got: list[str] = []
    queue.subscribe(got.append)
    rx.of(Job("a", 1)).subscribe(queue)
    rx.of(Job("b", 2)).subscribe(queue)
    scheduler.advance_by(2)
    assert got == ["a", "b"]


def test_12_the_error_of_a_producer_is_raised_and_the_queue_goes_on() -> None:
    queue, _ = virtual_queue()
    with pytest.raises(ZeroDivisionError):
        rx.throw(ZeroDivisionError()).subscribe(queue)
    queue.on_next(Job("a", 1))
    assert queue.size() == 1


def test_13_written_means_written(queue: RunAt, client: redis.Redis) -> None:
    queue.on_next(Job("a", 1.5))
    assert client.zscore(Q, "a") == 1500
    with pytest.raises(ValueError, match="job 1 of the list"):
        queue.on_next([Job("b", 1), {"key": "c"}])
    assert client.zscore(Q, "b") is None


class RefusesOne(Faults):
    """A server that refuses one command.

    Attributes:
        place: how many commands it carries out before.
    """

    place = -1

    def call(self, *command: Any, **more: Any) -> Any:
        """Send a command, or refuse it."""
        self.place -= 1
        self.refusal = "not this one" if self.place == -1 else None
        return super().call(*command, **more)


@pytest.mark.parametrize("refused", [0, 1, 2])
def test_13_a_long_list_is_written_in_steps_and_what_is_written_comes_out(
    monkeypatch: pytest.MonkeyPatch, refused: int
) -> None:
    """An error in a later step tells how far the list is written, and sources are woken for what is."""
    monkeypatch.setattr(steps, "DELAYS", 2)
    faults = RefusesOne()
    queue, scheduler = virtual_queue(faults=faults)
    queue.schedule("a", timedelta(0))  # the server knows the script from now on
    queue.cancel("a")
    got: list[str] = []
    queue.subscribe(got.append)
    scheduler.advance_by(1)
    jobs = [Job(f"k{n}", timedelta(0)) for n in range(5)]
    faults.place = refused
    with pytest.raises(Refused, match=f"the first that was not written is job {2 * refused} of the list"):
        queue.on_next(jobs)
    scheduler.advance_by(0.001)
    assert got == [f"k{n}" for n in range(2 * refused)]
    queue.on_next(jobs[2 * refused :])
    scheduler.advance_by(0.001)
    assert got == [f"k{n}" for n in range(5)]


@pytest.mark.parametrize(
    "run_at, count", [(4_000_000_000, 100_001), (timedelta(days=9), 20_001)], ids=["moments", "delays"]
)
def test_13_a_list_of_one_job_too_many_for_a_step_is_written_whole(
    queue: RunAt, client: redis.Redis, run_at: int | timedelta, count: int
) -> None:
    client.config_resetstat()
    queue.on_next([Job(f"k{n}", run_at) for n in range(count)])
    assert client.zcard(Q) == count
    stats = client.info("commandstats")
    assert stats["cmdstat_zadd" if count > 100_000 else "cmdstat_evalsha"]["calls"] >= 2


def test_13_receipts_pass_on_what_is_written(faults: Faults) -> None:
    queue, _ = virtual_queue(faults=faults)
    passed: list[Job] = []
    errors: list[Exception] = []
    jobs: rx.subject.Subject[Job] = rx.subject.Subject()
    jobs.pipe(ops.do(queue)).subscribe(passed.append, errors.append)
    jobs.on_next(Job("a", 1))
    faults.away = True
    jobs.on_next(Job("b", 1))
    assert [job.key for job in passed] == ["a"]
    assert len(errors) == 1


def test_14_stop_is_stop(make: Callable[..., RunAt], client: redis.Redis) -> None:
    queue = make()
    queue.on_next(overdue_jobs(100))
    events: list[str] = []
    arrived, go = threading.Event(), threading.Event()

    def slow(key: str) -> None:
        events.append(key)
        arrived.set()
        go.wait(10)
        events.append(f"{key} done")

    queue.subscribe(slow, on_completed=lambda: events.append("completed"))
    assert arrived.wait(10)
    stopper = threading.Thread(target=queue.stop)
    stopper.start()
    assert events == ["k000000"]
    go.set()
    stopper.join()
    assert events == ["k000000", "k000000 done", "completed"]
    assert client.zcard(Q) == 99
    assert client.keys() == [Q.encode()]
    wait_until(lambda: len(client.client_list()) == 1, "our connections are closed")
    queue.stop()
    late: list[str] = []
    queue.subscribe(late.append, on_completed=lambda: late.append("completed"))
    assert late == ["completed"]
    with pytest.raises(Stopped):
        queue.on_next(Job("a", 1))
    for verb in (queue.size, queue.stats, queue.peek, lambda: queue.when("a"), lambda: queue.cancel("a")):
        with pytest.raises(Stopped):
            verb()


def test_14_stop_from_on_next_returns_at_once_and_the_loop_finishes(queue: RunAt, client: redis.Redis) -> None:
    queue.on_next(overdue_jobs(10))
    events: list[str] = []

    def stop(key: str) -> None:
        queue.stop()
        events.append(key)

    queue.subscribe(stop, on_completed=lambda: events.append("completed"))
    wait_until(lambda: len(events) == 2, "the loop finished")
    assert events == ["k000000", "completed"]
    assert client.zcard(Q) == 9


def test_14_stop_while_redis_is_away_says_what_it_could_not_return(own_server: Server) -> None:
    queue = RunAt(own_server.url, interval=0.1)
    notices: list[StoreError] = []
    queue.errors.subscribe(notices.append)
    queue.on_next(overdue_jobs(4))

    def kill_and_stop(key: str) -> None:
        if key == "k000001":  # the first of the second claim
            own_server.kill()
            queue.stop()

    completed = threading.Event()
    queue.subscribe(kill_and_stop, on_completed=completed.set)
    assert completed.wait(10)
    (notice,) = notices
    assert isinstance(notice, NotReturned)
    assert notice.keys == ("k000002", "k000003")


def test_14_stop_while_redis_hangs_does_not_hang(own_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen server never replies, and these connections would wait an hour for it."""
    monkeypatch.setattr("rx_runat.stream.hold.SHORTEST_SILENCE", 0.1)
    queue = RunAt(own_server.client(socket_timeout=3600), interval=0.05)
    queue.subscribe(print)
    wait_until(lambda: len(own_server.client().client_list()) > 1, "the source ticks")
    own_server.freeze()
    threading.Event().wait(0.1)  # two heartbeats: a claim has been sent and gets no reply
    queue.stop()


def test_14_the_interpreter_exits() -> None:
    """A script that subscribes and ends: no thread keeps it alive, and it loses no key."""
    script = """
import threading
from rx_runat import RunAt, Job
queue = RunAt("embedded://")
queue.on_next([Job(str(i), 0) for i in range(100)])
arrived = threading.Event()
def one(key):
    print(key, flush=True)
    arrived.set()
    threading.Event().wait(0.2)
queue.errors.subscribe(lambda e: print("lost", e))
queue.subscribe(one, on_completed=lambda: print("completed"))
arrived.wait()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.returncode) == ("0\ncompleted\n", 0)
    assert done.stderr.startswith("the interpreter exits, and nobody receives keys any more")


def test_15_same_wire_as_runat(make: Callable[..., RunAt], client: redis.Redis) -> None:
    queue = make(interval=0.02)
    queue.on_next({"runAt": 1_389_654_375_918, "key": "für später"})
    with client.pipeline(transaction=True) as runat:
        runat.zrangebyscore(Q, "-inf", 1_389_654_376_000)
        runat.zremrangebyscore(Q, "-inf", 1_389_654_376_000)
        assert runat.execute() == [["für später".encode()], 1]
    got = []
    queue.jobs.subscribe(got.append)
    client.zadd(Q, {b"\xff odd": 1, "now": "-inf", "half": 1.5, "never": "inf"})
    wait_until(lambda: len(got) == 3, "all that is due came")
    assert [each.key for each in got] == ["now", "\udcff odd", "half"]
    assert [each.run_at.year for each in got] == [1, 1970, 1970]
    assert queue.when("never") == datetime.max.replace(tzinfo=UTC)
    assert queue.cancel("never")


def test_16_secrets_stay_secret(own_server: Server, caplog: pytest.LogCaptureFixture) -> None:
    own_server.client().config_set("requirepass", "t0psecret")
    queue = RunAt(f"unix://:wr0ngsecret@{own_server.path}")
    errors: list[Exception] = []
    queue.subscribe(print, errors.append)
    wait_until(lambda: errors, "the refusal came")
    queue.stop()
    text = f"{queue!r} {errors[0]} {errors[0]!r} {caplog.text}"
    assert isinstance(errors[0], Refused)
    assert "secret" not in text
    own_server.client(password="t0psecret").config_set("requirepass", "")


def test_17_time_you_can_test(faults: Faults) -> None:
    """A week of hourly keys takes milliseconds, with the Lua scripts that run in production."""
    queue, scheduler = virtual_queue(faults=faults)
    got: list[tuple[str, float]] = []
    queue.subscribe(lambda key: got.append((key, scheduler.clock)))
    rx.range(0, 7 * 24).pipe(ops.map(lambda hour: Job(f"h{hour}", hour * 3600.0))).subscribe(queue)
    scheduler.advance_by(timedelta(days=7).total_seconds())
    assert got == [(f"h{hour}", hour * 3600.0) for hour in range(7 * 24)]
    assert "EVALSHA" in faults.commands
