"""Promise 24: in a forked child an inherited queue works as a new one, or says in words why it does not.

The parent is the process of the tests: its queues have threads, locks and connections at the moment of the fork.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import redis
from reactivex import Observable
from reactivex import operators as ops
from reactivex.abc import SchedulerBase
from reactivex.scheduler import (
    EventLoopScheduler,
    ImmediateScheduler,
    NewThreadScheduler,
    ThreadPoolScheduler,
    TimeoutScheduler,
)
from reactivex.scheduler.eventloop import AsyncIOThreadSafeScheduler

from rx_runat import Claim, Job, Outcome, OutcomeUnknown, Refused, RunAt, Stopped, Unavailable, settle
from rx_runat.drawing.poller import Poller
from rx_runat.drawing.scene import Scene
from rx_runat.notebook.fresh import fresh
from rx_runat.notebook.marbles import marbles
from rx_runat.testing import virtual_queue
from tests.support.forks import LONGEST, Forked, in_child, limit_here
from tests.support.jobs import overdue_jobs
from tests.support.servers import Server
from tests.support.waiting import wait_until

# From Python 3.12 on, a fork in a process with threads warns.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")]
Q = "RunAt~default"


def got(stream: Observable[Any], n: int = 1) -> list[Any]:
    """Returns the first n values of a stream."""
    values: list[Any] = []
    subscription = stream.subscribe(values.append)
    wait_until(lambda: len(values) >= n, f"{n} values came")
    subscription.dispose()
    return values


def left(client: redis.Redis) -> list[str]:
    return [member.decode() for member in client.zrange(Q, 0, -1)]


# The child receives, and so does the parent.


def test_24_parent_and_child_share_the_keys(make: Callable[..., RunAt], client: redis.Redis) -> None:
    queue = make()
    mine: list[str] = []
    queue.subscribe(mine.append)
    queue.schedule("before", 1.0)
    wait_until(lambda: mine, "the parent receives")

    def receive() -> list[str]:
        with queue:
            return got(queue, 10)

    child = Forked(receive)
    scheduled = ["before"]
    names = (f"k{i}" for i in count())
    while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        scheduled.append(next(names))
        queue.schedule(scheduled[-1], 1.0)
    theirs = child.result()
    wait_until(lambda: len(mine) + len(theirs) == len(scheduled), "all keys came")
    assert Counter(mine + theirs) == Counter(scheduled)
    assert len(theirs) >= 10


STREAMS: dict[str, Callable[[RunAt], Observable[str]]] = {
    "queue": lambda queue: queue,
    "operators": lambda queue: queue.pipe(ops.filter(bool), ops.map(str)),
    "jobs": lambda queue: queue.jobs.pipe(ops.map(lambda due: due.key)),
    "claims": lambda queue: queue.claims().pipe(ops.filter(Claim.ack), ops.map(lambda claim: claim.key)),
    "settle": lambda queue: queue.claims().pipe(settle(lambda claim: claim.key), ops.map(lambda each: each.result)),
}


@pytest.mark.parametrize("is_subscribed", [False, True])
@pytest.mark.parametrize("stream", STREAMS.values(), ids=list(STREAMS))
def test_24_a_stream_that_was_made_before_the_fork_receives_after_it(
    stream: Callable[[RunAt], Observable[str]], is_subscribed: bool, make: Callable[..., RunAt], client: redis.Redis
) -> None:
    queue = make()
    made = stream(queue)
    mine: list[str] = []
    if is_subscribed:
        subscription = made.subscribe(mine.append)
        queue.schedule("a", 1.0)
        wait_until(lambda: mine == ["a"] and not client.exists(Q), "the parent receives")
        subscription.dispose()

    def receive() -> list[str]:
        queue.schedule("b", 1.0)
        keys = got(made)
        queue.stop()
        return keys

    assert in_child(receive) == ["b"]
    wait_until(lambda: client.keys("*b*") == [], "the child left nothing")
    made.subscribe(mine.append)
    queue.schedule("c", 1.0)
    wait_until(lambda: mine[-1:] == ["c"], "the parent receives again")


def test_24_the_verbs_and_the_dead_letters_work_in_a_child(make: Callable[..., RunAt]) -> None:
    queue = make()
    dead = queue.dead
    queue.schedule("a", 2e9)

    def use() -> list[Any]:
        said = [queue.when("a"), queue.size(), [due.key for due in queue.peek()], queue.cancel("a"), dead.size()]
        queue.on_next([Job("b", 1.0)])
        assert got(queue.claims().pipe(ops.map(lambda claim: claim.bury("given up")))) == [True]
        return [*said, [letter.key for letter in dead.peek()], dead.revive("b"), repr(queue)]

    when = queue.when("a")
    assert in_child(use) == [when, 1, ["a"], True, 0, ["b"], 1, repr(queue)]
    assert [due.key for due in queue.peek()] == ["b"]


def test_24_a_child_hears_of_outages_on_errors(make: Callable[..., RunAt], own_server: Server) -> None:
    queue = make(own_server.client(socket_timeout=1), interval=0.05)
    errors = queue.errors
    queue.subscribe(lambda _: None)

    def hear() -> str:
        heard: list[Any] = []
        errors.subscribe(heard.append)
        queue.subscribe(lambda _: None)
        wait_until(lambda: heard, "it hears of the outage")
        return type(heard[0]).__name__

    child = Forked(hear)
    own_server.kill()
    assert child.result() in ("Unavailable", "OutcomeUnknown")


def test_24_children_of_children(make: Callable[..., RunAt]) -> None:
    queue = make()
    queue.subscribe(lambda _: None)

    def receive_below() -> Any:
        subscription = queue.subscribe(lambda _: None)
        below = in_child(lambda: (queue.schedule("b", 3e9).timestamp(), queue.size()))
        subscription.dispose()
        return (*below, queue.size())

    assert in_child(receive_below) == (3e9, 1, 1)


@pytest.mark.parametrize("kind", [EventLoopScheduler, NewThreadScheduler, partial(ThreadPoolScheduler, 1)])
def test_24_a_queue_on_a_scheduler_with_threads_of_its_own(
    kind: Callable[[], SchedulerBase], make: Callable[..., RunAt]
) -> None:
    """The threads of the user's scheduler are not there any more."""
    scheduler = kind()
    queue = make(scheduler=scheduler)
    queue.schedule("a", 1.0)
    assert got(queue) == ["a"]

    def receive() -> list[str]:
        queue.schedule("b", 1.0)
        return got(queue)

    assert in_child(receive) == ["b"]
    queue.stop()


def test_24_a_queue_on_an_event_loop(make: Callable[..., RunAt]) -> None:
    """Nobody runs the parent's event loop in the child."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    queue = make(scheduler=AsyncIOThreadSafeScheduler(loop))

    def receive() -> list[str]:
        queue.schedule("b", 1.0)
        return got(queue)

    assert in_child(receive) == ["b"]
    queue.stop()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_24_a_stopped_queue_stays_stopped(make: Callable[..., RunAt]) -> None:
    queue = make()
    queue.subscribe(lambda _: None)
    queue.stop()

    def use() -> bool:
        completed = threading.Event()
        queue.subscribe(on_completed=completed.set)
        with pytest.raises(Stopped):
            queue.size()
        queue.stop()
        return completed.is_set()

    assert in_child(use)


# No lock of the parent's is waited for.


def test_24_a_child_stops_while_the_parents_handler_is_busy(make: Callable[..., RunAt]) -> None:
    queue = make()
    goes_on, begun = threading.Event(), threading.Event()
    queue.subscribe(lambda _: (begun.set(), goes_on.wait(LONGEST)))
    queue.claims().pipe(settle(lambda _: goes_on.wait(LONGEST))).subscribe()
    queue.on_next(overdue_jobs(200))  # more than the claims take
    try:
        assert begun.wait(20)

        def stop() -> bool:
            with queue:
                queue.subscribe(lambda _: None)
            return True

        assert in_child(stop)
    finally:
        goes_on.set()


def test_24_forty_children_of_a_busy_parent_all_get_through(make: Callable[..., RunAt], client: redis.Redis) -> None:
    queue = make(interval=0.01)
    enough = threading.Event()
    done: list[str] = []

    def write(name: str) -> None:
        for i in count():
            queue.schedule(f"{name}{i}", 1.0)
            queue.when(name)
            if enough.is_set():
                return

    queue.subscribe(lambda _: None)
    queue.claims().pipe(settle(lambda claim: claim.key)).subscribe(lambda outcome: done.append(outcome.result))
    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()

    def child(n: int) -> str:
        with queue:
            queue.schedule(f"child {n}", 4e9)
            queue.subscribe(lambda _: None)
            queue.claims().pipe(settle(lambda claim: claim.key)).subscribe()
            assert queue.when(f"child {n}") is not None
            queue.cancel(f"child {n}")
        return "done"

    try:
        assert [in_child(lambda n=n: child(n)) for n in range(40)] == ["done"] * 40  # type: ignore[misc]
    finally:
        enough.set()
        for thread in threads:
            thread.join()
    wait_until(lambda: not client.exists(Q), "the parent works on")


@pytest.mark.parametrize("scheduler", [ImmediateScheduler, TimeoutScheduler])
def test_24_no_lock_of_rxpys_singletons_is_waited_for(scheduler: Any, make: Callable[..., RunAt]) -> None:
    queue = make()
    queue.schedule("a", 1.0)
    with scheduler._lock:
        assert in_child(lambda: got(queue.pipe(ops.delay(0.01)))) == ["a"]


# What belongs to the parent stays the parent's.


def test_24_a_claim_from_before_the_fork_is_the_parents(make: Callable[..., RunAt]) -> None:
    queue = make()
    queue.schedule("a", 1.0)
    (claim,) = got(queue.claims())

    def settle_it() -> list[str]:
        said: list[str] = []
        for verb in (claim.ack, claim.nack, lambda: claim.bury("x"), lambda: claim.extend(10)):
            with pytest.raises(Refused, match="fork") as refused:
                verb()
            said.append(str(refused.value))
        return said

    assert len(in_child(settle_it)) == 4
    assert claim.ack()


def test_24_to_dispose_in_the_child_does_nothing(make: Callable[..., RunAt], client: redis.Redis) -> None:
    """Nor does a finalizer, nor the end of the child: the parent's connections stay as they are."""
    queue = make()
    mine: list[Any] = []
    acked: list[Any] = []
    subscriptions = [
        queue.subscribe(mine.append),
        queue.errors.subscribe(mine.append),
        queue.claims().pipe(settle(str)).subscribe(acked.append),
    ]
    queue.schedule("a", 1.0)
    wait_until(lambda: not queue.size(), "it is received")

    def connections() -> set[str]:
        return {each["id"] for each in client.client_list()}

    before = connections()

    def dispose() -> bool:
        for subscription in subscriptions:
            subscription.dispose()
        del subscriptions[:]
        gc.collect()
        return True

    assert in_child(dispose)
    size, settled = len(mine), len(acked)
    for key in map(str, count()):
        queue.schedule(key, 1.0)
        wait_until(lambda: queue.size() == 0, "the parent receives it, in one of its two ways")
        if len(mine) > size and len(acked) > settled:
            break
    assert before <= connections()


def test_24_an_iterator_from_before_the_fork_ends(make: Callable[..., RunAt]) -> None:
    queue = make()
    begun: list[AsyncIterator[str]] = [queue.__aiter__(), queue.jobs.__aiter__()]  # type: ignore[list-item]
    queue.schedule("a", 1.0)

    async def first() -> str:
        return await anext(begun[0])

    assert asyncio.run(first()) == "a"

    def iterate() -> list[str]:
        async def all_of(iterator: AsyncIterator[str]) -> list[str]:
            return [key async for key in iterator]

        ended = [key for each in begun for key in asyncio.run(all_of(each))]

        async def anew() -> str:
            queue.schedule("b", 1.0)
            async for key in queue:
                return key
            return "nothing"

        return [*ended, asyncio.run(anew())]

    assert in_child(iterate) == ["b"]


def test_24_a_handler_that_forks_and_returns_ends_the_child_and_doubles_no_key(
    make: Callable[..., RunAt], client: redis.Redis
) -> None:
    """In the child its thread is the only one, and goes back to where the parent's source called it."""
    queue = make()
    mine: list[str] = []
    children: list[int] = []
    reading, writing = os.pipe()

    def receive(key: str) -> None:
        mine.append(key)
        if len(mine) == 200:
            pid = os.fork()
            if pid:
                children.append(pid)
        if not children and len(mine) > 199:
            os.write(writing, f"{key} ".encode())

    queue.subscribe(receive)
    queue.on_next(overdue_jobs(1000))
    wait_until(lambda: len(mine) == 1000, "the parent received all")
    os.close(writing)
    wait_until(lambda: os.waitpid(children[0], os.WNOHANG)[0], "the child has ended")
    with open(reading) as pipe:
        assert pipe.read().split() == [mine[199]]
    assert Counter(mine) == Counter(job.key for job in overdue_jobs(1000))


@pytest.mark.parametrize("place", ["work", "on_next"])
def test_24_where_settle_forks_and_returns_the_child_does_nothing_and_ends(
    place: str, make: Callable[..., RunAt], client: redis.Redis
) -> None:
    """What waits for a worker or for the subscriber is the parent's, and so is what the log says about it."""
    queue = make()
    outcomes: set[str] = set()
    children: list[int] = []
    ended: list[int] = []
    reading, writing = os.pipe()

    def here(where: str, key: str) -> None:
        if children == [0]:
            os.write(writing, f"{where} {key}, ".encode())
        elif key == "k003" and where == place:
            children.append(os.fork())
            if children == [0]:
                limit_here(10)

    def slowly() -> None:
        time.sleep(0.002)  # so that others wait

    def work(claim: Claim) -> str:
        if place == "work":
            slowly()
        here("work", claim.key)
        if claim.key > "k150":
            raise ValueError("which is logged")
        return claim.key

    def receive(outcome: Outcome[str]) -> None:
        outcomes.add(outcome.claim.key)
        if place == "on_next":
            slowly()
        here("on_next", outcome.claim.key)

    handler = logging.Handler()
    handler.emit = lambda record: here("log", record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("rx_runat").addHandler(handler)
    try:
        settled = queue.claims().pipe(settle(work, backoff=lambda _: 1e6, max_concurrent=1))
        settled.subscribe(receive, lambda error: here("on_error", str(error)), lambda: here("on_completed", ""))
        queue.on_next([Job(f"k{i:03}", 1.0) for i in range(200)])
        wait_until(lambda: len(outcomes) == 200, "the parent works on")
        os.close(writing)
        wait_until(lambda: ended.extend(os.waitpid(children[0], os.WNOHANG)) or ended[-2], "the child has ended")
    finally:
        logging.getLogger("rx_runat").removeHandler(handler)
    with open(reading) as pipe:
        assert (pipe.read(), ended[-1]) == ("", 0)
    queue.stop()
    assert left(client) == [f"k{i:03}" for i in range(151, 200)]


def test_24_a_handler_may_start_a_process_that_uses_the_queue(make: Callable[..., RunAt]) -> None:
    queue = make()
    context = multiprocessing.get_context("fork")
    outcomes: list[str] = []

    def work(claim: Claim) -> int | None:
        process = context.Process(target=lambda: queue.schedule(f"from {claim.key}", 4e9))
        process.start()
        process.join()
        return process.exitcode

    queue.claims().pipe(settle(work)).subscribe(lambda outcome: outcomes.append(f"{outcome.result}"))
    queue.on_next(overdue_jobs(3))
    wait_until(lambda: len(outcomes) == 3, "all is done")
    assert (outcomes, queue.size()) == (["0"] * 3, 3)


SCRIPT = textwrap.dedent(
    """
    import os, sys, threading
    from rx_runat import RunAt, settle
    queue = RunAt(sys.argv[1])
    def say(key):
        os.write(1, f"{key} ".encode())
    if sys.argv[2] == "subscribed":
        queue.subscribe(say)
        queue.claims().pipe(settle(lambda claim: say(claim.key))).subscribe()
    pid = os.fork()
    if pid == 0:
        some = threading.Event()
        queue.subscribe(lambda key: (say(key), some.set()))
        queue.claims(lease=60).subscribe(lambda claim: (say(claim.key), claim.ack()))
        some.wait(20)
        sys.exit(7)
    status = os.waitpid(pid, 0)[1]
    queue.stop()
    sys.exit(os.waitstatus_to_exitcode(status))
    """
)


@pytest.mark.parametrize("parent", ["idle", "subscribed"])
def test_24_a_child_that_exits_hands_back_what_it_holds(
    parent: str, server: Server, client: redis.Redis, queue: RunAt
) -> None:
    keys = [job.key for job in overdue_jobs(2000)]
    queue.on_next(overdue_jobs(2000))
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, server.url, parent], capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.returncode, run.stderr) == (7, "")
    assert Counter(run.stdout.split() + left(client)) == Counter(keys)
    assert {*client.scan_iter()} <= {Q.encode()}


@pytest.mark.parametrize("end", ["returns", "exits", "raises"])
def test_24_a_child_of_multiprocessing_hands_back_what_it_holds(
    end: str, make: Callable[..., RunAt], client: redis.Redis
) -> None:
    """It ends without `atexit`."""
    queue = make()
    queue.on_next(overdue_jobs(2000))
    reading, writing = os.pipe()

    def work() -> None:
        some = threading.Event()
        limit_here(LONGEST)
        os.close(2)  # of a child that raises, a traceback is to be expected
        os.open(os.devnull, os.O_WRONLY)
        queue.subscribe(lambda key: (os.write(writing, f"{key} ".encode()), some.set()))
        queue.claims(lease=60).subscribe(lambda claim: (os.write(writing, f"{claim.key} ".encode()), claim.ack()))
        some.wait(20)
        if end == "exits":
            sys.exit(1)
        if end == "raises":
            raise ValueError("as expected")

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    os.close(writing)
    with open(reading) as pipe:
        received = pipe.read().split()
    process.join()
    assert process.exitcode == (0 if end == "returns" else 1)
    assert Counter(received + left(client)) == Counter(job.key for job in overdue_jobs(2000))
    assert {*client.scan_iter()} <= {Q.encode()}


# Servers that belong to a process.


@pytest.fixture
def embedded() -> Iterator[RunAt]:
    with RunAt("embedded://") as queue:
        yield queue


def test_24_a_child_uses_the_parents_embedded_server_and_never_ends_it(embedded: RunAt) -> None:
    def use() -> int:
        with embedded:
            embedded.schedule("a", 4e9)
            return embedded.size()

    assert in_child(use) == 1
    assert embedded.size() == 1
    assert in_child(use) == 1


def test_24_a_child_that_uses_the_server_may_outlive_the_parents_queue() -> None:
    queue = RunAt("embedded://")
    reading, writing = os.pipe()

    def use() -> int:
        queue.schedule("a", 4e9)
        os.write(writing, b"joined")
        with open(end) as pipe:
            pipe.read()
        with queue:
            return queue.size()

    end, ends = os.pipe()
    child = Forked(lambda: (os.close(ends), use())[1])
    os.close(writing)
    assert os.read(reading, 6) == b"joined"
    os.close(reading)
    queue.stop()
    os.close(ends)
    os.close(end)
    assert child.result() == 1


def test_24_a_child_that_comes_too_late_for_the_embedded_server_hears_it_in_words() -> None:
    queue = RunAt("embedded://")
    end, ends = os.pipe()
    reading, writing = os.pipe()

    def use() -> str:
        os.close(ends)
        os.write(writing, b"forked")
        with open(end) as pipe:
            pipe.read()
        with pytest.raises(Unavailable, match="last user") as unavailable:
            queue.size()
        assert not isinstance(unavailable.value, OutcomeUnknown)
        queue.stop()
        return "heard"

    child = Forked(use)
    os.close(writing)
    assert os.read(reading, 6) == b"forked"  # before that, it may still hold the parent's locks, and so be a user
    os.close(reading)
    queue.stop()
    os.close(ends)
    os.close(end)
    assert child.result() == "heard"


@pytest.mark.parametrize("dir_name", ["short", "long" * 30])
def test_24_a_child_starts_the_durable_server_again_that_ended_without_it(dir_name: str, tmp_path: Path) -> None:
    queue = RunAt(f"embedded://{tmp_path / dir_name}")
    queue.schedule("a", 4e9)
    end, ends = os.pipe()

    def use() -> list[str]:
        os.close(ends)
        with open(end) as pipe:
            pipe.read()
        with queue:
            queue.schedule("b", 1.0)
            return [*got(queue), *(due.key for due in queue.peek())]

    child = Forked(use)
    queue.stop()
    wait_until(lambda: not (tmp_path / dir_name / "socket").exists(), "the server has ended")
    os.close(ends)
    os.close(end)
    assert child.result() == ["b", "a"]


def test_24_a_child_keeps_no_server_alive_that_another_thread_was_starting() -> None:
    """Its locks are open files, and a child inherits those."""
    held: set[str] = set()
    begun, started = threading.Event(), threading.Event()

    def start() -> None:
        begun.set()
        with RunAt("embedded://"):
            started.set()

    def locks() -> set[str]:
        links = {os.path.realpath(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")}
        return {link for link in links if Path(link).name in ("users", "server.lock", "watchdog")}

    before = locks()
    thread = threading.Thread(target=start)
    thread.start()
    begun.wait()
    while not started.is_set():
        held |= in_child(locks) - before
    thread.join()
    assert held == set()


@pytest.mark.parametrize("url", ["memory://", "memory://shared"])
def test_24_a_queue_in_memory_is_refused_in_the_child(url: str) -> None:
    with RunAt(url) as queue:
        queue.schedule("a", 4e9)
        queue.subscribe(lambda _: None)

        def use() -> list[str]:
            errors: list[Exception] = []
            queue.subscribe(lambda _: None, errors.append)
            queue.claims().subscribe(lambda _: None, errors.append)
            wait_until(lambda: len(errors) == 2, "the streams end")
            for verb in (queue.size, lambda: queue.schedule("b", 1.0), queue.dead.size):
                with pytest.raises(Refused) as refused:
                    verb()
                errors.append(refused.value)
            queue.stop()
            with RunAt(url) as another:
                assert another.size() == 0  # a new one begins empty
                another.schedule("c", 1.0)
                assert got(another) == ["c"]
            return [type(each).__name__ for each in errors if "fork" in str(each)]

        assert in_child(use) == ["Refused"] * 5
        assert queue.size() == 1
        assert in_child(lambda: RunAt(url).size()) == 0


def test_24_a_queue_in_virtual_time_is_refused_in_the_child() -> None:
    queue, scheduler = virtual_queue()
    queue.schedule("a", 1.0)

    def use() -> bool:
        errors: list[Exception] = []
        queue.subscribe(lambda _: None, errors.append)
        scheduler.advance_by(2)
        return "fork" in str(errors)

    assert in_child(use)
    keys: list[str] = []
    queue.subscribe(keys.append)
    scheduler.advance_by(2)
    assert keys == ["a"]


@pytest.mark.parametrize("stream", [lambda queue: queue, lambda queue: queue.claims()], ids=["keys", "claims"])
def test_24_a_handler_that_forks_in_virtual_time_ends_the_childs_look(stream: Callable[[RunAt], Any]) -> None:
    queue, scheduler = virtual_queue()
    children: list[int] = []

    def receive(_: object) -> None:
        children.append(os.fork())
        if children == [0]:
            limit_here(10)

    stream(queue).subscribe(receive)
    queue.schedule("a", 1.0)
    try:
        scheduler.advance_by(2)
    finally:
        if children == [0]:
            os._exit(0)
    assert os.waitpid(children[0], 0)[1] == 0


# Notebooks.


def test_24_what_records_or_draws_a_queue_hangs_in_no_child(make: Callable[..., RunAt]) -> None:
    queue = make()
    queue.schedule("a", 4e9)
    recording = marbles(60, {"keys": queue})
    poller = Poller(queue, Scene("title", 1e4, None), lambda _: None)
    poller.start()
    begun, goes_on = threading.Event(), threading.Event()
    making = threading.Thread(
        target=fresh, args=("stuck", lambda: (begun.set(), goes_on.wait(LONGEST), queue.subscribe())[2])
    )
    making.start()
    begun.wait()

    def use() -> list[Any]:
        said = [recording.run().is_over, poller.is_running, poller.poll()["note"]]
        frames: list[Any] = []
        drawn = Poller(queue, Scene("title", 1e4, None), frames.append)
        drawn.start()
        wait_until(lambda: frames, "a picture is drawn")
        drawn.stop()
        fresh("another", queue.subscribe).dispose()
        return said

    try:
        assert in_child(use) == [True, False, ""]
        assert not recording.is_over
        assert poller.is_running
    finally:
        goes_on.set()
        making.join()
        recording.dispose()
        poller.stop()
