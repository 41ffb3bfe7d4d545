"""Dead letters in Redis: listed, revived and dropped, one or all."""

from __future__ import annotations

import pytest

from rx_runat import OutcomeUnknown
from rx_runat.model.times import from_score
from rx_runat.store import scan
from rx_runat.store.client import RedisClient
from rx_runat.store.keys import dead_key
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
from tests.support.redis_content import at, put
from tests.support.stores import MS, Clock, FlakyClient, Q


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


@pytest.mark.parametrize("key", ["a", None])
def test_a_letter_whose_key_waits_stays(store: RedisStore, flaky: FlakyClient, clock: Clock, key: str | None) -> None:
    bury(store, flaky, clock, "a")
    put(flaky, ("a", FAR))
    before = whole(flaky)
    assert store.revive(key) == 0
    assert whole(flaky) == before


@pytest.mark.parametrize("key", ["a", None])
def test_a_letter_whose_key_is_out_stays_until_its_lease_has_ended(
    store: RedisStore, flaky: FlakyClient, clock: Clock, key: str | None
) -> None:
    bury(store, flaky, clock, "a")
    put(flaky, ("a", MS))
    leased = store.leasing_claimer(LEASE).claim(1)
    before = whole(flaky)
    assert store.revive(key) == 0
    assert whole(flaky) == before
    assert one(store, to_settle("ack", leased)) == [1]
    assert store.revive(key) == 1
    newer = store.leasing_claimer(LEASE).claim(1)
    assert (newer.keys, newer.scores, newer.attempts) == (["a"], [str(MS - 1)], [1])


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
    monkeypatch.setattr(scan, "MOST", 50)
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


NONSENSE = [
    b"",
    b"x",
    b"\xff\xfe",
    b"1 2 3",
    b"soon 1 1 poison",
    b"1 many 1 poison",
    b"1 1 nan poison",
    b"1 1 5\0 poison",
    b"1 1 -nan poison",
    b"1 1 0x10 poison",
    b"1 1 1_000 poison",
    b"1 1 1e poison",
    b"1 1 later poison",
    b"1 -1 1 poison",
    b"0x10 1 1 poison",
    b"1 %s 1 poison" % (b"9" * 5000),
    b"x" * 5000,
]
ODD = {  # what peek shows as run_at, and the score with which the key is revived
    b"1 1 1e400 poison": (from_score("inf"), float("inf")),
    b"1 1 -inf poison": (from_score("-inf"), float("-inf")),
    b"1 1 Infinity poison": (from_score("inf"), float("inf")),
    b"1 1 %s poison" % (b"9" * 5000): (from_score("inf"), float("inf")),
    b"1 1 1.5 poison": (at(1.5), 1.5),
    b"1 1 +1e3 poison": (at(1000), 1000),
    b"%s 1 5 poison" % (b"9" * 5000): (at(5), 5),
    b"1 999999999999999 5 ": (at(5), 5),
    b"1 1 5 \xff\n5": (at(5), 5),
}


@pytest.mark.parametrize("letter", NONSENSE, ids=lambda letter: repr(letter[:20]))
def test_20_a_letter_that_cannot_be_read_is_shown_raw_and_said_once(
    store: RedisStore, flaky: FlakyClient, clock: Clock, caplog: pytest.LogCaptureFixture, letter: bytes
) -> None:
    bury(store, flaky, clock, "good")
    RedisClient.call(flaky, "HSET", dead_key(Q), "bad", letter)
    for _ in range(2):
        raw, good = store.dead_peek(2)
        assert (raw.key, raw.attempts, raw.time, raw.run_at) == ("bad", 0, at(0), at(0))
        assert raw.reason[:999] == letter.decode(errors="replace")[:999]
        assert len(raw.reason) <= 1000
        assert (good.key, good.attempts) == ("good", 1)
        raw._repr_html_()
    (said,) = caplog.records
    assert said.levelname == "WARNING"
    assert "'bad'" in said.getMessage()
    assert store.locate(["bad"])[0].kind == "gone"
    assert store.revive("bad") == 0
    assert store.revive(None) == 1
    assert (store.size(None), store.dead_size()) == (1, 1)
    assert store.drop("bad") == 1
    assert store.dead_peek(9) == []


@pytest.mark.parametrize("letter", ODD, ids=lambda letter: repr(letter[:20]))
def test_20_a_letter_with_odd_numbers_is_shown_and_revived(
    store: RedisStore, flaky: FlakyClient, caplog: pytest.LogCaptureFixture, letter: bytes
) -> None:
    RedisClient.call(flaky, "HSET", dead_key(Q), "odd", letter)
    (shown,) = store.dead_peek(9)
    run_at, score = ODD[letter]
    assert (shown.run_at, shown.reason) == (run_at, letter.split(b" ", 3)[3].decode(errors="replace"))
    assert store.locate(["odd"])[0].died in (1, None)
    assert store.revive(None) == 1
    assert RedisClient.call(flaky, "ZSCORE", Q, "odd") in (score, str(score).encode(), f"{score:g}".encode())
    assert store.dead_size() == 0
    assert caplog.records == []


def test_20_a_lost_reply_to_a_revival_is_no_doubt_about_a_letter_that_cannot_be_read(
    store: RedisStore, flaky: FlakyClient
) -> None:
    RedisClient.call(flaky, "HSET", dead_key(Q), "bad", "x")
    flaky.fates = ["lost"]
    assert store.revive("bad") == 0
    assert store.dead_size() == 1
