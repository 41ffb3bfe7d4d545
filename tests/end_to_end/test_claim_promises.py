"""Promise 18: claims are delivered at least once. `test_survival.py` tests it under load and with every fault."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import redis

from rx_runat import Claim, Job, Outcome, RunAt, settle
from rx_runat.testing import virtual_queue
from tests.support.jobs import PAST
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"


def test_18_a_killed_process_s_claims_come_back_when_the_lease_ends(
    make: Callable[..., RunAt], client: redis.Redis, server: Server
) -> None:
    """They come to the next source that claims, although its heartbeat is an hour away. More in test_survival."""
    script = f"""
import threading
from rx_runat import RunAt
queue = RunAt({server.url!r})
queue.claims(lease=0.3).subscribe(lambda claim: print(claim.key, claim.deadline.timestamp(), flush=True))
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
    wait_until(lambda: got, "the key came again")
    (claim,) = got
    assert (key, claim.key, claim.attempt) == ("a", "a", 2)
    assert round((claim.deadline.timestamp() - claim.lease) * 1000) >= round(float(deadline) * 1000)


@pytest.mark.slow  # tests/store/test_tracking.py shows it without processes
def test_18_they_come_to_a_source_that_slept_when_they_were_claimed(
    make: Callable[..., RunAt], server: Server, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its heartbeat is in an hour, but it wakes when the lease ends: by Redis's clock no earlier, and hardly later."""
    monkeypatch.setattr("rx_runat.stream.listener.CHECK_SECONDS", 3600)
    script = f"""
import sys
from redis import Redis
from rx_runat.store.client import RedisClient
from rx_runat.store.connect import connect
from rx_runat.store.redis_store import RedisStore

class AtOnce(RedisClient):
    def run(self, *script, generation):  # schedules and claims in one transaction, before any source can wake
        with Redis(connection_pool=self.route.pool()) as client, client.pipeline() as both:
            both.zadd({Q!r}, {{sys.argv[1]: 1}})
            both.eval(script[0].body, *script[1:])
            return both.execute()[1]

leased = RedisStore(AtOnce(connect({server.url!r}).client.route, ""), {Q!r}).leasing_claimer(150).claim(1)
print(*leased.keys, leased.deadline, flush=True)
sys.stdin.readline()
"""
    got: list[Claim] = []
    make(interval=3600).claims(lease=60).subscribe(got.append)
    wait_until(
        lambda: [each for each in client.client_list() if "t" in each["flags"]], "the source is tracked, and sleeps"
    )
    for attempt in range(2):
        command = [sys.executable, "-c", script, f"k{attempt}"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            key, deadline = worker.stdout.readline().split()
            worker.kill()
        assert worker.returncode == -9
        wait_until(lambda: len(got) == attempt + 1, "the key came again, long before the heartbeat")  # noqa: B023
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
    """A key falls due again while it is leased: it comes when the lease ends, with its new run_at."""
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
    """A worker is killed in the middle of work. `test_survival.py` kills twenty of them under load."""
    script = f"""
import threading
from rx_runat import RunAt, settle
queue = RunAt({server.url!r})
def work(claim):
    print(claim.key, flush=True)
    threading.Event().wait()
queue.claims(lease=0.3).pipe(settle(work)).subscribe()
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
    wait_until(lambda: got, "another worker has done it")
    assert [(outcome.claim.attempt, outcome.verdict, outcome.result) for outcome in got] == [(2, "acked", "a")]
    queue.stop()
    assert all(b":receipt:" in key for key in client.scan_iter())  # the last receipt of the killed worker expires
