"""An idle source: a heartbeat reads the head of the schedule, and claims only if that has come nearer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import redis

import rx_runat.stream.source
from rx_runat import Claim, Recovered, RunAt, StoreError
from rx_runat.store.claimers import CLAIM, LEASE
from rx_runat.store.client import RedisClient
from rx_runat.store.keys import claimed_key, leases_key
from rx_runat.stream.sleep import ContentionDelay, Sleep
from rx_runat.testing import Faults, virtual_queue
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"


class Counting(Faults):
    """Faults that count what reaches the server: claims by name, other commands by theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def call(self, *command: Any, **more: Any) -> Any:
        is_claim = command[0] in ("EVAL", "EVALSHA") and command[1] in (CLAIM.body, CLAIM.sha, LEASE.body, LEASE.sha)
        self.counts["claim" if is_claim else command[0]] += 1
        return super().call(*command, **more)

    def write(self, *command: Any) -> None:
        """As another process would: no source is woken."""
        RedisClient.call(self, *command)


@pytest.fixture
def faults() -> Counting:
    return Counting()


@pytest.mark.parametrize("interval, claims, reads", [(0.1, 10, 590), (5, 6, 6), (10, 6, 0)])
def test_an_idle_source_reads_more_often_than_it_claims(
    faults: Counting, interval: float, claims: int, reads: int
) -> None:
    queue, scheduler = virtual_queue(interval, faults=faults)
    queue.subscribe()
    scheduler.advance_by(1)
    faults.counts.clear()
    scheduler.advance_by(60)
    assert faults.counts["claim"] == pytest.approx(claims, abs=1)
    assert faults.counts["ZRANGE"] == pytest.approx(reads, abs=2)
    assert set(faults.counts) <= {"claim", "ZRANGE", "EVAL", "EVALSHA"}


def test_a_source_of_claims_reads_both_heads(faults: Counting) -> None:
    queue, scheduler = virtual_queue(0.1, faults=faults)
    queue.claims().subscribe()
    scheduler.advance_by(1)
    faults.counts.clear()
    scheduler.advance_by(60)
    assert faults.counts["claim"] == pytest.approx(10, abs=1)
    assert faults.counts["ZRANGE"] == pytest.approx(2 * 590, abs=4)


def test_3_what_another_writes_is_found_at_the_heartbeat(faults: Counting) -> None:
    queue, scheduler = virtual_queue(0.1, faults=faults)
    got: list[tuple[str, float]] = []
    queue.subscribe(lambda key: got.append((key, scheduler.now.timestamp())))
    queue.schedule("later", 50.0)
    scheduler.advance_by(1.05)
    faults.write("ZADD", Q, 1000, "past", 1500, "soon", 49_990, "sooner")
    scheduler.advance_by(60)
    keys, times = zip(*got, strict=True)
    assert keys == ("past", "soon", "sooner", "later")
    assert times == pytest.approx((1.1, 1.5, 49.99, 50.0), abs=0.002)


def test_3_an_alarm_survives_the_heartbeats_before_it(faults: Counting) -> None:
    queue, scheduler = virtual_queue(0.1, faults=faults)
    times: list[float] = []
    queue.subscribe(lambda _: times.append(scheduler.now.timestamp()))
    queue.schedule("a", 3.055)
    scheduler.advance_by(10)
    assert times == pytest.approx([3.055], abs=0.0001)


@pytest.mark.parametrize("score", ["1e300", "+inf", "1e15", "99999999.25"])
def test_a_score_that_is_no_moment_or_a_fraction_makes_no_claims(faults: Counting, score: str) -> None:
    queue, scheduler = virtual_queue(0.1, faults=faults)
    queue.subscribe()
    faults.write("ZADD", Q, score, "never")
    scheduler.advance_by(1)
    faults.counts.clear()
    scheduler.advance_by(60)
    assert faults.counts["claim"] == pytest.approx(10, abs=1)


def test_a_lease_of_another_process_that_ends_is_found_at_the_heartbeat(faults: Counting) -> None:
    """No push tells of it. The key comes back, as after the death of that process."""
    queue, scheduler = virtual_queue(0.1, faults=faults)
    got: list[tuple[str, int, float]] = []
    queue.claims().subscribe(lambda claim: got.append((claim.key, claim.attempt, scheduler.now.timestamp())))
    scheduler.advance_by(1.05)
    faults.write("ZADD", claimed_key(Q), 2500, "a")
    faults.write("HSET", leases_key(Q), "a", "fence 1 1000 1000")
    scheduler.advance_by(10)
    assert [(key, attempt) for key, attempt, _ in got] in ([("a", 1)], [("a", 2)])
    assert got[0][2] == pytest.approx(2.5, abs=0.1)


def test_10_an_outage_is_noticed_and_survived_at_a_heartbeat(faults: Counting) -> None:
    queue, scheduler = virtual_queue(0.1, faults=faults)
    notices: list[StoreError] = []
    queue.errors.subscribe(notices.append)
    got: list[str] = []
    queue.subscribe(got.append)
    scheduler.advance_by(1.05)
    faults.away = True
    scheduler.advance_by(0.1)
    assert len(notices) == 1
    scheduler.advance_by(5)
    faults.write("ZADD", Q, 1000, "a")
    faults.away = False
    scheduler.advance_by(2)
    assert got == ["a"]
    assert len(notices) == 2
    assert isinstance(notices[1], Recovered)


def test_a_source_without_free_slots_reads_nothing(faults: Counting) -> None:
    queue, scheduler = virtual_queue(0.1, faults=faults)
    held: list[Claim] = []
    queue.claims(lease=100, max_in_flight=1).subscribe(held.append)
    queue.schedule("a", 0.0)
    scheduler.advance_by(1)
    assert len(held) == 1
    faults.counts.clear()
    scheduler.advance_by(10)
    assert not faults.counts


def test_10_a_server_that_is_no_primary_any_more_is_noticed(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers every read, and refuses only what writes."""
    monkeypatch.setattr(rx_runat.stream.source, "_LONGEST_WITHOUT_CLAIM", 0.2)
    notices: list[StoreError] = []
    with own_server.client() as client, RunAt(own_server.url, interval=0.05) as queue:
        queue.errors.subscribe(notices.append)
        queue.subscribe()
        wait_until(lambda: client.info("commandstats").get("cmdstat_evalsha") is not None, "it has claimed")
        client.replicaof("127.0.0.1", "1")
        wait_until(lambda: notices, "the refusal of a claim")
        assert "READONLY" in str(notices[0])
        client.replicaof("NO", "ONE")
        wait_until(lambda: len(notices) == 2, "the end of the outage")


def test_subscribers_that_are_stuck_get_a_claim_at_each_heartbeat() -> None:
    """Their keys went back: the head is no later than before, and still the next claim is to be made."""
    sleep = Sleep(lambda: 0.0, ContentionDelay(0))
    sleep.look_begins()
    sleep.plan_after_hand_back(is_stuck=True)
    assert sleep.begin() is None
    assert not sleep.goes_on(lambda _: False)


def test_a_source_of_the_real_server_is_quiet(make: Callable[..., RunAt], client: redis.Redis) -> None:
    """Over 20 heartbeats it claims seldom, and a key that a stranger writes comes all the same."""
    got: list[str] = []
    make(interval=0.01).subscribe(got.append)

    def calls(name: str) -> int:
        return client.info("commandstats").get(f"cmdstat_{name}", {"calls": 0})["calls"]  # type: ignore[index, union-attr]

    wait_until(lambda: calls("evalsha") + calls("eval") > 0, "it has claimed")
    claims, reads = calls("evalsha") + calls("eval"), calls("zrange")
    wait_until(lambda: calls("zrange") > reads + 20, "20 heartbeats")
    assert calls("evalsha") + calls("eval") - claims <= 10
    client.zadd(Q, {"a": 1})
    wait_until(lambda: got == ["a"], "the key came")
