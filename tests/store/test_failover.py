"""At another primary, which lacks what the former one did last: what cannot be known is unknown, never yes."""

from __future__ import annotations

import pytest
import redis
from redis.exceptions import MovedError

from rx_runat import Job, OutcomeUnknown, Refused, Unavailable
from rx_runat.model.batch import Verb
from rx_runat.store import claimers, dead_letter_store, primary, receipts, sentinel_route
from rx_runat.store.client import TRIES
from rx_runat.store.keys import dead_key
from rx_runat.store.redis_store import RedisStore
from rx_runat.store.route import Settings
from rx_runat.store.slot_route import SlotRoute
from tests.support.failovers import FailoverClient
from tests.support.leases import LEASE, VERBS, bury, lease_a, to_settle, whole
from tests.support.redis_content import content, entries, put
from tests.support.redis_content import receipts as receipts_in
from tests.support.stores import MS, Clock, FlakyClient, Q, T
from tests.support.waiting import wait_until

LOST = [["lost"] * TRIES, ["late"] * TRIES, ["lost, switch"] * TRIES]


@pytest.fixture
def failing(flaky: FlakyClient) -> FailoverClient:
    return FailoverClient(flaky)


@pytest.fixture
def store(failing: FailoverClient, clock: Clock) -> RedisStore:
    return RedisStore(failing, Q, clock)


def two_keys(failing: FailoverClient) -> None:
    put(failing, ("a", MS - 2))
    put(failing, ("b", MS - 1))


def waits(failing: FailoverClient) -> list[str]:
    return [member.decode() for member, _ in content(failing)]


def fail_over(failing: FailoverClient, losing: int) -> None:
    failing.losing = losing
    failing.fail_over()


# Plain claims go back.


@pytest.mark.parametrize("losing", [0, 1])
def test_25_a_hand_back_undoes_neither_a_cancel_nor_a_claim_at_the_new_primary(
    store: RedisStore, failing: FailoverClient, losing: int
) -> None:
    two_keys(failing)
    plain_claimer = store.plain_claimer()
    mine = entries(plain_claimer.claim(2))
    fail_over(failing, losing)
    assert store.cancel("a") is bool(losing)
    assert store.plain_claimer().claim(2).keys == (["b"] if losing else [])
    plain_claimer.hand_back(mine)
    assert waits(failing) == ([] if losing else ["a", "b"]), "only this source has what a known claim took"


def test_25_neither_does_any_further_hand_back_of_that_claim(store: RedisStore, failing: FailoverClient) -> None:
    two_keys(failing)
    plain_claimer = store.plain_claimer()
    mine = entries(plain_claimer.claim(2))
    fail_over(failing, 1)
    assert store.cancel("b") is True
    plain_claimer.hand_back(mine[:1])
    plain_claimer.hand_back(mine[1:])
    assert waits(failing) == ["a"]
    assert plain_claimer.claim(2).keys == ["a"]


@pytest.mark.parametrize("losing", [0, 1])
def test_25_a_claim_is_known_by_a_hand_back_that_took_the_place_of_its_receipt(
    store: RedisStore, failing: FailoverClient, losing: int
) -> None:
    two_keys(failing)
    plain_claimer = store.plain_claimer()
    mine = entries(plain_claimer.claim(2))
    plain_claimer.hand_back(mine[:1])
    fail_over(failing, losing)
    plain_claimer.hand_back(mine[1:])
    assert waits(failing) == (["b"] if losing else ["a", "b"]), "a hand-back that was lost stays lost"


@pytest.mark.parametrize("claim_fates", [[], ["lost"], ["late"], ["lost, switch"]], ids="-".join)
@pytest.mark.parametrize("back_fates", [[], ["lost"], ["late"], ["lost, switch"], ["switch"]], ids="-".join)
@pytest.mark.parametrize("losing", [0, 1])
def test_25_a_claim_is_known_after_lost_replies_in_any_order(
    store: RedisStore, failing: FailoverClient, claim_fates: list[str | None], back_fates: list[str | None], losing: int
) -> None:
    """After a lost reply the source goes on under another receipt key, and the proof lies under the former one."""
    two_keys(failing)
    put(failing, ("c", MS))
    plain_claimer = store.plain_claimer()
    failing.fates = list(claim_fates)
    mine = entries(plain_claimer.claim(3))
    assert [entry.key for entry in mine] == ["a", "b", "c"]
    failing.losing = losing if "lost, switch" in back_fates else 0
    failing.fates = list(back_fates)
    plain_claimer.hand_back(mine[:1])
    fail_over(failing, 0)
    plain_claimer.hand_back(mine[1:2])
    fail_over(failing, 0)
    plain_claimer.hand_back(mine[2:])
    assert waits(failing) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "fates, losing",
    [(fates, losing) for fates in LOST for losing in ((0, 1) if fates[0] == "late" else (0, 1, 2))],
    ids=str,
)
def test_25_a_hand_back_whose_reply_was_lost_is_asked_again_elsewhere(
    store: RedisStore, failing: FailoverClient, fates: list[str | None], losing: int
) -> None:
    two_keys(failing)
    plain_claimer = store.plain_claimer()
    mine = entries(plain_claimer.claim(2))
    failing.fates = list(fates)
    with pytest.raises(OutcomeUnknown):
        plain_claimer.hand_back(mine)
    fail_over(failing, losing)
    plain_claimer.hand_back(mine)
    assert waits(failing) == ["a", "b"]
    assert plain_claimer.claim(1).keys == ["a"]


def test_25_where_the_receipt_has_expired_nothing_goes_back_at_another_primary(
    store: RedisStore, failing: FailoverClient
) -> None:
    """The limit of the promise: a claim is known for an hour."""
    two_keys(failing)
    plain_claimer = store.plain_claimer()
    mine = entries(plain_claimer.claim(2))
    failing.look("DEL", *receipts_in(failing))
    plain_claimer.hand_back(mine[:1])
    assert waits(failing) == ["a"], "at the same primary there is no doubt"
    fail_over(failing, 0)
    failing.look("DEL", *receipts_in(failing))
    plain_claimer.hand_back(mine[1:])
    assert waits(failing) == ["a"]


@pytest.mark.parametrize("losing", [0, 1])
def test_25_words_made_for_one_primary_never_reach_another(
    store: RedisStore, failing: FailoverClient, losing: int
) -> None:
    two_keys(failing)
    plain_claimer = store.plain_claimer()
    mine = entries(plain_claimer.claim(2))
    failing.sent.clear()
    failing.losing = losing
    failing.fates = ["switch"]
    plain_claimer.hand_back(mine)
    moved = [command[3 + 3 + 2] for command in failing.sent]
    assert moved == [0, 1], "the first was overtaken, and its words were made anew"
    assert waits(failing) == ["a", "b"]


def test_25_a_primary_that_changes_at_each_try_is_not_there(store: RedisStore, failing: FailoverClient) -> None:
    two_keys(failing)
    plain_claimer = store.plain_claimer()
    mine = entries(plain_claimer.claim(2))
    failing.fates = ["switch"] * TRIES
    with pytest.raises(Unavailable, match="changes its primary all the time"):
        plain_claimer.hand_back(mine)
    plain_claimer.hand_back(mine)
    assert waits(failing) == ["a", "b"]


# Claims whose replies were lost.


@pytest.mark.parametrize("kind", ["plain", "leasing"])
@pytest.mark.parametrize("losing", [0, 1])
def test_25_a_claim_that_is_owed_is_asked_for_at_the_new_primary(
    store: RedisStore, failing: FailoverClient, kind: str, losing: int
) -> None:
    two_keys(failing)
    claimer = store.plain_claimer() if kind == "plain" else store.leasing_claimer(LEASE)
    failing.fates = ["lost", "late", "late"]
    with pytest.raises(OutcomeUnknown):
        claimer.claim(1)
    fail_over(failing, losing)
    found = claimer.close()
    assert [entry.key for entry in found] == ([] if losing else ["a"])
    claimer.hand_back(found)
    assert claimer.close() == []
    assert waits(failing) == ["a", "b"]


@pytest.mark.parametrize("kind", ["plain", "leasing"])
@pytest.mark.parametrize("switched", [0, 1, 2, 3])
@pytest.mark.parametrize("losing", [0, 1, 2])
def test_25_pieces_of_one_receipt_come_from_one_primary(
    store: RedisStore, failing: FailoverClient, monkeypatch: pytest.MonkeyPatch, kind: str, switched: int, losing: int
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
    assert waits(failing) == []


# Leases.


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("losing", [0, 1])
def test_25_a_lease_that_is_not_known_at_the_new_primary_is_not_ours(
    store: RedisStore, failing: FailoverClient, verb: Verb, losing: int
) -> None:
    leased = lease_a(store, failing)
    fail_over(failing, losing)
    before = whole(failing)
    (answer,) = store.settle([to_settle(verb, leased)]).answers
    assert bool(answer) is not losing
    assert (whole(failing) == before) is bool(losing)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("fate", ["lost", "late"])
def test_25_resent_to_a_primary_that_never_knew_the_lease_it_is_unknown(
    store: RedisStore, failing: FailoverClient, verb: Verb, fate: str
) -> None:
    """Both sendings went to the same primary; but the claim was at the one before."""
    leased = lease_a(store, failing)
    fail_over(failing, 1)
    before = whole(failing)
    failing.fates = [fate]
    assert store.settle([to_settle(verb, leased)]).answers == [0 if verb == "extend" else None]
    assert whole(failing) == before


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("losing", [0, 1, 2])
def test_25_resent_to_another_primary_it_says_yes_only_where_it_did_it(
    store: RedisStore, failing: FailoverClient, verb: Verb, losing: int
) -> None:
    leased = lease_a(store, failing)
    failing.losing = losing
    failing.fates = ["lost, switch"]
    (answer,) = store.settle([to_settle(verb, leased)]).answers
    if losing == 1 or (verb == "extend" and losing == 0):  # there the lease lives
        assert answer == (MS + 2 * LEASE if verb == "extend" else 1)
        assert waits(failing) == (["a"] if verb in ("nack", "back") else [])
    else:
        assert answer == (0 if verb == "extend" else None)


@pytest.mark.parametrize("verb", VERBS)
def test_25_of_many_leases_the_oldest_decides_what_is_known(
    store: RedisStore, failing: FailoverClient, verb: Verb
) -> None:
    old = lease_a(store, failing)
    fail_over(failing, 1)
    store.cancel("a")
    put(failing, ("b", MS - 1))
    new = store.leasing_claimer(LEASE).claim(1)
    assert (old.generation, new.generation) == (0, 1)
    failing.fates = ["lost"]
    answers = store.settle([to_settle(verb, old, "a"), to_settle(verb, new, "b")]).answers
    assert answers == ([0, MS + 2 * LEASE] if verb == "extend" else [None, None])
    failing.fates = ["lost"]
    put(failing, ("c", MS - 1))
    newer = store.leasing_claimer(LEASE).claim(9)
    assert "c" in newer.keys
    assert all(store.settle([to_settle(verb, newer, "c")]).answers)


@pytest.mark.parametrize("losing", [0, 1])
@pytest.mark.parametrize("fates", [[], ["lost"], ["late"], ["switch"], ["lost, switch"]], ids="-".join)
def test_25_leased_keys_go_back_once_at_the_new_primary(
    store: RedisStore, failing: FailoverClient, losing: int, fates: list[str | None]
) -> None:
    two_keys(failing)
    leasing_claimer = store.leasing_claimer(LEASE)
    leased = leasing_claimer.claim(2)
    failing.losing = losing
    failing.fates = list(fates)
    if not fates:
        failing.fail_over()
        if losing:
            assert store.cancel("a") is True
    leasing_claimer.hand_back(entries(leased))
    assert waits(failing) == (["b"] if losing and not fates else ["a", "b"])
    assert whole(failing).out == {}


# The verbs beside.


@pytest.mark.parametrize("losing", [0, 1])
def test_25_no_is_never_said_of_a_cancel_that_another_primary_may_have_done(
    store: RedisStore, failing: FailoverClient, losing: int
) -> None:
    two_keys(failing)
    failing.losing = losing
    failing.fates = ["lost, switch"]
    if losing:
        assert store.cancel("a") is True
    else:
        with pytest.raises(OutcomeUnknown, match="'a'"):
            store.cancel("a")
    assert waits(failing) == ["b"]


@pytest.mark.parametrize("verb", ["revive", "drop"])
@pytest.mark.parametrize("losing", [0, 1])
def test_25_a_letter_is_moved_where_it_is_and_else_unknown(
    store: RedisStore, failing: FailoverClient, clock: Clock, verb: str, losing: int
) -> None:
    bury(store, failing, clock, "a")
    failing.losing = losing
    failing.fates = ["lost, switch"]
    if losing:
        assert getattr(store, verb)("a") == 1
    else:
        with pytest.raises(OutcomeUnknown, match="dead letters are gone"):
            getattr(store, verb)("a")
    assert waits(failing) == (["a"] if verb == "revive" else [])
    assert store.dead_size() == 0


@pytest.mark.parametrize("verb", ["peek", "revive", "drop"])
def test_25_all_letters_are_found_although_a_cursor_means_nothing_to_another_primary(
    store: RedisStore, failing: FailoverClient, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr(dead_letter_store, "STEP", 50)
    keys = {f"k{number:04}" for number in range(600)}
    words = [word for key in keys for word in (key, f"1 1 1 {'x' * 100}")]
    failing.call("HSET", dead_key(Q), *words)
    real_step, steps = dead_letter_store.step, 0

    def step(keys_: object, cursor: bytes) -> object:
        """The third step is asked of another primary, where that cursor would be the last."""
        nonlocal steps
        steps += 1
        if steps == 3:
            failing.fail_over()
            assert cursor != b"0"
            return real_step(keys_, cursor)._replace(read=lambda reply: (b"0", {}))  # type: ignore[arg-type]
        return real_step(keys_, cursor)  # type: ignore[arg-type]

    monkeypatch.setattr(dead_letter_store, "step", step)
    if verb == "peek":
        assert {letter.key for letter in store.dead_peek(1000)} == keys
    else:
        assert getattr(store, verb)(None) == 600
        assert store.dead_size() == 0


# What is remembered of a server.


def test_25_a_generation_is_never_ahead_of_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or what the former primary replied would count as known by the new one."""
    route = SlotRoute(Settings(redis.Connection, {}), [("here", 1)], Q)
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(primary, "warn", lambda *_: seen.append((route.generation, route.pool().generation)))
    for host in ("here", "there", "here"):
        route.moved(MovedError(f"1 {host}:1"))
        seen.append((route.generation, route.pool().generation))
    assert seen == [(0, 0), (1, 1), (1, 1), (2, 2), (2, 2)]


def test_25_a_primary_that_became_one_anew_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two failovers, there and back, of which nobody heard: what the primary did before, it may lack now."""
    epoch = 1

    def ask(*_: object) -> list[object]:
        return [[b"here", b"1"], [b"config-epoch", b"%d" % epoch]]

    monkeypatch.setattr(sentinel_route, "ask", ask)
    settings = Settings(redis.Connection, {})
    route = sentinel_route.SentinelRoute(settings, settings, [("sentinel", 1)], "mymaster")
    first = route.pool()
    route.lost(first)
    assert route.pool() is first
    epoch = 3
    route.lost(first)
    wait_until(lambda: route.pool() is not first, "the connections are new")
    assert first.has_ended
    assert (route.generation, route.pool().generation) == (1, 1)
    route.close()


def test_25_each_primary_is_asked_whether_it_tracks_reads(failing: FailoverClient) -> None:
    store = RedisStore(failing, Q)
    refuses = False

    class Connection:
        def call(self, *command: str) -> bytes:
            if refuses and command[0] == "CLIENT":
                raise Refused("no tracking here")
            return b""

        def close(self) -> None: ...

    failing.open = Connection  # type: ignore[method-assign, assignment]
    for refuses in (False, True, False):
        failing.sent.clear()
        store.schedule([Job("a", T)], "last")
        store.schedule([Job("a", T)], "last")
        assert [command[0] for command in failing.sent].count("PUBLISH") == (2 if refuses else 0)
        failing.fail_over()
