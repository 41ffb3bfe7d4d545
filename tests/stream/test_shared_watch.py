"""One connection and one thread listen for all sources of a queue, on a real server."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis
from reactivex import abc

from rx_runat import Claim, RunAt
from rx_runat.store.keys import claimed_key
from tests.support.forks import in_child
from tests.support.scripts import SCRIPTS, watched
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"


def trackers(client: redis.Redis) -> list[str]:
    """The ids of the connections that track."""
    return [each["id"] for each in client.client_list() if "t" in each["flags"]]


def listeners() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "listener" in thread.name]


def sleeps_and_knows(client: redis.Redis, act: Callable[[], object]) -> None:
    """Do what makes sources begin to sleep, and wait until one connection tracks and has read the head."""
    reads = client.info("commandstats").get("cmdstat_zrange", {"calls": 0})["calls"]
    act()
    wait_until(lambda: len(trackers(client)) == 1, "one connection tracks")
    wait_until(lambda: client.info("commandstats").get("cmdstat_zrange", {"calls": 0})["calls"] > reads, "it has read")


def subscribe_many(queue: RunAt, count: int) -> list[abc.DisposableBase]:
    """Sources of both kinds: the queue's own, and so many streams of claims less one."""
    streams: list[Any] = [queue, *(queue.claims() for _ in range(count - 1))]
    return [stream.subscribe(lambda _: None) for stream in streams]


def who_looks(server: Server, act: Callable[[], object]) -> set[str]:
    """Which sources look meanwhile, by the keys of their receipts."""
    shas = {SCRIPTS[name].sha for name in ("claim", "lease")}
    calls = [words for kind, words in watched(server, act) if kind != "lua" and len(words) > 1 and words[1] in shas]
    return {
        key for words in calls for key in words[3 : 3 + int(words[2])] if "receipt" in key and not key.endswith(":keys")
    }


def test_fifty_sources_of_both_kinds_share_one_connection_and_one_thread_and_all_are_woken(
    make: Callable[..., RunAt], server: Server, client: redis.Redis
) -> None:
    queue = make(interval=3600)
    subscriptions: list[abc.DisposableBase] = []
    sleeps_and_knows(client, lambda: subscriptions.extend(subscribe_many(queue, 50)))
    wait_until(lambda: client.info("commandstats")["cmdstat_evalsha"]["calls"] >= 50, "all have looked")
    assert (len(trackers(client)), listeners()) == (1, [f"rx_runat {Q} listener"])

    def write() -> None:
        before = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        client.zadd(Q, {"far away": 4e12})
        wait_until(lambda: client.info("commandstats")["cmdstat_evalsha"]["calls"] >= before + 50, "all look")

    assert len(who_looks(server, write)) == 50
    assert (len(trackers(client)), len(listeners())) == (1, 1)

    for each in subscriptions[:-1]:
        each.dispose()
    wait_until(lambda: not queue._sources._ticking[1:], "one is left")
    assert (len(trackers(client)), len(listeners())) == (1, 1)
    subscriptions[-1].dispose()
    wait_until(lambda: (trackers(client), listeners()) == ([], []), "the last one has closed it")
    client.delete(Q)


def test_a_source_of_claims_beside_a_plain_one_wakes_for_a_lease_that_another_took_before_it_slept(
    make: Callable[..., RunAt], client: redis.Redis
) -> None:
    """It looks; another one claims, and dies; the watch reads; only then the source begins to sleep."""
    queue = make(interval=3600)
    got: list[str] = []
    sleeps_and_knows(client, lambda: queue.subscribe(got.append))
    claims = queue.claims()
    source = claims._publisher.publisher
    claim: Callable[..., Any] = source._hold.claim
    interrupted: list[bool] = []

    def claim_and_see_another_claim(limit: int, ahead: int) -> Any:
        claimed = claim(limit, ahead)
        if not interrupted:
            interrupted.append(True)
            watch = queue._sources._watch
            with client.pipeline(transaction=True) as both:  # so that no source of ours gets the key
                both.zadd(Q, {"a": 1.0})
                both.zrem(Q, "a")
                both.zadd(claimed_key(Q), {"a": claimed.now / 1e3 + 150})
                both.execute()
            wait_until(lambda: watch._listener.newest.claims < float("inf"), "the watch has read the end of the lease")
        return claimed

    source._hold.claim = claim_and_see_another_claim
    came: list[Claim] = []
    claims.subscribe(came.append)
    wait_until(lambda: came, "the key came back, long before the heartbeat")
    assert ([each.key for each in came], got) == (["a"], [])
    assert came[0].ack()


def test_a_plain_source_is_not_woken_for_ends_of_leases(
    make: Callable[..., RunAt], server: Server, client: redis.Redis
) -> None:
    queue = make(interval=3600)
    queue.claims(max_in_flight=1).subscribe(lambda _: None)
    queue.schedule("taken", 1)
    wait_until(lambda: client.zcard(claimed_key(Q)), "the only slot is taken, so this source looks no more")
    queue.subscribe(lambda _: None)
    wait_until(lambda: len(queue._sources._watch._observers) == 2, "both sleep")

    def work() -> None:
        with client.pipeline(transaction=True) as both:
            both.zadd(Q, {"a": 4e12})
            both.zrem(Q, "a")
            both.zadd(claimed_key(Q), {"a": 1.0})  # a lease that has ended long ago
            both.execute()
        wait_until(lambda: queue._sources._watch._listener.newest.claims == 1.0, "the watch has read it")

    calls = [words for kind, words in watched(server, work) if kind != "lua" and SCRIPTS["claim"].sha in words]
    assert calls == []
    client.delete(claimed_key(Q))


def test_sources_are_woken_after_the_connection_was_killed(
    make: Callable[..., RunAt], server: Server, client: redis.Redis
) -> None:
    queue = make(interval=3600)
    sleeps_and_knows(client, lambda: subscribe_many(queue, 10))
    for number in range(3):
        (ours,) = trackers(client)
        sleeps_and_knows(client, lambda: client.client_kill_filter(_id=ours))  # noqa: B023
        wait_until(lambda: trackers(client) not in ([], [ours]), "it has a new connection")  # noqa: B023

        def write() -> None:
            before = client.info("commandstats")["cmdstat_evalsha"]["calls"]
            client.zadd(Q, {"far away": 4e12 - number})  # noqa: B023
            wait_until(lambda: client.info("commandstats")["cmdstat_evalsha"]["calls"] >= before + 10, "all look")

        assert len(who_looks(server, write)) == 10
    client.delete(Q)


@pytest.mark.slow
def test_ten_threads_that_subscribe_and_leave_fifty_times_leave_nothing(
    make: Callable[..., RunAt], client: redis.Redis
) -> None:
    queue = make(interval=3600)

    def come_and_go(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(50):
            subscription = queue.claims().subscribe(lambda _: None)
            threading.Event().wait(chance.choice([0, 0, 0.001, 0.01]))
            subscription.dispose()

    threads = [threading.Thread(target=come_and_go, args=(seed,)) for seed in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: (trackers(client), listeners()) == ([], []), "nobody listens")
    watch = queue._sources._watch
    wait_until(lambda: not watch._leasing and not watch._observers, "nothing is kept of those that left")
    got: list[str] = []
    sleeps_and_knows(client, lambda: queue.subscribe(got.append))
    client.zadd(Q, {"a": 1})
    wait_until(lambda: got == ["a"], "a later source is woken")


def test_24_a_fork_while_sources_share_a_connection_leaves_it_to_the_parent(
    make: Callable[..., RunAt], client: redis.Redis
) -> None:
    queue = make(interval=3600)
    got: list[str] = []
    subscriptions: list[abc.DisposableBase] = []

    def sleep() -> None:
        subscriptions.extend([queue.subscribe(got.append), queue.claims(max_in_flight=1).subscribe()])
        wait_until(lambda: len(queue._sources._watch._observers) == 2, "both sleep")

    sleeps_and_knows(client, sleep)
    (ours,) = trackers(client)
    inherited = queue._sources

    def child() -> tuple[bool, list[str]]:
        assert len(inherited._watch._observers) == 2
        for subscription in subscriptions:
            subscription.dispose()
        received: list[str] = []
        queue.subscribe(received.append)
        wait_until(lambda: len(trackers(client)) == 2, "the child listens on a connection of its own")
        queue.stop()
        return inherited is queue._sources, received

    assert in_child(child) == (False, [])
    wait_until(lambda: trackers(client) == [ours], "the parent's is as it was")
    client.zadd(Q, {"a": 1})
    wait_until(lambda: got == ["a"] or client.zcard(claimed_key(Q)), "a source of the parent is woken")
    client.delete(claimed_key(Q))
