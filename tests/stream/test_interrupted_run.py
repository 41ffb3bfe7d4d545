"""A `run()` that is interrupted leaves no subscription that takes keys."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import reactivex as rx
from reactivex import Observable
from reactivex import operators as ops

from rx_runat import Job, RunAt, settle
from rx_runat.stream.interrupted_run import _Wait
from tests.support.servers import Server
from tests.support.waiting import wait_until

KEYS = [f"k{n:02}" for n in range(20)]

Pipeline = Callable[[RunAt, list[str]], Observable[Any]]

PIPELINES: dict[str, Pipeline] = {
    "operators": lambda queue, got: queue.pipe(ops.map(str), ops.do_action(got.append)),
    "due": lambda queue, got: queue.jobs.pipe(ops.do_action(lambda due: got.append(due.key))),
    "merged": lambda queue, got: rx.merge(rx.never(), queue).pipe(ops.do_action(got.append)),
    "many": lambda queue, got: rx.range(2_000).pipe(ops.flat_map(lambda _: queue), ops.do_action(got.append)),
    "claims": lambda queue, got: queue.claims().pipe(ops.do_action(lambda claim: got.append(claim.key))),
    "settle": lambda queue, got: queue.claims().pipe(settle(lambda claim: got.append(claim.key))),
}


def main_waits() -> bool:
    """True if the main thread has come to the wait of a `run()`: an interrupt before it ends nothing."""
    frame = sys._current_frames()[threading.main_thread().ident or 0]
    return any(each.f_code is _Wait.__call__.__code__ for each, _ in traceback.walk_stack(frame))


@pytest.fixture
def interrupt() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Sends SIGINT to this process when a condition is true and its main thread waits in `run`, from another thread."""
    threads: list[threading.Thread] = []
    pause = threading.Event()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background process ignores it

    def when(condition: Callable[[], object]) -> None:
        def send() -> None:
            wait_until(lambda: condition() and main_waits(), "the interrupt may come")
            while main_waits():  # one that comes just when the wait of a lock begins is seen when that wait ends
                os.kill(os.getpid(), signal.SIGINT)
                pause.wait(1)

        threads.append(threading.Thread(target=send))
        threads[-1].start()

    yield when
    pause.set()
    for thread in threads:
        thread.join()
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("name", PIPELINES)
def test_a_run_that_is_interrupted_takes_no_more_keys(
    name: str, server: Server, interrupt: Callable[[Callable[[], object]], None]
) -> None:
    got: list[str] = []
    with RunAt(server.url) as queue, RunAt(server.url) as other:
        queue.schedule("first", 0)
        interrupt(lambda: "first" in got)
        with pytest.raises(KeyboardInterrupt):
            PIPELINES[name](queue, got).run()
        other.on_next([Job(key, 0) for key in KEYS])
        assert other.pipe(ops.take(len(KEYS)), ops.to_list()).run() == KEYS
    assert set(got) == {"first"}


def test_what_an_interrupted_run_has_claimed_goes_back(
    server: Server, interrupt: Callable[[Callable[[], object]], None]
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(_: object) -> None:
        begun.set()
        go_on.wait()

    with RunAt(server.url) as queue:
        queue.on_next([Job(key, 0) for key in KEYS])
        interrupt(begun.is_set)
        with pytest.raises(KeyboardInterrupt):
            queue.claims(max_in_flight=10).pipe(settle(work, max_concurrent=1)).run()
        wait_until(lambda: queue.size() == len(KEYS) - 1, "the claims whose work has not begun went back")
        go_on.set()
        wait_until(lambda: queue.stats().claimed == 0, "the work that had begun is acked")
        assert queue.size() == len(KEYS) - 1


def test_a_run_that_ends_by_itself_disposes_of_nothing_else(server: Server) -> None:
    """Another subscriber of the same queue stays, whatever ends the `run()` beside it."""
    got: list[str] = []
    with RunAt(server.url) as queue:
        queue.subscribe(got.append)
        then = rx.defer(lambda _: rx.just(queue.schedule("a", 0)).pipe(ops.ignore_elements()))  # when both subscribe
        assert queue.pipe(ops.merge(then), ops.first()).run() == "a"
        queue.schedule("b", 0)
        wait_until(lambda: got == ["a", "b"], "the other subscriber goes on")
