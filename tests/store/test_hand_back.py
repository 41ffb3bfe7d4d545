"""`hand_back` of a plain claimer: keys return with their own scores, once."""

from __future__ import annotations

import pytest

from rx_runat import Job, OutcomeUnknown
from rx_runat.model.batch import Claimed
from rx_runat.store.client import TRIES
from rx_runat.store.connect import connect
from rx_runat.store.redis_store import RedisStore
from tests.support.redis_content import ODD, content, entries, keys_of, put
from tests.support.servers import Server
from tests.support.stores import MS, FlakyClient, Q, T, lossy, names


def test_what_goes_back_has_its_own_score(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("a", MS - 3), ("b", MS - 2), ("c", MS - 1))
    plain_claimer = store.plain_claimer()
    before = content(flaky)
    plain_claimer.hand_back(entries(plain_claimer.claim(10)))
    assert content(flaky) == before


def test_some_may_go_back(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("a", MS - 3), ("b", MS - 2), ("c", MS - 1))
    plain_claimer = store.plain_claimer()
    plain_claimer.hand_back(entries(plain_claimer.claim(10))[1:])
    assert content(flaky) == [(b"b", MS - 2), (b"c", MS - 1)]


@pytest.mark.parametrize("run_at", [T - 60, T + 60])
def test_a_schedule_made_meanwhile_stands(store: RedisStore, flaky: FlakyClient, run_at: float) -> None:
    put(flaky, ("a", MS - 1), ("b", MS - 1))
    plain_claimer = store.plain_claimer()
    claimed = plain_claimer.claim(10)
    store.schedule([Job("a", run_at)], "last")
    plain_claimer.hand_back(entries(claimed))
    assert dict(content(flaky)) == {b"a": run_at * 1000, b"b": MS - 1}


def test_what_went_back_is_there_for_everybody(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("a", MS))
    one, other = store.plain_claimer(), store.plain_claimer()
    one.hand_back(entries(one.claim(10)))
    assert other.claim(10).keys == ["a"]
    other.hand_back(entries(Claimed(["a"], [str(MS).encode()], 0, None)))
    assert one.claim(10).keys == ["a"]


def test_odd_scores_and_members_go_back_byte_for_byte(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, *((member, score.decode()) for score, member in ODD.items()), ("never", "inf"))
    before = content(flaky)
    plain_claimer = store.plain_claimer()
    claimed = plain_claimer.claim(100)
    assert [key.encode(errors="surrogateescape") for key in claimed.keys] == list(ODD.values())
    assert list(map(float, claimed.scores)) == list(map(float, ODD))
    plain_claimer.hand_back(entries(claimed))
    assert content(flaky) == before


def test_odd_scores_and_members_survive_a_lost_reply_too(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, *((member, score.decode()) for score, member in ODD.items()))
    before = content(flaky)
    plain_claimer = store.plain_claimer()
    flaky.fates = ["lost", "lost", None, "lost", "lost", None]
    claimed = plain_claimer.claim(100)
    assert [key.encode(errors="surrogateescape") for key in claimed.keys] == list(ODD.values())
    plain_claimer.hand_back(entries(claimed))
    assert content(flaky) == before


def test_every_byte_may_be_in_a_key(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, *((bytes([byte]), MS) for byte in range(256)), (bytes(range(256)), MS))
    before = content(flaky)
    plain_claimer = store.plain_claimer()
    flaky.fates = ["lost"]
    claimed = plain_claimer.claim(1000)
    assert len(claimed.keys) == 257
    plain_claimer.hand_back(entries(claimed))
    assert content(flaky) == before


@lossy(TRIES)
def test_a_hand_back_whose_reply_is_lost_happens_once(
    store: RedisStore, flaky: FlakyClient, fates: list[str | None]
) -> None:
    put(flaky, ("a", MS - 2), ("b", MS - 1), ("c", MS))
    plain_claimer, other = store.plain_claimer(), store.plain_claimer()
    mine = entries(plain_claimer.claim(2))
    flaky.fates = list(fates)
    if len(fates) == TRIES:
        with pytest.raises(OutcomeUnknown):
            plain_claimer.hand_back(mine)
        flaky.fates = []
        others = other.claim(1).keys
        plain_claimer.hand_back(mine)
        assert others == (["a"] if "lost" in fates else ["c"])
        rest = {b"a": MS - 2, b"b": MS - 1, b"c": MS}
        assert dict(content(flaky)) == {key: score for key, score in rest.items() if key.decode() not in others}
    else:
        plain_claimer.hand_back(mine)
        assert dict(content(flaky)) == {b"a": MS - 2, b"b": MS - 1, b"c": MS}


@pytest.mark.parametrize("lost", [["lost"], ["late"], ["lost", "late"], ["late", "lost"]], ids=names)
def test_a_late_copy_of_a_hand_back_returns_nothing(
    store: RedisStore, flaky: FlakyClient, lost: list[str | None]
) -> None:
    put(flaky, ("a", MS), ("b", MS))
    plain_claimer, other = store.plain_claimer(), store.plain_claimer()
    mine = entries(plain_claimer.claim(2))
    flaky.sent.clear()
    flaky.fates = list(lost)
    plain_claimer.hand_back(mine)
    copies = flaky.sent.copy()
    assert len(copies) == len(lost) + 1
    assert other.claim(2).keys == ["a", "b"]
    flaky.late = copies.copy()
    assert set(flaky.arrive()) == {-1}
    plain_claimer.claim(1)
    plain_claimer.close()
    flaky.late = copies.copy()
    assert set(flaky.arrive()) == {-1}
    assert content(flaky) == []


def test_7_a_hand_back_that_was_interrupted_and_comes_late_returns_nothing(
    store: RedisStore, flaky: FlakyClient
) -> None:
    put(flaky, ("a", MS), ("b", MS))
    plain_claimer = store.plain_claimer()
    mine = entries(plain_claimer.claim(2))
    flaky.fates = ["interrupted"]
    with pytest.raises(KeyboardInterrupt):
        plain_claimer.hand_back(mine)
    plain_claimer.hand_back(mine)
    assert plain_claimer.claim(2).keys == ["a", "b"]
    flaky.arrive()
    assert content(flaky) == []


def test_a_late_copy_of_a_claim_after_its_keys_went_back_takes_nothing(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("a", MS))
    plain_claimer = store.plain_claimer()
    flaky.fates = ["late"]
    mine = entries(plain_claimer.claim(1))
    plain_claimer.hand_back(mine)
    flaky.arrive()
    assert content(flaky) == [(b"a", MS)]


def test_a_full_server_lets_keys_out_and_back(own_server: Server) -> None:
    store_client = connect(own_server.url).client
    put(store_client, *((f"k{number}", 1) for number in range(10)))
    plain_claimer = RedisStore(store_client, Q).plain_claimer()
    store_client.call("CONFIG", "SET", "maxmemory", "1")
    claimed = plain_claimer.claim(4)
    assert len(claimed.keys) == 4
    plain_claimer.hand_back(entries(claimed))
    assert len(content(store_client)) == 10
    assert len(plain_claimer.claim(100).keys) == 10
    assert plain_claimer.claim(100).keys == []
    assert plain_claimer.close() == []
    assert keys_of(store_client) == []
    store_client.close()
