"""Claims that come to settle, many in one call: by whom they are managed, and what an interrupt does to them."""

from __future__ import annotations

import contextlib
import threading
from types import FrameType
from typing import cast

import pytest

from rx_runat import Claim, Job, settle
from rx_runat.model.claim import Lease
from rx_runat.settling.arrivals import by_manager
from rx_runat.settling.subscription import Subscription
from rx_runat.stream.leases import LeaseManager
from rx_runat.testing import virtual_queue
from tests.support.interruptions import Interrupted, Interruption

KEYS = [f"k{number:02}" for number in range(40)]


def is_taking(frame: FrameType) -> bool:
    return frame.f_code is Subscription._take.__code__


class Counted:
    """Stands for a lease, and counts how often it is asked for its manager."""

    asked = 0

    def __init__(self, manager: str) -> None:
        self._manager = manager

    @property
    def manager(self) -> LeaseManager:
        Counted.asked += 1
        return cast("LeaseManager", self._manager)


class OfLease:
    """Stands for the claim of a lease."""

    def __init__(self, lease: Counted) -> None:
        self._lease = lease


def test_leases_of_merged_queues_are_sorted_in_linear_time_by_who_came_first() -> None:
    leases = [Counted("one" if number % 3 else "other") for number in range(999)]
    sorted_leases = by_manager([cast("Claim", OfLease(lease)) for lease in leases])
    assert list(cast("dict[str, list[Lease]]", sorted_leases)) == ["other", "one"]
    assert list(map(len, sorted_leases.values())) == [333, 666]
    assert Counted.asked <= 2 * len(leases)


def test_7_an_interrupt_while_claims_come_ends_the_stream_and_all_go_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Virtual time runs on this thread, so that Ctrl-C may come at any line."""
    monkeypatch.setattr(threading, "excepthook", lambda _: None)  # it is told of interrupts, too
    lines = 0
    interrupted = True
    while interrupted:
        queue, scheduler = virtual_queue()
        worked: list[str] = []
        ends: list[object] = []
        outcomes = queue.claims(lease=1000).pipe(settle(lambda claim, worked=worked: worked.append(claim.key)))
        outcomes.subscribe(lambda _: None, ends.append, lambda ends=ends: ends.append(None))
        queue.schedule("warm", 0.5)  # the first claim of a source counts its attempts in another way
        scheduler.advance_to(1)
        queue.on_next([Job(key, 2.0) for key in KEYS])
        with contextlib.suppress(Interrupted), Interruption(lines, is_taking) as interruption:
            scheduler.advance_to(3)
        is_done = len(worked) == 1 + len(KEYS)
        assert (queue.stats().claimed, queue.size()) == (0, 0 if is_done else len(KEYS)), lines
        queue.stop()
        scheduler.advance_to(4)
        assert len(ends) == 1, lines
        lines, interrupted = lines + 1, interruption.was_raised
    assert lines > 10
