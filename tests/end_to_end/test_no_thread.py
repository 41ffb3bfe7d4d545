"""Where no thread can be started, whoever subscribes is told, and later subscriptions work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
from reactivex import operators as ops

from rx_runat import Claim, Job, RunAt, settle
from rx_runat.model.monotonic import monotonic
from rx_runat.stream.outage import backoff
from tests.support.script import run_script
from tests.support.servers import Server
from tests.support.waiting import wait_until


@contextmanager
def no_thread(monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[None]:
    """No thread of this name can be started, as where the number of processes is limited."""
    start = threading.Thread.start

    def fails(thread: threading.Thread) -> None:
        if thread.name.endswith(name):
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fails)
        yield


STREAMS: dict[str, Callable[[RunAt], Any]] = {
    "queue": lambda queue: queue.jobs,
    "claims": lambda queue: queue.claims(),
    "settle": lambda queue: queue.claims(lease=1).pipe(settle(lambda claim: claim.key)),
}
THREADS = [
    ("queue", "RunAt~default"),
    ("queue", "listener"),
    ("claims", "RunAt~default"),
    ("claims", "listener"),
    ("settle", "RunAt~default"),
    ("settle", "listener"),
    ("settle", "outcomes"),
    ("settle", "leases"),
    ("settle", "work"),
]


@pytest.mark.parametrize("stream, name", THREADS)
def test_21_a_thread_that_cannot_be_started_ends_the_stream_with_an_error(
    make: Callable[..., RunAt], monkeypatch: pytest.MonkeyPatch, stream: str, name: str
) -> None:
    queue = make()
    pipeline = STREAMS[stream](queue)
    errors: list[Exception] = []
    got: list[Any] = []
    with no_thread(monkeypatch, name):
        pipeline.subscribe(got.append, errors.append)
        queue.schedule("a", 0)
        wait_until(lambda: errors, "the subscriber is told")
        assert [str(error) for error in errors] == ["can't start new thread"]
    before = len(got)
    pipeline.subscribe(got.append, errors.append)
    queue.schedule("b", 0)
    wait_until(lambda: len(got) > before, "a new subscription works")
    queue.stop()
    assert len(errors) == 1


def test_21_a_retry_without_a_thread_pauses_and_works_when_one_can_be_started(
    make: Callable[..., RunAt], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rx_runat.stream.outage.FIRST_BACKOFF", 0.01)
    queue = make()
    told: list[float] = []
    got: list[str] = []

    def note(_: Exception) -> None:
        told.append(monotonic())

    retried = queue.pipe(ops.do_action(on_error=note), ops.retry())
    retrying = threading.Thread(target=lambda: retried.subscribe(got.append))
    with no_thread(monkeypatch, "RunAt~default"):
        retrying.start()
        wait_until(lambda: len(told) > 3, "it was told four times")
        pauses = [after - before for before, after in pairwise(told)]
        assert all(pause > 0.9 * backoff(i) for i, pause in enumerate(pauses))
    retrying.join()
    queue.schedule("a", 0)
    wait_until(lambda: got == ["a"], "the key came")


def test_21_acks_without_a_thread_end_the_stream_and_stop_returns(
    make: Callable[..., RunAt], monkeypatch: pytest.MonkeyPatch, go_on: threading.Event
) -> None:
    queue = make()
    errors: list[Exception] = []
    begun = threading.Event()

    def work(claim: Claim) -> None:
        begun.set()
        go_on.wait(20)

    claims = queue.claims()
    claims.pipe(settle(work)).subscribe(on_error=errors.append)
    queue.schedule("a", 0)
    begun.wait(20)
    manager = claims._publisher.publisher._claiming
    manager.thread._loop.dispose()  # as if its thread had ended, which happens where nothing is planned
    manager.thread._loop.join()
    manager.thread._loop._is_disposed, manager.thread._loop._thread = False, None
    with no_thread(monkeypatch, "leases"):
        go_on.set()
        wait_until(lambda: errors, "the subscriber is told")
        queue.stop()
    assert [str(error) for error in errors] == ["can't start new thread"]


# The limit counts the processes of a user, and root is exempt, so root becomes another user. What that user could not
# import from root's home is imported by the first use.
LIMITED = """
import os, resource, sys, threading
from reactivex import operators as ops
from rx_runat import RunAt, settle

STREAMS = {
    "queue": lambda queue: queue.pipe(ops.map(str)),
    "claims": lambda queue: queue.claims().pipe(ops.map(lambda claim: claim.key)),
    "settle": lambda queue: queue.claims().pipe(settle(str), ops.map(lambda outcome: outcome.claim.key)),
}

def limit(soft):
    resource.setrlimit(resource.RLIMIT_NPROC, (soft, most))

for stream in STREAMS:
    with RunAt(sys.argv[1], queue_name=f"first use of {stream}") as queue:
        queue.schedule("a", 0)
        STREAMS[stream](queue).pipe(ops.first()).run()
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
most = resource.getrlimit(resource.RLIMIT_NPROC)[1]
limit(1)
try:
    threading.Thread(target=print, daemon=True).start()
    print("no limit holds here")
except RuntimeError as error:
    print(error)
for stream in STREAMS:
    limit(1)
    with RunAt(sys.argv[1], queue_name=stream) as queue:
        errors, got, came = [], [], threading.Event()
        STREAMS[stream](queue).subscribe(got.append, errors.append)
        limit(most)
        STREAMS[stream](queue).pipe(ops.take(1)).subscribe(got.append, errors.append, came.set)
        queue.schedule("a", 0)
        came.wait(20)
        print(stream, *errors, *got)
"""


def test_21_under_a_real_limit_of_threads_whoever_subscribes_is_told_and_later_works() -> None:
    server = Server("--unixsocketperm", "777")
    server.home.chmod(0o711)
    try:
        done = run_script(LIMITED, server.url)
    finally:
        server.end()
    no_thread = "can't start new thread"
    assert done.stdout.splitlines() == [no_thread, *(f"{stream} {no_thread} a" for stream in STREAMS)], done.stderr


@pytest.mark.parametrize("interval", [1e10, 1e300, 1e6])
def test_21_keys_come_though_the_interval_is_longer_than_any_clock_can_wait(
    make: Callable[..., RunAt], interval: float
) -> None:
    queue = make(interval=interval)
    got: list[str] = []
    queue.subscribe(got.append)
    queue.on_next(Job("a", 0))
    wait_until(lambda: got == ["a"], "the key came")
