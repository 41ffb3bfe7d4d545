"""Plain claims and failovers: what a new primary does not know is not given back to it."""

from __future__ import annotations

import pytest

from rx_runat import OutcomeUnknown, Refused, Unavailable
from rx_runat.store import claimers, receipts
from rx_runat.store.client import TRIES
from rx_runat.store.keys import data_key
from rx_runat.store.redis_store import RedisStore
from tests.support.failovers import FailoverClient
from tests.support.leases import LEASE
from tests.support.redis_content import entries, put, waiting
from tests.support.redis_content import receipts as receipts_in
from tests.support.stores import MS, Clock, Q

LOST = [["lost"] * TRIES, ["late"] * TRIES, ["lost, switch"] * TRIES]


@pytest.fixture
def store(failing: FailoverClient, clock: Clock) -> RedisStore:
    """A store whose clock stands still, on a server that fails over."""
    return RedisStore(failing, Q, clock)


# Plain claims go back.


@pytest.mark.usefixtures("two_keys")
@pytest.mark.parametrize("losing", [0, 1])
def test_25_a_hand_back_undoes_neither_a_cancel_nor_a_claim_at_the_new_primary(
    store: RedisStore, failing: FailoverClient, losing: int
) -> None:
    plain_claimer = store.plain_claimer()
    mine = entries(plain_claimer.claim(2))
    failing.fail_over(losing)
    assert store.cancel("a") is bool(losing)
    assert store.plain_claimer().claim(2).keys == (["b"] if losing else [])
    plain_claimer.hand_back(mine)
    assert waiting(failing) == ([] if losing else ["a", "b"]), "only this source has what a known claim took"


@pytest.mark.usefixtures("two_keys")
def test_25_neither_does_any_further_hand_back_of_that_claim(store: RedisStore, failing: FailoverClient) -> None:
    plain_claimer = store.plain_claimer()
    mine = entries(plain_claimer.claim(2))
    failing.fail_over(1)
    assert store.cancel("b") is True
    plain_claimer.hand_back(mine[:1])
    plain_claimer.hand_back(mine[1:])
    assert waiting(failing) == ["a"]
    assert plain_claimer.claim(2).keys == ["a"]


@pytest.mark.usefixtures("two_keys")
@pytest.mark.parametrize("losing", [0, 1])
def test_25_a_claim_is_known_by_a_hand_back_that_took_the_place_of_its_receipt(
    store: RedisStore, failing: FailoverClient, losing: int
) -> None:
    plain_claimer = store.plain_claimer()
    mine = entries(plain_claimer.claim(2))
    plain_claimer.hand_back(mine[:1])
    failing.fail_over(losing)
    plain_claimer.hand_back(mine[1:])
    assert waiting(failing) == (["b"] if losing else ["a", "b"]), "a hand-back that was lost stays lost"


@pytest.mark.usefixtures("two_keys")
@pytest.mark.parametrize("claim_fates", [[], ["lost"], ["late"], ["lost, switch"]], ids="-".join)
@pytest.mark.parametrize("back_fates", [[], ["lost"], ["late"], ["lost, switch"], ["switch"]], ids="-".join)
@pytest.mark.parametrize("losing", [0, 1])
def test_25_a_claim_is_known_after_lost_replies_in_any_order(
    store: RedisStore,
    failing: FailoverClient,
    claim_fates: list[str | None],
    back_fates: list[str | None],
    losing: int,
) -> None:
    """After a lost reply the source goes on under another receipt key, and the proof lies under the former one."""
    put(failing, ("c", MS))
    plain_claimer = store.plain_claimer()
    failing.fates = list(claim_fates)
    mine = entries(plain_claimer.claim(3))
    assert [entry.key for entry in mine] == ["a", "b", "c"]
    failing.losing = losing if "lost, switch" in back_fates else 0
    failing.fates = list(back_fates)
    plain_claimer.hand_back(mine[:1])
    failing.fail_over(0)
    plain_claimer.hand_back(mine[1:2])
    failing.fail_over(0)
    plain_claimer.hand_back(mine[2:])
    assert waiting(failing) == ["a", "b", "c"]


@pytest.mark.usefixtures("two_keys")
@pytest.mark.parametrize(
    "fates, losing",
    [(fates, losing) for fates in LOST for losing in ((0, 1) if fates[0] == "late" else (0, 1, 2))],
    ids=str,
)
def test_25_a_hand_back_whose_reply_was_lost_is_asked_again_elsewhere(
    store: RedisStore, failing: FailoverClient, fates: list[str | None], losing: int
) -> None:
    plain_claimer = store.plain_claimer()
    mine = entries(plain_claimer.claim(2))
    failing.fates = list(fates)
    with pytest.raises(OutcomeUnknown):
        plain_claimer.hand_back(mine)
    failing.fail_over(losing)
    plain_claimer.hand_back(mine)
    assert waiting(failing) == ["a", "b"]
    assert plain_claimer.claim(1).keys == ["a"]


@pytest.mark.usefixtures("two_keys")
def test_25_where_the_receipt_has_expired_nothing_goes_back_at_another_primary(
    store: RedisStore, failing: FailoverClient
) -> None:
    """The limit of the promise: a claim is known for an hour."""
    plain_claimer = store.plain_claimer()
    mine = entries(plain_claimer.claim(2))
    failing.look("DEL", *receipts_in(failing))
    plain_claimer.hand_back(mine[:1])
    assert waiting(failing) == ["a"], "at the same primary there is no doubt"
    failing.fail_over(0)
    failing.look("DEL", *receipts_in(failing))
    plain_claimer.hand_back(mine[1:])
    assert waiting(failing) == ["a"]


@pytest.mark.usefixtures("two_keys")
@pytest.mark.parametrize("name", ["Q", "data"])
def test_25_a_hand_back_that_another_primary_refuses_is_still_known_there_later(
    store: RedisStore, failing: FailoverClient, name: str
) -> None:
    """The receipt of the claim is the only proof of it there."""
    failing.look("HSET", data_key(Q), "a", "1")
    plain_claimer = store.plain_claimer()
    mine = entries(plain_claimer.claim(2))
    failing.fail_over(0)
    spoiled = Q if name == "Q" else data_key(Q)
    failing.look("SET", spoiled, "x")
    with pytest.raises(Refused):
        plain_claimer.hand_back(mine)
    failing.look("DEL", spoiled)
    plain_claimer.hand_back(mine)
    assert waiting(failing) == ["a", "b"]
    assert failing.look("HGETALL", data_key(Q)) == {b"a": b"1"}


@pytest.mark.usefixtures("two_keys")
@pytest.mark.parametrize("losing", [0, 1])
def test_25_words_made_for_one_primary_never_reach_another(
    store: RedisStore, failing: FailoverClient, losing: int
) -> None:
    plain_claimer = store.plain_claimer()
    mine = entries(plain_claimer.claim(2))
    failing.sent.clear()
    failing.losing = losing
    failing.fates = ["switch"]
    plain_claimer.hand_back(mine)
    moved = [command[3 + 4 + 2] for command in failing.sent]
    assert moved == [0, 1], "the first was overtaken, and its words were made anew"
    assert waiting(failing) == ["a", "b"]


@pytest.mark.usefixtures("two_keys")
def test_25_a_primary_that_changes_at_each_try_is_not_there(store: RedisStore, failing: FailoverClient) -> None:
    plain_claimer = store.plain_claimer()
    mine = entries(plain_claimer.claim(2))
    failing.fates = ["switch"] * TRIES
    with pytest.raises(Unavailable, match="changes its primary all the time"):
        plain_claimer.hand_back(mine)
    plain_claimer.hand_back(mine)
    assert waiting(failing) == ["a", "b"]


# Claims whose replies were lost.


@pytest.mark.usefixtures("two_keys")
@pytest.mark.parametrize("kind", ["plain", "leasing"])
@pytest.mark.parametrize("losing", [0, 1])
def test_25_a_claim_that_is_owed_is_asked_for_at_the_new_primary(
    store: RedisStore, failing: FailoverClient, kind: str, losing: int
) -> None:
    claimer = store.plain_claimer() if kind == "plain" else store.leasing_claimer(LEASE)
    failing.fates = ["lost", "late", "late"]
    with pytest.raises(OutcomeUnknown):
        claimer.claim(1)
    failing.fail_over(losing)
    found = claimer.close()
    assert [entry.key for entry in found] == ([] if losing else ["a"])
    claimer.hand_back(found)
    assert claimer.close() == []
    assert waiting(failing) == ["a", "b"]


@pytest.mark.parametrize("kind", ["plain", "leasing"])
@pytest.mark.parametrize("switched", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2)), 3])
@pytest.mark.parametrize("losing", [0, 1, 2])
def test_25_pieces_of_one_receipt_come_from_one_primary(
    store: RedisStore,
    failing: FailoverClient,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    switched: int,
    losing: int,
) -> None:
    """Under the same receipt key another primary may have an earlier claim."""
    for module in (claimers, receipts):
        monkeypatch.setattr(module, "PIECE_BYTES", 50)
    earlier = [f"earlier {number}" for number in range(9)]
    later = [f"later {number}" for number in range(9)]
    claimer = store.plain_claimer() if kind == "plain" else store.leasing_claimer(LEASE)
    put(failing, *((key, MS - 9) for key in earlier))
    assert claimer.claim(9).keys == earlier
    put(failing, *((key, MS - 1) for key in later))
    failing.losing = losing
    failing.fates = ["lost", None, *[None] * switched, "switch"]
    try:
        keys = claimer.claim(9).keys
    except OutcomeUnknown:
        keys = claimer.claim(9).keys
    assert keys == (later if losing < 2 else []), "at 2 the later keys themselves are lost"
    assert waiting(failing) == []
