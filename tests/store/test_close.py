"""`close` of a plain claimer: it leaves no receipt and loses no key."""

from __future__ import annotations

import pytest

from rx_runat import OutcomeUnknown, StoreError
from rx_runat.store.client import TRIES, RedisClient
from rx_runat.store.receipts import RECEIPT_TTL_MS
from rx_runat.store.redis_store import RedisStore
from tests.support.redis_content import content, entries, keys_of, keys_taken, put, receipts
from tests.support.stores import MS, FlakyClient, Q, lossy, names


def test_close_leaves_no_key(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("a", MS), ("b", MS))
    plain_claimer = store.plain_claimer()
    plain_claimer.claim(1)
    assert plain_claimer.close() == []
    assert keys_of(flaky) == [Q.encode()]
    plain_claimer.hand_back(entries(plain_claimer.claim(1)))
    assert len(receipts(flaky)) == 1
    assert plain_claimer.close() == plain_claimer.close() == []
    assert keys_of(flaky) == [Q.encode()]


def test_close_after_no_claim_sends_nothing(store: RedisStore, flaky: FlakyClient) -> None:
    assert store.plain_claimer().close() == []
    assert flaky.sent == []


def test_close_returns_what_a_lost_claim_took(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("a", MS - 2), ("b", MS - 1), ("c", MS + 1))
    plain_claimer = store.plain_claimer()
    flaky.fates = ["lost"] * TRIES
    with pytest.raises(OutcomeUnknown):
        plain_claimer.claim(10)
    found = plain_claimer.close()
    assert [(each.key, float(each.score)) for each in found] == [("a", MS - 2), ("b", MS - 1)]
    plain_claimer.hand_back(found)
    assert plain_claimer.close() == []
    assert content(flaky) == [(b"a", MS - 2), (b"b", MS - 1), (b"c", MS + 1)]


def test_close_takes_nothing_for_a_claim_that_never_arrived(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("a", MS))
    plain_claimer = store.plain_claimer()
    flaky.fates = ["late"] * TRIES
    with pytest.raises(OutcomeUnknown):
        plain_claimer.claim(10)
    assert plain_claimer.close() == []
    assert [keys_taken(answer) for answer in flaky.arrive()] == [[], [], []]
    assert content(flaky) == [(b"a", MS)]


def test_what_a_lost_reply_leaves_behind_expires(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("a", MS))
    plain_claimer = store.plain_claimer()
    flaky.fates = ["lost"]
    plain_claimer.hand_back(entries(plain_claimer.claim(10)))
    plain_claimer.close()
    for receipt in receipts(flaky):
        assert 0 < RedisClient.call(flaky, "PTTL", receipt) <= RECEIPT_TTL_MS


@lossy(TRIES)
def test_a_close_whose_reply_is_lost_may_be_repeated(
    store: RedisStore, flaky: FlakyClient, fates: list[str | None]
) -> None:
    put(flaky, ("a", MS))
    plain_claimer = store.plain_claimer()
    plain_claimer.claim(1)
    flaky.fates = list(fates)
    for _ in range(1 + len(fates)):
        try:
            found = plain_claimer.close()
            break
        except OutcomeUnknown:
            continue
    assert found == []
    assert receipts(flaky) == []


@pytest.mark.parametrize(
    "fates", [["away"], ["refused"], ["late", "away", "away"], ["lost", "refused", "refused"]], ids=names
)
def test_a_close_that_failed_may_be_repeated(store: RedisStore, flaky: FlakyClient, fates: list[str | None]) -> None:
    put(flaky, ("a", MS))
    plain_claimer = store.plain_claimer()
    plain_claimer.claim(1)
    flaky.fates = list(fates)
    with pytest.raises(StoreError):
        plain_claimer.close()
    assert plain_claimer.close() == []
    assert receipts(flaky) == []


def test_a_late_copy_of_a_close_loses_no_claim(store: RedisStore, flaky: FlakyClient) -> None:
    """Its DEL is delayed; a new claim loses its answer; the DEL arrives; the claim is resent."""
    put(flaky, ("a", MS), ("b", MS), ("c", MS))
    plain_claimer = store.plain_claimer()
    assert plain_claimer.claim(1).keys == ["a"]
    flaky.fates = ["late"] * TRIES
    with pytest.raises(OutcomeUnknown):
        plain_claimer.close()
    flaky.fates = ["lost"] * TRIES
    with pytest.raises(OutcomeUnknown):
        plain_claimer.claim(1)
    flaky.arrive()
    flaky.fates = []
    assert plain_claimer.claim(1).keys == ["b"]
    assert content(flaky) == [(b"c", MS)]
