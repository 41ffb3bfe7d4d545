"""`when`, `peek` and `size`: what they return; they change nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rx_runat import InvalidJob, Job, OutcomeUnknown
from rx_runat.model.batch import Claimed
from rx_runat.store.client import TRIES
from rx_runat.store.redis_store import RedisStore
from tests.support.redis_content import at, content, keys_of, put
from tests.support.stores import MS, FlakyClient, T, lossy


def test_when_tells_the_time_of_a_key_that_waits(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("a", MS + 1), ("odd", MS + 0.5), ("never", "inf"), ("ever", "-inf"))
    assert store.when("a") == at(MS + 1)
    assert store.when("odd") == at(MS + 0.5)
    assert store.when("never") == datetime.max.replace(tzinfo=UTC)
    assert store.when("ever") == datetime.min.replace(tzinfo=UTC)
    assert store.when("none") is None


def test_peek_shows_the_next_keys_in_order_and_how_late_they_are(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("c", MS + 2000), ("b", MS - 500), ("a", MS - 500), ("d", MS + 3000))
    shown = store.peek(3)
    assert [(due.key, due.run_at, due.lateness) for due in shown] == [
        ("a", at(MS - 500), 0.5),
        ("b", at(MS - 500), 0.5),
        ("c", at(MS + 2000), -2.0),
    ]
    assert len(content(flaky)) == 4
    assert [due.key for due in store.peek(100)] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("n", [2**31, 2**32, 2**53, sys.maxsize, 10**30])
def test_peek_at_all_is_any_large_number(n: int, store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("a", MS), ("b", MS + 1))
    assert [due.key for due in store.peek(n)] == ["a", "b"]
    assert store.dead_peek(n) == []


def test_peek_shows_odd_members_and_scores(store: RedisStore, flaky: FlakyClient) -> None:
    """Infinite scores are shown as the first and the last moment of a datetime, with the lateness of those moments."""
    put(flaky, (b"\xff\x00", "-inf"), ("a", "inf"))
    first, last = store.peek(2)
    assert (first.key, first.run_at) == ("\udcff\x00", datetime.min.replace(tzinfo=UTC))
    assert (last.key, last.run_at) == ("a", datetime.max.replace(tzinfo=UTC))
    for due in (first, last):
        assert due.lateness == pytest.approx((at(MS) - due.run_at).total_seconds(), abs=0.01)


def test_every_verb_works_on_an_empty_schedule(store: RedisStore, flaky: FlakyClient) -> None:
    assert store.peek(3) == []
    assert store.size(None) == store.size(T) == store.size(timedelta(seconds=1)) == 0
    assert store.when("a") is None
    assert store.cancel("a") is False
    assert store.plain_claimer().claim(10) == Claimed([], [], T * 1_000_000, None)
    assert keys_of(flaky) == []


@pytest.mark.parametrize(
    "until, size",
    [
        (None, 4),
        (T, 1),
        (T + 0.999, 1),
        (T + 1, 2),
        (float(T + 1), 2),
        (at(MS + 1999), 2),
        (at(MS + 2000), 3),
        (at(MS + 2000).astimezone(), 3),
        (timedelta(0), 1),
        (timedelta(seconds=-5), 1),
        (timedelta(milliseconds=999), 1),
        (timedelta(seconds=1), 2),
        (timedelta(days=1), 3),
        (253_402_300_799.0, 3),
    ],
)
def test_size_counts_what_waits_until_a_moment(store: RedisStore, flaky: FlakyClient, until: Any, size: int) -> None:
    put(flaky, ("a", MS), ("b", MS + 1000), ("c", MS + 2000), ("d", "inf"))
    assert store.size(until) == size


def test_size_until_a_delay_goes_by_rediss_clock(real: RedisStore) -> None:
    real.schedule([Job("a", timedelta(0)), Job("b", timedelta(hours=1))], "last")
    assert real.size(timedelta(minutes=1)) == 1
    assert real.size(timedelta(minutes=61)) == 2


@pytest.mark.parametrize("until", [datetime(2026, 1, 1), float("nan"), True, "soon", MS])
def test_size_until_nonsense_is_refused_before_redis_is_called(
    store: RedisStore, flaky: FlakyClient, until: Any
) -> None:
    with pytest.raises(InvalidJob, match="until"):
        store.size(until)
    assert flaky.sent == []


@lossy(TRIES)
def test_a_look_whose_reply_is_lost(store: RedisStore, flaky: FlakyClient, fates: list[str | None]) -> None:
    put(flaky, ("a", MS), ("b", MS + 1000))
    looks: list[tuple[Callable[[], object], object]] = [
        (lambda: store.when("a"), at(MS)),
        (lambda: [due.key for due in store.peek(1)], ["a"]),
        (lambda: store.size(None), 2),
        (lambda: store.size(T), 1),
    ]
    for look, answer in looks:
        flaky.fates = list(fates)
        if len(fates) < TRIES:
            assert look() == answer
        else:
            with pytest.raises(OutcomeUnknown):
                look()
    assert content(flaky) == [(b"a", MS), (b"b", MS + 1000)]


@lossy(TRIES)
def test_a_size_until_a_delay_whose_replies_are_lost(
    real: RedisStore, flaky: FlakyClient, fates: list[str | None]
) -> None:
    real.schedule([Job("a", timedelta(0)), Job("b", timedelta(hours=1))], "last")
    if len(fates) < TRIES:
        flaky.fates = [*fates, None, *fates]
        assert real.size(timedelta(minutes=1)) == 1
    else:
        flaky.fates = [*fates]
        with pytest.raises(OutcomeUnknown):
            real.size(timedelta(minutes=1))
