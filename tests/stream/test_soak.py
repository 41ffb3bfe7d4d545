"""Subscribing and leaving, again and again, leaves nothing behind: objects, threads and connections are counted."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import redis
from reactivex import operators as ops

from rx_runat import Claim, Job, RunAt, settle
from rx_runat.queue import inside
from rx_runat.testing import Faults, virtual_queue
from tests.support.waiting import wait_until


def ours() -> Counter[str]:
    """How many objects of each of our classes are alive, and of those of RxPY that our streams are made of."""
    gc.collect()
    names = (f"{type(each).__module__}.{type(each).__name__}" for each in gc.get_objects())
    return Counter(name for name in names if name.startswith(("rx_runat.", "reactivex.")))


def keys(queue: RunAt) -> None:
    queue.subscribe(lambda _: None).dispose()


def jobs(queue: RunAt) -> None:
    queue.jobs.subscribe(lambda _: None).dispose()


def errors(queue: RunAt) -> None:
    queue.errors.subscribe(lambda _: None).dispose()


def claims(queue: RunAt) -> None:
    queue.claims().subscribe(lambda _: None).dispose()


def claims_that_nobody_subscribes_to(queue: RunAt) -> None:
    queue.claims()


def claims_with_work(queue: RunAt) -> None:
    queue.claims().pipe(settle(lambda _: None)).subscribe(lambda _: None).dispose()


def claims_until_one_came(queue: RunAt) -> None:
    queue.on_next(Job("a", 1.0))
    queue.claims().pipe(ops.take(1), ops.do_action(Claim.ack)).run()


def work_until_one_is_done(queue: RunAt) -> None:
    queue.on_next(Job("a", 1.0))
    queue.claims().pipe(settle(lambda _: None), ops.take(1)).run()


def an_async_for(queue: RunAt) -> None:
    queue.on_next(Job("a", 1.0))

    async def one() -> None:
        async for _ in queue:
            return

    asyncio.run(one())


ACTS = [
    keys,
    jobs,
    errors,
    claims,
    claims_that_nobody_subscribes_to,
    claims_with_work,
    claims_until_one_came,
    work_until_one_is_done,
    pytest.param(an_async_for, marks=pytest.mark.slow),  # 0.1 s each, for the end of an event loop
]


@pytest.mark.slow
@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_who_comes_and_goes_leaves_nothing(act: Callable[[RunAt], None], queue: RunAt, client: redis.Redis) -> None:
    def repeat(times: int) -> None:
        for _ in range(times):
            act(queue)
        wait_until(lambda: not inside(queue).sources.are_claiming, "nobody subscribes")
        wait_until(lambda: threading.active_count() == threads, "the threads have ended")

    threads = threading.active_count()
    repeat(5)
    before, connections = ours(), client.info("clients")["connected_clients"]
    repeat(40)
    # Fewer than one of any kind for each repetition; a few of the last one may not have ended yet.
    wait_until(lambda: max((ours() - before).values(), default=0) < 20, f"nothing has grown: {ours() - before}")
    assert client.info("clients")["connected_clients"] <= connections + 5
    assert client.keys("*") == []


@pytest.mark.slow
@pytest.mark.parametrize("act", [keys, jobs, claims, claims_with_work], ids=lambda act: act.__name__)
def test_in_virtual_time_nothing_is_left_either(act: Callable[[RunAt], None]) -> None:
    queue, scheduler = virtual_queue(interval=1)

    def repeat(times: int) -> None:
        for _ in range(times):
            act(queue)
            scheduler.advance_by(1)

    repeat(5)
    before = ours()
    repeat(40)
    assert max((ours() - before).values(), default=0) < 20


def test_a_stream_that_is_refused_again_and_again_leaves_nothing(
    faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rx_runat.model.safe_log._log.disabled", True)  # pytest keeps each error that is logged
    queue, scheduler = virtual_queue(faults=faults)
    faults.refusal = "NOPERM"

    def repeat(times: int) -> None:
        for _ in range(times):
            queue.claims().subscribe(on_error=lambda _: None)
            scheduler.advance_by(1)

    repeat(5)
    before = ours()
    repeat(40)
    assert max((ours() - before).values(), default=0) < 20


def test_a_write_wakes_only_sources_that_tick(monkeypatch: pytest.MonkeyPatch, queue: RunAt) -> None:
    """Else each stream of claims that was ever opened would make every write slower."""
    kept = [queue.claims() for _ in range(20)]
    for each in kept:
        each.subscribe(lambda _: None).dispose()
    wait_until(lambda: not inside(queue).sources.are_claiming, "nobody subscribes")
    woken: list[Any] = []
    monkeypatch.setattr("rx_runat.stream.source.Source.wake_for", lambda self, _: woken.append(self))
    wait_until(lambda: not inside(queue).sources._ticking, "nothing ticks")
    queue.schedule("a", 4e9)
    assert woken == []
    kept[7].subscribe(lambda _: None)
    queue.schedule("a", 4e9)
    assert len(woken) == 1


def test_a_stream_of_claims_that_nobody_references_goes_on_for_its_subscriber() -> None:
    queue, scheduler = virtual_queue()
    got: list[str] = []
    queue.claims().subscribe(lambda claim: got.append(claim.key))
    gc.collect()
    queue.schedule("a", 1)
    scheduler.advance_to(2)
    assert got == ["a"]


def test_a_stream_of_claims_that_rests_when_the_queue_stops_completes_who_subscribes_later(queue: RunAt) -> None:
    kept = [queue.claims(), queue.claims()]
    kept[0].subscribe(lambda _: None).dispose()
    queue.stop()
    ended: list[str] = []
    for each in kept:
        each.subscribe(on_completed=lambda: ended.append("completed"))
    assert ended == ["completed"] * 2
