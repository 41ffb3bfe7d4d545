"""A call of a generator function runs no line of it, so it is never taken for work that was done."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from reactivex import operators as ops

from rx_runat import Claim, InvalidSetting, Outcome, RunAt, settle
from rx_runat.testing import virtual_queue
from tests.support.settling import jobs


def generator(claim: Claim) -> Iterator[int]:
    yield 1


async def async_generator(claim: Claim) -> AsyncIterator[int]:
    yield 1


class Generating:
    def __call__(self, claim: Claim) -> Iterator[int]:
        yield 1

    def method(self, claim: Claim) -> Iterator[int]:
        yield 1


@pytest.mark.parametrize(
    "work",
    [
        generator,
        async_generator,
        Generating(),
        Generating().method,
        functools.partial(generator),
        functools.partial(functools.partial(async_generator)),
        functools.partial(Generating()),
    ],
)
def test_a_generator_function_is_refused_in_words(work: Any) -> None:
    with pytest.raises(InvalidSetting, match="work: it is a generator function; write a function that does the work"):
        settle(work)


def in_a_future(claim: Claim) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(generator(claim))
    return future


@pytest.mark.parametrize("work", [lambda claim: generator(claim), lambda claim: async_generator(claim), in_a_future])
def test_a_generator_that_work_returned_is_never_acked(work: Any) -> None:
    queue, scheduler = virtual_queue()
    errors: list[Exception] = []
    queue.claims().pipe(settle(work)).subscribe(on_error=errors.append)
    queue.on_next(jobs(3))
    scheduler.advance_to(2)
    assert "work: it returned a generator, of which nothing was run" in str(errors[0])
    assert queue.size() == 3


def test_what_only_looks_like_an_awaitable_is_an_error(make: Callable[..., RunAt]) -> None:
    class Awaits:
        def __await__(self) -> int:
            return 1

    async def main() -> Outcome[Any]:
        queue = make()
        queue.schedule("a", 1)
        return await queue.claims().pipe(settle(lambda _: Awaits()), ops.take(1))  # type: ignore

    assert asyncio.run(main()).verdict == "nacked"
