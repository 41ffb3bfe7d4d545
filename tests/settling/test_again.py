"""A key comes again: the next run is written where this one ends, and nothing breaks or doubles a chain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rx_runat import Claim, Due, InvalidJob, InvalidSetting, Job, Outcome, RunAt, every, settle
from rx_runat.testing import Faults, virtual_queue

NEXT = 60.0  # seconds from the run's own moment to the next one


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def fails(_: Claim) -> None:
    raise ValueError("no")


class Chain:
    """A queue in virtual time whose key "a" is due at 1 s, works, and comes again."""

    def __init__(self, work: Callable[[Claim], Any], again: Any = None, **settings: Any) -> None:
        self.faults = Faults()
        self.queue, self.scheduler = virtual_queue(faults=self.faults)
        self.outcomes: list[Outcome[Any]] = []
        self.ends: list[object] = []
        settled = settle(work, again=again or every(NEXT), backoff=lambda _: 5, **settings)
        self.queue.claims(lease=30).pipe(settled).subscribe(
            self.outcomes.append, self.ends.append, lambda: self.ends.append("end")
        )
        self.queue.schedule("a", 1.0, data={"n": 1})

    def told(self) -> list[tuple[str, int, float | None]]:
        return [
            (each.verdict, each.claim.attempt, None if each.next is None else each.next.timestamp())
            for each in self.outcomes
        ]

    def waits(self) -> list[tuple[str, float, Any]]:
        return [(due.key, due.run_at.timestamp(), due.data) for due in self.queue.peek()]


def test_27_the_ack_writes_the_next_run_with_the_data_of_the_key() -> None:
    chain = Chain(lambda claim: claim.data)
    chain.scheduler.advance_to(2)
    assert chain.told() == [("acked", 1, 61.0)]
    assert chain.waits() == [("a", 61.0, {"n": 1})]
    chain.scheduler.advance_to(200)
    assert [each.result for each in chain.outcomes] == [{"n": 1}] * 4
    assert chain.waits() == [("a", 241.0, {"n": 1})]


def test_27_a_run_that_fails_for_good_is_buried_and_the_chain_goes_on() -> None:
    chain = Chain(fails, max_attempts=2)
    chain.scheduler.advance_to(10)
    assert chain.told() == [("nacked", 1, None), ("buried", 2, 61.0)]
    assert [(each.key, each.data) for each in chain.queue.dead.peek()] == [("a", {"n": 1})]
    assert chain.waits() == [("a", 61.0, {"n": 1})]
    assert chain.queue.dead.revive("a") == 0, "its key waits for the next run, so the letter stays"


def test_27_a_key_whose_process_died_too_often_is_buried_and_the_chain_goes_on() -> None:
    queue, scheduler = virtual_queue()
    held: list[Claim] = []
    dying = queue.claims(lease=3).subscribe(held.append)
    queue.schedule("a", 1.0)
    scheduler.advance_to(8)
    dying.dispose()
    assert [claim.attempt for claim in held] == [1, 2, 3]
    scheduler.advance_to(20)
    outcomes: list[Outcome[None]] = []
    worked: list[str] = []
    settled = settle(lambda claim: worked.append(claim.key), max_attempts=3, again=every(NEXT))
    queue.claims(lease=3).pipe(settled).subscribe(outcomes.append)
    scheduler.advance_to(30)
    assert [(each.verdict, each.next) for each in outcomes] == [("buried", moment(61))]
    assert not worked
    assert [due.run_at for due in queue.peek()] == [moment(61)]


def test_27_a_newer_schedule_stands() -> None:
    chain = Chain(lambda claim: chain.queue.schedule(claim.key, 500.0) and None)
    chain.scheduler.advance_to(2)
    assert chain.told() == [("acked", 1, None)]
    assert chain.waits() == [("a", 500.0, {"n": 1})]


def test_27_a_cancel_during_the_work_ends_the_chain() -> None:
    chain = Chain(lambda claim: chain.queue.cancel(claim.key))
    chain.scheduler.advance_to(200)
    assert chain.told() == [("lost", 1, None)]
    assert chain.waits() == []
    assert chain.faults.call("KEYS", "*{*}:[cld]*") == []


def test_27_none_ends_the_chain() -> None:
    chain = Chain(lambda _: None, lambda due: timedelta(seconds=5) if due.run_at < moment(10) else None)
    chain.scheduler.advance_to(200)
    assert [each[0] for each in chain.told()] == ["acked"] * 3
    assert chain.waits() == []
    assert chain.faults.call("KEYS", "*{*}:[cld]*") == []


@pytest.mark.parametrize("returned", [3600, 3600.0, "1h", True, datetime(2026, 1, 1), (1,)])
def test_27_what_is_no_moment_repeats_no_work_and_counts_no_attempt(returned: object) -> None:
    worked: list[str] = []
    chain = Chain(lambda claim: worked.append(claim.key), lambda _: returned)
    chain.scheduler.advance_to(2)
    assert not worked
    (error,) = chain.ends
    assert isinstance(error, InvalidJob)
    assert str(error).startswith("again: got")
    assert chain.waits() == [("a", 1.0, {"n": 1})]
    claims: list[Claim] = []
    chain.queue.claims().subscribe(claims.append)
    chain.scheduler.advance_to(3)
    assert [claim.attempt for claim in claims] == [1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("bug", [ZeroDivisionError("x"), SystemExit("x")])
def test_27_a_function_that_raises_repeats_no_work(bug: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    def again(_: Due) -> None:
        raise bug

    worked: list[str] = []
    chain = Chain(lambda claim: worked.append(claim.key), again)
    chain.scheduler.advance_to(2)
    assert not worked
    (error,) = chain.ends
    assert error is bug or (isinstance(error, InvalidSetting) and error.__cause__ is bug)
    assert chain.waits() == [("a", 1.0, {"n": 1})]
    capsys.readouterr()


def test_27_it_is_called_once_for_each_attempt_and_before_the_work() -> None:
    calls: list[str] = []

    def again(due: Due) -> timedelta:
        calls.append(f"again {due.key}")
        return timedelta(seconds=NEXT)

    def work(claim: Claim) -> None:
        calls.append(f"work {claim.attempt}")
        if claim.attempt < 3:
            raise ValueError

    chain = Chain(work, again)
    chain.scheduler.advance_to(20)
    assert calls == ["again a", "work 1", "again a", "work 2", "again a", "work 3"]
    assert chain.told()[-1] == ("acked", 3, 71.0), "a timedelta counts from the end of the run"


@pytest.mark.parametrize("lost", [1, 2])
def test_27_an_ack_whose_answer_was_lost_writes_one_next_run(lost: int) -> None:
    def work(_: Claim) -> None:
        chain.faults.lost = lost

    chain = Chain(work)
    chain.scheduler.advance_to(5)
    assert chain.told() == [("acked", 1, 61.0)]
    assert chain.waits() == [("a", 61.0, {"n": 1})]


@pytest.mark.parametrize(
    "again, at",
    [
        (moment(50), 50.0),
        (timedelta(seconds=7), 8.0),
        (every(10), 11.0),
        (lambda claim: claim.run_at + timedelta(seconds=3), 4.0),
    ],
)
@pytest.mark.parametrize("verb", ["ack", "bury"])
@pytest.mark.parametrize("is_awaited", [False, True])
def test_27_by_hand_too(again: Any, at: float, verb: str, is_awaited: bool) -> None:
    queue, scheduler = virtual_queue()
    claims: list[Claim] = []
    queue.claims().subscribe(claims.append)
    queue.schedule("a", 1.0, data=5)
    scheduler.advance_to(1)
    (claim,) = claims
    words = ("why",) if verb == "bury" else ()

    async def settle_by_await() -> bool:
        return await getattr(claim.aio, verb)(*words, again=again)

    done = asyncio.run(settle_by_await()) if is_awaited else getattr(claim, verb)(*words, again=again)
    assert done
    assert [(due.run_at.timestamp(), due.data) for due in queue.peek()] == [(at, 5)]
    assert getattr(claim, verb)(*words, again=again) is False, "its lease is gone: nothing is written"
    assert queue.size() == 1
    queue.stop()


async def in_an_hour(_: Due) -> timedelta:
    return timedelta(hours=1)


@pytest.mark.parametrize("again", [5, "soon", datetime(2026, 1, 1), in_an_hour])
def test_what_is_no_moment_is_refused_before_anything_is_sent(again: Any) -> None:
    queue, scheduler = virtual_queue()
    claims: list[Claim] = []
    queue.claims().subscribe(claims.append)
    queue.schedule("a" * 10_000, 1.0)
    scheduler.advance_to(1)
    with pytest.raises(InvalidJob, match="again: got") as refused:
        claims[0].ack(again=again)
    assert len(str(refused.value)) < 500
    assert claims[0].ack() is True
    assert queue.size() == 0


def test_27_settled_by_hand_within_settle_the_chain_goes_on_unless_it_is_told_otherwise() -> None:
    chain = Chain(lambda claim: claim.ack())
    chain.scheduler.advance_to(2)
    assert chain.told() == [("acked", 1, 61.0)]
    ended = Chain(lambda claim: claim.ack(again=None))
    ended.scheduler.advance_to(2)
    assert ended.told() == [("acked", 1, None)]
    assert ended.waits() == []


def test_27_a_process_that_begins_a_chain_doubles_none() -> None:
    """`keep="absent"` writes nothing where the key waits or is out; `"first"` does not see a run that is out."""
    queue, scheduler = virtual_queue()

    def seed() -> datetime | None:
        return queue.schedule("a", 100.0, keep="absent", data="seed")

    assert seed() == seed() == moment(100)
    queue.schedule("a", 1.0, data="run")
    claims: list[Claim] = []
    queue.claims(lease=10).subscribe(claims.append)
    scheduler.advance_to(1)
    assert seed() is None
    assert queue.size() == 0
    claims[0].nack(5)
    assert seed() == moment(6)
    scheduler.advance_to(7)
    claims[1].ack(again=moment(50))
    assert seed() == moment(50)
    assert [(due.key, due.data) for due in queue.peek()] == [("a", "run")]


@pytest.mark.parametrize("again", [5, "hourly", timedelta(hours=1), moment(5), in_an_hour])
def test_settle_refuses_what_cannot_be_asked(again: Any) -> None:
    with pytest.raises(InvalidSetting, match=r"again: got .*; it must be a plain function of the run that was claimed"):
        settle(lambda _: None, again=again)


def test_the_next_run_is_in_the_repr_of_an_outcome() -> None:
    chain = Chain(lambda _: "x")
    chain.scheduler.advance_to(2)
    assert repr(chain.outcomes[0]) == "<Outcome 'a', attempt 1, acked, next at 1970-01-01 00:01:01.000 UTC: 'x'>"


def test_26_a_due_that_is_scheduled_again_names_its_data_and_a_job_does_not() -> None:
    queue, scheduler = virtual_queue()
    dues: list[Due] = []
    queue.jobs.subscribe(dues.append)
    queue.on_next([Job("a", 1.0, data=1), Job("b", 1.0)])
    scheduler.advance_to(1)
    queue.on_next([Job("a", 2.0, data=2), Job("b", 2.0, data=2)])
    queue.on_next(dues)
    assert [(due.key, due.data) for due in queue.peek()] == [("a", 1), ("b", None)]
    queue.on_next(Job("a", 3.0))
    assert [due.data for due in queue.peek() if due.key == "a"] == [1]


@pytest.mark.parametrize("end", ["dispose", "stop", "raise"])
def test_26_keys_that_nobody_received_go_back_with_their_data(end: str) -> None:
    with RunAt("memory://hand-back", interval=30) as writer, RunAt("memory://hand-back", interval=30) as queue:
        writer.on_next([Job(f"k{n}", timedelta(0), data=n) for n in range(5)])
        got: list[int] = []

        def receive(due: Due) -> None:
            got.append(due.data)
            if end == "stop":
                queue.stop()
            elif end == "raise":
                raise ValueError
            else:
                subscription.dispose()

        subscription = queue.jobs.subscribe(receive, lambda _: None)
        queue.stop()
        left = {due.key: due.data for due in writer.peek()}
        for due in writer.peek():
            writer.cancel(due.key)
        kept = got if end != "raise" else []
        assert sorted([*left.values(), *kept]) == list(range(5))
