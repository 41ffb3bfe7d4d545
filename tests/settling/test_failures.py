"""What goes wrong: bugs of the user's, outages, answers that are lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import reactivex as rx
import redis
from reactivex import operators as ops

from rx_runat import Claim, InvalidSetting, Outcome, Refused, RunAt, settle
from rx_runat.testing import Faults, virtual_queue
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.settling import CLAIMED, Works, deadline, fail, jobs, short, verdicts
from tests.support.waiting import wait_until


def test_what_is_not_a_claim_ends_the_stream_in_words() -> None:
    queue, scheduler = virtual_queue()
    errors: list[Exception] = []
    queue.pipe(settle(fail)).subscribe(on_error=errors.append)  # type: ignore[arg-type]
    queue.schedule("a", 1)
    scheduler.advance_to(2)
    assert [str(error) for error in errors] == [
        "settle takes claims, as `queue.claims()` gives them, or lists of them; got 'a' (str)"
    ]


@pytest.mark.parametrize("backoff", [lambda attempt: 1 / 0, lambda attempt: -1, lambda attempt: "soon"])
def test_a_backoff_that_cannot_be_used_ends_the_stream_and_loses_nothing(backoff: Any) -> None:
    queue, scheduler = virtual_queue()
    errors: list[Exception] = []
    queue.claims().pipe(settle(fail, backoff=backoff)).subscribe(on_error=errors.append)
    queue.on_next(jobs(3))
    scheduler.advance_to(2)
    assert [type(error) for error in errors] in ([ZeroDivisionError], [InvalidSetting])
    assert queue.size() == 3


def test_a_coroutine_without_an_event_loop_ends_the_stream_and_loses_nothing() -> None:
    queue, scheduler = virtual_queue()
    errors: list[Exception] = []

    async def work(claim: Claim) -> None: ...

    queue.claims().pipe(settle(work)).subscribe(on_error=errors.append)
    queue.claims().pipe(settle(lambda claim: work(claim))).subscribe(on_error=errors.append)
    queue.schedule("a", 1)
    scheduler.advance_to(2)
    assert ["there is no event loop" in str(error) for error in errors] == [True, True]
    assert queue.size() == 1


def test_a_subscriber_that_raises_ends_with_its_own_on_error() -> None:
    queue, scheduler = virtual_queue()
    errors: list[Exception] = []
    queue.claims().pipe(settle(str)).subscribe(lambda _: 1 / 0, errors.append)
    queue.on_next(jobs(3))
    scheduler.advance_to(2)
    assert [type(error) for error in errors] == [ZeroDivisionError]
    assert queue.size() == 2


def test_system_exit_in_work_is_an_error_that_is_shown(shown: list[Any]) -> None:
    queue, scheduler = virtual_queue()
    got: list[Outcome[None]] = []

    def work(claim: Claim) -> None:
        raise SystemExit

    queue.claims().pipe(settle(work)).subscribe(got.append)
    queue.schedule("a", 1)
    scheduler.advance_to(1.1)
    assert (got[0].verdict, type(got[0].error), shown) == ("nacked", SystemExit, [SystemExit])


def test_work_whose_disposal_raises_is_cancelled_all_the_same(shown: list[Any]) -> None:
    queue, scheduler = virtual_queue()
    got: list[Any] = []
    queue.claims(lease=3).pipe(
        settle(lambda claim: rx.never().pipe(ops.finally_action(lambda: int(claim.key))))  # type: ignore[arg-type, return-value]
    ).subscribe(lambda outcome: got.append(short(outcome)), on_completed=lambda: got.append("end"))
    queue.on_next(jobs(3))
    scheduler.advance_to(2)
    assert queue.cancel("k000")
    scheduler.advance_to(4)
    assert got == [("k000", 1, "lost", None)]
    queue.stop()
    assert (got[1:], shown) == (["end"], [ValueError] * 3)


# Outages and lost answers, in virtual time.


def test_an_outage_shorter_than_the_lease_costs_nothing(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults, interval=1)
    works = Works()
    got: list[tuple[float, str, int, str, Any]] = []
    queue.claims(lease=30).pipe(settle(works)).subscribe(lambda o: got.append((round(scheduler.clock), *short(o))))
    queue.on_next(jobs(3))
    scheduler.advance_to(2)
    faults.away = True
    works.done("k000")
    scheduler.advance_to(20)
    works.done("k001")
    assert got == []
    faults.away = False
    scheduler.advance_to(25)
    works.done("k002")
    assert [each[1:] for each in got] == [(f"k00{i}", 1, "acked", None) for i in range(3)]


def test_an_outage_that_outlasts_the_lease_says_that_it_is_unknown(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults, interval=1)
    works = Works()
    got: list[Outcome[Any]] = []
    queue.claims(lease=10).pipe(settle(works)).subscribe(got.append)
    queue.on_next(jobs(2))
    scheduler.advance_to(2)
    faults.away = True
    works.done("k000")
    scheduler.advance_to(30)
    assert sorted(short(outcome) for outcome in got) == [("k000", 1, "unknown", None), ("k001", 1, "lost", None)]
    assert works.disposed == ["k000", "k001"]
    faults.away = False
    scheduler.advance_to(40)
    assert sorted(works.begun) == ["k000", "k001"]
    for key in works.begun:
        works.done(key)
    assert [short(outcome) for outcome in got[2:]] == [("k000", 2, "acked", None), ("k001", 2, "acked", None)]


@pytest.mark.parametrize("lost", [1, 2, 3, 5])
def test_an_answer_lost_on_the_wire_is_asked_for_until_it_is_known(faults: Faults, lost: int) -> None:
    queue, scheduler = virtual_queue(faults=faults, interval=1)
    works = Works()
    got: list[Outcome[Any]] = []
    queue.claims(lease=30).pipe(settle(works)).subscribe(got.append)
    queue.on_next(jobs(2))
    scheduler.advance_to(2)
    faults.lost = lost
    works.done("k000")
    works.begun["k001"].on_error(ValueError("no"))
    scheduler.advance_to(5)
    assert sorted(short(outcome) for outcome in got[:2]) == [("k000", 1, "acked", None), ("k001", 1, "nacked", "no")]


def test_renewals_whose_answers_are_lost_are_made_again(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults, interval=1)
    got: list[Outcome[int]] = []
    queue.claims(lease=3).pipe(settle(lambda _: rx.timer(30))).subscribe(got.append)
    queue.schedule("a", 1)
    for second in range(2, 40):
        scheduler.advance_to(second)
        faults.lost = 4
    assert [short(outcome) for outcome in got] == [("a", 1, "acked", 0)]


def test_a_redis_that_refuses_ends_the_stream(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    works = Works()
    errors: list[Exception] = []
    queue.claims().pipe(settle(works)).subscribe(on_error=errors.append)
    queue.schedule("a", 1)
    scheduler.advance_to(2)
    faults.refusal = "NOPERM"
    works.done("a")
    assert [type(error) for error in errors] == [Refused]


# With a real server.


def test_acks_and_renewals_whose_answers_are_cut(
    make: Callable[..., RunAt], proxy: Proxy, client: redis.Redis, go_on: threading.Event
) -> None:
    queue = make(proxy.url, interval=0.05)
    queue.size()
    got: list[Outcome[None]] = []
    queue.claims(lease=0.6, max_in_flight=20).pipe(settle(lambda _: go_on.wait(20), max_concurrent=20)).subscribe(
        got.append
    )
    queue.on_next(jobs(20))
    wait_until(lambda: client.zcard(CLAIMED) == 20, "all are out")
    proxy.of, proxy.cut = b"extend", 4
    wait_until(lambda: proxy.cuts == 4, "renewals were cut")
    proxy.of, proxy.cut = b"ack", 4
    go_on.set()
    wait_until(lambda: len(got) == 20, "all are settled")
    assert verdicts(got) == [(job.key, 1, "acked") for job in jobs(20)]
    queue.stop()
    assert client.keys() == []


def test_a_function_that_returns_after_disposal_is_acked_through_an_outage(own_server: Server) -> None:
    """Only `stop` gives up soon. Here the queue goes on, so the ack is sent again until Redis is back."""
    with RunAt(own_server.url, interval=0.05) as queue, own_server.client() as client:
        begun, go_on = threading.Event(), threading.Event()
        subscription = queue.claims().pipe(settle(lambda _: (begun.set(), go_on.wait(20)))).subscribe()
        queue.schedule("a", 1)
        assert begun.wait(20)
        subscription.dispose()
        own_server.kill()
        go_on.set()
        own_server.start()
        wait_until(lambda: deadline(client, "a") == 0.0, "it is acked")
        assert queue.size() == 0
