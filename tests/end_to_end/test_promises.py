"""One test named after each promise of the README's table; the faults behind them have files of their own."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import reactivex as rx
import redis
from reactivex import operators as ops

from rx_runat import Claim, Job, NotReturned, Outcome, Recovered, Refused, RunAt, Stopped, StoreError, settle
from rx_runat.testing import Faults, virtual_queue
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"
PAST = 1.0


def due(n: int, prefix: str = "k") -> list[Job]:
    return [Job(f"{prefix}{i:06}", PAST) for i in range(n)]


def test_01_one_taker(make: Callable[..., RunAt]) -> None:
    """Five queues in one process, each a source of its own; `test_processes.py` does it with processes."""
    got: list[str] = []
    queues = [make(limit=7) for _ in range(5)]
    for queue in queues:
        queue.subscribe(got.append)
    queues[0].on_next(due(2000))
    wait_until(lambda: len(got) >= 2000, "all keys came")
    assert Counter(got) == Counter(job.key for job in due(2000))


def test_02_one_clock(monkeypatch: pytest.MonkeyPatch, make: Callable[..., RunAt], client: redis.Redis) -> None:
    """This host's clock an hour ahead makes nothing due, and a delay counts from Redis's clock."""
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
    """With a heartbeat of a minute, keys come on time: the source sleeps until the next one and hears of new ones."""
    queue = make(interval=60)
    got = []
    queue.jobs.subscribe(got.append)
    queue.schedule("first", timedelta(seconds=0.1))
    queue.schedule("earlier", timedelta(seconds=0.05))
    queue.on_next([Job("last", timedelta(seconds=0.2))])
    wait_until(lambda: len(got) == 3, "all keys came long before the heartbeat")
    assert [each.key for each in got] == ["earlier", "first", "last"]
    assert all(each.lateness >= 0 for each in got)


def test_03_woken_by_anyone(make: Callable[..., RunAt], client: redis.Redis) -> None:
    """With a heartbeat of an hour, a bare ZADD of another client wakes the source: now, and for later."""
    queue = make(interval=3600)
    got: list[str] = []
    queue.subscribe(got.append)
    for number in range(5):
        client.zadd(Q, {f"by another {number}": PAST})
        wait_until(lambda: len(got) == number + 1, "a key that another client wrote came")  # noqa: B023
    seconds, microseconds = client.time()
    now = seconds * 1000 + microseconds // 1000
    client.zadd(Q, {"much later": now + 3_600_000})
    client.zadd(Q, {"later": now + 200})
    wait_until(lambda: got[5:] == ["later"], "and one that it wrote for later")


def test_03_without_a_wake_up_within_an_interval(make: Callable[..., RunAt], client: redis.Redis) -> None:
    client.execute_command("ACL SETUSER deaf on >pw ~* &* +@all -client|tracking -subscribe")
    queue = make(f"unix://deaf:pw@{client.connection_pool.connection_kwargs['path']}", interval=0.05)
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
    """`take(3)` takes three; the others are in Redis again with their own run_at, and no receipt is left."""
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


def test_07_a_key_in_hand_counts_as_taken() -> None:
    queue, scheduler = virtual_queue()
    answers: list[bool] = []
    queue.on_next([Job("0", 0.5), Job("a", 1), Job("b", 1)])

    def cancel_b(key: str) -> None:
        if key == "a":
            answers.append(queue.cancel("b"))
            subscription.dispose()

    subscription = queue.subscribe(cancel_b)
    scheduler.advance_by(2)
    assert answers == [False]
    assert queue.cancel("b")


def test_08_demand_not_greed(make: Callable[..., RunAt], client: redis.Redis) -> None:
    """100 due keys and a subscriber that needs 50 ms for each: one more process takes its share at once."""
    slow, quick = make(), make()
    slow.on_next(due(100))
    slow_got: list[str] = []
    quick_got: list[str] = []
    held: list[int] = []

    def take_time(key: str) -> None:
        slow_got.append(key)
        held.append(100 - client.zcard(Q) - len(slow_got))
        threading.Event().wait(0.05)

    slow.subscribe(take_time)
    wait_until(lambda: len(slow_got) >= 4, "the slow one works")
    assert max(held) <= 4, "no more than a handful are out of Redis and undelivered"
    quick.subscribe(quick_got.append)
    wait_until(lambda: len(slow_got) + len(quick_got) == 100, "all keys came")
    assert len(quick_got) > 80
    assert Counter(slow_got + quick_got) == Counter(job.key for job in due(100))


def test_08_what_is_held_too_long_goes_back() -> None:
    """A subscriber that was quick and becomes slow: the rest of its claim returns after a tenth of a second."""
    queue, scheduler = virtual_queue(limit=64)
    queue.on_next(due(200))
    left: list[int] = []

    def slow_from_100(key: str) -> None:
        if key >= "k000100":
            left.append(queue.size())
            scheduler.sleep(0.06)

    queue.subscribe(slow_from_100)
    scheduler.advance_by(100)
    assert left[:2] == [200 - 149, 200 - 149], "it holds a claim of 64"
    assert left[2] == 200 - 102 - 7, "the rest is back, and the next claim is as small as it is slow"
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
        queue.schedule("later", timedelta(seconds=0.4))
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


@pytest.mark.parametrize("lost", [1, 2, 3, 4, 7])
def test_11_no_silent_loss(faults: Faults, lost: int) -> None:
    """However many answers in a row are lost: the keys come, once, and in order."""
    queue, scheduler = virtual_queue(interval=0.1, faults=faults, limit=3)
    queue.on_next([Job(f"k{i}", 1) for i in range(10)])
    got: list[str] = []
    queue.subscribe(got.append)
    faults.lost = lost
    scheduler.advance_by(30)
    assert got == [f"k{i}" for i in range(10)]
    assert queue.size() == 0


def test_12_finite_producers_are_welcome() -> None:
    queue, scheduler = virtual_queue()
    got: list[str] = []
    queue.subscribe(got.append)
    rx.of(Job("a", 1)).subscribe(queue)
    rx.of(Job("b", 2)).subscribe(queue)
    scheduler.advance_by(2)
    assert got == ["a", "b"]


def test_12_a_failing_producer_is_heard_and_ends_itself() -> None:
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
    queue.on_next(due(100))
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
    for verb in (queue.size, queue.peek, lambda: queue.when("a"), lambda: queue.cancel("a")):
        with pytest.raises(Stopped):
            verb()


def test_14_stop_from_on_next_returns_at_once_and_the_loop_finishes(queue: RunAt, client: redis.Redis) -> None:
    queue.on_next(due(10))
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
    queue.on_next(due(4))

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


def test_14_stop_while_redis_hangs_does_not_hang(own_server: Server) -> None:
    """A frozen server answers nothing for ever, and these connections would wait for an hour."""
    queue = RunAt(own_server.client(socket_timeout=3600), interval=0.1)
    queue.subscribe(print)
    wait_until(lambda: len(own_server.client().client_list()) > 1, "it ticks")
    own_server.freeze()
    threading.Event().wait(0.2)  # two heartbeats: a look is under way, and stuck
    queue.stop()


def test_14_the_interpreter_exits() -> None:
    """A script that subscribes and ends: no thread holds it, and what was in hand is back."""
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
    assert (done.stdout, done.stderr, done.returncode) == ("0\ncompleted\n", "", 0)


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
    told = f"{queue!r} {errors[0]} {errors[0]!r} {caplog.text}"
    assert isinstance(errors[0], Refused)
    assert "secret" not in told
    own_server.client(password="t0psecret").config_set("requirepass", "")


def test_17_time_you_can_test(faults: Faults) -> None:
    """A week of hourly keys, by the scripts that run in production."""
    queue, scheduler = virtual_queue(faults=faults)
    got: list[tuple[str, float]] = []
    queue.subscribe(lambda key: got.append((key, scheduler.clock)))
    rx.range(0, 7 * 24).pipe(ops.map(lambda hour: Job(f"h{hour}", hour * 3600.0))).subscribe(queue)
    scheduler.advance_by(timedelta(days=7).total_seconds())
    assert got == [(f"h{hour}", hour * 3600.0) for hour in range(7 * 24)]
    assert "EVALSHA" in faults.commands


def test_18_a_killed_process_s_claims_come_back_when_the_lease_ends(
    make: Callable[..., RunAt], client: redis.Redis, server: Server
) -> None:
    """To whoever claims next; its heartbeat is an hour away. More in test_survival."""
    script = f"""
import threading
from rx_runat import RunAt
queue = RunAt({server.url!r})
queue.claims(lease=1.0).subscribe(lambda claim: print(claim.key, claim.deadline.timestamp(), flush=True))
threading.Event().wait()
"""
    queue = make(interval=3600)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        queue.on_next(Job("a", PAST))
        key, deadline = worker.stdout.readline().split()
        worker.kill()
    got: list[Claim] = []
    queue.claims().subscribe(got.append)
    wait_until(lambda: got, "it came back")
    (claim,) = got
    assert (key, claim.key, claim.attempt) == ("a", "a", 2)
    assert round((claim.deadline.timestamp() - claim.lease) * 1000) >= round(float(deadline) * 1000)


def test_18_to_a_source_that_slept_already_when_they_were_claimed(
    make: Callable[..., RunAt], server: Server, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a heartbeat of an hour, at the very end of a lease: not earlier, by Redis's clock, and hardly later."""
    monkeypatch.setattr("rx_runat.stream.wake.CHECK_SECONDS", 3600)
    script = f"""
import sys
from redis import Redis
from rx_runat.store.client import RedisClient
from rx_runat.store.connect import connect
from rx_runat.store.redis_store import RedisStore

class AtOnce(RedisClient):
    def run(self, *script):  # schedules the key in the same transaction: nobody can be quicker
        with Redis(connection_pool=self.pool) as client, client.pipeline() as both:
            both.zadd({Q!r}, {{sys.argv[1]: 1}})
            both.eval(script[0].body, *script[1:])
            return both.execute()[1]

leased = RedisStore(AtOnce(connect({server.url!r}).client.pool, ""), {Q!r}).leasing_claimer(300).claim(1)
print(*leased.keys, leased.deadline, flush=True)
sys.stdin.readline()
"""
    got: list[Claim] = []
    make(interval=3600).claims(lease=60).subscribe(got.append)
    wait_until(lambda: [each for each in client.client_list() if "t" in each["flags"]], "it listens, and sleeps")
    for attempt in range(3):
        command = [sys.executable, "-c", script, f"k{attempt}"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            key, deadline = worker.stdout.readline().split()
            worker.kill()
        assert worker.returncode == -9
        wait_until(lambda: len(got) == attempt + 1, "it came back, long before the heartbeat")  # noqa: B023
        claim = got[-1]
        assert (claim.key, claim.attempt) == (key, 2)
        assert claim.run_at.timestamp() + claim.lateness >= int(deadline) / 1000
        assert claim.ack()


def test_18_a_late_ack_cannot_harm_a_newer_claim() -> None:
    queue, scheduler = virtual_queue()
    got: list[Claim] = []
    queue.claims(lease=1).subscribe(got.append)
    queue.schedule("a", 1)
    scheduler.advance_to(2.5)
    late, held = got
    assert not late.ack()
    assert held.ack()
    scheduler.advance_to(100)
    assert len(got) == 2


def test_18_a_reschedule_made_while_the_key_is_out_survives_its_ack() -> None:
    queue, scheduler = virtual_queue()
    got: list[Claim] = []
    queue.claims(lease=10).subscribe(got.append)
    queue.schedule("a", 1)
    scheduler.advance_to(2)
    queue.schedule("a", 50)
    assert got[0].ack()
    scheduler.advance_to(60)
    assert [(claim.run_at.timestamp(), claim.attempt) for claim in got[:2]] == [(1, 1), (50, 1)]


def test_18_one_key_is_never_out_twice_while_its_lease_lives() -> None:
    """Due again after a second, it waits for the end of its lease, and keeps its own run_at."""
    queue, scheduler = virtual_queue()
    got: list[tuple[float, Claim]] = []
    queue.claims(lease=10).subscribe(lambda claim: got.append((scheduler.clock, claim)))
    queue.claims(lease=10).subscribe(lambda claim: got.append((scheduler.clock, claim)))
    queue.schedule("a", 1)
    scheduler.advance_to(2)
    queue.schedule("a", 3)
    scheduler.advance_to(12)
    assert [(at, claim.run_at.timestamp(), claim.attempt) for at, claim in got] == [(1, 1, 1), (11, 3, 1)]


def test_18_settled_work_is_done_at_least_once(make: Callable[..., RunAt], client: redis.Redis, server: Server) -> None:
    """A worker is killed in the middle of work; `tests/end_to_end/test_survival.py` does it twenty times under load."""
    script = f"""
import threading
from rx_runat import RunAt, settle
queue = RunAt({server.url!r})
def work(claim):
    print(claim.key, flush=True)
    threading.Event().wait()
queue.claims(lease=0.5).pipe(settle(work)).subscribe()
threading.Event().wait()
"""
    queue = make()
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        queue.on_next(Job("a", PAST))
        assert worker.stdout.readline() == "a\n"
        worker.kill()
    got: list[Outcome[str]] = []
    queue.claims().pipe(settle(lambda claim: claim.key)).subscribe(got.append)
    wait_until(lambda: got, "it was done by another")
    assert [(outcome.claim.attempt, outcome.verdict, outcome.result) for outcome in got] == [(2, "acked", "a")]
    queue.stop()
    assert all(b":receipt:" in key for key in client.scan_iter())  # the killed one's last receipt expires
