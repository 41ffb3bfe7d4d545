"""`cancel`: what it removes, what it returns, and what it says after a lost reply."""

from __future__ import annotations

import pytest

from rx_runat import OutcomeUnknown
from rx_runat.store.client import TRIES
from rx_runat.store.redis_store import RedisStore
from tests.support.leases import (
    FAR,
    LEASE_S,
    Whole,
    again_while_out,
    lease_a,
    to_settle,
    whole,
)
from tests.support.redis_content import content, put
from tests.support.stores import MS, Clock, FlakyClient, lossy


def test_cancel_takes_a_key_out_once(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("a", MS), ("b", MS))
    assert store.cancel("a") is True
    assert store.cancel("a") is False
    assert content(flaky) == [(b"b", MS)]


@lossy(TRIES)
@pytest.mark.parametrize("waits", [True, False])
def test_a_cancel_whose_reply_is_lost(
    store: RedisStore, flaky: FlakyClient, fates: list[str | None], waits: bool
) -> None:
    """No result is false: it raises OutcomeUnknown where it cannot know."""
    put(flaky, ("other", MS), *([("a", MS)] if waits else []))
    flaky.fates = list(fates)
    try:
        answer = store.cancel("a")
    except OutcomeUnknown:
        assert fates
        answer = None
    if not fates:
        assert answer is waits
    if answer is True:
        assert waits
    if answer is False:
        assert not waits
    if waits and "lost" not in fates and len(fates) < TRIES:
        assert answer is True, "the earlier sendings were not done, so this one was"
    gone = not waits or len(fates) < TRIES or "lost" in fates
    assert dict(content(flaky)) == {b"other": MS} | ({} if gone else {b"a": MS})


@pytest.mark.parametrize(
    "state", ["nowhere", "waits", "out", "both", "ended", "between attempts", "waits for its lease"]
)
def test_cancel_calls_off_whatever_there_is(store: RedisStore, flaky: FlakyClient, clock: Clock, state: str) -> None:
    if state == "waits":
        put(flaky, ("a", MS))
    elif state == "waits for its lease":
        again_while_out(store, flaky, clock)
    elif state != "nowhere":
        leased = lease_a(store, flaky)
        if state == "both":
            put(flaky, ("a", FAR))
        if state == "ended":
            clock.advance(LEASE_S)
        if state == "between attempts":
            store.settle([to_settle("nack", leased)])
    assert store.cancel("a") is (state != "nowhere")
    assert whole(flaky)._replace(receipts=0) == Whole()
    assert store.cancel("a") is False


@pytest.mark.parametrize("fate", ["lost", "late"])
def test_a_cancel_of_a_lease_whose_reply_is_lost(store: RedisStore, flaky: FlakyClient, fate: str) -> None:
    lease_a(store, flaky)
    flaky.fates = [fate]
    if fate == "late":
        assert store.cancel("a") is True
    else:
        with pytest.raises(OutcomeUnknown, match="'a'"):
            store.cancel("a")
    assert whole(flaky) == Whole(receipts=1)
