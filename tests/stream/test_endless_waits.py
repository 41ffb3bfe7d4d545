"""A `run()` that could not end is refused in words, and one that can end works."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import reactivex as rx
from reactivex import operators as ops

from rx_runat import Job, RunAt, settle
from rx_runat.testing import virtual_queue
from tests.support.script import run_script
from tests.support.servers import Server
from tests.support.waiting import wait_until

# Each wait is on a thread of its own, so that one that hangs is named instead of keeping the process.
ENDLESS = """
import asyncio, os, sys, threading, time
from reactivex import operators as ops
from reactivex.scheduler import EventLoopScheduler, NewThreadScheduler
from reactivex.scheduler.eventloop import AsyncIOScheduler
from rx_runat import InvalidSetting, Job, RunAt, settle

first = ops.first()
waits = {}

def wait(function):
    waits[function.__name__] = function

def make(jobs=9, **settings):
    made = RunAt(sys.argv[1], queue_name=threading.current_thread().name, **settings)
    made.on_next([Job(f"k{i}", 0) for i in range(jobs)])
    return made

def until_error(pipeline, **settings):
    errors, ended = [], threading.Event()
    pipeline.subscribe(on_error=lambda error: (errors.append(error), ended.set()), **settings)
    ended.wait()
    raise errors[0]

def loop_scheduler():
    return AsyncIOScheduler(asyncio.get_running_loop())

@wait
async def body_of_async_for():
    queue = make()
    async for _ in queue:
        queue.pipe(first).run()

@wait
async def body_of_async_for_jobs():
    queue = make()
    async for _ in queue.jobs:
        queue.run()

@wait
async def beside_a_subscriber_of_the_event_loop():
    queue = make()
    queue.subscribe(print, scheduler=loop_scheduler())
    queue.pipe(first).run()

@wait
async def beside_an_await():
    queue = make()
    task = asyncio.ensure_future(nothing(queue))
    await asyncio.sleep(0)
    try:
        queue.pipe(first).run()
    finally:
        task.cancel()

async def nothing(queue):
    await queue.pipe(ops.filter(lambda _: False))

@wait
async def coroutine_of_settle():
    claims = make(jobs=1).claims()  # work on a second one could go on after `first`, when its run() may wait

    async def work(claim):
        return claims.pipe(first).run()

    outcome = await claims.pipe(settle(work), first)
    raise outcome.error

@wait
async def coroutine_that_holds_the_only_claim():
    claims = make().claims(max_in_flight=1)

    async def work(claim):
        return claims.pipe(first).run()

    ended = asyncio.get_running_loop().create_future()
    call = asyncio.get_running_loop().call_soon_threadsafe
    claims.pipe(settle(work), first).subscribe(lambda outcome: call(ended.set_result, outcome))
    raise (await ended).error

@wait
async def outcome_on_the_event_loop():
    claims = make().claims()
    await claims.pipe(settle(str), ops.do_action(lambda _: claims.pipe(first).run()))

@wait
async def ticks_on_the_event_loop():
    make(scheduler=loop_scheduler()).run()

@wait
def work_that_holds_the_only_claim():
    claims = make().claims(max_in_flight=1)
    raise claims.pipe(settle(lambda _: claims.run()), first).run().error

@wait
def ticks_on_the_thread():
    scheduler, errors, ended = EventLoopScheduler(), [], threading.Event()
    queue = make(scheduler=scheduler)

    def action(*_):
        try:
            queue.pipe(first).run()
        except BaseException as error:
            errors.append(error)
        ended.set()

    scheduler.schedule(action)
    ended.wait()
    scheduler.dispose()
    raise errors[0]

@wait
def run_with_a_scheduler():
    queue = make()
    until_error(queue.pipe(ops.do_action(lambda _: queue.run(scheduler=NewThreadScheduler()))))

@wait
def errors_of_the_queue():
    queue = make()
    until_error(queue.pipe(ops.do_action(lambda _: queue.errors.run())))

@wait
def await_in_an_on_next():
    queue = make()

    async def main():
        return await queue.pipe(first)

    until_error(queue.pipe(ops.do_action(lambda _: asyncio.run(main()))))

@wait
def async_for_in_an_on_next():
    queue = make()

    async def main():
        async for key in queue:
            return key

    until_error(queue.pipe(ops.do_action(lambda _: asyncio.run(main()))))

def report(wait):
    try:
        asyncio.run(wait()) if asyncio.iscoroutinefunction(wait) else wait()
        ended[wait.__name__] = "returned"
    except InvalidSetting as error:
        ended[wait.__name__] = "refused" if "would wait for ever" in str(error) else str(error)
    except BaseException as error:
        ended[wait.__name__] = repr(error)

ended = {}
threads = [threading.Thread(target=report, args=(each,), name=name, daemon=True) for name, each in waits.items()]
deadline = time.monotonic() + 20
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(max(0, deadline - time.monotonic()))
for name in waits:
    print(name, ended.get(name, "hangs"))
sys.stdout.flush()
os._exit(0)
"""


def test_21_a_run_that_could_not_end_is_refused(server: Server) -> None:
    done = run_script(ENDLESS, server.url)
    ends = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if " " in line)
    assert {name: end for name, end in ends.items() if end != "refused"} == {}, done.stderr
    assert len(ends) == 14


def bad(key: str) -> str:
    if key == "k0":
        raise ValueError(key)
    return key


def settled(queue: RunAt, **settings: Any) -> Any:
    claims = queue.claims(**settings)
    return claims.pipe(settle(lambda _: claims.pipe(ops.first()).run().key), ops.map(lambda outcome: outcome.result))


ENDING: dict[str, Callable[[RunAt], Any]] = {
    "retry": lambda queue: queue.pipe(ops.map(bad), ops.retry()),
    "flat_map": lambda queue: queue.pipe(ops.flat_map(lambda _: queue.pipe(ops.first()))),
    "repeat": lambda queue: queue.pipe(ops.first(), ops.repeat()),
    "catch": lambda queue: queue.pipe(ops.map(bad), ops.catch(queue)),
    "the next claim, in work": settled,
    "the next claim, in one work of two": lambda queue: settled(queue, max_in_flight=2),
    "the queue, in work": lambda queue: queue.claims(max_in_flight=1).pipe(
        settle(lambda _: queue.pipe(ops.first()).run())
    ),
}


@pytest.mark.parametrize("pipeline", ENDING)
def test_a_run_that_can_end_works(make: Callable[..., RunAt], pipeline: str) -> None:
    queue = make()
    # So far apart that work which waits for the next claim subscribes before that one is made, on a busy machine too.
    queue.on_next([Job(f"k{i}", timedelta(seconds=0.03 * i)) for i in range(100)])
    assert ENDING[pipeline](queue).pipe(ops.take(2), ops.count()).run() == 2


def test_run_after_an_async_for_works_on_its_event_loop(make: Callable[..., RunAt]) -> None:
    queue = make()
    queue.on_next([Job("a", 0), Job("b", 0)])

    async def main() -> list[str]:
        key = await anext(aiter(queue))
        return [key, queue.pipe(ops.first()).run()]

    assert asyncio.run(main()) == ["a", "b"]


def test_who_subscribes_in_an_event_loop_inside_an_on_next_without_waiting_gets_the_next_keys(
    make: Callable[..., RunAt],
) -> None:
    queue, got = make(), list[str]()

    async def main() -> None:
        queue.pipe(ops.take(1)).subscribe(got.append)

    queue.pipe(ops.take(1)).subscribe(lambda _: asyncio.run(main()))
    queue.schedule("a", 0)
    queue.schedule("b", timedelta(seconds=0.05))
    wait_until(lambda: got == ["b"], "the second key came")


def test_who_subscribes_below_a_run_of_something_else_gets_the_next_keys(make: Callable[..., RunAt]) -> None:
    queue, got = make(), list[str]()

    def run_other(_: str) -> None:
        rx.of(1).pipe(ops.do_action(lambda _: queue.subscribe(got.append))).run()

    queue.pipe(ops.take(1)).subscribe(run_other)
    queue.schedule("a", 0)
    queue.schedule("b", timedelta(seconds=0.05))
    wait_until(lambda: got == ["b"], "the second key came")


def test_21_run_in_virtual_time_says_who_must_move_the_clock(caplog: pytest.LogCaptureFixture) -> None:
    queue, scheduler = virtual_queue()
    queue.schedule("a", 1)
    got: list[str] = []
    thread = threading.Thread(target=lambda: got.append(queue.pipe(ops.first()).run()))
    thread.start()
    wait_until(lambda: "only if another thread moves the clock" in caplog.text, "the log says so")
    wait_until(lambda: queue._sources.are_claiming, "the thread subscribes")
    scheduler.advance_by(2)
    thread.join()
    assert got == ["a"]


def test_21_a_refused_run_of_settle_leaves_nothing_behind(make: Callable[..., RunAt]) -> None:
    queue = make()
    claims = queue.claims()
    pipeline = claims.pipe(settle(lambda claim: claim.key))
    errors: list[Exception] = []
    claims.subscribe(lambda _: pipeline.run(), errors.append)
    queue.schedule("a", 0)
    wait_until(lambda: errors, "the on_next has failed")
    got: list[Any] = []
    queue.schedule("b", 0)
    pipeline.subscribe(got.append)
    wait_until(lambda: got, "the pipeline works")
    assert len(pipeline._publisher._subscriptions) == 1
