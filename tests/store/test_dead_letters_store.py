"""Dead letters in Redis: listed, revived and dropped, one or all."""

from __future__ import annotations

import pytest

from rx_runat import OutcomeUnknown
from rx_runat.store import dead_letter_store
from rx_runat.store.redis_store import RedisStore
from tests.support.leases import (
    FAR,
    LEASE,
    Whole,
    bury,
    one,
    to_settle,
    whole,
)
from tests.support.redis_content import put
from tests.support.stores import MS, Clock, FlakyClient


def test_peek_shows_the_oldest_letters_first(store: RedisStore, flaky: FlakyClient, clock: Clock) -> None:
    assert (store.dead_peek(3), store.dead_size()) == ([], 0)
    bury(store, flaky, clock, "c", "a", "b", "c")
    before = whole(flaky)
    assert [letter.key for letter in store.dead_peek(9)] == ["a", "b", "c"], "the last reason counts"
    assert [letter.key for letter in store.dead_peek(2)] == ["a", "b"]
    assert store.dead_peek(0) == []
    assert store.dead_size() == 3
    assert whole(flaky) == before


@pytest.mark.parametrize("key", ["a", None])
def test_a_revived_key_waits_with_its_own_run_at_and_no_attempts(
    store: RedisStore, flaky: FlakyClient, clock: Clock, key: str | None
) -> None:
    bury(store, flaky, clock, "a")
    assert store.revive("b") == 0
    assert store.revive(key) == 1
    assert whole(flaky) == Whole({b"a": MS - 1})
    assert store.revive(key) == 0
    assert store.leasing_claimer(LEASE).claim(1).attempts == [1]


def test_a_schedule_made_meanwhile_stands_over_a_revival(store: RedisStore, flaky: FlakyClient, clock: Clock) -> None:
    bury(store, flaky, clock, "a")
    put(flaky, ("a", FAR))
    assert store.revive("a") == 1
    assert whole(flaky) == Whole({b"a": FAR})


def test_a_key_that_is_out_is_revived_behind_its_lease(store: RedisStore, flaky: FlakyClient, clock: Clock) -> None:
    bury(store, flaky, clock, "a")
    put(flaky, ("a", MS))
    leased = store.leasing_claimer(LEASE).claim(1)
    assert store.revive("a") == 1
    other = store.leasing_claimer(LEASE)
    assert other.claim(1).keys == []
    assert one(store, to_settle("ack", leased)) == [1]
    newer = other.claim(1)
    assert (newer.keys, newer.attempts) == (["a"], [1])


@pytest.mark.parametrize("key", ["a", None])
def test_a_dropped_letter_is_forgotten(store: RedisStore, flaky: FlakyClient, clock: Clock, key: str | None) -> None:
    bury(store, flaky, clock, "a")
    assert store.drop("b") == 0
    assert store.drop(key) == 1
    assert whole(flaky) == Whole()
    assert store.drop(key) == 0


@pytest.mark.parametrize("verb", ["revive", "drop"])
def test_all_of_many_are_done_in_steps(
    store: RedisStore, flaky: FlakyClient, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr(dead_letter_store, "STEP", 50)
    keys = [f"k{number:04}" for number in range(1000)]
    put(flaky, *((key, MS) for key in keys))
    leasing_claimer = store.leasing_claimer(LEASE)
    leased = leasing_claimer.claim(1000)
    store.settle([to_settle("bury", leased, key) for key in keys])
    leasing_claimer.close()
    assert [letter.key for letter in store.dead_peek(3)] == keys[:3]
    flaky.sent.clear()
    assert getattr(store, verb)(None) == 1000
    assert len(flaky.sent) >= 2 * 1000 / 100
    assert max(len(command) for command in flaky.sent) < 200
    assert len(whole(flaky).waits) == (1000 if verb == "revive" else 0)
    assert whole(flaky).dead == {}


@pytest.mark.parametrize("verb", ["revive", "drop"])
@pytest.mark.parametrize("fate", ["lost", "late"])
@pytest.mark.parametrize("key", ["a", None])
def test_a_letter_whose_reply_is_lost(
    store: RedisStore, flaky: FlakyClient, clock: Clock, verb: str, fate: str, key: str | None
) -> None:
    """No result is false: it raises OutcomeUnknown where it cannot know."""
    bury(store, flaky, clock, "a")
    flaky.fates = [fate] if key else [None, fate]
    if fate == "late":
        assert getattr(store, verb)(key) == 1
    else:
        with pytest.raises(OutcomeUnknown, match="dead letters are gone"):
            getattr(store, verb)(key)
    assert whole(flaky) == Whole({b"a": MS - 1} if verb == "revive" else {})
