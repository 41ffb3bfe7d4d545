"""A queue belongs to its process: who sends it to another one is told so, and what to do."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from rx_runat import Due, Job, RunAt, settle
from rx_runat.testing import virtual_queue

STREAMS: dict[str, Callable[[RunAt], Any]] = {
    "the queue": lambda queue: queue,
    "its jobs": lambda queue: queue.jobs,
    "its errors": lambda queue: queue.errors,
    "its claims": lambda queue: queue.claims(),
    "its dead letters": lambda queue: queue.dead,
}


@pytest.mark.parametrize("what", STREAMS)
@pytest.mark.parametrize("act", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_queue_cannot_be_pickled_or_copied_and_says_what_to_do(what: str, act: Callable[[Any], Any]) -> None:
    queue, _ = virtual_queue(queue_name="jobs")
    with pytest.raises(TypeError, match=r"<RunAt 'jobs' on memory://>.* cannot be pickled or copied.*make a RunAt"):
        act(STREAMS[what](queue))


def work(_: object) -> None: ...


def test_a_process_that_is_given_a_queue_does_not_start() -> None:
    queue, _ = virtual_queue()
    process = multiprocessing.get_context("spawn").Process(target=work, args=(queue,))
    with pytest.raises(TypeError, match="cannot be pickled or copied"):
        process.start()


def test_what_a_queue_gives_can_be_pickled_but_for_claims() -> None:
    queue, scheduler = virtual_queue()
    queue.schedule("a", 1)
    dues: list[Due] = []
    claims: list[Any] = []
    queue.jobs.subscribe(dues.append)
    scheduler.advance_to(1)
    queue.schedule("b", 2)
    queue.claims().pipe(settle(claims.append)).subscribe()
    for value in (dues[0], Job("a", timedelta(seconds=1))):
        assert pickle.loads(pickle.dumps(value)) == value
