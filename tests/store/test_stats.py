"""`stats`: a queue in numbers, at one moment."""

from __future__ import annotations

from datetime import timedelta

import pytest
import redis

from rx_runat import Job, OutcomeUnknown, RunAt, Stats
from rx_runat.store.client import TRIES
from rx_runat.store.keys import claimed_key, dead_key
from rx_runat.store.redis_store import RedisStore
from rx_runat.testing import virtual_queue
from tests.support.leases import FAR, LEASE, again_while_out, lease_a, one, to_settle
from tests.support.redis_content import content, keys_of, put
from tests.support.scripts import inside, runs_of, watched
from tests.support.servers import Server
from tests.support.stores import MS, Clock, FlakyClient, Q, lossy


def test_an_empty_queue_has_nothing_and_nothing_is_late(store: RedisStore, flaky: FlakyClient) -> None:
    assert store.stats() == Stats(scheduled=0, due=0, claimed=0, dead=0, lateness=0.0)
    assert keys_of(flaky) == []


def test_keys_that_wait_and_keys_that_are_due(store: RedisStore, flaky: FlakyClient, clock: Clock) -> None:
    put(flaky, ("a", MS - 2500), ("b", MS), ("c", MS + 1), ("never", "inf"))
    assert store.stats() == Stats(scheduled=4, due=2, claimed=0, dead=0, lateness=2.5)
    clock.advance(0.0015)
    assert store.stats() == Stats(scheduled=4, due=3, claimed=0, dead=0, lateness=2.5015)
    assert len(content(flaky)) == 4


def test_what_is_only_coming_is_not_late(store: RedisStore, flaky: FlakyClient, clock: Clock) -> None:
    """Whether a key is due is judged in whole milliseconds, as in a claim."""
    put(flaky, ("a", MS + 0.5))
    clock.advance(0.0007)
    assert store.stats() == Stats(scheduled=1, due=0, claimed=0, dead=0, lateness=0.0)
    clock.advance(0.0003)
    assert store.stats() == Stats(scheduled=1, due=1, claimed=0, dead=0, lateness=0.0005)


@pytest.mark.parametrize("score, lateness", [("-inf", 63835596800.0), ("-1e300", 63835596800.0), ("1e300", 0.0)])
def test_the_lateness_of_an_odd_score_is_finite(
    store: RedisStore, flaky: FlakyClient, score: str, lateness: float
) -> None:
    put(flaky, (b"\xff", score))
    assert store.stats().lateness == lateness


def test_claimed_keys_and_dead_letters_are_counted_where_they_are(store: RedisStore, flaky: FlakyClient) -> None:
    leased = lease_a(store, flaky)
    assert store.stats() == Stats(scheduled=0, due=0, claimed=1, dead=0, lateness=0.0)
    assert one(store, to_settle("bury", leased)) == [1]
    assert store.stats() == Stats(scheduled=0, due=0, claimed=0, dead=1, lateness=0.0)


def test_a_newer_schedule_of_a_claimed_key_is_late_only_when_the_lease_has_ended(
    store: RedisStore, flaky: FlakyClient, clock: Clock
) -> None:
    again_while_out(store, flaky, clock)
    assert store.stats() == Stats(scheduled=1, due=0, claimed=1, dead=0, lateness=0.0)


def test_where_all_workers_died_lateness_grows_from_the_end_of_the_first_lease(
    store: RedisStore, flaky: FlakyClient, clock: Clock
) -> None:
    lease_a(store, flaky)
    flaky.call("ZADD", claimed_key(Q), MS + LEASE + 500, "c")
    clock.advance(LEASE / 1000)
    assert store.stats().lateness == 0.0
    clock.advance(7)
    assert store.stats() == Stats(scheduled=0, due=0, claimed=2, dead=0, lateness=7.0)
    put(flaky, ("b", MS + LEASE + 6000))
    assert store.stats() == Stats(scheduled=1, due=1, claimed=2, dead=0, lateness=7.0)
    put(flaky, ("b", MS - 1))
    assert store.stats().lateness == 37.001


def test_a_key_between_two_attempts_is_late_from_its_next_attempt_on(
    store: RedisStore, flaky: FlakyClient, clock: Clock
) -> None:
    leased = lease_a(store, flaky)
    assert one(store, to_settle("nack", leased, argument=5000)) == [1]
    assert store.stats() == Stats(scheduled=1, due=0, claimed=0, dead=0, lateness=0.0)
    clock.advance(6)
    assert store.stats() == Stats(scheduled=1, due=1, claimed=0, dead=0, lateness=1.0)


def test_stats_go_by_rediss_clock(real: RedisStore) -> None:
    real.schedule([Job("a", 2), Job("b", timedelta(hours=1)), Job("c", 1)], "last")
    seen = real.stats()
    assert (seen.scheduled, seen.due) == (3, 2)
    assert seen.lateness == pytest.approx(real.peek(1)[0].lateness, abs=60)


def test_stats_of_a_queue_in_virtual_time_go_by_its_scheduler() -> None:
    queue, scheduler = virtual_queue()
    claims = queue.claims(lease=30).subscribe()
    queue.on_next([Job("a", 10), Job("b", 60)])
    scheduler.advance_by(12.5)
    assert queue.stats() == Stats(scheduled=1, due=0, claimed=1, dead=0, lateness=0.0)
    claims.dispose()
    scheduler.advance_by(50)
    assert queue.stats() == Stats(scheduled=1, due=1, claimed=1, dead=0, lateness=22.5)


def test_size_and_stats_say_the_same(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, *((f"k{n}", MS - n) for n in range(20)), ("later", FAR))
    assert store.stats().scheduled == store.size(None) == 21
    assert store.stats().due == store.size(MS / 1000) == 20


@lossy(TRIES)
def test_stats_whose_replies_are_lost_are_asked_for_again(
    store: RedisStore, flaky: FlakyClient, fates: list[str | None]
) -> None:
    put(flaky, ("a", MS - 1000))
    flaky.fates = [*fates]
    if len(fates) < TRIES:
        assert store.stats() == Stats(scheduled=1, due=1, claimed=0, dead=0, lateness=1.0)
    else:
        with pytest.raises(OutcomeUnknown):
            store.stats()
    assert content(flaky) == [(b"a", MS - 1000)]


def test_stats_are_one_script_whose_work_does_not_grow_with_the_queue(
    taught: Server, real_flaky: FlakyClient, client: redis.Redis
) -> None:
    store = RedisStore(real_flaky, Q)
    works: list[list[str]] = []
    for waiting in (2, 5000):
        put(real_flaky, *((f"k{n}", n) for n in range(waiting)))
        client.zadd(claimed_key(Q), {f"c{n}": n for n in range(waiting)})
        client.hset(dead_key(Q), mapping={f"d{n}": "1 1 1 why" for n in range(waiting)})
        works.append(inside(taught, store.stats))
    assert works[0] == works[1] == ["TIME", "ZCARD", "ZCOUNT", "ZCARD", "HLEN", "ZRANGE", "ZRANGE"]


def test_stats_write_nothing_and_tell_redis_no_time(taught: Server, client: redis.Redis) -> None:
    with RunAt(taught.url) as queue:
        queue.on_next([Job("a", 1), Job("b", 4e9)])
        before = client.info("persistence")["rdb_changes_since_last_save"]
        seen = watched(taught, queue.stats)
        assert client.info("persistence")["rdb_changes_since_last_save"] == before
    assert runs_of("stats", seen) == [[]]
