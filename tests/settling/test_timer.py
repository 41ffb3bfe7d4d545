"""A timer that schedules itself again: its next run is written, or this one comes again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rx_runat import Claim, settle
from rx_runat.testing import Faults, virtual_queue


@pytest.mark.parametrize("fault", ["away", "lost"])
def test_a_timer_survives_an_outage_during_its_handler(fault: str) -> None:
    """The second of its daily runs meets an outage of a minute; the third comes all the same."""
    faults = Faults()
    queue, scheduler = virtual_queue(faults=faults)
    ran: set[float] = set()

    def back(*_: object) -> None:
        faults.away, faults.lost = False, 0

    def remind(claim: Claim) -> None:
        days = scheduler.clock / 86_400
        if 2 <= days < 2.0001:
            setattr(faults, fault, True if fault == "away" else 1000)
            scheduler.schedule_relative(60, back)
        ran.add(round(days, 2))
        queue.schedule(claim.key, timedelta(days=1))

    queue.claims().pipe(settle(remind, max_attempts=100, backoff=lambda _: 10.0)).subscribe()
    queue.schedule("water the plants", timedelta(days=1))
    scheduler.advance_by(timedelta(days=5.5).total_seconds())
    assert ran == {1, 2, 3, 4, 5}
    assert queue.size() == 1
    queue.stop()
