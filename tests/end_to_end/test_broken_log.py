"""A handler or a filter of the log that raises ends nothing and loses nothing; what it raises is shown."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from rx_runat import Claim, NotReturned, Recovered, Refused, RunAt, settle
from rx_runat.testing import Faults, virtual_queue
from tests.support.servers import Server
from tests.support.waiting import wait_until


class Raises(logging.Handler):
    """A handler whose `emit` raises, and a filter that does."""

    def __init__(self, error: type[BaseException]) -> None:
        super().__init__()
        self.error = error

    def emit(self, record: logging.LogRecord) -> None:
        raise self.error

    def filter(self, record: logging.LogRecord) -> bool:
        raise self.error


@pytest.fixture(params=["handler", "filter", "handler that exits"])
def broken_log(request: pytest.FixtureRequest, shown: list[Any]) -> Iterator[list[Any]]:
    """While it lasts each record of ours raises; the kinds of what was shown."""
    logger = logging.getLogger("rx_runat")
    raises = Raises(SystemExit if request.param == "handler that exits" else LookupError)
    add, remove = {"filter": (logger.addFilter, logger.removeFilter)}.get(
        request.param, (logger.addHandler, logger.removeHandler)
    )
    add(raises)
    yield shown
    remove(raises)


def test_21_an_outage_is_survived(broken_log: list[Any]) -> None:
    faults = Faults()
    queue, scheduler = virtual_queue(faults=faults, interval=1)
    got: list[str] = []
    notices: list[Any] = []
    queue.errors.subscribe(notices.append)
    queue.subscribe(got.append)
    queue.schedule("a", 3)
    scheduler.advance_to(1.5)
    faults.away = True
    scheduler.advance_to(4)
    faults.away = False
    scheduler.advance_to(10)
    assert got == ["a"]
    assert isinstance(notices[-1], Recovered)
    assert len(broken_log) == 2


def test_21_a_refusal_reaches_the_subscriber(broken_log: list[Any]) -> None:
    faults = Faults()
    queue, scheduler = virtual_queue(faults=faults)
    faults.refusal = "NOPERM"
    errors: list[Exception] = []
    queue.subscribe(on_error=errors.append)
    scheduler.advance_to(1)
    assert [type(error) for error in errors] == [Refused]
    assert len(broken_log) == 1


def test_21_stop_ends_though_it_cannot_hand_back(broken_log: list[Any]) -> None:
    faults = Faults()
    queue, scheduler = virtual_queue(faults=faults, interval=0.1)  # stop tries for as long, in real time
    notices: list[Any] = []
    completed: list[bool] = []
    queue.errors.subscribe(notices.append)

    def on_next(_: str) -> None:
        faults.away = True
        queue.stop()

    queue.subscribe(on_next, on_completed=lambda: completed.append(True))
    queue.subscribe(lambda _: None)
    for key in "abc":
        queue.schedule(key, 1)
    queue._source._demand._keys = 3  # pyright: ignore[reportAttributeAccessIssue]
    scheduler.advance_to(2)
    assert completed == [True]
    assert [type(notice) for notice in notices] == [NotReturned]
    assert broken_log


def test_21_settle_gives_its_outcomes_and_goes_on(broken_log: list[Any]) -> None:
    queue, scheduler = virtual_queue()
    verdicts: list[str] = []

    def work(claim: Claim) -> None:
        if claim.key == "bad":
            raise ValueError

    pipeline = queue.claims().pipe(settle(work, max_attempts=2, backoff=lambda _: 1))
    pipeline.subscribe(lambda outcome: verdicts.append(outcome.verdict))
    queue.schedule("bad", 1)
    queue.schedule("good", 5)
    scheduler.advance_to(6)
    assert verdicts == ["nacked", "buried", "acked"]
    assert len(broken_log) == 2


def test_21_a_claim_beside_a_record_that_cannot_be_read_is_delivered(
    make: Callable[..., RunAt], client: redis.Redis, broken_log: list[Any]
) -> None:
    queue = make()
    client.hset("{RunAt~default}:leases", "a", "junk")
    queue.schedule("a", 0)
    got: list[str] = []
    queue.claims().subscribe(lambda claim: got.append(claim.key))
    wait_until(lambda: got == ["a"], "the claim came")
    assert broken_log


def test_21_a_dead_letter_that_cannot_be_read_is_shown(
    make: Callable[..., RunAt], client: redis.Redis, broken_log: list[Any]
) -> None:
    client.hset("{RunAt~default}:dead", "a", "junk")
    assert [letter.reason for letter in make().dead.peek()] == ["junk"]
    assert broken_log


def test_21_a_server_that_may_evict_is_written_to_and_listened_to(own_server: Server, broken_log: list[Any]) -> None:
    with own_server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    got: list[str] = []
    with RunAt(own_server.url, interval=100) as reader, RunAt(own_server.url) as writer:
        reader.subscribe(got.append)
        wait_until(lambda: broken_log, "the listener has logged")
        for key in "ab":
            writer.schedule(key, 0)
        wait_until(lambda: got == ["a", "b"], "what another queue writes wakes the source")


def test_21_ctrl_c_during_a_log_ends_the_call_of_the_main_thread(
    make: Callable[..., RunAt], client: redis.Redis, shown: list[Any]
) -> None:
    logger, raises = logging.getLogger("rx_runat"), Raises(KeyboardInterrupt)
    client.hset("{RunAt~default}:dead", "a", "junk")
    logger.addHandler(raises)
    try:
        with pytest.raises(KeyboardInterrupt):
            make().dead.peek()
    finally:
        logger.removeHandler(raises)
    assert shown == []
