"""`fresh`: a cell that is run twice has one subscription."""

from __future__ import annotations

import pytest
from reactivex import operators as ops
from reactivex.disposable import Disposable

from rx_runat import Job, RunAt
from rx_runat.notebook import fresh
from tests.support.servers import Server
from tests.support.waiting import wait_until


def test_the_old_disposable_is_disposed_of_before_the_new_one_is_made() -> None:
    happened: list[str] = []

    def make(name: str) -> Disposable:
        happened.append(f"{name} made")
        return Disposable(lambda: happened.append(f"{name} disposed of"))

    fresh("place", make, "first")
    fresh("elsewhere", make, "other")
    fresh("place", make, "second")
    assert happened == ["first made", "other made", "first disposed of", "second made"]


def test_a_cell_that_is_run_twice_prints_once(queue: RunAt) -> None:
    got: list[str] = []
    for _ in range(2):
        fresh("printer", queue.subscribe, got.append)
    queue.schedule("a", 1)
    wait_until(lambda: got, "it came")
    assert len(queue._source.subscribers) == 1
    assert got == ["a"]


def test_of_a_queue_that_is_made_twice_the_first_is_stopped() -> None:
    first = fresh("queue", RunAt, "memory://fresh", interval=0.5)
    second = fresh("queue", RunAt, "memory://fresh", interval=0.5)
    assert repr(first) == "<RunAt 'RunAt~default' on memory://fresh, stopped>"
    assert repr(second) == "<RunAt 'RunAt~default' on memory://fresh>"
    second.stop()


def test_a_queue_that_is_made_anew_ends_subscriptions_that_nobody_can_dispose_of(server: Server) -> None:
    ghost: list[str] = []
    queue = fresh("queue", RunAt, server.url)
    queue.pipe(ops.share()).subscribe(ghost.append)  # the subscription is lost
    queue = fresh("queue", RunAt, server.url)
    keys = [f"k{n}" for n in range(9)]
    queue.on_next([Job(key, 0) for key in keys])
    assert queue.pipe(ops.take(len(keys)), ops.to_list()).run() == keys
    assert ghost == []
    queue.stop()


def test_if_making_fails_the_name_stands_for_nothing() -> None:
    gone: list[int] = []
    fresh("x", lambda: Disposable(lambda: gone.append(1)))
    with pytest.raises(ZeroDivisionError):
        fresh("x", lambda: 1 / 0)  # type: ignore[type-var]
    assert gone == [1]
    fresh("x", Disposable)
    assert gone == [1]
