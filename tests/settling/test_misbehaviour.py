"""Whatever the user's code does: the claim is settled or goes back, the thread lives, and `stop` ends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
import reactivex as rx
import redis
from reactivex import operators as ops

from rx_runat import Claim, InvalidSetting, Outcome, RunAt, settle
from rx_runat.testing import Faults, virtual_queue
from tests.support.settling import Works, jobs
from tests.support.waiting import wait_until


class NotesRaise(Exception):
    @property
    def __notes__(self) -> list[str]:
        raise RuntimeError("no notes")


class StrRaises(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no str")

    __repr__ = __str__


class StrExits(Exception):
    def __str__(self) -> str:
        raise SystemExit(1)

    __repr__ = __str__


class ErrorWithoutClass(Exception):
    @property
    def __class__(self) -> Any:
        raise RuntimeError("no class")


class FalseError(Exception):
    def __bool__(self) -> bool:
        return False


class LoneSurrogate(Exception):
    def __str__(self) -> str:
        return "\ud800"


class ResultWithoutClass:
    @property
    def __class__(self) -> Any:
        raise RuntimeError("no class")

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class BadFuture(Future[Any]):
    def exception(self, timeout: float | None = None) -> BaseException | None:
        raise RuntimeError("no exception")

    def cancel(self) -> bool:
        raise RuntimeError("no cancel")


ERRORS = [NotesRaise, StrRaises, StrExits, ErrorWithoutClass, FalseError, LoneSurrogate, SystemExit, KeyboardInterrupt]


def raised(error: Callable[[], BaseException]) -> Callable[[Claim], Any]:
    def work(claim: Claim) -> Any:
        raise error()

    return work


def of_observable(error: Callable[[], BaseException]) -> Callable[[Claim], Any]:
    def subscribe(observer: Any, scheduler: Any = None) -> Any:
        observer.on_error(error())

    return lambda claim: rx.create(subscribe)


def of_future(error: Callable[[], BaseException]) -> Callable[[Claim], Any]:
    def work(claim: Claim) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(error())
        return future

    return work


@pytest.mark.usefixtures("shown")
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("work", [raised, of_observable, of_future])
def test_whatever_error_work_ends_with_its_key_is_nacked_and_at_last_buried(error: Any, work: Any) -> None:
    queue, scheduler = virtual_queue()
    got: list[Any] = []
    queue.claims().pipe(settle(work(error), max_attempts=2, backoff=lambda _: 1.0)).subscribe(
        lambda outcome: got.append((outcome.claim.key, outcome.verdict)), on_completed=lambda: got.append("end")
    )
    queue.on_next(jobs(2))
    scheduler.advance_to(10)
    assert got == [(job.key, verdict) for verdict in ("nacked", "buried") for job in jobs(2)]
    assert [letter.key for letter in queue.dead.peek()] == [job.key for job in jobs(2)]
    queue.stop()
    assert got[4:] == ["end"]


def test_a_result_that_raises_when_it_is_looked_at_is_a_result() -> None:
    queue, scheduler = virtual_queue()
    got: list[Outcome[Any]] = []
    queue.claims().pipe(settle(lambda _: ResultWithoutClass())).subscribe(got.append)
    queue.on_next(jobs(2))
    scheduler.advance_to(2)
    assert [outcome.verdict for outcome in got] == ["acked", "acked"]
    assert "<something that cannot be shown>" in repr(got[0])
    assert "&lt;something that cannot be shown&gt;" in got[0]._repr_html_()


def test_an_observable_that_ends_with_no_error_at_all_is_an_error() -> None:
    queue, scheduler = virtual_queue()
    got: list[Outcome[Any]] = []
    queue.claims().pipe(settle(lambda _: rx.create(lambda observer, _: observer.on_error(None)))).subscribe(got.append)  # type: ignore
    queue.schedule("a", 1)
    scheduler.advance_to(1.1)
    assert [(outcome.verdict, str(outcome.error)) for outcome in got] == [("nacked", "on_error got None (NoneType)")]


@pytest.mark.parametrize("exits", [SystemExit, KeyboardInterrupt])
def test_a_backoff_that_exits_ends_the_stream_with_an_error_and_loses_nothing(exits: Any, shown: list[type]) -> None:
    queue, scheduler = virtual_queue()
    errors: list[Exception] = []

    def backoff(attempt: int) -> float:
        raise exits

    queue.claims().pipe(settle(raised(ValueError), backoff=backoff)).subscribe(on_error=errors.append)
    queue.on_next(jobs(3))
    scheduler.advance_to(2)
    assert [type(error) for error in errors] == [InvalidSetting]
    assert f"backoff: it raised {exits.__name__}()" in str(errors[0])
    assert shown == [exits]
    assert queue.size() == 3
    queue.stop()


def test_a_future_of_the_user_s_own_kind_may_raise_wherever_it_is_asked(shown: list[type]) -> None:
    queue, scheduler = virtual_queue()
    futures: list[BadFuture] = []
    got: list[Any] = []

    def work(claim: Claim) -> Future[Any]:
        futures.append(BadFuture())
        return futures[-1]

    queue.claims().pipe(settle(work)).subscribe(
        lambda outcome: got.append((outcome.verdict, str(outcome.error))), on_completed=lambda: got.append("end")
    )
    queue.on_next(jobs(2))
    scheduler.advance_to(1.1)
    futures[0].set_result(None)
    queue.stop()
    assert shown == [RuntimeError]  # its `cancel`
    futures[1].set_result(None)
    assert got == [("nacked", "no exception"), ("nacked", "no exception"), "end"]


def test_an_operator_before_settle_whose_disposal_raises_keeps_nothing_from_its_end(shown: list[type]) -> None:
    queue, scheduler = virtual_queue()
    got: list[Any] = []
    queue.claims().pipe(ops.finally_action(lambda: int("x")), settle(lambda _: rx.never(), max_concurrent=1)).subscribe(
        got.append, on_completed=lambda: got.append("end")
    )
    queue.on_next(jobs(3))
    scheduler.advance_to(2)
    queue.stop()
    assert (got, shown) == (["end"], [ValueError])


def test_threads_outlive_whatever_errors_come(
    make: Callable[..., RunAt], client: redis.Redis, shown: list[type]
) -> None:
    queue = make()
    got: list[str] = []

    def work(claim: Claim) -> Any:
        raise ERRORS[int(claim.key[1:]) % len(ERRORS)]

    queue.claims().pipe(settle(work, max_attempts=1, max_concurrent=2)).subscribe(
        lambda outcome: got.append(outcome.verdict), on_completed=lambda: got.append("end")
    )
    queue.on_next(jobs(100))
    wait_until(lambda: len(got) == 100, "all are settled")
    queue.stop()
    assert set(got) == {"buried", "end"}
    assert set(shown) == {SystemExit, KeyboardInterrupt}


def test_a_log_handler_that_raises_ends_nothing(
    faults: Faults, shown: list[type], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Raises(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "did not answer" in record.getMessage():
                raise RuntimeError("no log")

    log = logging.getLogger("rx_runat")
    monkeypatch.setattr(log, "handlers", [Raises()])
    queue, scheduler = virtual_queue(faults=faults, interval=1)
    works = Works()
    got: list[Any] = []
    queue.claims(lease=10).pipe(settle(works)).subscribe(
        lambda outcome: got.append(outcome.verdict), on_completed=lambda: got.append("end")
    )
    queue.on_next(jobs(2))
    scheduler.advance_to(2)
    faults.away = True
    works.done("k000")
    scheduler.advance_to(30)
    faults.away = False
    scheduler.advance_to(32)
    queue.stop()
    assert (sorted(got[:2]), got[2:], shown) == (["lost", "unknown"], ["end"], [RuntimeError])
