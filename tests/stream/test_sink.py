"""`queue.sink(...)`, the sink with another policy, and `queue.reschedule`, which writes in the same way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import reactivex as rx
import redis
from reactivex import operators as ops
from reactivex.subject import Subject

from rx_runat import Claim, InvalidJob, InvalidSetting, Job, Refused, RunAt, Stopped, Unavailable, claim_from
from rx_runat.testing import Faults, virtual_queue
from tests.support.forks import in_child
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

FAR = 4_000_000_000
Move = Callable[..., datetime | None]


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def by_aio(queue: RunAt) -> Move:
    async def main(key: Any, run_at: Any) -> datetime | None:
        return await queue.aio.reschedule(key, run_at)

    return lambda key, run_at: asyncio.run(main(key, run_at))


@pytest.fixture(params=["reschedule", "aio.reschedule"])
def moves(request: pytest.FixtureRequest) -> Callable[[RunAt], Move]:
    """Returns `reschedule` of a queue, or its twin."""
    return by_aio if request.param == "aio.reschedule" else lambda queue: queue.reschedule


# reschedule


def test_it_moves_a_key_that_waits_and_returns_what_stands(queue: RunAt, moves: Callable[[RunAt], Move]) -> None:
    move = moves(queue)
    queue.schedule("a", FAR, data=[1])
    assert move("a", FAR + 5) == queue.when("a") == at(FAR + 5)
    assert move("a", FAR - 5.5) == at(FAR - 5.5)
    before = datetime.now(UTC)
    delayed = move("a", timedelta(hours=1))
    assert delayed is not None
    assert abs(delayed - before - timedelta(hours=1)) < timedelta(minutes=1)
    assert [(due.key, due.data) for due in queue.peek()] == [("a", [1])]


def test_it_brings_nothing_back(queue: RunAt, moves: Callable[[RunAt], Move]) -> None:
    move = moves(queue)
    claims: list[Claim] = []
    queue.on_next([Job(key, 1) for key in ("out", "taken")])
    assert rx.of(1).pipe(claim_from(queue.jobs, limit=1)).run().key == "out"
    rx.of(1).pipe(claim_from(queue.claims(), limit=1)).subscribe(claims.append)
    wait_until(lambda: claims, "the other one is out under a lease")
    queue.schedule("cancelled", FAR)
    queue.cancel("cancelled")
    for key in ("out", "taken", "cancelled", "never there"):
        assert move(key, FAR) is None
    assert claims[0].bury("x")
    assert move(claims[0].key, FAR) is None
    assert (queue.size(), queue.dead.size()) == (0, 1)


def test_a_key_that_is_moved_to_an_earlier_time_comes_then(queue: RunAt, moves: Callable[[RunAt], Move]) -> None:
    seen: list[str] = []
    queue.subscribe(seen.append)
    queue.schedule("a", FAR)
    assert moves(queue)("a", 1) == at(1)
    wait_until(lambda: seen == ["a"], "it came")


@pytest.mark.parametrize(
    "key, run_at", [("", FAR), (b"a", FAR), ("a", "soon"), ("a", True), ("a", datetime(2030, 1, 1))]
)
def test_what_is_no_job_is_refused(queue: RunAt, moves: Callable[[RunAt], Move], key: Any, run_at: Any) -> None:
    with pytest.raises(InvalidJob):
        moves(queue)(key, run_at)


def test_14_after_stop_it_raises(queue: RunAt, moves: Callable[[RunAt], Move]) -> None:
    queue.stop()
    with pytest.raises(Stopped):
        moves(queue)("a", FAR)


def test_11_its_lost_reply_is_made_good(
    proxy: Proxy, make: Callable[..., RunAt], moves: Callable[[RunAt], Move]
) -> None:
    queue = make(proxy.url)
    queue.schedule("moved", FAR)
    proxy.of, proxy.cut = b"moved", 2
    assert moves(queue)("moved", FAR + 1) == at(FAR + 1)


@pytest.mark.parametrize("fault, error", [({"away": True}, Unavailable), ({"refusal": "NOPERM no"}, Refused)])
def test_it_raises_what_a_verb_raises(faults: Faults, fault: dict[str, Any], error: type[Exception]) -> None:
    queue, _ = virtual_queue(faults=faults)
    queue.schedule("a", 9)
    for name, value in fault.items():
        setattr(faults, name, value)
    with pytest.raises(error):
        queue.reschedule("a", 10)
    with pytest.raises(error):
        queue.sink(only_waiting=True).on_next(Job("a", 10))
    faults.away, faults.refusal = False, None
    assert queue.when("a") == at(9)
    queue.stop()


# The sink.


@pytest.mark.parametrize(
    "keep, only_waiting, old, new",
    [
        ("last", False, 9, 9),
        ("first", False, 5, 9),
        ("earliest", False, 5, 9),
        ("latest", False, 9, 9),
        ("absent", False, 5, 9),
        ("last", True, 9, None),
        ("earliest", True, 5, None),
        ("latest", True, 9, None),
    ],
)
def test_each_policy_is_a_sink(queue: RunAt, keep: Any, only_waiting: bool, old: int, new: int | None) -> None:
    queue.schedule("old", FAR + 5)
    sink = queue.sink(keep, only_waiting)
    rx.of(Job("old", FAR + 9), [Job("new", FAR + 9)], []).subscribe(sink)
    assert queue.when("old") == at(FAR + old)
    assert queue.when("new") == (None if new is None else at(FAR + new))


def test_it_takes_what_the_queue_takes(queue: RunAt) -> None:
    sink = queue.sink(keep="earliest")
    sink.on_next({"runAt": FAR * 1000, "key": "a", "data": 1})
    sink.on_next([Job("b", FAR), {"runAt": FAR * 1000, "key": "c"}])
    assert [(due.key, due.data) for due in queue.peek()] == [("a", 1), ("b", None), ("c", None)]


def test_the_sink_itself_is_last_wins(queue: RunAt) -> None:
    queue.sink().on_next(Job("a", FAR))
    queue.sink().on_next(Job("a", FAR + 1))
    assert queue.when("a") == at(FAR + 1)


def test_12_producers_that_complete_do_not_end_it(queue: RunAt) -> None:
    sink = queue.sink(keep="first")
    for key in "abc":
        rx.of(Job(key, FAR)).subscribe(sink)
    assert queue.size() == 3


def test_12_the_error_of_a_producer_is_raised_and_the_sink_goes_on(queue: RunAt) -> None:
    sink = queue.sink(keep="first")
    with pytest.raises(KeyError):
        rx.throw(KeyError("x")).subscribe(sink)
    with pytest.raises(KeyError):
        sink.on_error(KeyError("y"))
    rx.of(Job("a", FAR)).subscribe(sink)
    assert queue.size() == 1


def test_with_ops_do_a_job_passes_after_redis_has_it(queue: RunAt) -> None:
    seen: list[Any] = []
    jobs: Subject[Any] = Subject()
    sizes = ops.map(lambda _: queue.size())
    jobs.pipe(ops.do(queue.sink(keep="first")), sizes).subscribe(seen.append, lambda error: seen.append(type(error)))
    jobs.on_next(Job("a", FAR))
    jobs.on_next(Job("b", FAR))
    jobs.on_next("no job")
    assert seen == [1, 2, InvalidJob]


def test_13_a_list_with_one_bad_job_writes_nothing(queue: RunAt) -> None:
    with pytest.raises(InvalidJob):
        queue.sink(keep="first").on_next([Job("a", FAR), {"runAt": 5}])  # type: ignore[list-item]
    assert queue.size() == 0


def test_it_wakes_the_queues_own_sources(queue: RunAt) -> None:
    seen: list[str] = []
    queue.schedule("a", FAR)
    queue.subscribe(seen.append)
    queue.sink(keep="earliest", only_waiting=True).on_next(Job("a", 1))
    wait_until(lambda: seen == ["a"], "it came")


@pytest.mark.parametrize("keep", ["Last", "", None, 1])
def test_a_keep_of_another_name_is_refused(queue: RunAt, keep: Any) -> None:
    with pytest.raises(InvalidSetting, match="keep"):
        queue.sink(keep)


@pytest.mark.parametrize("keep", ["first", "absent"])
def test_a_sink_that_could_write_nothing_is_refused(queue: RunAt, keep: Any) -> None:
    with pytest.raises(InvalidSetting, match="would write nothing"):
        queue.sink(keep, only_waiting=True)


def test_14_after_stop_the_sink_raises(queue: RunAt) -> None:
    sink = queue.sink(keep="first")
    queue.stop()
    with pytest.raises(Stopped):
        sink.on_next(Job("a", FAR))
    with pytest.raises(Stopped):
        sink.on_next([])


def test_24_an_inherited_sink_writes_in_a_forked_child(queue: RunAt, client: redis.Redis) -> None:
    sink = queue.sink(keep="first")
    sink.on_next(Job("a", FAR))

    def child() -> int:
        sink.on_next([Job("a", FAR + 5), Job("b", FAR)])
        return queue.size()

    assert in_child(child) == 2
    sink.on_next(Job("c", FAR))
    assert (queue.size(), queue.when("a")) == (3, at(FAR))


def test_its_repr_tells_its_policy(queue: RunAt) -> None:
    assert repr(queue.sink("earliest")) == f"<sink(keep='earliest') of {queue!r}>"
    assert repr(queue.sink(only_waiting=True)) == f"<sink(keep='last', only_waiting=True) of {queue!r}>"
