"""A plain claim: what it takes, what it writes down, and what a lost reply or a delayed duplicate does."""

from __future__ import annotations

import pytest

from rx_runat import Job, OutcomeUnknown, StoreError
from rx_runat.store.client import TRIES, RedisClient
from rx_runat.store.receipts import RECEIPT_TTL_MS
from rx_runat.store.redis_store import RedisStore
from tests.support.redis_content import content, entries, keys_of, keys_taken, put, receipts
from tests.support.stores import MS, Clock, FlakyClient, Q, lossy


def test_a_claim_takes_what_is_due_in_order(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("b", MS - 1), ("a", MS - 1), ("z", MS - 2), ("c", MS), ("later", MS + 1))
    claimed = store.plain_claimer().claim(10)
    assert claimed.keys == ["z", "a", "b", "c"]
    assert list(map(float, claimed.scores)) == [MS - 2, MS - 1, MS - 1, MS]
    assert content(flaky) == [(b"later", MS + 1)]


def test_a_claim_takes_no_more_than_its_limit(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, *((f"k{number}", MS - 10 + number) for number in range(10)))
    plain_claimer = store.plain_claimer()
    assert plain_claimer.claim(3).keys == ["k0", "k1", "k2"]
    assert plain_claimer.claim(4).keys == ["k3", "k4", "k5", "k6"]
    assert len(content(flaky)) == 3


def test_a_claim_is_never_early(store: RedisStore, flaky: FlakyClient, clock: Clock) -> None:
    put(flaky, ("a", MS + 1), ("half", MS + 1.5))
    clock.us += 999
    plain_claimer = store.plain_claimer()
    assert plain_claimer.claim(10).keys == []
    clock.us += 1
    assert plain_claimer.claim(10).keys == ["a"]
    clock.us += 500
    assert plain_claimer.claim(10).keys == [], "a fraction of a millisecond waits for the whole"
    clock.us += 500
    assert plain_claimer.claim(10).keys == ["half"]


def test_a_claim_tells_how_long_to_wait(store: RedisStore, flaky: FlakyClient, clock: Clock) -> None:
    plain_claimer = store.plain_claimer()
    assert plain_claimer.claim(1).wait is None
    put(flaky, ("a", MS + 2500))
    assert plain_claimer.claim(1).wait == 2.5
    clock.us += 1
    assert plain_claimer.claim(1).wait == 2.499999
    put(flaky, ("half", MS + 1.5))
    assert plain_claimer.claim(1).wait == 0.001999
    put(flaky, ("b", MS), ("c", MS))
    assert plain_claimer.claim(1).wait == 0.0
    assert plain_claimer.claim(1).wait == 0.001999


@pytest.mark.parametrize("score", ["inf", "1e300", str(10**15)])
def test_a_key_that_never_falls_due_is_not_waited_for(store: RedisStore, flaky: FlakyClient, score: str) -> None:
    put(flaky, ("never", score))
    claimed = store.plain_claimer().claim(10)
    assert (claimed.keys, claimed.wait) == ([], None)
    assert content(flaky) == [(b"never", float(score))]


def test_a_claim_tells_the_clock_it_went_by(
    store: RedisStore, real: RedisStore, flaky: FlakyClient, clock: Clock
) -> None:
    clock.us += 7
    assert store.plain_claimer().claim(1).now == clock.us

    def now() -> int:
        seconds, microseconds = RedisClient.call(flaky, "TIME")
        return int(seconds) * 1_000_000 + int(microseconds)

    before = now()
    assert before <= real.plain_claimer().claim(1).now <= now()


def test_two_claimers_never_get_the_same_key(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, *((f"k{number}", MS) for number in range(6)))
    one, other = store.plain_claimer(), store.plain_claimer()
    assert one.claim(4).keys == ["k0", "k1", "k2", "k3"]
    assert other.claim(4).keys == ["k4", "k5"]
    assert one.claim(4).keys == []


def test_a_claim_writes_down_what_it_took_until_the_next(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("a", MS), ("b", MS))
    plain_claimer = store.plain_claimer()
    plain_claimer.claim(1)
    (receipt,) = receipts(flaky)
    assert 0 < RedisClient.call(flaky, "PTTL", receipt) <= RECEIPT_TTL_MS
    plain_claimer.claim(1)
    assert receipts(flaky) == [receipt]
    plain_claimer.claim(1)
    assert receipts(flaky) == [], "an empty claim leaves none"


def test_a_claim_that_finds_nothing_writes_nothing(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("later", MS + 1))
    store.plain_claimer().claim(10)
    assert keys_of(flaky) == [Q.encode()]


@lossy(TRIES)
@pytest.mark.parametrize("pending", [0, 1])
def test_a_claim_whose_reply_is_lost_is_resent_and_gives_the_same_keys(
    store: RedisStore, flaky: FlakyClient, fates: list[str | None], pending: int
) -> None:
    """Lost within one call, or over two; with a receipt of an earlier claim, and without."""
    plain_claimer, other = store.plain_claimer(), store.plain_claimer()
    if pending:
        put(flaky, ("early", MS - 9))
        assert plain_claimer.claim(1).keys == ["early"]
    put(flaky, ("a", MS - 2), ("b", MS - 1), ("c", MS), ("later", MS + 1))
    flaky.fates = list(fates)
    if len(fates) == TRIES:
        with pytest.raises(OutcomeUnknown):
            plain_claimer.claim(2)
    got = plain_claimer.claim(2)
    assert got.keys == ["a", "b"]
    assert list(map(float, got.scores)) == [MS - 2, MS - 1]
    assert plain_claimer.claim(2).keys == ["c"], "the next claim is another one"
    assert other.claim(2).keys == []
    assert content(flaky) == [(b"later", MS + 1)]


def test_a_lost_claim_is_taken_from_all_others_at_once(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("a", MS), ("b", MS))
    plain_claimer, other = store.plain_claimer(), store.plain_claimer()
    flaky.fates = ["lost"] * TRIES
    with pytest.raises(OutcomeUnknown):
        plain_claimer.claim(1)
    assert other.claim(10).keys == ["b"]
    assert plain_claimer.claim(1).keys == ["a"]


@pytest.mark.parametrize("then", ["away", "refused"])
def test_a_claim_is_remembered_over_any_error(store: RedisStore, flaky: FlakyClient, then: str) -> None:
    put(flaky, ("a", MS), ("b", MS))
    plain_claimer = store.plain_claimer()
    for fates in (["lost", then, then], [then], [then], ["lost", "late", then]):
        flaky.fates = list(fates)
        with pytest.raises(StoreError):
            plain_claimer.claim(1)
    flaky.fates = []
    assert plain_claimer.claim(1).keys == ["a"]
    assert plain_claimer.claim(1).keys == ["b"]


def test_a_late_copy_of_a_claim_takes_nothing(store: RedisStore, flaky: FlakyClient) -> None:
    """The request is delayed, the resent one is replied to; then the first arrives, at once or much later."""
    put(flaky, ("a", MS), ("b", MS), ("c", MS))
    plain_claimer = store.plain_claimer()
    flaky.fates = ["late", "late"]
    assert plain_claimer.claim(1).keys == ["a"]
    copies = list(flaky.late)
    taken = [keys_taken(answer) for answer in flaky.arrive()]
    assert [each[0] for each in taken] == [b"a", b"a"], "the same keys, and nobody receives the reply"
    assert plain_claimer.claim(1).keys == ["b"]
    flaky.late = copies
    flaky.arrive()
    assert content(flaky) == [(b"c", MS)]
    plain_claimer.close()
    flaky.late = copies
    flaky.arrive()
    assert content(flaky) == [(b"c", MS)]


def test_11_a_claim_that_was_interrupted_and_comes_late_takes_nothing(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("a", MS), ("b", MS), ("c", MS), ("d", MS))
    plain_claimer = store.plain_claimer()
    assert plain_claimer.claim(1).keys == ["a"]
    flaky.fates = ["interrupted"]
    with pytest.raises(KeyboardInterrupt):
        plain_claimer.claim(1)
    assert [plain_claimer.claim(1).keys for _ in range(2)] == [["b"], ["c"]]
    flaky.arrive()
    assert content(flaky) == [(b"d", MS)]


def test_a_late_copy_of_a_claim_that_found_nothing_takes_nothing(store: RedisStore, flaky: FlakyClient) -> None:
    plain_claimer = store.plain_claimer()
    flaky.fates = ["late"]
    assert plain_claimer.claim(1).keys == []
    put(flaky, ("a", MS))
    assert [keys_taken(answer) for answer in flaky.arrive()] == [[]]
    assert content(flaky) == [(b"a", MS)]


def test_a_late_copy_of_a_claim_is_found_by_the_resent_one(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("a", MS), ("b", MS))
    plain_claimer = store.plain_claimer()
    flaky.fates = ["late"] * TRIES
    with pytest.raises(OutcomeUnknown):
        plain_claimer.claim(1)
    flaky.arrive()
    assert plain_claimer.claim(1).keys == ["a"]
    assert content(flaky) == [(b"b", MS)]


def test_a_claim_of_twenty_thousand_comes_whole(real_flaky: FlakyClient) -> None:
    """Lua's `unpack` ends at 8,000."""
    store = RedisStore(real_flaky, Q)
    keys = [f"k{number:05}" for number in range(20_000)]
    store.schedule([Job(key, 1) for key in keys], "last")
    plain_claimer = store.plain_claimer()
    real_flaky.fates = ["lost"]
    claimed = plain_claimer.claim(100_000)
    assert claimed.keys == keys
    plain_claimer.hand_back(entries(claimed))
    assert store.size(None) == 20_000
    plain_claimer.close()
