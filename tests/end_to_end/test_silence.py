"""Nobody waits for ever in silence: what ends a stream reaches whoever waits, and is seen on standard error."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from reactivex import operators as ops

from rx_runat import Claim, Job, OutcomeUnknown, RunAt, Stopped
from rx_runat.testing import virtual_queue
from tests.support.script import run_script
from tests.support.servers import Server
from tests.support.waiting import wait_until


def test_21_the_waiter_ends_and_the_error_is_on_standard_error(server: Server) -> None:
    script = """
    import asyncio, sys
    from reactivex import operators as ops
    from rx_runat import RunAt, settle

    class Failed(BaseException):
        pass

    def exits(_):
        sys.exit(name)

    def fails(_):
        raise Failed(name)

    async def awaited(pipeline):
        await pipeline

    waits = {
        "do_action": lambda queue: queue.pipe(ops.do_action(exits)).run(),
        "map": lambda queue: queue.pipe(ops.map(fails)).run(),
        "await": lambda queue: asyncio.run(awaited(queue.pipe(ops.map(fails)))),
        "await of jobs": lambda queue: asyncio.run(awaited(queue.jobs.pipe(ops.map(exits)))),
        "settle": lambda queue: queue.claims().pipe(settle(str), ops.map(exits)).run(),
    }
    for name, wait in waits.items():
        with RunAt(sys.argv[1], queue_name=name) as queue:
            queue.schedule("a", 0)
            try:
                wait(queue)
            except BaseException as error:
                print(repr(error))
    """
    done = run_script(script, server.url)
    assert done.stdout.splitlines() == [
        "SystemExit('do_action')",
        "Failed('map')",
        "Failed('await')",
        "SystemExit('await of jobs')",
        "SystemExit('settle')",
    ]
    last_lines = [line for line in done.stderr.splitlines() if re.match(r"(SystemExit|.*Failed): ", line)]
    assert [line.split(": ")[1] for line in last_lines] == ["do_action", "map", "await", "await of jobs", "settle"]


@pytest.mark.parametrize("raised", [ValueError, SystemExit, KeyboardInterrupt])
def test_21_an_operator_that_raises_without_an_on_error_is_shown_once(shown: list[Any], raised: Any) -> None:
    queue, scheduler = virtual_queue()

    def fails(key: str) -> str:
        raise raised

    queue.pipe(ops.map(fails), ops.filter(bool)).subscribe(lambda _: None)
    queue.schedule("a", 1)
    scheduler.advance_by(2)
    assert shown == [raised]


def test_21_an_on_error_that_raises_inside_an_operator_is_shown(shown: list[Any]) -> None:
    queue, scheduler = virtual_queue()

    def handle(error: Exception) -> None:
        raise LookupError from error

    queue.pipe(ops.map(lambda _: 1 / 0)).subscribe(lambda _: None, handle)
    queue.schedule("a", 1)
    scheduler.advance_by(2)
    assert shown == [LookupError]


def test_21_an_error_that_on_error_handles_is_not_shown(shown: list[Any]) -> None:
    queue, scheduler = virtual_queue()
    errors: list[Exception] = []
    queue.pipe(ops.map(lambda _: 1 / 0)).subscribe(lambda _: None, errors.append)
    queue.subscribe(lambda _: 1 / 0, errors.append)
    queue.schedule("a", 1)
    scheduler.advance_by(2)
    assert ([type(error) for error in errors], shown) == ([ZeroDivisionError] * 2, [])


@pytest.mark.parametrize("verb", ["ack", "nack", "extend", "bury"])
def test_21_a_claim_whose_queue_was_stopped_says_so(queue: RunAt, verb: str) -> None:
    claims: list[Claim] = []
    queue.claims().subscribe(claims.append)
    queue.schedule("a", 0)
    wait_until(lambda: claims, "the claim came")
    queue.stop()
    arguments = {"extend": [1], "bury": ["no such address"]}.get(verb, [])
    with pytest.raises(Stopped, match=f"{verb} of 'a': its queue was stopped.* comes again when its lease ends"):
        getattr(claims[0], verb)(*arguments)


def test_21_writes_and_claims_beside_stop_raise_stopped_or_are_unknown(make: Callable[..., RunAt]) -> None:
    """Never `Unavailable`, after which a writer would try again for ever."""
    for turn in range(10):
        queue, claims, ended = make(), [], []
        queue.claims(max_in_flight=1000).subscribe(claims.append)
        queue.on_next([Job(f"k{turn}:{i}", 0) for i in range(1000)])
        wait_until(lambda claims=claims: len(claims) == 1000, "all claims came")

        def write(queue: RunAt = queue, ended: list[Any] = ended) -> None:
            try:
                while True:
                    queue.schedule("b", 1e10)
            except BaseException as error:
                ended.append(type(error))

        def ack(claims: list[Claim] = claims, ended: list[Any] = ended) -> None:
            try:
                while True:
                    claims.pop().ack()
            except BaseException as error:
                ended.append(type(error))

        threads = [threading.Thread(target=each) for each in (write, write, ack, ack)]
        for thread in threads:
            thread.start()
        queue.schedule("c", 1e10)
        queue.stop()
        for thread in threads:
            thread.join()
        assert set(ended) <= {Stopped, OutcomeUnknown}
        assert len(ended) == 4


SUBSCRIBES = """
import sys
from rx_runat import RunAt
queues = [RunAt(sys.argv[1], queue_name=name) for name in "ab"]
subscriptions = [queue.subscribe(print) for queue in queues]
"""


@pytest.mark.parametrize(
    "end, lines",
    [
        ("", 1),
        pytest.param("sys.exit()", 1, marks=pytest.mark.slow),
        pytest.param("[each.dispose() for each in subscriptions]", 0, marks=pytest.mark.slow),
        pytest.param("[queue.stop() for queue in queues]", 0, marks=pytest.mark.slow),
        ("raise KeyboardInterrupt", 0),
    ],
)
def test_21_a_script_that_ends_with_live_subscribers_says_once_why_nothing_came(
    server: Server, end: str, lines: int
) -> None:
    done = run_script(SUBSCRIBES + end, server.url)
    assert done.stderr.count("the interpreter exits, and nobody receives keys any more") == lines, done.stderr
    assert done.stdout == ""
