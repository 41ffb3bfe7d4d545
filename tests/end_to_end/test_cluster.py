"""A queue in a real cluster of three primaries and three replicas, which fail and hand over their slots."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rx_runat import Claim, Job, OutcomeUnknown, Refused, RunAt, StoreError, Unavailable, settle
from rx_runat.model.batch import Entry, SettleRequest
from rx_runat.model.monotonic import monotonic
from rx_runat.store import tracking, verbs
from rx_runat.store.client import RedisClient
from rx_runat.store.connect import connect
from rx_runat.store.keys import queue_keys, wake_channel
from rx_runat.store.receipts import RECEIPT_TTL_MS
from rx_runat.store.redis_store import RedisStore
from rx_runat.stream import listener
from tests.support.clusters import Cluster, ClusterNode
from tests.support.forks import in_child
from tests.support.node import Node
from tests.support.traffic import Traffic
from tests.support.waiting import wait_until

Q = "RunAt~default"
LONG = 60.0  # an interval, in seconds, that no test waits for: a source is woken, or the test fails
PAST = 1.0
FUTURE = 4e9
FINAL = ("acked", "buried")

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


def frozen_and_thawed(cluster: Cluster) -> None:
    old = cluster.node_of(Q)
    frozen(cluster)
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
        traffic.goes_on()
        event(cluster)
        traffic.goes_on()
        traffic.end()
        assert traffic.lost == {}
        assert traffic.doubled == {}
    assert cluster.node_of(Q).call("ZCARD", Q) == 0


@slow
@pytest.mark.parametrize("event", [killed, frozen, frozen_and_thawed])
def test_25_where_a_primary_fails_only_what_it_had_not_passed_on_is_lost_or_doubled(
    cluster: Cluster, event: Event
) -> None:
    with RunAt(cluster.url) as queue:
        waiting = {f"w{number}" for number in range(100)}
        for key in sorted(waiting):
            queue.schedule(key, 1 + random.random() * 3)
        traffic = Traffic(queue)
        traffic.goes_on()
        since = traffic.received[-1][1]
        event(cluster)
        until = monotonic()
        traffic.goes_on()
        wait_until(lambda: waiting <= {key for key, _ in traffic.received}, "what waited comes")
        traffic.end()
    # A primary passes each write and each claim on within milliseconds: what it had not is from just before it failed.
    # One that was frozen also does what was sent to it meanwhile, before it learns that it is the primary no more.
    for at in (*traffic.lost.values(), *traffic.doubled.values()):
        assert since - 1 < at < until + 1


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
        claims = queue.claims(lease=8, max_in_flight=10)
        claims.pipe(settle(work, max_attempts=2, backoff=lambda _: 0.01, max_concurrent=4)).subscribe(outcomes.append)
        early = [f"{kind}{number}" for number in range(30) for kind in ("good", "bad")]
        queue.on_next([Job(key, PAST) for key in ["held1", "held2", *early]])
        queue.schedule("far", FUTURE)
        wait_until(lambda: sum(each.verdict in FINAL for each in tuple(outcomes)) == 60, "all but the held ones end")
        migration = cluster.begin_migration(Q)
        names = [f"{{{Q}}}:{name}" for name in ("claimed", "leases", "dead")]
        found = set(migration.source.call("CLUSTER", "GETKEYSINSLOT", migration.slot, 100))
        assert found >= {Q, *names}
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
    left = set(migration.target.call("KEYS", "*"))
    assert left >= {Q, f"{{{Q}}}:dead"}
    for name in left - {Q, f"{{{Q}}}:dead"}:  # a claim whose reply the move cut has gone on under another receipt
        assert ":receipt:" in name
        assert 0 < int(migration.target.call("PTTL", name)) <= RECEIPT_TTL_MS


def to_slot_moved(cluster: Cluster) -> None:
    """The slot holds nothing, and is given away without a word to those who wait there."""
    slot, source = cluster.slot(Q), cluster.node_of(Q)
    target = next(node for node in cluster.primaries if node is not source)
    target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
    cluster.assign(slot, target)


@pytest.fixture
def only_pushes_wake(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection that listens does not read from time to time, to see whether its server still lives."""
    monkeypatch.setattr(listener, "CHECK_SECONDS", LONG)
    monkeypatch.setattr(tracking, "_LONGEST_WAIT", LONG)


@slow
@pytest.mark.parametrize("event", [ordered, killed, frozen, migrated_key_by_key, migrated_at_once, to_slot_moved])
def test_25_a_bare_zadd_wakes_a_source_that_sleeps_after_the_slot_went_elsewhere(
    request: pytest.FixtureRequest, cluster: Cluster, event: Event
) -> None:
    if event is not frozen:
        request.getfixturevalue("only_pushes_wake")
    came: list[str] = []
    with RunAt(cluster.url, interval=LONG) as queue:
        queue.subscribe(came.append)
        if event is to_slot_moved:  # without a key, and without the receipt of a claim
            node, channel = cluster.node_of(Q), wake_channel(Q)
            wait_until(lambda: node.call("PUBSUB", "SHARDNUMSUB", channel) == [channel, 1], "the source sleeps")
        else:
            queue.schedule("far", FUTURE)
            cluster.node_of(Q).call("ZADD", Q, 1, "before")
            wait_until(lambda: came == ["before"], "the source is woken where the slot was")
        event(cluster)
        cluster.node_of(Q).call("ZADD", Q, 1, "after")
        wait_until(lambda: came[-1:] == ["after"], "the source is woken where the slot is now")


def other_primary(cluster: Cluster) -> ClusterNode:
    return next(node for node in cluster.primaries if node is not cluster.node_of(Q))


def sockets() -> int:
    """Returns how many sockets this process has open."""
    count = 0
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
    return count


@slow
@pytest.mark.parametrize("role", ["owner", "another primary", "replica"])
def test_25_a_plain_url_of_one_node_follows_the_slot(
    cluster: Cluster, role: str, caplog: pytest.LogCaptureFixture
) -> None:
    nodes = {"owner": cluster.node_of(Q), "another primary": other_primary(cluster), "replica": cluster.replica_of(Q)}
    before = sockets()
    with RunAt(nodes[role].url) as queue, RunAt(cluster.url) as other:
        traffic = Traffic(queue)
        traffic.goes_on()
        ordered(cluster)
        traffic.goes_on()
        traffic.end()
        assert (traffic.lost, traffic.doubled) == ({}, {})
        killed(cluster)
        queue.schedule("a", FUTURE)
        assert other.when("a") == queue.when("a")
    told = [record for record in caplog.records if "is one node of a cluster" in record.getMessage()]
    assert [(record.levelno, record.name) for record in told] == [(logging.WARNING, "rx_runat")]
    assert sockets() == before


@slow
def test_25_two_nodes_that_each_name_the_other_are_an_outage_that_heals(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    slot, source, target = cluster.slot(Q), cluster.node_of(Q), other_primary(cluster)
    came: list[str] = []
    with RunAt(cluster.url) as queue:
        queue.subscribe(came.append)
        source.call("CLUSTER", "SETSLOT", slot, "NODE", target.id)  # the target does not know of it
        with pytest.raises(Unavailable, match="MOVED"):
            queue.schedule("a", PAST)
        target.call("CLUSTER", "SETSLOT", slot, "NODE", target.id)
        queue.schedule("a", PAST)
        wait_until(lambda: came == ["a"], "the stream goes on")
    # Each turn cuts all connections, so the turns become rare: of each of three threads, some seven in a second.
    turns = [each for each in caplog.records if "the primary of" in each.getMessage()]
    assert 2 < len(turns) < 60


@slow
def test_a_cluster_is_found_by_the_one_seed_that_lives(cluster: Cluster) -> None:
    dead, living = Node(), other_primary(cluster)
    with RunAt(f"redis+cluster://127.0.0.1:{dead.port},127.0.0.1:{living.port}") as queue:
        queue.schedule("a", FUTURE)
        assert queue.size() == 1


def test_seeds_that_are_all_dead_are_an_outage_in_words() -> None:
    ports = [Node().port for _ in range(2)]
    url = f"redis+cluster://:secret@127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}"
    with RunAt(url) as queue, pytest.raises(Unavailable) as caught:
        queue.schedule("a", FUTURE)
    assert "secret" not in str(caught.value)
    assert f"nobody at redis+cluster://127.0.0.1:{ports[0]},127.0.0.1:{ports[1]} says where" in str(caught.value)


def test_a_seed_that_is_no_cluster_is_refused_in_words() -> None:
    node = Node()
    node.start()
    errors: list[Exception] = []
    try:
        with RunAt(f"redis+cluster://127.0.0.1:{node.port}") as queue:
            with pytest.raises(Refused) as caught:
                queue.schedule("a", FUTURE)
            queue.subscribe(print, errors.append)
            wait_until(lambda: errors, "the stream ends")
    finally:
        node.end()
    assert f"redis://127.0.0.1:{node.port} is no node of a cluster" in str(caught.value)
    assert [type(error) for error in errors] == [Refused]


UNKNOWN = ("--cluster-preferred-endpoint-type", "unknown-endpoint")
HOSTNAMES = ("--cluster-preferred-endpoint-type", "hostname")
FORMS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "redis-6.2": ((), {"kind": "redis-6.2"}),
    "redis-7, hosts untold": (UNKNOWN, {"kind": "redis-7", "password": "a/b#c"}),
    "valkey-9, no hostname": (HOSTNAMES, {"user": "worker", "password": "secret"}),
    "TLS": ((), {"tls": True, "password": "secret"}),
}


@slow
@pytest.mark.parametrize("form", FORMS)
def test_25_every_kind_of_cluster_is_followed(own_cluster: Callable[..., Cluster], form: str) -> None:
    options, settings = FORMS[form]
    cluster = own_cluster(*options, **settings)
    came: list[str] = []
    with RunAt(other_primary(cluster).url, interval=LONG) as plain, RunAt(cluster.url) as queue:
        traffic = Traffic(plain, queue)
        traffic.goes_on()
        if form != "TLS":  # between nodes with TLS, each key takes a second
            migrated_key_by_key(cluster)
            traffic.goes_on()
        ordered(cluster)
        traffic.goes_on()
        traffic.end()
        assert (traffic.lost, traffic.doubled) == ({}, {})
        plain.subscribe(came.append)
        with cluster.client(Q) as client:
            client.zadd(Q, {"last": 1})
        wait_until(lambda: came == ["last"], "a bare ZADD wakes the source")


def without_replication(cluster: Cluster) -> ClusterNode:
    """Cut the replica of the slot off from its primary. Returns it: what its primary does from now on, it lacks."""
    primary, replica = cluster.node_of(Q), cluster.replica_of(Q)
    assert primary.call("WAIT", 1, 10_000) == 1
    replica.call("CONFIG", "SET", "masterauth", "wrong")
    primary.call("CLIENT", "KILL", "TYPE", "replica")
    return replica


def take_over(cluster: Cluster, replica: ClusterNode) -> None:
    """Make a replica the primary, with what it has."""
    old = cluster.node_of(Q)
    replica.call("CLUSTER", "FAILOVER", "TAKEOVER")
    assert cluster.wait_for_new_primary(Q, old) is replica
    replica.call("CONFIG", "SET", "masterauth", "")


@pytest.fixture
def client(cluster: Cluster) -> Iterator[RedisClient]:
    client = connect(cluster.url, Q).client
    yield client
    client.close()


@pytest.fixture
def store(client: RedisClient) -> RedisStore:
    """A store on the shared cluster, without a queue around it."""
    return RedisStore(client, Q)


@slow
@pytest.mark.parametrize("verb", ["ack", "nack", "bury", "back"])
def test_25_what_is_sent_again_to_a_primary_that_lacks_the_claim_is_never_yes(
    cluster: Cluster, store: RedisStore, verb: Any
) -> None:
    store.schedule([Job("a", PAST)], "last")
    replica = without_replication(cluster)
    leased = store.leasing_claimer(60_000).claim(1)
    assert leased.keys == ["a"]
    sent_at = store.generation
    request = SettleRequest(verb, "a", leased.fence, 0 if verb == "nack" else "", leased.deadline)
    take_over(cluster, replica)
    assert store.settle([request], sent_at).answers == [None]
    assert store.generation > sent_at
    assert store.size(None) == 1
    assert store.dead_size() == 0


@slow
def test_25_a_cancel_that_is_sent_again_to_a_primary_that_lacks_the_key_is_never_an_answer(
    cluster: Cluster, client: RedisClient, store: RedisStore
) -> None:
    replica = without_replication(cluster)
    store.schedule([Job("a", FUTURE)], "last")
    sent_at = store.generation
    take_over(cluster, replica)
    with pytest.raises(OutcomeUnknown):
        client.send(verbs.cancel(queue_keys(Q), "a"), sent_at)


@slow
def test_25_a_hand_back_resurrects_nothing_at_a_primary_that_lacks_the_claim(
    cluster: Cluster, store: RedisStore
) -> None:
    store.schedule([Job(key, PAST) for key in "abc"], "last")
    replica = without_replication(cluster)
    claimer = store.plain_claimer()
    claimed = claimer.claim(10)
    assert claimed.keys == ["a", "b", "c"]
    take_over(cluster, replica)
    assert store.cancel("a")
    assert store.plain_claimer().claim(1).keys == ["b"]
    claimer.hand_back(list(map(Entry, claimed.keys, claimed.scores)))
    assert [due.key for due in store.peek(10)] == ["c"]


@slow
@pytest.mark.parametrize("event", [ordered, killed, migrated_key_by_key, migrated_at_once])
def test_25_a_hand_back_works_where_the_claim_went_along(cluster: Cluster, store: RedisStore, event: Event) -> None:
    store.schedule([Job(key, PAST) for key in "abc"], "last")
    claimer = store.plain_claimer()
    claimed = claimer.claim(10)
    assert cluster.node_of(Q).call("WAIT", 1, 10_000) == 1
    event(cluster)
    with contextlib.suppress(StoreError):  # it tells that the former primary is gone
        store.size(None)
    claimer.hand_back(list(map(Entry, claimed.keys[1:], claimed.scores[1:])))
    assert [due.key for due in store.peek(10)] == ["b", "c"]


@slow
@pytest.mark.parametrize("event", [killed, frozen, ordered, migrated_key_by_key])
def test_14_stop_in_the_middle_of_a_failover_hands_back_at_the_new_primary(cluster: Cluster, event: Event) -> None:
    before, threads = sockets(), threading.active_count()
    queue = RunAt(cluster.url, interval=0.1)
    received: list[str] = []
    ended = threading.Event()
    happening: list[threading.Thread] = []

    def on_next(key: str) -> None:
        received.append(key)
        assert cluster.node_of(Q).call("WAIT", 1, 10_000) == 1
        happening.append(threading.Thread(target=event, args=(cluster,)))
        happening[0].start()
        queue.stop()

    queue.on_next([Job(f"k{number}", PAST) for number in range(20)])
    queue.subscribe(on_next, on_completed=ended.set)
    wait_until(ended.is_set, "the stream has ended")
    queue.stop()
    happening[0].join()
    assert received == ["k0"]
    assert cluster.node_of(Q).call("ZCARD", Q) == 19
    wait_until(lambda: (sockets(), threading.active_count()) == (before, threads), "no thread and no socket is left")


@slow
def test_24_a_forked_child_uses_a_queue_in_a_cluster_as_a_new_one(cluster: Cluster) -> None:
    with RunAt(cluster.url) as queue:
        queue.schedule("a", FUTURE)
        ordered(cluster)
        queue.schedule("b", FUTURE)

        def use() -> tuple[int, list[str]]:
            came: list[str] = []
            queue.subscribe(came.append)
            queue.schedule("c", PAST)
            wait_until(lambda: came, "it receives")
            size = queue.size()
            queue.stop()
            return size, came

        assert in_child(use) == (2, ["c"])
        came: list[str] = []
        queue.subscribe(came.append)
        queue.schedule("d", PAST)
        wait_until(lambda: came == ["d"], "the parent receives as before")


@slow
def test_25_queues_of_one_process_are_in_different_slots(cluster: Cluster) -> None:
    names = ["mail", "{mail}", "{mail}:late", "a{b}c", "häuser"]
    assert len({cluster.slot(name) for name in names}) == 3
    came: list[tuple[str, str]] = []
    with contextlib.ExitStack() as stack:
        queues = [stack.enter_context(RunAt(cluster.url, queue_name=name, interval=LONG)) for name in names]
        for queue, name in zip(queues, names, strict=True):
            works = queue.claims().pipe(settle(lambda claim, name=name: came.append((name, claim.key))))
            works.subscribe()
            queue.schedule("a", PAST)
        wait_until(lambda: len(came) == len(names), "each queue works")
        old = cluster.node_of("mail")
        cluster.failover("mail")
        cluster.wait_for_new_primary("mail", old)
        for name in names:
            cluster.node_of(name).call("ZADD", name, 1, "b")
        wait_until(lambda: len(came) == 2 * len(names), "each queue works on")
    assert sorted(came) == sorted((name, key) for name in names for key in "ab")


@slow
@pytest.mark.usefixtures("only_pushes_wake")
@pytest.mark.parametrize("kind", ["valkey-9", "redis-6.2"])
def test_25_sources_are_woken_where_the_server_refuses_to_track(
    request: pytest.FixtureRequest, own_cluster: Callable[..., Cluster], kind: str
) -> None:
    """By the channel: a shard's, or before Redis 7 that of the whole cluster. The sink and the source are apart."""
    cluster = own_cluster(kind=kind) if kind != "valkey-9" else request.getfixturevalue("cluster")
    refused = "-client|tracking" if kind != "redis-6.2" else "-client"
    for node in cluster.nodes:
        node.call("ACL", "SETUSER", "deaf", "on", "nopass", "~*", "&*", "+@all", refused)
    forms = [f"redis://deaf:@127.0.0.1:{cluster.node_of(Q).port}", cluster.url.replace("://", "://deaf:@")]
    came: list[str] = []
    with RunAt(forms[0]) as plain_sink, RunAt(forms[1]) as sink:
        for source_form in forms:
            with RunAt(source_form, interval=LONG) as source:
                source.subscribe(came.append)
                for number, event in enumerate((None, ordered, migrated_key_by_key)):
                    if event is not None:
                        event(cluster)
                    for each in (plain_sink, sink):
                        key = f"{number} from {each!r} to {source_form}"
                        each.schedule(key, PAST)
                        wait_until(lambda key=key: key in came, f"it comes: {key}")
    for node in cluster.nodes:
        node.call("ACL", "DELUSER", "deaf")
