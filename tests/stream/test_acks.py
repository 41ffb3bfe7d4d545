"""Acks and renewals alone: what goes with which call, on a thread of their own."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import pytest

from rx_runat import Refused, StoreError, Unavailable
from rx_runat.model.batch import EVERY, REFUSED, SettleReply, Verb
from rx_runat.model.claim import Lease
from rx_runat.stream import acks
from rx_runat.stream.acks import Acks
from rx_runat.stream.lease_holder import Ack
from rx_runat.stream.lease_thread import LeaseThread
from rx_runat.stream.renewals import Renewals
from tests.support.waiting import wait_until


class FakeManager:
    """Calls return when the test allows it."""

    where = "nowhere"

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.allowed = threading.Semaphore(0)
        self.raises: list[Exception] = []
        self.gone: set[str] = set()
        self.refused: dict[str, StoreError] = {}

    def left(self, lease: Lease) -> float:
        return 1.0

    def lives(self, lease: Lease) -> bool:
        return lease.key not in self.gone

    def settle(self, requests: Sequence[tuple[Lease, Verb, int | str]]) -> SettleReply:
        self.calls.append([lease.key for lease, _, _ in requests])
        assert self.allowed.acquire(timeout=20)
        if self.raises:
            raise self.raises.pop()
        refused = {lease.key: self.refused[lease.key] for lease, _, __ in requests if lease.key in self.refused}
        answers: list[int | None] = [REFUSED if lease.key in refused else 1 for lease, _, __ in requests]
        return SettleReply(answers, None, next(iter(refused.values()), None))


class Holder:
    """Keeps a list of the calls that it received."""

    is_inside = False
    counts_up_to = EVERY
    wanted = math.inf

    def __init__(self) -> None:
        self.told: list[str] = []

    def stop(self) -> None: ...

    def wait(self, longest: float) -> None: ...

    def check(self, now: float) -> None: ...

    def settled(self, answered: Iterable[tuple[Ack, int | None]]) -> None:
        for ack, answer in answered:
            ack.note(answer)

    def lost(self, lease: Lease) -> None:
        self.told.append(f"lost {lease.key}")

    def failed(self, error: Exception) -> None:
        self.told.append(f"failed: {error}")


class Leases:
    """Acks and renewals, with a manager that the test controls."""

    def __init__(self, lease: float = 30.0) -> None:
        self.manager = FakeManager()
        self.holder = Holder()
        self.thread = LeaseThread(self.manager, lambda: 0.0, None, lambda: None)
        self.renewals = Renewals(self.manager, self.thread, lease)
        self.acks = Acks(self.manager, self.thread, self.renewals)

    def lease(self, key: str) -> Lease:
        return Lease(key, "fence", 0, self.manager)

    def keep(self, key: str, holder: Holder | None = None) -> Lease:
        lease = self.lease(key)
        self.renewals.renew([lease], holder or self.holder)
        return lease

    def ack(self, key: str, then: Callable[[int | None], None], more: bool = False) -> None:
        self.acks.put(Ack(self.lease(key), "ack", "", self.holder, then), more)


@pytest.fixture
def make_leases() -> Iterator[Callable[..., Leases]]:
    """Makes leases; none of them is renewed after the test."""
    made: list[Leases] = []

    def make(lease: float = 30.0) -> Leases:
        made.append(Leases(lease))
        return made[-1]

    yield make
    for leases in made:
        leases.renewals.leave(leases.holder)
        leases.thread.join()


# Acks.


def test_what_ends_during_one_call_goes_with_the_next(make_leases: Callable[..., Leases]) -> None:
    leases = make_leases()
    manager = leases.manager
    settled: list[int | None] = []
    leases.ack("first", settled.append)
    wait_until(lambda: len(manager.calls) == 1, "the first is asked for alone, at once")
    for n in range(50):
        leases.ack(f"k{n}", settled.append)
    manager.allowed.release(2)
    wait_until(lambda: len(settled) == 51, "all are settled")
    assert manager.calls == [["first"], [f"k{n}" for n in range(50)]]


def test_one_that_others_were_to_follow_waits_a_moment_only(make_leases: Callable[..., Leases]) -> None:
    leases = make_leases()
    leases.manager.allowed.release(9)
    settled: list[int | None] = []
    leases.ack("a", settled.append, more=True)
    wait_until(lambda: settled == [1], "it is settled though no other came")


@pytest.mark.parametrize("count, last_is_the_last", [(2, True), (acks._ENOUGH, False)])
def test_the_wait_for_others_ends_when_none_is_expected_or_enough_have_come(
    make_leases: Callable[..., Leases], monkeypatch: pytest.MonkeyPatch, count: int, last_is_the_last: bool
) -> None:
    monkeypatch.setattr(acks, "_MOMENT", 3600.0)
    leases = make_leases()
    leases.manager.allowed.release(9)
    settled: list[int | None] = []
    for _ in range(2):  # the second time is as the first
        for n in range(count):
            leases.ack(f"k{n}", settled.append, more=n < count - 1 or not last_is_the_last)
        wait_until(lambda: len(settled) == count, "they are settled")
        settled.clear()
    assert [len(call) for call in leases.manager.calls] == [count, count]


def test_an_ack_that_is_refused_makes_its_holder_fail(make_leases: Callable[..., Leases]) -> None:
    leases = make_leases()
    leases.manager.allowed.release(9)
    leases.manager.raises = [Refused("no permission")]
    settled: list[int | None] = []
    leases.ack("a", settled.append)
    wait_until(lambda: settled == [REFUSED], "it is refused")
    assert leases.holder.told == ["failed: no permission"]


def test_a_request_that_is_refused_fails_alone(make_leases: Callable[..., Leases]) -> None:
    leases = make_leases()
    leases.manager.allowed.release(9)
    leases.manager.refused = {"b": Refused("no permission")}
    told = leases.holder.told
    for key in "abc":
        leases.ack(key, partial(lambda key, answer: told.append(f"{key}: {answer}"), key), more=True)
    wait_until(lambda: len(told) == 4, "all are answered")
    assert told == ["a: 1", "c: 1", "failed: no permission", f"b: {REFUSED}"], "outcomes first, and an end after all"


def test_a_refusal_that_heals_is_asked_for_again(make_leases: Callable[..., Leases]) -> None:
    leases = make_leases()
    leases.manager.allowed.release(9)
    leases.manager.refused = {"b": Unavailable("its memory is full")}
    settled: dict[str, int | None] = {}
    for key in "abc":
        leases.ack(key, partial(settled.__setitem__, key), more=True)
    wait_until(lambda: settled == {"a": 1, "c": 1}, "the others are answered")
    leases.manager.refused.clear()
    wait_until(lambda: len(settled) == 3, "it is answered")
    assert (settled, leases.holder.told) == ({"a": 1, "b": 1, "c": 1}, [])


def test_a_begin_leaves_the_lease_to_be_renewed(make_leases: Callable[..., Leases]) -> None:
    leases = make_leases(lease=0.03)
    leases.manager.allowed.release(10_000)
    settled: list[int | None] = []
    leases.acks.put(Ack(leases.keep("a"), "begin", "", leases.holder, settled.append))
    wait_until(lambda: settled == [1] and len(leases.manager.calls) > 3, "it begins, and is renewed")


# Renewals.


def test_renewals_are_made_however_many_acks_come(make_leases: Callable[..., Leases]) -> None:
    leases = make_leases(lease=0.03)
    calls = leases.manager.calls
    leases.manager.allowed.release(100_000)
    is_renewed = threading.Event()

    def ack(_: int | None = None) -> None:
        if len(calls) < 50_000 and not is_renewed.is_set():
            leases.ack("k", ack)

    leases.keep("kept")
    ack()
    wait_until(lambda: ["kept"] in calls, "it is renewed")
    is_renewed.set()
    assert len(calls) < 50_000


def test_while_redis_is_away_a_renewal_is_tried_once_not_for_every_five_hundred_leases(
    make_leases: Callable[..., Leases],
) -> None:
    leases = make_leases(lease=0.3)
    manager = leases.manager
    manager.raises = [Unavailable("nothing answers")]
    manager.allowed.release(100)
    all_are_kept = threading.Event()

    def wait_for_all() -> None:
        assert all_are_kept.wait(20)

    leases.thread.run(wait_for_all)  # no renewal begins before, however slow this machine is
    try:
        for n in range(1200):
            leases.keep(f"k{n}")
    finally:
        all_are_kept.set()
    wait_until(lambda: len(manager.calls) >= 4, "they are renewed")
    assert [len(call) for call in manager.calls[:4]] == [500, 500, 500, 200]


def test_a_lease_is_renewed_for_as_long_as_one_holder_keeps_it(make_leases: Callable[..., Leases]) -> None:
    """Two subscriptions may share the claims of one source: one of them settles, the other learns that it lost."""
    leases = make_leases(lease=0.03)
    manager = leases.manager
    manager.allowed.release(10_000)
    other = Holder()
    lease = leases.keep("a", leases.holder)
    leases.renewals.renew([lease], other)
    leases.renewals.release(lease, leases.holder)
    wait_until(lambda: ["a"] in manager.calls, "it is renewed")
    manager.gone.add("a")
    wait_until(lambda: other.told == ["lost a"], "the other one is told")
    assert leases.holder.told == []


def test_the_thread_ends_when_the_last_holder_has_left_and_begins_anew(make_leases: Callable[..., Leases]) -> None:
    leases = make_leases(lease=3000.0)
    leases.manager.allowed.release(9)

    def is_running() -> bool:
        return "rx_runat leases" in [thread.name for thread in threading.enumerate()]

    for _ in range(2):
        other = Holder()
        leases.keep("a")
        leases.keep("b", other)
        leases.renewals.leave(other)
        assert is_running()
        leases.renewals.leave(leases.holder)
        leases.thread.join()
        assert not is_running()
