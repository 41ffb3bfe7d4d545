"""One claim on its way: two threads share its keys, and each key goes to one of the two."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from rx_runat.model.batch import Claimed, Entry
from rx_runat.stream.delivery import Delivery
from rx_runat.stream.hot import Subscriber
from tests.support.interruptions import Interrupted, Interruption

KEYS = [f"k{number:04}" for number in range(1000)]
SCORES = [str(number) for number in range(1000)]


class Present:
    """Stands for the subscribers of a source."""

    def __init__(self, *present: Subscriber[str]) -> None:
        self.present = present

    def leave(self, subscriber: Subscriber[str]) -> bool:
        was_there = subscriber in self.present
        self.present = tuple(each for each in self.present if each is not subscriber)
        return was_there


@pytest.fixture
def quick_switches() -> Iterator[None]:
    """Let threads take turns as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def give(delivery: Delivery, *handlers: object) -> list[Entry]:
    kept: list[Entry] = []
    subscribers = Present(*(Subscriber(handler) for handler in handlers))  # type: ignore[arg-type]
    delivery.give(subscribers, kept.extend, None)  # type: ignore[arg-type]
    return kept


@pytest.mark.usefixtures("quick_switches")
@pytest.mark.parametrize("first", range(0, 1000, 10))
def test_each_key_goes_to_the_deliverer_or_to_the_one_that_takes_the_rest(first: int) -> None:
    delivery = Delivery(Claimed(KEYS, SCORES, 0, None))
    got: list[str] = []
    rest: list[Entry] = []
    begins = threading.Barrier(2)

    def take_rest() -> None:
        begins.wait()
        while len(got) < first:
            pass
        rest.extend(delivery.rest())

    taker = threading.Thread(target=take_rest)
    taker.start()
    begins.wait()
    kept = give(delivery, got.append)
    taker.join()
    assert kept == []
    assert got + [entry.key for entry in rest] == KEYS
    assert [entry.score for entry in rest] == SCORES[len(got) :]
    assert delivery.given == len(got)


def test_a_key_in_delivery_is_known_though_the_rest_was_taken_meanwhile() -> None:
    delivery = Delivery(Claimed(KEYS, SCORES, 0, None))
    rest: list[Entry] = []

    def fail_at_3(key: str) -> None:
        if key == KEYS[3]:
            assert delivery.due(key).key == key
            rest.extend(delivery.rest())
            assert delivery.due(key).run_at.timestamp() == 0.003
            raise ZeroDivisionError

    subscriber = Subscriber[str](fail_at_3, lambda _: None)
    kept: list[Entry] = []
    delivery.give(Present(subscriber), kept.extend, None)  # type: ignore[arg-type]
    assert kept == [Entry(KEYS[3], "3")]
    assert [entry.key for entry in rest] == KEYS[4:]
    assert delivery.given == 4


def test_where_no_other_thread_takes_the_rest_the_deliverer_does() -> None:
    delivery = Delivery(Claimed(KEYS, SCORES, 0, None))
    got: list[str] = []
    kept: list[Entry] = []
    delivery.give(Present(Subscriber(got.append)), kept.extend, lambda: len(got) == 5)  # type: ignore[arg-type]
    assert got == KEYS[:5]
    assert [entry.key for entry in kept] == KEYS[5:]
    assert not delivery.goes_on


class Bulk(Delivery):
    is_bulk = True


def test_a_claim_that_may_be_taken_in_bulk_is_one_call_for_who_can() -> None:
    calls: list[object] = []
    subscriber = Subscriber[str](calls.append, on_all=calls.append)
    kept: list[Entry] = []
    delivery = Bulk(Claimed(KEYS, SCORES, 0, None))
    delivery.give(Present(subscriber), kept.extend, None)  # type: ignore[arg-type]
    assert calls == [KEYS]
    assert kept == []
    assert delivery.given == 1000


def test_7_if_that_call_raises_nothing_was_received_and_the_subscriber_ends() -> None:
    errors: list[Exception] = []

    def fail(_: object) -> None:
        raise ZeroDivisionError

    subscriber = Subscriber[str](fail, errors.append, on_all=fail)
    subscribers, kept = Present(subscriber), list[Entry]()
    Bulk(Claimed(KEYS, SCORES, 0, None)).give(subscribers, kept.extend, None)  # type: ignore[arg-type]
    assert kept == list(map(Entry, KEYS, SCORES))
    assert [type(error) for error in errors] == [ZeroDivisionError]
    assert subscribers.present == ()


def is_giving(frame: FrameType) -> bool:
    return frame.f_code is Delivery._give_in_bulk.__code__


def test_7_an_interrupt_at_any_line_of_a_bulk_leaves_each_key_with_the_subscriber_or_with_us(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)  # it is told of interrupts, too
    lines = 0
    interrupted = True
    while interrupted:
        received: list[str] = []
        kept: list[Entry] = []
        subscriber = Subscriber[str](received.append, on_all=received.extend)
        delivery = Bulk(Claimed(KEYS, SCORES, 0, None))
        with contextlib.suppress(Interrupted), Interruption(lines, is_giving) as interruption:
            delivery.give(Present(subscriber), kept.extend, None)  # type: ignore[arg-type]
        assert received + [entry.key for entry in (*kept, *delivery.rest())] == KEYS
        lines, interrupted = lines + 1, interruption.was_raised
    assert lines > 4


@pytest.mark.parametrize("delivery", [Delivery, Bulk])
def test_plain_keys_and_keys_for_several_subscribers_come_one_by_one(delivery: type[Delivery]) -> None:
    calls: list[object] = []
    present = [Subscriber[str](calls.append, on_all=calls.append) for _ in range(1 + delivery.is_bulk)]
    delivery(Claimed(KEYS, SCORES, 0, None)).give(Present(*present), [].extend, None)  # type: ignore[arg-type]
    assert calls == [key for key in KEYS for _ in present]
