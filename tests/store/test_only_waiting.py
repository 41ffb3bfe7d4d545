"""A write for keys that wait only: what is out, dead or gone is not brought back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from rx_runat import Job, OutcomeUnknown
from rx_runat.model.job import KEEP, Keep
from rx_runat.store.client import TRIES
from rx_runat.store.redis_store import RedisStore
from tests.support.leases import Whole, again_while_out, bury, lease_a, one, to_settle, whole
from tests.support.redis_content import content, keys_of, put
from tests.support.stores import MS, Clock, FlakyClient, T, lossy


def move(store: RedisStore, *jobs: Job, keep: Keep = "last") -> float | None:
    return store.do(store.plans.schedule(jobs, keep, only_waiting=True))


@pytest.mark.parametrize(
    "keep, run_at, stands",
    [
        ("last", T + 9, MS + 9000),
        ("last", T - 9, MS - 9000),
        ("last", timedelta(seconds=7), MS + 7000),
        ("first", T + 9, MS + 5000),
        ("earliest", T + 9, MS + 5000),
        ("earliest", T + 1, MS + 1000),
        ("latest", T + 9, MS + 9000),
        ("latest", T + 1, MS + 5000),
        ("absent", T + 9, MS + 5000),
    ],
)
def test_a_key_that_waits_moves_as_the_policy_says(
    store: RedisStore, flaky: FlakyClient, keep: Keep, run_at: Any, stands: int
) -> None:
    put(flaky, ("a", MS + 5000))
    assert move(store, Job("a", run_at), keep=keep) == stands
    assert content(flaky) == [(b"a", stands)]


@pytest.mark.parametrize("keep", KEEP)
@pytest.mark.parametrize("run_at", [T + 9, timedelta(seconds=9)], ids=["fixed", "delay"])
def test_a_key_that_is_not_there_is_not_written(store: RedisStore, flaky: FlakyClient, keep: Keep, run_at: Any) -> None:
    assert move(store, Job("a", run_at, data=1), keep=keep) is None
    assert move(store, Job("a", run_at), Job("b", run_at), keep=keep) is None
    assert keys_of(flaky) == []


@pytest.mark.parametrize("keep", KEEP)
@pytest.mark.parametrize("ended", [False, True], ids=["its lease lives", "its lease has ended"])
def test_a_key_that_is_out_is_not_written(
    store: RedisStore, flaky: FlakyClient, clock: Clock, keep: Keep, ended: bool
) -> None:
    lease_a(store, flaky)
    clock.advance(1000 if ended else 1)
    before = whole(flaky)
    assert move(store, Job("a", T + 9), keep=keep) is None
    assert whole(flaky) == before


@pytest.mark.parametrize("keep", KEEP)
def test_a_dead_letter_is_not_written(store: RedisStore, flaky: FlakyClient, clock: Clock, keep: Keep) -> None:
    bury(store, flaky, clock, "a")
    before = whole(flaky)
    assert move(store, Job("a", T + 9), keep=keep) is None
    assert whole(flaky) == before


@pytest.mark.parametrize(
    "keep, ms, stands",
    [
        ("last", MS + 500, MS + 500),
        ("last", MS + 9000, MS + 9000),
        ("first", MS + 9000, MS + 1000),
        ("earliest", MS + 500, MS + 500),
        ("latest", MS + 500, MS + 1000),
        ("latest", MS + 9000, MS + 9000),
        ("absent", MS + 9000, MS + 1000),
    ],
)
def test_a_key_that_waits_for_the_end_of_its_lease_waits(
    store: RedisStore, flaky: FlakyClient, clock: Clock, keep: Keep, ms: int, stands: int
) -> None:
    """It is out, was scheduled again and fell due: its run_at is in the record, not in the schedule."""
    leased = again_while_out(store, flaky, clock)
    assert move(store, Job("a", ms / 1000), keep=keep) == stands
    assert one(store, to_settle("ack", leased)) == [1]
    assert whole(flaky) == Whole({b"a": stands}, {}, {}, {}, 1)


def test_a_key_that_was_scheduled_while_it_is_out_waits(store: RedisStore, flaky: FlakyClient) -> None:
    leased = lease_a(store, flaky)
    store.schedule([Job("a", T + 100)], "last")
    assert move(store, Job("a", T + 50)) == MS + 50_000
    assert one(store, to_settle("ack", leased)) == [1]
    assert content(flaky) == [(b"a", MS + 50_000)]


def test_a_key_between_two_attempts_waits(store: RedisStore, flaky: FlakyClient, clock: Clock) -> None:
    """Moved, it begins anew, as after any schedule."""
    leased = lease_a(store, flaky)
    store.settle([to_settle("nack", leased)])
    assert move(store, Job("a", T + 9)) == MS + 9000
    clock.advance(9)
    newer = store.leasing_claimer(1000).claim(1)
    assert (newer.keys, newer.attempts) == (["a"], [1])


def test_26_data_moves_with_its_key_and_only_with_it(store: RedisStore, flaky: FlakyClient) -> None:
    store.schedule([Job("a", T, data=1), Job("b", T, data=2), Job("c", T, data=3)], "last")
    assert move(store, Job("a", T + 1), Job("b", T + 2), Job("gone", T + 3)) == MS + 1000
    assert move(store, Job("b", T + 5, data="new"), Job("gone", T + 5, data="x"), Job("c", T + 6, data=None))
    assert [(due.key, due.data) for due in store.peek(9)] == [("a", 1), ("b", "new"), ("c", None)]
    assert store.do(store.plans.gc()) == 0


def test_26_a_list_that_is_rejected_changes_no_data(store: RedisStore) -> None:
    store.schedule([Job("a", T, data=1)], "last")
    assert move(store, Job("a", T + 9, data=2), keep="first") == MS
    assert [(due.key, due.data) for due in store.peek(9)] == [("a", 1)]


def test_a_list_writes_those_that_wait_and_returns_their_earliest(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("a", MS), ("b", MS), ("c", MS))
    assert move(store, Job("gone", T), Job("b", T + 2), Job("a", T + 3), Job("b", T + 4)) == MS + 3000
    assert content(flaky) == [(b"c", MS), (b"a", MS + 3000), (b"b", MS + 4000)]


def test_a_long_list_writes_those_that_wait(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, *((f"k{n}", MS) for n in range(0, 9000, 3)))
    assert move(store, *(Job(f"k{n}", T + 1) for n in range(9000))) == MS + 1000
    assert content(flaky) == sorted((b"k%d" % n, MS + 1000.0) for n in range(0, 9000, 3))


@lossy(TRIES - 1)
def test_11_a_move_whose_reply_was_lost_is_made_once_more(
    store: RedisStore, flaky: FlakyClient, fates: list[str]
) -> None:
    put(flaky, ("a", MS), ("b", MS))
    flaky.fates = [*fates]
    assert move(store, Job("a", T + 9)) == MS + 9000
    flaky.arrive()
    assert content(flaky) == [(b"b", MS), (b"a", MS + 9000)]


def test_11_a_late_copy_of_a_move_brings_nothing_back(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("a", MS - 9))
    flaky.fates = ["late"] * TRIES
    with pytest.raises(OutcomeUnknown):
        move(store, Job("a", T - 1))
    assert store.plain_claimer().claim(1).keys == ["a"]
    flaky.arrive()
    assert content(flaky) == []
