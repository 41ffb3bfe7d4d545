"""How many keys a claim takes: as many as the subscribers have shown that they receive in time."""

from __future__ import annotations

import pytest

from rx_runat import Job
from rx_runat.stream.demand import Pace
from rx_runat.testing import virtual_queue


def claims(seconds_per_key: float, n: int, limit: int = 1000) -> list[int]:
    pace = Pace(limit)
    taken = []
    for _ in range(n):
        taken.append(pace.keys)
        pace.note_delivery(pace.keys, pace.keys * seconds_per_key)
    return taken


@pytest.mark.parametrize(
    "seconds_per_key, sizes",
    [
        (0, [1, 4, 16, 64, 256, 1000, 1000]),
        (0.000_01, [1, 4, 16, 64, 256, 1000, 1000]),
        (0.001, [1, 4, 16, 50, 50, 50, 50]),
        (0.05, [1, 1, 1, 1, 1, 1, 1]),
        (3, [1, 1, 1, 1, 1, 1, 1]),
    ],
)
def test_it_grows_while_claims_are_consumed_quickly(seconds_per_key: float, sizes: list[int]) -> None:
    assert claims(seconds_per_key, 7) == sizes


def test_the_limit_is_the_ceiling() -> None:
    assert claims(0, 5, limit=10) == [1, 4, 10, 10, 10]


def test_it_shrinks_when_claims_are_consumed_slowly() -> None:
    pace = Pace(1000)
    for _ in range(6):
        pace.note_delivery(pace.keys, 0.001)
    pace.note_delivery(1000, 1.0)
    assert pace.keys == 50
    pace.note_delivery(2, 0.1)
    assert pace.keys == 1


def test_a_small_claim_that_was_quick_does_not_shrink_it() -> None:
    pace = Pace(1000)
    for _ in range(6):
        pace.note_delivery(pace.keys, 0.001)
    pace.note_delivery(1, 0.000_01)
    assert pace.keys == 1000


def test_a_new_first_subscriber_begins_with_one_key() -> None:
    """The pace of subscribers that have left says nothing about it."""
    queue, scheduler = virtual_queue()
    queue.on_next([Job(f"k{i:03}", 1) for i in range(500)])
    first = queue.subscribe()
    scheduler.advance_to(1)
    first.dispose()
    scheduler.advance_to(2)
    queue.on_next([Job(f"l{i:03}", 3) for i in range(500)])
    waiting: list[int] = []
    queue.subscribe(lambda _: waiting.append(queue.size()))
    scheduler.advance_to(3)
    assert waiting[0] == 499
