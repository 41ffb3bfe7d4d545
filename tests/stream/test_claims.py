"""Claims in virtual time: how they come, how slots are freed, what each verb tells."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import redis
from reactivex import operators as ops

from rx_runat import Claim, InvalidSetting, Job, OutcomeUnknown, RunAt, Stopped, Unavailable
from rx_runat.stream.slots import Slots
from rx_runat.testing import Faults, virtual_queue
from tests.support.settling import reopen
from tests.support.waiting import wait_until

PAST = 1.0


def jobs(n: int, at: float = PAST) -> list[Job]:
    return [Job(f"k{i:03}", at) for i in range(n)]


def keys(claims: list[Claim]) -> list[str]:
    return [claim.key for claim in claims]


# What a claim is.


def test_a_claim_tells_its_attempt_and_its_deadline() -> None:
    queue, scheduler = virtual_queue()
    got: list[Claim] = []
    queue.claims(lease=30).subscribe(got.append)
    queue.schedule("a", 5)
    scheduler.advance_to(5)
    (claim,) = got
    assert (claim.key, claim.run_at.timestamp(), claim.attempt, claim.lease) == ("a", 5, 1, 30)
    assert (claim.deadline.timestamp(), claim.lateness) == (35, 0)


def test_a_claim_tells_the_same_each_time_and_also_after_its_lease() -> None:
    """Its moment and its data are worked out when they are first read."""
    queue, scheduler = virtual_queue()
    got: list[Claim] = []
    queue.claims().subscribe(got.append)
    queue.claims().subscribe(got.append)
    queue.schedule("a", 5, data={"to": ["ann"]})
    scheduler.advance_to(5)
    (claim,) = got
    claim.ack()
    queue.stop()
    assert (claim.data, claim.run_at.timestamp(), claim.lateness) == ({"to": ["ann"]}, 5, 0)
    assert claim.data is claim.data
    assert claim.run_at is claim.run_at
    assert claim == replace(claim, lateness=3.0)
    assert hash(claim) == hash(replace(claim))
    with pytest.raises(AttributeError, match="'Claim' object has no attribute 'when'"):
        claim.when  # type: ignore[attr-defined]  # noqa: B018


def test_an_acked_key_is_gone(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    answers: list[bool] = []
    queue.claims().subscribe(lambda claim: answers.append(claim.ack()))
    queue.on_next(jobs(250))
    scheduler.advance_to(100)
    assert answers == [True] * 250
    assert queue.size() == 0
    queue.stop()
    reopen(faults)
    assert faults.call("KEYS", "*") == []


def test_an_end_of_a_lease_brings_the_key_back_at_that_moment() -> None:
    queue, scheduler = virtual_queue()
    got: list[tuple[float, int]] = []
    queue.claims(lease=timedelta(seconds=0.5)).subscribe(lambda claim: got.append((scheduler.clock, claim.attempt)))
    queue.schedule("a", 1)
    scheduler.advance_to(2.2)
    assert got == [(1.0, 1), (1.5, 2), (2.0, 3)]


def test_a_nacked_key_comes_again_after_its_delay_with_its_own_run_at() -> None:
    queue, scheduler = virtual_queue()
    got: list[tuple[float, float, int]] = []

    def fail(claim: Claim) -> None:
        got.append((scheduler.clock, claim.run_at.timestamp(), claim.attempt))
        assert claim.nack(timedelta(seconds=3))

    queue.claims().subscribe(fail)
    queue.schedule("a", 1)
    scheduler.advance_to(8)
    assert got == [(1, 1, 1), (4, 1, 2), (7, 1, 3)]


def test_an_extended_lease_lives_on() -> None:
    queue, scheduler = virtual_queue()
    got: list[Claim] = []
    queue.claims(lease=10).subscribe(got.append)
    queue.schedule("a", 0)
    scheduler.advance_to(8)
    assert got[0].extend(10)
    assert got[0].deadline.timestamp() == pytest.approx(18, abs=0.01)
    scheduler.advance_to(17.9)
    assert len(got) == 1
    scheduler.advance_to(18.1)
    assert [claim.attempt for claim in got] == [1, 2]
    assert not got[0].extend(10)


def test_a_buried_key_is_a_dead_letter() -> None:
    queue, scheduler = virtual_queue()
    queue.claims().subscribe(lambda claim: claim.bury("poison"))
    queue.schedule("a", 1)
    scheduler.advance_to(100)
    (letter,) = queue._store.dead_peek(10)
    assert (letter.key, letter.attempts, letter.reason, queue.size()) == ("a", 1, "poison", 0)


def test_a_late_verb_is_told_so() -> None:
    queue, scheduler = virtual_queue()
    got: list[Claim] = []
    queue.claims(lease=1).subscribe(got.append)
    queue.schedule("a", 1)
    scheduler.advance_to(2.5)
    late, held = got
    assert [late.ack(), late.nack(), late.extend(1), late.bury("no")] == [False] * 4
    assert held.ack()
    assert not held.ack()


def test_a_claim_shows_how_it_stands_without_asking(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    got: list[Claim] = []
    queue.claims(lease=30).subscribe(got.append)
    queue.on_next([Job(key, 1) for key in ("<a>", "b", "c", "d")])
    scheduler.advance_to(3)
    acked, nacked, buried, lost = got
    faults.commands.clear()
    assert repr(acked) == "<Claim '<a>', attempt 1, on time, its lease ends in 28 s>"
    assert "&lt;a&gt;" in acked._repr_html_()
    assert "its lease ends in 28 s" in acked._repr_html_()
    assert not faults.commands
    assert acked.extend(60)
    assert repr(acked) == "<Claim '<a>', attempt 1, on time, its lease ends in 1 min>"
    acked.ack(), acked.ack(), nacked.nack(1000), buried.bury("poison")
    scheduler.advance_to(33)
    assert "its lease ended 2 s ago" in repr(lost)
    assert not lost.ack()
    ends = ["acked", "nacked", "buried", "its lease was lost"]
    assert [repr(claim).split(", ")[-1] for claim in got[:4]] == [f"{end}>" for end in ends]


def test_a_claim_shows_that_it_may_be_settled(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    got: list[Claim] = []
    queue.claims(lease=30).subscribe(got.append)
    queue.schedule("a", 1)
    scheduler.advance_to(1.25)
    faults.lost = 100
    with pytest.raises(OutcomeUnknown):
        got[0].ack()
    assert repr(got[0]) == "<Claim 'a', attempt 1, on time, perhaps settled: no answer came>"
    faults.lost = 0
    assert got[0].ack()
    assert repr(got[0]) == "<Claim 'a', attempt 1, on time, acked>"


def test_a_stream_of_claims_says_whose_it_is() -> None:
    queue, _ = virtual_queue(queue_name="<jobs>")
    claims = queue.claims(lease=timedelta(minutes=1), max_in_flight=3)
    assert repr(claims) == "<claims(lease=60, max_in_flight=3) of <RunAt '<jobs>' on memory://>>"
    card = claims._repr_html_()  # type: ignore[attr-defined]
    assert "claims(lease=60, max_in_flight=3) of RunAt</b>" in card
    assert "&lt;jobs&gt;" in card
    assert "<b>0</b> scheduled" in card


# Slots.


def test_the_backlog_waits_in_redis() -> None:
    queue, scheduler = virtual_queue()
    got: list[Claim] = []
    queue.claims(max_in_flight=3).subscribe(got.append)
    queue.on_next(jobs(10))
    scheduler.advance_to(2)
    assert (keys(got), queue.size()) == (["k000", "k001", "k002"], 7)


@pytest.mark.parametrize("verb", [Claim.ack, lambda c: c.nack(1000), lambda c: c.bury("x")])
def test_a_verb_frees_the_slot_at_once(verb: Callable[[Claim], bool]) -> None:
    queue, scheduler = virtual_queue()
    got: list[Claim] = []
    queue.claims(max_in_flight=1).subscribe(got.append)
    queue.on_next(jobs(3))
    scheduler.advance_to(2)
    verb(got[0])
    scheduler.advance_to(2.001)
    assert keys(got) == ["k000", "k001"]


def test_a_cancelled_key_frees_its_slot_when_the_lease_is_seen_to_be_lost() -> None:
    queue, scheduler = virtual_queue()
    got: list[Claim] = []
    queue.claims(max_in_flight=1).subscribe(got.append)
    queue.on_next(jobs(2))
    scheduler.advance_to(2)
    assert queue.cancel("k000")
    assert not got[0].ack()
    scheduler.advance_to(2.001)
    assert keys(got) == ["k000", "k001"]


def test_forgotten_claims_come_back_and_never_stop_the_stream() -> None:
    queue, scheduler = virtual_queue()
    got: list[str] = []

    def ack(claim: Claim) -> None:
        got.append(claim.key)
        claim.ack()

    queue.claims(lease=10, max_in_flight=2).pipe(ops.filter(lambda claim: claim.attempt > 1)).subscribe(ack)
    queue.on_next(jobs(6))
    scheduler.advance_to(100)
    assert sorted(got) == [job.key for job in jobs(6)]
    assert queue.size() == 0


def test_a_full_source_does_not_ask_in_vain(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    queue.claims(lease=1000, max_in_flight=1).subscribe()
    queue.on_next(jobs(10))
    scheduler.advance_to(5)
    faults.commands.clear()
    for number in range(100):
        queue.schedule(f"more {number}", PAST)
        scheduler.advance_by(0.1)
    assert len(faults.commands) <= 101  # the writes, and a look perhaps


# Who subscribes, and leaves.


def test_undelivered_claims_go_back_as_they_were() -> None:
    queue, scheduler = virtual_queue()
    first: list[Claim] = []
    claims = queue.claims(max_in_flight=10)
    queue.on_next(jobs(10))
    claims.pipe(ops.take(3)).subscribe(first.append)
    scheduler.advance_to(2)
    assert (len(first), queue.size()) == (3, 7)
    then: list[Claim] = []
    claims.subscribe(then.append)
    scheduler.advance_to(3)
    assert keys(then) == [job.key for job in jobs(10)[3:]]
    assert {(claim.attempt, claim.run_at.timestamp()) for claim in then} == {(1, PAST)}


def test_a_subscriber_that_raises_ends_and_its_claim_goes_back() -> None:
    queue, scheduler = virtual_queue()
    errors: list[Exception] = []
    claims = queue.claims()
    claims.subscribe(lambda claim: 1 / 0, errors.append)
    queue.on_next(jobs(2))
    scheduler.advance_to(2)
    assert [type(error) for error in errors] == [ZeroDivisionError]
    assert queue.size() == 2
    got: list[Claim] = []
    claims.subscribe(got.append)
    scheduler.advance_to(3)
    assert [(claim.key, claim.attempt) for claim in got] == [("k000", 1), ("k001", 1)]


def test_delivered_claims_stay_leased_when_the_subscriber_leaves() -> None:
    queue, scheduler = virtual_queue()
    got: list[Claim] = []
    subscription = queue.claims(lease=10).subscribe(got.append)
    queue.on_next(jobs(2))
    scheduler.advance_to(2)
    subscription.dispose()
    scheduler.advance_to(3)
    assert queue.size() == 0
    assert got[0].ack()


def test_each_source_claims_for_itself() -> None:
    queue, scheduler = virtual_queue()
    plain: list[str] = []
    one: list[Claim] = []
    other: list[Claim] = []
    queue.claims(max_in_flight=2).subscribe(one.append)
    queue.claims(max_in_flight=2).subscribe(other.append)
    queue.on_next(jobs(4))
    scheduler.advance_to(2)
    queue.subscribe(plain.append)
    queue.on_next(jobs(10)[4:])
    scheduler.advance_to(3)
    assert len(one) == len(other) == 2
    assert sorted([*keys(one), *keys(other), *plain]) == [job.key for job in jobs(10)]


def test_all_subscribers_of_a_source_see_the_same_claims() -> None:
    queue, scheduler = virtual_queue()
    got: list[Claim] = []
    claims = queue.claims()
    claims.subscribe(got.append)
    claims.subscribe(got.append)
    queue.schedule("a", 1)
    scheduler.advance_to(2)
    assert got[0] is got[1]


# What fails.


def test_a_claim_whose_answer_was_lost_is_asked_for_again(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults, interval=1)
    got: list[Claim] = []
    queue.claims().subscribe(got.append)
    scheduler.advance_to(0.5)
    queue.on_next(jobs(5))
    faults.lost = 2
    scheduler.advance_to(20)
    assert [(claim.key, claim.attempt) for claim in got] == [(job.key, 1) for job in jobs(5)]


def test_an_ack_whose_answer_was_lost_tells_the_truth(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    got: list[Claim] = []
    queue.claims().subscribe(got.append)
    queue.on_next(jobs(2))
    scheduler.advance_to(2)
    faults.lost = 1
    assert got[0].ack()
    faults.lost = 100
    with pytest.raises(OutcomeUnknown):
        got[1].ack()
    faults.lost = 0
    assert got[1].ack()


def test_an_ack_while_redis_is_away_says_so_and_may_be_repeated(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    got: list[Claim] = []
    queue.claims().subscribe(got.append)
    queue.schedule("a", 1)
    scheduler.advance_to(2)
    faults.away = True
    with pytest.raises(Unavailable):
        got[0].ack()
    faults.away = False
    assert got[0].ack()


def test_what_cannot_be_known_any_more_is_not_made_up(faults: Faults) -> None:
    queue, scheduler = virtual_queue(faults=faults)
    got: list[Claim] = []
    queue.claims(lease=1).subscribe(got.append)
    queue.schedule("a", 1)
    scheduler.advance_to(1.5)
    faults.lost = 100
    with pytest.raises(OutcomeUnknown):
        got[0].ack()
    faults.lost = 0
    scheduler.advance_to(10)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown, match="its lease is gone; whether this call ended it is unknown"):
            got[0].ack()


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"lease": 0.05}, "lease: got 0.05 (float); it must be between 0.1 seconds and a year"),
        ({"lease": math.nan}, "lease: got nan (float); it must be between 0.1 seconds and a year"),
        ({"lease": True}, "lease: got True (bool); it must be seconds, such as 30.0, or a timedelta"),
        ({"lease": "30"}, "lease: got '30' (str); it must be seconds, such as 30.0, or a timedelta"),
        ({"max_in_flight": 0}, "max_in_flight: got 0 (int); it must be a count of claims between 1 and 100,000"),
        ({"max_in_flight": 1.5}, "max_in_flight: got 1.5 (float); it must be a count"),
    ],
)
def test_settings_that_cannot_be_used(settings: dict[str, Any], said: str) -> None:
    queue, _ = virtual_queue()
    with pytest.raises(InvalidSetting) as refused:
        queue.claims(**settings)
    assert said in str(refused.value)


def test_arguments_of_verbs_that_cannot_be_used() -> None:
    queue, scheduler = virtual_queue()
    got: list[Claim] = []
    queue.claims().subscribe(got.append)
    queue.schedule("a", 1)
    scheduler.advance_to(1)
    for call in (lambda: got[0].nack(-1), lambda: got[0].extend(0), lambda: got[0].bury(1)):  # type: ignore[arg-type]
        with pytest.raises(InvalidSetting):
            call()


# The end.


def test_stop_completes_every_source_and_hands_back() -> None:
    queue, scheduler = virtual_queue()
    ended: list[str] = []
    queue.claims().subscribe(on_completed=lambda: ended.append("claims"))
    queue.subscribe(on_completed=lambda: ended.append("keys"))
    queue.errors.subscribe(on_completed=lambda: ended.append("errors"))
    scheduler.advance_to(1)
    queue.stop()
    assert sorted(ended) == ["claims", "errors", "keys"]
    assert ended[-1] == "errors"
    with pytest.raises(Stopped):
        queue.claims()


def test_stop_from_on_next_of_claims_finishes_soon(make: Callable[..., RunAt], client: redis.Redis) -> None:
    queue = make()
    ended = threading.Event()
    got: list[str] = []

    def stop(claim: Claim) -> None:
        got.append(claim.key)
        queue.stop()

    claims = queue.claims(max_in_flight=10)
    claims.subscribe(stop, on_completed=ended.set)
    queue.on_next([Job(f"later {i}", timedelta(seconds=0.1)) for i in range(50)])
    wait_until(ended.is_set, "the stream completed")
    wait_until(lambda: client.zcard("RunAt~default") == 49, "what was not delivered is back")
    assert len(got) == 1


def test_two_sources_that_stop_the_queue_at_once_do_not_wait_for_each_other(make: Callable[..., RunAt]) -> None:
    queue = make()
    both = threading.Barrier(2)
    over = threading.Event()

    def stop(_: Claim) -> None:
        both.wait(10)
        queue.stop()

    queue.errors.subscribe(on_completed=over.set)
    for _ in range(2):
        queue.claims(max_in_flight=1).subscribe(stop)
    queue.on_next(jobs(2))
    wait_until(over.is_set, "all sources have let go")


def test_claims_in_real_time(make: Callable[..., RunAt], client: redis.Redis) -> None:
    queue = make()
    got: list[str] = []
    lock = threading.Lock()

    def ack(claim: Claim) -> None:
        with lock:
            got.append(claim.key)
        assert claim.ack()

    for _ in range(3):
        queue.claims(max_in_flight=7).subscribe(ack)
    queue.on_next(jobs(300))
    wait_until(lambda: len(got) == 300, "all came")
    assert sorted(got) == [job.key for job in jobs(300)]
    queue.stop()
    assert client.keys("*") == []


def test_one_claim_takes_no_more_than_a_thousand_keys(faults: Faults) -> None:
    """However many slots are free: each script is bounded."""
    queue, scheduler = virtual_queue(faults=faults)
    got: list[Claim] = []
    queue.claims(max_in_flight=5000).subscribe(got.append)
    scheduler.advance_to(0.5)
    for first in range(0, 3000, 1000):
        queue.on_next([Job(f"k{i:04}", PAST) for i in range(first, first + 1000)])
    scheduler.advance_to(0.9)
    faults.commands.clear()
    scheduler.advance_to(2)
    assert len(got) == 3000
    assert len(faults.commands) >= 3


# Slots alone.


def test_slots() -> None:
    now = 0.0
    freed: list[float] = []
    slots = Slots(2, lambda: now, lambda: freed.append(now))
    assert slots.keys == 1  # at first
    slots.take(["a", "b"], 10)
    assert (slots.keys, slots.seconds_until_free) == (0, 10)
    slots.free(["a"])
    slots.free(["a"])
    assert (slots.keys, freed) == (1, [0])
    slots.free(["b"])
    assert freed == [0]  # none was missing
    slots.take(["c", "d"], 20)
    slots.extend("c", 30)
    slots.extend("nobody", 99)
    now = 25.0
    assert slots.keys == 1
    now = 30.0
    assert slots.keys == 2


def test_one_claim_leaves_some_of_many_slots_for_the_next() -> None:
    """So that the server makes it while the workers are busy with the one before."""
    slots = Slots(1000, lambda: 0.0, lambda: None)
    slots.take([0], 10)
    assert slots.keys == 250
    slots.take(range(1, 850), 10)
    assert slots.keys == 150


def test_a_source_takes_no_more_than_is_wanted_and_looks_again_when_more_is() -> None:
    wanted = 3.0
    freed: list[float] = []
    slots = Slots(10, lambda: 0.0, lambda: freed.append(wanted), lambda: wanted)
    slots.take(["a"], 10)
    assert slots.keys == 3
    wanted = -2.0
    slots.look_again()
    assert (slots.keys, slots.seconds_until_free, freed) == (0, None, [])
    wanted = 1.0
    slots.look_again()
    slots.look_again()
    assert (slots.keys, slots.seconds_until_free, freed) == (1, 0.0, [1.0])


def test_a_source_that_waits_for_a_slot_needs_no_tick_when_one_is_free() -> None:
    freed: list[str] = []
    slots = Slots(1, lambda: 0.0, lambda: freed.append("a tick"))
    slots.take(["a"], 10)
    assert slots.keys == 0
    assert not slots.wait(), "it waits for a moment only"
    slots.free(["a"])
    assert (slots.keys, freed) == (1, ["a tick"]), "nobody waited any more"
    slots.take(["b"], 10)
    assert slots.keys == 0
    slots._may_be_free = Held(lambda: slots.free(["b"]))  # freed in the midst of the wait
    assert slots.wait()
    assert (slots.keys, freed) == (1, ["a tick"])


class Held(threading.Event):
    """Does something while somebody waits for it."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self._act = act

    def wait(self, timeout: float | None = None) -> bool:
        self._act()
        return super().wait(20)


def test_a_slot_that_is_freed_before_the_wait_ends_it_at_once() -> None:
    slots = Slots(1, lambda: 0.0, lambda: None)
    slots.take(["a"], 10)
    assert slots.keys == 0
    slots.free(["a"])
    assert slots.wait()


def test_the_first_claim_of_those_who_subscribe_takes_one_key(faults: Faults) -> None:
    """Its key may kill the process, and takes no other key with it."""
    queue, scheduler = virtual_queue(faults=faults)
    claims = queue.claims()
    for round_number in (1, 2):  # the second one is for those who subscribe when all have left
        queue.on_next([Job(f"{round_number}{i}", PAST) for i in range(5)])
        out: list[int] = []

        def receive(claim: Claim, out: list[int] = out) -> None:
            out.append(faults.call("ZCARD", "{RunAt~default}:claimed"))
            claim.ack()

        subscription = claims.subscribe(receive)
        scheduler.advance_by(1)
        subscription.dispose()
        scheduler.advance_by(1)
        assert out == [1, 4, 3, 2, 1]
