"""A StopIteration of the user's code, which neither a Future nor a coroutine may raise, ends no wait in silence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import reactivex as rx
from reactivex import operators as ops
from reactivex.scheduler.eventloop import AsyncIOScheduler

from rx_runat import Claim, Outcome, RunAt, Unavailable, settle
from rx_runat.testing import virtual_queue


def stops(*_: object) -> Any:
    raise StopIteration("x")


async def stops_in_a_coroutine(_: object) -> None:
    stops()


async def iterate(queue: RunAt) -> None:
    async for _ in queue:
        stops()


async def subscribe(queue: RunAt) -> None:
    scheduler = AsyncIOScheduler(asyncio.get_running_loop())
    ended = asyncio.get_running_loop().create_future()
    queue.subscribe(stops, lambda error: ended.set_result(repr(error)), scheduler=scheduler)
    raise RuntimeError(await ended)


async def awaited(pipeline: Any) -> None:
    await pipeline


async def hear_of_an_error(queue: RunAt) -> None:
    asyncio.get_running_loop().call_later(0.01, queue._sources.errors.publish, Unavailable("away"))
    await queue.errors.pipe(ops.map(stops))


WAITS: dict[str, Callable[[RunAt], Coroutine[Any, Any, None]]] = {
    "map": lambda queue: awaited(queue.pipe(ops.map(stops))),
    "do_action": lambda queue: awaited(queue.jobs.pipe(ops.do_action(stops))),
    "two operators": lambda queue: awaited(queue.pipe(ops.map(stops), ops.do_action(print), ops.filter(bool))),
    "outcomes": lambda queue: awaited(queue.claims().pipe(settle(str), ops.do_action(stops))),
    "before settle": lambda queue: awaited(queue.claims().pipe(ops.map(stops), settle(str))),
    "backoff": lambda queue: awaited(queue.claims().pipe(settle(lambda _: 1 / 0, backoff=stops))),
    "waiting": lambda queue: awaited(queue.waiting().pipe(ops.map(stops))),
    "errors": hear_of_an_error,
    "async for": iterate,
    "subscribe": subscribe,
}


@pytest.mark.parametrize("wait", WAITS)
def test_21_a_stop_iteration_ends_the_wait_on_an_event_loop(
    make: Callable[..., RunAt], wait: str, shown: list[Any]
) -> None:
    queue = make()
    queue.schedule("a", 0)

    async def main() -> None:
        async with asyncio.timeout(20):
            await WAITS[wait](queue)

    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(main())
    assert shown == []


WORK: dict[str, Callable[[Claim], Any]] = {
    "function": stops,
    "coroutine": stops_in_a_coroutine,
    "Observable": lambda _: rx.of(1).pipe(ops.map(stops)),
}


@pytest.mark.parametrize("work", WORK)
def test_21_a_stop_iteration_fails_the_work(make: Callable[..., RunAt], work: str) -> None:
    queue = make()
    queue.schedule("a", 0)

    async def main() -> Outcome[Any]:
        async with asyncio.timeout(20):
            return await queue.claims().pipe(settle(WORK[work]), ops.first())

    outcome = asyncio.run(main())
    assert outcome.verdict == "nacked"
    assert "StopIteration" in repr(outcome.error)


STREAMS: dict[str, Callable[[RunAt], Any]] = {
    "map": lambda queue: queue.pipe(ops.map(stops)),
    "do_action": lambda queue: queue.pipe(ops.do_action(stops)),
    "outcomes": lambda queue: queue.claims().pipe(settle(str), ops.map(stops)),
    "backoff": lambda queue: queue.claims().pipe(settle(lambda _: 1 / 0, backoff=stops)),
}


@pytest.mark.parametrize("stream", STREAMS)
def test_21_a_stop_iteration_ends_run(make: Callable[..., RunAt], stream: str) -> None:
    queue = make()
    queue.schedule("a", 0)
    with pytest.raises(StopIteration):
        STREAMS[stream](queue).run()


@pytest.mark.parametrize("stream", STREAMS)
def test_21_a_stop_iteration_reaches_on_error_in_virtual_time(stream: str, shown: list[Any]) -> None:
    queue, scheduler = virtual_queue()
    errors: list[Exception] = []
    STREAMS[stream](queue).subscribe(on_error=errors.append)
    queue.schedule("a", 1)
    scheduler.advance_by(2)
    assert ([type(error) for error in errors], shown) == ([StopIteration], [])


@pytest.mark.parametrize("stream", ["keys", "jobs", "errors", "claims", "outcomes"])
def test_21_what_an_on_error_raises_is_shown_behind_each_operator(stream: str, shown: list[Any]) -> None:
    """`do_action` gives its source functions of its own, which do not tell that its observer has ended."""
    queue, scheduler = virtual_queue()
    streams: dict[str, Any] = {
        "keys": queue,
        "jobs": queue.jobs,
        "errors": queue.errors,
        "claims": queue.claims(),
        "outcomes": queue.claims().pipe(settle(str)),
    }

    def handle(error: Exception) -> None:
        raise LookupError from error

    streams[stream].pipe(ops.do_action(stops)).subscribe(lambda _: None, handle)
    queue.schedule("a", 1)
    scheduler.advance_by(2)
    if stream == "errors":
        queue._sources.errors.publish(ValueError())  # pyright: ignore[reportArgumentType]
    assert shown == [LookupError]
