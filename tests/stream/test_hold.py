"""The hold: what it hands back goes back once, whatever fails in between; and who looks at the clock."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

import rx_runat.stream.hold
from rx_runat import OutcomeUnknown, RunAt, Unavailable
from rx_runat.model.batch import Entry
from rx_runat.model.job import Job
from rx_runat.store.claimers import PlainClaimer
from rx_runat.store.client import TRIES
from rx_runat.store.connect import connect
from rx_runat.store.connection import DedicatedConnection
from rx_runat.store.redis_store import RedisStore
from rx_runat.stream.claiming import PlainClaiming
from rx_runat.stream.delivery import Delivery
from rx_runat.stream.demand import Pace
from rx_runat.stream.hold import Hold
from rx_runat.stream.hold_timer import timer
from tests.support.blocking import QUICK, Blocker, timers
from tests.support.jobs import overdue_jobs
from tests.support.servers import Server
from tests.support.stores import FlakyClient, Q
from tests.support.waiting import wait_until


@pytest.fixture
def hold(store: RedisStore) -> Hold[Any]:
    store.schedule([Job(key, 1) for key in "abcd"], "last")
    return Hold(store, PlainClaiming(store, Pace(1000)), 0.1, lambda: 0.0, is_virtual=True)


def claim(hold: Hold[Any], n: int) -> Delivery:
    delivery = Delivery(hold.claim(n))
    hold.begin(delivery)
    return delivery


def waiting(store: RedisStore) -> list[str]:
    return [due.key for due in store.peek(10)]


def test_a_hand_back_is_not_repeated_because_the_receipt_could_not_be_deleted(
    hold: Hold[Any], store: RedisStore, flaky: FlakyClient
) -> None:
    """Between the two another source has taken the keys, so a second hand-back would double them."""
    hold.end(claim(hold, 2))
    flaky.fates = [None, "away"]
    with pytest.raises(Unavailable):
        hold.hand_back(closes=True)
    assert waiting(store) == ["a", "b", "c", "d"]
    assert store.plain_claimer().claim(10).keys == ["a", "b", "c", "d"]
    hold.hand_back(closes=True)
    assert waiting(store) == []


@pytest.mark.parametrize("fate", ["lost", "away", "late"])
def test_a_hand_back_that_failed_goes_first_and_as_it_was(
    fate: str, hold: Hold[Any], store: RedisStore, flaky: FlakyClient
) -> None:
    """A key that comes to the hold after it is no part of it, because a resent hand-back does nothing."""
    delivery = claim(hold, 3)
    hold.keep(delivery, delivery.entries([next(delivery.keys)]))
    flaky.fates = [fate] if fate == "away" else [fate] * TRIES
    with pytest.raises(Unavailable):
        hold.hand_back(closes=False)
    hold.end(delivery)
    assert not hold.is_empty
    assert hold.hand_back(closes=False)
    assert hold.is_empty
    assert delivery.left == [Entry("a", "1000"), Entry("b", "1000"), Entry("c", "1000")]
    assert waiting(store) == ["a", "b", "c", "d"]
    flaky.arrive()
    assert waiting(store) == ["a", "b", "c", "d"]


def test_the_keys_that_could_not_go_back_are_told_in_their_order(hold: Hold[Any], flaky: FlakyClient) -> None:
    delivery = claim(hold, 3)
    first = next(delivery.keys)
    hold.keep(delivery, delivery.rest())
    hold.keep(delivery, delivery.entries([first]))
    flaky.fates = ["away"] * 1000
    notice = hold.hand_back_everything()
    assert notice is not None
    assert notice.keys == ("a", "b", "c")


def test_keys_in_hand_do_not_hide_that_another_claim_is_unknown(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was asked for ahead, and may have taken as many keys again."""

    def lose(connection: DedicatedConnection, is_complete: object, name: str) -> None:
        raise OutcomeUnknown(f"the reply to {name} was lost")

    flaky = FlakyClient(connect(server.url).client)
    store = RedisStore(flaky, Q)
    monkeypatch.setattr(DedicatedConnection, "receive_until", lose)
    store.schedule([Job(key, 1) for key in "abcd"], "last")
    hold = Hold(store, PlainClaiming(store, Pace(1000)), 0.1, lambda: 0.0, is_virtual=False)
    delivery = Delivery(hold.claim(2, 2))
    hold.begin(delivery)
    flaky.fates = ["away"] * 1000
    hold.end(delivery)
    notice = hold.hand_back_everything()
    assert notice is not None
    assert notice.keys == ("a", "b")
    assert "could not hand back" in str(notice)
    assert "what the last claim took is unknown" in str(notice)
    assert not timer()._armed, "nobody tries any more"
    store.close()


# Beside the timer.


def test_the_end_of_a_delivery_waits_for_the_timer_that_hands_back(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only then it is known what is left, and the next claim may overwrite the receipt."""
    store.schedule([Job(key, 1) for key in "abcd"], "last")
    hold = Hold(store, PlainClaiming(store, Pace(1000)), 0.1, lambda: 0.0, is_virtual=False)
    begun, goes_on = threading.Event(), threading.Event()
    hand_back = PlainClaimer.hand_back

    def slow(claimer: PlainClaimer, entries: Sequence[Entry]) -> None:
        begun.set()
        assert goes_on.wait(20)
        hand_back(claimer, entries)

    monkeypatch.setattr(PlainClaimer, "hand_back", slow)
    delivery = claim(hold, 3)
    assert next(delivery.keys) == "a"
    assert begun.wait(20)
    ending = threading.Thread(target=hold.end, args=(delivery,))
    ending.start()
    wait_until(lambda: hold.is_calling, "the end waits")
    assert ending.is_alive()
    goes_on.set()
    ending.join(20)
    assert not hold.is_calling
    assert hold.is_empty
    assert [entry.key for entry in delivery.left] == ["b", "c"]
    assert waiting(store) == ["b", "c", "d"]


def test_a_timer_that_comes_late_does_nothing(store: RedisStore, flaky: FlakyClient) -> None:
    """The delivery has ended: what is held is the source's to hand back."""
    store.schedule([Job(key, 1) for key in "abcd"], "last")
    hold = Hold(store, PlainClaiming(store, Pace(1000)), 0.1, lambda: 0.0, is_virtual=False)
    delivery = claim(hold, 3)
    timed = hold._turn.timed
    assert timed is not None
    hold.end(delivery)
    sent = len(flaky.sent)
    timed()
    assert len(flaky.sent) == sent
    assert not hold.is_empty


def test_22_the_time_of_a_claim_whose_reply_is_late_begins_when_it_comes(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was asked for ahead, and the timer waited for the same reply. Far from the server, that is each one."""

    class Timer:
        def arm(self, action: object) -> bool:
            return True

        def disarm(self, action: object) -> None:
            pass

    def late(claimer: PlainClaimer, limit: int, ahead: int = 0) -> Any:
        clock[0] += 0.2
        return claim_in_time(claimer, limit, ahead)

    store = RedisStore(connect(server.url).client, Q)
    clock, claim_in_time = [0.0], PlainClaimer.claim
    monkeypatch.setattr(rx_runat.stream.hold, "timer", Timer)
    store.schedule([Job(key, 1) for key in "abcdefg"], "last")
    hold = Hold(store, PlainClaiming(store, Pace(1000)), 0.1, lambda: clock[0], is_virtual=False)
    first = Delivery(hold.claim(2, 3))
    hold.begin(first)
    assert list(first.keys) == ["a", "b"]
    hold.end(first)
    assert hold._next is not None
    timed = hold._next.timed
    assert timed is not None
    monkeypatch.setattr(PlainClaimer, "claim", late)
    second = Delivery(hold.claim(2))
    assert hold.begin(second) is None
    timed()
    assert list(second.keys) == ["c", "d", "e"]
    store.close()


# Who looks at the clock: the timer, or the deliverer after each key.


def test_of_a_single_key_nobody_looks_at_the_clock(hold: Hold[Any]) -> None:
    assert hold.begin(Delivery(hold.claim(1))) is None


@pytest.mark.parametrize("lack", ["a thread", "a GIL"])
def test_without_a_timer_the_deliverer_looks_at_the_clock(
    lack: str, queue: RunAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then keys go back when the `on_next` that blocks has returned."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "rx_runat hold timer":
            raise RuntimeError("can't start new thread")
        start(thread)

    if lack == "a thread":
        monkeypatch.setattr(threading.Thread, "start", refuse)
    else:
        monkeypatch.setattr(rx_runat.stream.hold, "_has_gil", lambda: False)
    queue.on_next(overdue_jobs(600))
    blocker = Blocker()
    claims: list[int] = []
    demand = queue._source._demand
    note_delivery = demand.note_delivery
    monkeypatch.setattr(demand, "note_delivery", lambda keys, s: claims.append(keys) or note_delivery(keys, s))
    queue.subscribe(blocker)
    assert blocker.is_blocked.wait(20)
    assert not timers()
    threading.Event().wait(0.15)  # so long the key takes: the hold's time is over when it returns
    blocker.release.set()
    wait_until(lambda: len(blocker.got) == 600, "all keys came")
    assert QUICK + 1 in [sum(claims[:n]) for n in range(len(claims))], "the delivery ended with that key"
