"""Leases, cancels and dead letters at another primary: what cannot be known there is unknown, never yes."""

from __future__ import annotations

import pytest

from rx_runat import OutcomeUnknown
from rx_runat.model.batch import Verb
from rx_runat.store import scan
from rx_runat.store.keys import dead_key
from rx_runat.store.redis_store import RedisStore
from tests.support.failovers import FailoverClient
from tests.support.leases import LEASE, VERBS, bury, lease_a, to_settle, whole
from tests.support.redis_content import entries, put, waiting
from tests.support.stores import MS, Clock, Q


@pytest.fixture
def store(failing: FailoverClient, clock: Clock) -> RedisStore:
    """A store whose clock stands still, on a server that fails over."""
    return RedisStore(failing, Q, clock)


# Leases.


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("losing", [0, 1])
def test_25_a_lease_that_is_not_known_at_the_new_primary_is_not_ours(
    store: RedisStore, failing: FailoverClient, verb: Verb, losing: int
) -> None:
    leased = lease_a(store, failing)
    failing.fail_over(losing)
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
    failing.fail_over(1)
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
        assert waiting(failing) == (["a"] if verb in ("nack", "back") else [])
    else:
        assert answer == (0 if verb == "extend" else None)


@pytest.mark.parametrize("verb", VERBS)
def test_25_of_many_leases_the_oldest_decides_what_is_known(
    store: RedisStore, failing: FailoverClient, verb: Verb
) -> None:
    old = lease_a(store, failing)
    failing.fail_over(1)
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


@pytest.mark.usefixtures("two_keys")
@pytest.mark.parametrize("losing", [0, 1])
@pytest.mark.parametrize("fates", [[], ["lost"], ["late"], ["switch"], ["lost, switch"]], ids="-".join)
def test_25_leased_keys_go_back_once_at_the_new_primary(
    store: RedisStore, failing: FailoverClient, losing: int, fates: list[str | None]
) -> None:
    leasing_claimer = store.leasing_claimer(LEASE)
    leased = leasing_claimer.claim(2)
    failing.losing = losing
    failing.fates = list(fates)
    if not fates:
        failing.fail_over()
        if losing:
            assert store.cancel("a") is True
    leasing_claimer.hand_back(entries(leased))
    assert waiting(failing) == (["b"] if losing and not fates else ["a", "b"])
    assert whole(failing).out == {}


# The verbs beside.


@pytest.mark.usefixtures("two_keys")
@pytest.mark.parametrize("losing", [0, 1])
def test_25_no_is_never_said_of_a_cancel_that_another_primary_may_have_done(
    store: RedisStore, failing: FailoverClient, losing: int
) -> None:
    failing.losing = losing
    failing.fates = ["lost, switch"]
    if losing:
        assert store.cancel("a") is True
    else:
        with pytest.raises(OutcomeUnknown, match="'a'"):
            store.cancel("a")
    assert waiting(failing) == ["b"]


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
    assert waiting(failing) == (["a"] if verb == "revive" else [])
    assert store.dead_size() == 0


@pytest.mark.parametrize("verb", ["peek", "revive", "drop"])
def test_25_all_letters_are_found_although_a_cursor_means_nothing_to_another_primary(
    store: RedisStore, failing: FailoverClient, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr(scan, "MOST", 50)
    keys = {f"k{number:04}" for number in range(600)}
    words = [word for key in keys for word in (key, f"1 1 1 {'x' * 100}")]
    failing.call("HSET", dead_key(Q), *words)
    real_read, steps = scan.to_step, 0

    def read(reply: tuple[bytes, list[bytes]]) -> tuple[bytes, dict[bytes, bytes]]:
        """The third step is replied to by another primary, where that cursor was the last."""
        nonlocal steps
        steps += 1
        if steps == 3:
            failing.fail_over()
            return b"0", {}
        return real_read(reply)

    monkeypatch.setattr(scan, "to_step", read)
    if verb == "peek":
        assert {letter.key for letter in store.dead_peek(1000)} == keys
    else:
        assert getattr(store, verb)(None) == 600
        assert store.dead_size() == 0
