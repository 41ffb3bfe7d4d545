"""Callbacks that would run nothing, or wait for themselves, are refused in words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import pytest
import reactivex as rx
from reactivex import operators as ops
from reactivex.scheduler import ImmediateScheduler

from rx_runat import InvalidSetting, RunAt, settle
from rx_runat.testing import virtual_queue
from tests.support.waiting import wait_until


async def coroutine(_: object = None) -> None: ...


def generator(_: object = None) -> Iterator[None]:
    yield


async def asynchronous_generator(_: object = None) -> AsyncIterator[None]:
    yield


class WithCall:
    async def __call__(self, _: object = None) -> None: ...


class Observer:
    def on_next(self, _: object) -> None: ...

    def on_error(self, _: Exception) -> None: ...

    async def on_completed(self) -> None: ...


STREAMS: dict[str, Callable[[RunAt], Any]] = {
    "queue": lambda queue: queue,
    "jobs": lambda queue: queue.jobs,
    "errors": lambda queue: queue.errors,
    "claims": lambda queue: queue.claims(),
    "outcomes": lambda queue: queue.claims().pipe(settle(str)),
}
UNRUN = [coroutine, partial(coroutine), WithCall(), generator, asynchronous_generator]


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("callback", UNRUN, ids=lambda each: getattr(each, "__name__", type(each).__name__))
def test_21_a_callback_that_would_run_nothing_is_refused_and_takes_no_key(stream: str, callback: Any) -> None:
    queue, scheduler = virtual_queue()
    queue.schedule("a", 1)
    for arguments in ((callback,), (None, callback), (None, None, callback)):
        with pytest.raises(InvalidSetting, match=r"^on_(next|error|completed): got .*(await|runs no line)"):
            STREAMS[stream](queue).subscribe(*arguments)
    with pytest.raises(InvalidSetting, match=r"^on_completed: "):
        STREAMS[stream](queue).subscribe(Observer())
    scheduler.advance_by(2)
    assert queue.size() == 1


PIPELINES: dict[str, Callable[[Any], Any]] = {
    "filter": lambda stream: stream.pipe(ops.filter(bool)),
    "map, filter, take": lambda stream: stream.pipe(ops.map(lambda key: key), ops.filter(bool), ops.take(3)),
    "flat_map": lambda stream: stream.pipe(ops.flat_map(lambda key: rx.of(key))),
    "observe_on": lambda stream: stream.pipe(ops.observe_on(ImmediateScheduler())),
    "scan, distinct": lambda stream: stream.pipe(ops.scan(lambda a, b: a + b, ""), ops.distinct()),
    "merge": lambda stream: rx.merge(rx.never(), stream),
    "do_action": lambda stream: stream.pipe(ops.do_action(print)),
}


@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize("callback", UNRUN, ids=lambda each: getattr(each, "__name__", type(each).__name__))
def test_21_a_callback_that_would_run_nothing_is_refused_behind_operators(pipeline: str, callback: Any) -> None:
    queue, scheduler = virtual_queue()
    queue.schedule("a", 1)
    errors: list[Exception] = []
    PIPELINES[pipeline](queue.jobs.pipe(ops.map(lambda due: due.key))).subscribe(callback, errors.append)
    scheduler.advance_by(2)
    assert [type(error) for error in errors] == [InvalidSetting]
    assert str(errors[0]).startswith("on_next: got ")
    assert queue.size() == 1


OPERATORS: dict[str, Callable[[Any], Any]] = {
    "do_action": ops.do_action,
    "do_action, on_completed": lambda callback: ops.do_action(on_completed=callback),
    "filter": ops.filter,
}


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("stream", STREAMS)
def test_21_an_operator_that_would_run_nothing_is_refused(stream: str, operator: str) -> None:
    queue, scheduler = virtual_queue()
    queue.schedule("a", 1)
    errors: list[Exception] = []
    STREAMS[stream](queue).pipe(ops.filter(bool), OPERATORS[operator](coroutine), ops.take(1)).subscribe(
        on_error=errors.append
    )
    scheduler.advance_by(2)
    assert [type(error) for error in errors] == [InvalidSetting]
    assert queue.size() == 1


def test_coroutines_that_an_operator_passes_on_are_the_users(make: Callable[..., RunAt]) -> None:
    queue = make()
    queue.schedule("a", 0)
    got: list[str] = []

    async def work(key: str) -> str:
        return key + "!"

    async def main() -> str:
        def start(key: str) -> Any:  # a closure of the user's that refers to a coroutine function
            return rx.from_future(asyncio.ensure_future(work(key)))

        pipeline = queue.pipe(ops.do_action(lambda key: got.append(work.__name__ + key)), ops.map(work))
        return await pipeline.pipe(
            ops.flat_map(lambda made: rx.from_future(asyncio.ensure_future(made))), ops.flat_map(start), ops.first()
        )

    assert asyncio.run(main()) == "a!!"
    assert got == ["worka"]


def test_21_a_coroutine_that_comes_to_settle_ends_it_in_words() -> None:
    queue, scheduler = virtual_queue()
    errors: list[Exception] = []
    queue.claims().pipe(ops.map(coroutine), settle(str)).subscribe(on_error=errors.append)
    queue.schedule("a", 1)
    scheduler.advance_by(2)
    assert "give that to settle as its work" in str(errors[0])


RUNS: dict[str, Callable[[RunAt], Any]] = {
    "queue": lambda queue: queue.run(),
    "pipeline": lambda queue: queue.pipe(ops.filter(bool), ops.first()).run(),
    "jobs": lambda queue: queue.jobs.pipe(ops.first()).run(),
}


@pytest.mark.parametrize("run", RUNS)
def test_21_run_in_an_on_next_of_the_same_stream_is_refused(make: Callable[..., RunAt], run: str) -> None:
    queue = make()
    errors: list[Exception] = []
    queue.subscribe(lambda _: RUNS[run](queue), errors.append)
    queue.schedule("a", 0)
    wait_until(lambda: errors, "the on_next has failed")
    assert "would wait for ever" in str(errors[0])
    assert isinstance(errors[0], InvalidSetting)


def test_21_run_in_an_on_next_of_claims_is_refused(make: Callable[..., RunAt]) -> None:
    queue = make()
    claims = queue.claims()
    errors: list[Exception] = []
    claims.subscribe(lambda _: claims.pipe(settle(str), ops.first()).run(), errors.append)
    queue.schedule("a", 0)
    wait_until(lambda: errors, "the on_next has failed")
    assert "would wait for ever" in str(errors[0])


def test_run_of_another_source_in_an_on_next_works(make: Callable[..., RunAt]) -> None:
    queue, other = make(), make(queue_name="other")
    got: list[str] = []
    queue.subscribe(lambda key: got.append(key + other.pipe(ops.first()).run()))
    other.schedule("b", 0)
    queue.schedule("a", 0)
    wait_until(lambda: got == ["ab"], "both keys came")
