"""Coroutines as work take the event loop that runs where they are subscribed; without one, they fail at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from reactivex import operators as ops

from rx_runat import Claim, InvalidSetting, Outcome, RunAt, settle


async def coroutine(claim: Claim) -> object:
    await asyncio.sleep(0)
    return asyncio.get_running_loop()


class WithCall:
    async def __call__(self, claim: Claim) -> object:
        return await coroutine(claim)


ASYNCHRONOUS = [coroutine, partial(coroutine), WithCall(), lambda claim: coroutine(claim)]
NAMES = ["function", "partial", "object", "lambda"]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)


@pytest.mark.parametrize("work", ASYNCHRONOUS, ids=NAMES)
def test_21_coroutines_run_on_the_event_loop_where_subscribe_was_called(make: Callable[..., RunAt], work: Any) -> None:
    queue = make()
    got: list[Outcome[Any]] = []

    async def main() -> None:
        queue.claims().pipe(settle(work)).subscribe(got.append)
        queue.schedule("a", 0)
        await until(lambda: got)
        assert got[0].verdict == "acked"
        assert got[0].result is asyncio.get_running_loop()
        queue.stop()

    asyncio.run(main())


@pytest.mark.parametrize("work", ASYNCHRONOUS[:3], ids=NAMES[:3])
def test_21_a_coroutine_function_without_an_event_loop_fails_before_the_first_job(
    make: Callable[..., RunAt], work: Any
) -> None:
    queue = make()
    queue.schedule("a", 0)
    errors: list[Exception] = []
    queue.claims().pipe(settle(work)).subscribe(on_error=errors.append)
    assert ["no event loop to run them on" in str(error) for error in errors] == [True]
    assert queue.size() == 1


def test_21_run_on_an_event_loop_that_its_own_work_needs_is_refused(make: Callable[..., RunAt]) -> None:
    """It would block the loop, and so wait for ever."""
    queue = make()

    async def main() -> None:
        queue.claims().pipe(settle(coroutine), ops.first()).run()

    with pytest.raises(InvalidSetting, match="`await` the pipeline"):
        asyncio.run(main())


def test_stop_on_an_event_loop_that_no_work_uses_waits_for_the_work(make: Callable[..., RunAt]) -> None:
    queue = make()
    begun, ended = threading.Event(), threading.Event()

    def work(claim: Claim) -> None:
        begun.set()
        threading.Event().wait(0.1)
        ended.set()

    async def main() -> None:
        queue.claims().pipe(settle(work)).subscribe()
        queue.schedule("a", 0)
        await until(begun.is_set)
        queue.stop()
        assert ended.is_set()

    asyncio.run(main())
