"""Time is frozen around a live queue, as tests of applications do: it goes on delivering, then and afterwards."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from freezegun import freeze_time

from rx_runat import RunAt, settle
from rx_runat.model.monotonic import monotonic
from tests.support.waiting import wait_until

SOON = timedelta(seconds=0.02)
YEARS = pytest.mark.parametrize("year", [pytest.param("2012-01-01", marks=pytest.mark.slow), "2040-01-01"])


@YEARS
def test_24_a_queue_delivers_before_while_and_after_time_is_frozen(year: str, queue: RunAt) -> None:
    got: list[str] = []

    def comes(key: str) -> None:
        queue.schedule(key, SOON)
        wait_until(lambda: got[-1:] == [key], f"{key} came")

    queue.subscribe(got.append)
    comes("before")
    with freeze_time(year) as frozen:
        comes("frozen")
        comes("still frozen")
        frozen.tick(timedelta(hours=1))
        comes("an hour forward")
        frozen.move_to("2020-01-01")
        comes("moved")
    comes("after")
    comes("later")


@YEARS
def test_24_a_queue_that_is_made_while_time_is_frozen_outlives_it(year: str, make: Callable[..., RunAt]) -> None:
    got: list[str] = []
    with freeze_time(year):
        queue = make()
        queue.subscribe(got.append)
        queue.schedule("frozen", SOON)
        wait_until(lambda: got == ["frozen"], "the first key came")
    queue.schedule("after", SOON)
    wait_until(lambda: got == ["frozen", "after"], "the second key came")


def test_24_work_is_settled_and_its_lease_renewed_while_time_is_frozen(queue: RunAt) -> None:
    attempts: list[int] = []

    def work(_: str) -> None:
        began = monotonic()
        wait_until(lambda: monotonic() - began > 0.9, "the lease would have ended")

    outcomes = queue.claims(lease=0.6).pipe(settle(work))
    with freeze_time("2012-01-01"):
        outcomes.subscribe(lambda outcome: attempts.append(outcome.claim.attempt))
        queue.schedule("a", SOON)
        wait_until(lambda: attempts, "the work was settled")
        queue.stop()
    assert attempts == [1]


def test_24_an_async_loop_receives_keys_while_time_is_frozen(queue: RunAt) -> None:
    async def first() -> str:
        async for key in queue:
            return key
        raise AssertionError("the stream ended")

    with freeze_time("2012-01-01"):
        queue.schedule("a", SOON)
        assert asyncio.run(first()) == "a"


def test_24_a_frozen_moment_is_scheduled_as_it_reads(queue: RunAt) -> None:
    with freeze_time("2012-01-01"):
        queue.schedule("a", datetime.now(UTC) + timedelta(hours=1))
    assert queue.when("a") == datetime(2012, 1, 1, 1, tzinfo=UTC)


def test_24_the_monotonic_clock_goes_on_even_if_it_is_imported_while_time_is_frozen() -> None:
    program = """
import time
from freezegun import freeze_time

with freeze_time("2012-01-01"):
    from rx_runat.model.monotonic import monotonic

    assert time.monotonic() == time.monotonic()  # frozen
    before, began = monotonic(), time.clock_gettime(time.CLOCK_MONOTONIC)
    while time.clock_gettime(time.CLOCK_MONOTONIC) < began + 0.05:
        pass
    assert monotonic() >= before + 0.05
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
