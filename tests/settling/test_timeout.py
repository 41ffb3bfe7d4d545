"""`settle(work, timeout=...)`: work that takes longer fails, and what cannot be cancelled is waited for no longer."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest
import reactivex as rx
import redis
from reactivex import operators as ops
from reactivex.disposable import Disposable

import rx_runat.settling.work
from rx_runat import Claim, InvalidSetting, Job, Outcome, RunAt, settle
from rx_runat.testing import virtual_queue
from tests.support.settling import Q, Works, jobs, short, wait_10
from tests.support.waiting import wait_until


class Gate:
    """Functions that return when the test ends, or earlier."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.returned: list[str] = []
        self.opened = threading.Event()

    def __call__(self, claim: Claim) -> str:
        self.inside.append(claim.key)
        self.opened.wait(60)
        self.returned.append(claim.key)
        return "too late"


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


@pytest.mark.parametrize("timeout", [0, -1, "60", True, float("nan")])
def test_a_timeout_that_cannot_be_used_is_refused(timeout: Any) -> None:
    with pytest.raises(InvalidSetting, match="timeout: got"):
        settle(str, timeout=timeout)


# In virtual time.


@pytest.mark.parametrize("timeout", [3, timedelta(seconds=3)])
def test_an_observable_that_takes_too_long_is_disposed_of_nacked_and_at_last_buried(timeout: Any) -> None:
    queue, scheduler = virtual_queue()
    works = Works()
    got: list[tuple[float, str, int, str, Any]] = []
    queue.claims(lease=30).pipe(settle(works, max_attempts=2, backoff=wait_10, timeout=timeout)).subscribe(
        lambda outcome: got.append((scheduler.clock, *short(outcome)))
    )
    queue.schedule("a", 1)
    scheduler.advance_to(60)
    error = "the work took longer than 3 s"
    assert got == [(4, "a", 1, "nacked", error), (17, "a", 2, "buried", error)]
    assert works.disposed == ["a", "a"]
    assert [letter.reason for letter in queue.dead.peek()] == [f"TimeoutError: {error}"]


def test_each_claim_has_its_own_time() -> None:
    queue, scheduler = virtual_queue()
    works = Works()
    got: list[tuple[float, str, str]] = []
    queue.claims(lease=30).pipe(settle(works, timeout=5, backoff=lambda _: 1000)).subscribe(
        lambda outcome: got.append((scheduler.clock, outcome.claim.key, outcome.verdict))
    )
    queue.on_next([Job(key, at) for key, at in (("a", 1), ("b", 2), ("c", 4), ("d", 30))])
    scheduler.advance_to(3)
    works.done("a")
    scheduler.advance_to(8)
    works.done("c")
    scheduler.advance_to(50)
    assert got == [(3, "a", "acked"), (7, "b", "nacked"), (8, "c", "acked"), (35, "d", "nacked")]


def test_a_place_is_free_again_after_a_timeout() -> None:
    queue, scheduler = virtual_queue()
    works = Works()
    queue.claims().pipe(settle(works, timeout=5, max_concurrent=1, backoff=lambda _: 1000)).subscribe()
    queue.on_next(jobs(3))
    scheduler.advance_to(13)
    assert list(works.begun) == ["k000", "k001", "k002"]


def test_a_future_that_has_not_begun_is_cancelled_and_one_that_runs_is_waited_for_no_longer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue, scheduler = virtual_queue()
    futures: dict[str, Future[Any]] = {"waits": Future(), "runs": Future()}
    futures["runs"].set_running_or_notify_cancel()
    got: list[Any] = []
    queue.claims(lease=300).pipe(settle(lambda claim: futures[claim.key], timeout=5, max_attempts=1)).subscribe(
        lambda outcome: got.append(short(outcome)), on_completed=lambda: got.append("end")
    )
    queue.on_next([Job(key, 1) for key in futures])
    scheduler.advance_to(7)
    error = "the work took longer than 5 s"
    assert sorted(got) == [("runs", 1, "buried", error), ("waits", 1, "buried", error)]
    assert futures["waits"].cancelled()
    futures["runs"].set_result("too late")
    queue.stop()
    assert got[2:] == ["end"]
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "work on 'runs' took longer than 5 s, and could not be cancelled: it goes on, and nobody waits for it"
    ]


# In real time.


def test_no_timer_keeps_a_thread_when_the_stream_has_ended(make: Callable[..., RunAt]) -> None:
    queue = make()
    got: list[Outcome[str]] = []
    queue.claims().pipe(settle(str, timeout=1000)).subscribe(got.append)
    queue.on_next(jobs(3))
    wait_until(lambda: len(got) == 3, "all are settled")
    queue.stop()
    wait_until(
        lambda: not [thread for thread in threading.enumerate() if thread.name == "rx_runat leases"],
        "the thread of the timer has ended",
    )


def test_functions_that_never_return_are_written_off_and_their_threads_are_replaced(
    make: Callable[..., RunAt], client: redis.Redis, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    queue = make()
    got: list[Any] = []

    def work(claim: Claim) -> str:
        return gate(claim) if claim.key < "k004" else "done"

    queue.claims().pipe(settle(work, max_concurrent=2, timeout=0.05, backoff=lambda _: 1000)).subscribe(
        lambda outcome: got.append((outcome.claim.key, outcome.verdict, outcome.result)),
        on_completed=lambda: got.append("end"),
    )
    queue.on_next(jobs(50))
    wait_until(lambda: len(got) == 50, "all are settled")
    queue.stop()  # waits for none of them
    assert got[50:] == ["end"]
    assert sorted(got[:50]) == [(f"k{i:03}", *(("nacked", None) if i < 4 else ("acked", "done"))) for i in range(50)]
    assert client.zcard(Q) == 4
    assert sum("its thread is replaced by a new one" in record.getMessage() for record in caplog.records) == 4
    assert gate.returned == []
    gate.opened.set()
    wait_until(lambda: len(gate.returned) == 4, "they return")
    assert (len(got), client.zcard(Q)) == (51, 4)  # and nobody cares


@pytest.mark.parametrize("hangs", ["subscribe", "dispose"])
def test_an_observable_whose_subscribe_or_dispose_hangs_is_written_off(
    make: Callable[..., RunAt], gate: Gate, monkeypatch: pytest.MonkeyPatch, hangs: str
) -> None:
    monkeypatch.setattr(rx_runat.settling.work, "GRACE_SECONDS", 0.05)
    queue = make()
    got: list[Any] = []

    def work(claim: Claim) -> Any:
        def subscribe(observer: Any, scheduler: Any = None) -> Any:
            if hangs == "subscribe":
                gate(claim)
            return Disposable(lambda: gate(claim) and None)

        return rx.create(subscribe) if claim.key == "k000" else None

    queue.claims().pipe(settle(work, max_concurrent=1, timeout=0.05, backoff=lambda _: 1000)).subscribe(
        lambda outcome: got.append(outcome.verdict), on_completed=lambda: got.append("end")
    )
    queue.on_next(jobs(3))
    wait_until(lambda: len(got) == 3, "all are settled")
    queue.stop()
    assert got == ["nacked", "acked", "acked", "end"]


def test_a_coroutine_is_cancelled_and_what_it_returns_then_is_dropped(make: Callable[..., RunAt]) -> None:
    cleaned: list[str] = []

    async def work(claim: Claim) -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            cleaned.append(claim.key)
        return "too late"

    async def main() -> Outcome[str]:
        queue = make()
        queue.schedule("a", 1)
        return await queue.claims().pipe(settle(work, timeout=0.05, backoff=lambda _: 1000), ops.take(1))

    outcome = asyncio.run(main())
    assert (*short(outcome), cleaned) == ("a", 1, "nacked", "the work took longer than 50 ms", ["a"])


def test_a_coroutine_that_ignores_its_cancellation_is_waited_for_no_longer(
    make: Callable[..., RunAt], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rx_runat.settling.work, "GRACE_SECONDS", 0.05)

    async def main() -> Outcome[None]:
        go_on = asyncio.Event()

        async def work(claim: Claim) -> None:
            while not go_on.is_set():
                try:
                    await go_on.wait()
                except asyncio.CancelledError:
                    pass

        queue = make()
        queue.schedule("a", 1)
        outcome = await queue.claims().pipe(settle(work, timeout=0.05, backoff=lambda _: 1000), ops.take(1))
        go_on.set()
        return outcome

    assert short(asyncio.run(main()))[2:] == ("nacked", "the work took longer than 50 ms")
    assert "it goes on, and nobody waits for it" in caplog.text


# Without a timeout.


def test_work_under_way_for_ten_leases_is_logged_once_by_its_key(caplog: pytest.LogCaptureFixture) -> None:
    queue, scheduler = virtual_queue()
    queue.claims(lease=3).pipe(settle(lambda claim: rx.timer(29 if claim.key == "quick" else 500))).subscribe()
    queue.on_next([Job(key, 1) for key in ("slow", "quick")])
    scheduler.advance_to(400)
    assert [record.getMessage() for record in caplog.records] == ["work on 'slow' has been under way for 30 s"]
