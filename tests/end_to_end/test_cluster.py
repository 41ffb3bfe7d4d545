"""A queue in a real cluster: three primaries and three replicas, which are killed, frozen, and hand over their slots."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from rx_runat import Claim, Job, RunAt, Unavailable, settle
from tests.support.clusters import Cluster
from tests.support.traffic import Traffic
from tests.support.waiting import wait_until

Q = "RunAt~default"
LONG = 60.0  # an interval, in seconds, that no test waits for: a source is woken, or the test fails
PAST = 1.0
FUTURE = 4e9
FINAL = ("ack", "bury")

slow = pytest.mark.slow

Event = Callable[[Cluster], object]


def ordered(cluster: Cluster) -> None:
    old = cluster.node_of(Q)
    cluster.failover(Q)
    cluster.wait_for_new_primary(Q, old)


def ordered_there_and_back(cluster: Cluster) -> None:
    first = cluster.node_of(Q)
    ordered(cluster)
    wait_until(lambda: cluster.replica_of(Q) is first, "the first primary is a replica now")
    wait_until(lambda: first.info("replication").get("master_link_status") == "up", "the replica follows")
    ordered(cluster)
    assert cluster.node_of(Q) is first


def killed(cluster: Cluster) -> None:
    old = cluster.node_of(Q)
    old.kill()
    cluster.wait_for_new_primary(Q, old)


def frozen(cluster: Cluster) -> None:
    old = cluster.node_of(Q)
    old.freeze()
    cluster.wait_for_new_primary(Q, old)
    old.thaw()


def migrated_key_by_key(cluster: Cluster) -> None:
    migration = cluster.begin_migration(Q)
    pause = threading.Event()
    for _ in range(5):
        names = migration.source.call("CLUSTER", "GETKEYSINSLOT", migration.slot, 100)
        for name in random.sample(names, min(1, len(names))):
            migration.move(name)
        pause.wait(0.05)
    migration.finish()


def migrated_at_once(cluster: Cluster) -> None:
    source = cluster.node_of(Q)
    target = next(node for node in cluster.primaries if node is not source)
    slot = cluster.slot(Q)
    source.call("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.id)
    wait_until(lambda: cluster.node_of(Q) is target, "the slot has moved")


@slow
@pytest.mark.parametrize("event", [ordered_there_and_back, migrated_key_by_key, migrated_at_once])
def test_25_where_a_primary_hands_over_nothing_is_lost_or_doubled(cluster: Cluster, event: Event) -> None:
    with RunAt(cluster.url) as queue:
        traffic = Traffic(queue)
        traffic.flow()
        event(cluster)
        traffic.flow()
        traffic.end()
        assert traffic.lost == set()
        assert traffic.doubled == set()
    assert cluster.node_of(Q).call("ZCARD", Q) == 0


@slow
@pytest.mark.parametrize("event", [killed, frozen])
def test_25_where_a_primary_fails_only_what_it_had_not_passed_on_is_lost_or_doubled(
    cluster: Cluster, event: Event
) -> None:
    with RunAt(cluster.url) as queue:
        waiting = {f"w{number}" for number in range(100)}
        for key in sorted(waiting):
            queue.schedule(key, 1 + random.random() * 3)
        traffic = Traffic(queue)
        traffic.flow()
        since = traffic.received[-1][1]
        event(cluster)
        traffic.flow()
        wait_until(lambda: waiting <= {key for key, _ in traffic.received}, "what waited comes")
        traffic.end()
    # A primary passes each write on within milliseconds, and each claim: what it had not is from just before it failed.
    assert [key for key in traffic.lost if abs(traffic.written[key] - since) > 1] == []
    first = dict(reversed(traffic.received))
    assert [key for key in traffic.doubled if abs(first[key] - since) > 1] == []


@slow
def test_25_leases_dead_letters_and_receipts_survive_a_slot_that_moves_key_by_key(cluster: Cluster) -> None:
    """The queue's names move one by one, each after a while: scripts meet ASK and TRYAGAIN at all of them."""
    begun: list[str] = []
    outcomes: list[Any] = []
    gate = threading.Event()

    def work(claim: Claim) -> None:
        begun.append(claim.key)
        if claim.key.startswith("held"):
            gate.wait(20)
        if claim.key.startswith("bad"):
            raise ValueError("bad")

    with RunAt(cluster.url) as queue:
        claims = queue.claims(lease=3, max_in_flight=10)
        claims.pipe(settle(work, max_attempts=2, backoff=lambda _: 0.01, max_concurrent=4)).subscribe(outcomes.append)
        early = [f"{kind}{number}" for number in range(30) for kind in ("good", "bad")]
        queue.on_next([Job(key, PAST) for key in ["held1", "held2", *early]])
        queue.schedule("far", FUTURE)
        wait_until(lambda: sum(each.verdict in FINAL for each in tuple(outcomes)) == 60, "all but the held ones end")
        migration = cluster.begin_migration(Q)
        names = [f"{{{Q}}}:{name}" for name in ("claimed", "leases", "dead")]
        found = set(migration.source.call("CLUSTER", "GETKEYSINSLOT", migration.slot, 100))
        assert found > {Q, *names}
        for name in random.sample(sorted(found), len(found)):
            migration.move(name)
            threading.Event().wait(0.3)  # all that goes on meets this state: renewals, looks, and a write
        late = Job("good30", PAST)
        with pytest.raises(Unavailable, match="ASK"):
            queue.on_next(late)
        gate.set()
        migration.finish()
        queue.on_next(late)
        keys = sorted(["held1", "held2", "good30", *early])

        def ends() -> list[str]:
            return sorted(each.claim.key for each in tuple(outcomes) if each.verdict in FINAL)

        wait_until(lambda: len(ends()) >= len(keys), "every key has its end")
        assert ends() == keys
        assert queue.dead.size() == 30
        assert queue.size() == 1
        assert sorted(begun) == sorted([*keys, *(key for key in keys if key.startswith("bad"))])
        assert cluster.node_of(Q) is migration.target
    with cluster.client(Q) as client:
        left = set(client.keys())
    assert left == {Q.encode(), f"{{{Q}}}:dead".encode()}


def to_slot_moved(cluster: Cluster) -> None:
    """The slot holds nothing, and is given away without a word to those who wait there."""
    slot, source = cluster.slot(Q), cluster.node_of(Q)
    target = next(node for node in cluster.primaries if node is not source)
    target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
    cluster.assign(slot, target)


@slow
@pytest.mark.parametrize("event", [ordered, killed, frozen, migrated_key_by_key, migrated_at_once, to_slot_moved])
def test_25_a_bare_zadd_wakes_a_source_that_sleeps_after_the_slot_went_elsewhere(
    cluster: Cluster, event: Event
) -> None:
    came: list[str] = []
    with RunAt(cluster.url, interval=LONG) as queue:
        queue.subscribe(came.append)
        if event is not to_slot_moved:
            queue.schedule("far", FUTURE)
        with cluster.client(Q) as client:
            client.zadd(Q, {"before": 1})
        wait_until(lambda: came == ["before"], "the source is woken where the slot was")
        event(cluster)
        with cluster.client(Q) as client:
            client.zadd(Q, {"after": 1})
        wait_until(lambda: came == ["before", "after"], "the source is woken where the slot is now")
