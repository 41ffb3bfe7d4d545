"""Any history of claims with a lease, compared with a list of runs: each of them ends once, or it waits or is out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from rx_runat import Job, Stats
from rx_runat.model.batch import EVERY, SUPERSEDED, Counting, SettleRequest, Verb, to_entries
from rx_runat.model.data import NOT_NAMED, from_text, to_text
from rx_runat.model.job import KEEP, Keep
from rx_runat.model.members import to_key, to_member
from rx_runat.model.times import EPOCH
from rx_runat.store import claimers
from rx_runat.store.client import RedisClient
from rx_runat.store.keys import claimed_key, data_key, dead_key, leases_key
from rx_runat.store.redis_store import RedisStore
from rx_runat.testing import Faults
from tests.support.machines import run_machine

pytestmark = pytest.mark.no_cover  # it would add half to the time of thousands of calls that are alike

Q = "RunAt~default"
START_MS = 1_000_000
LEASE_MS = 300
BOUND = 2  # keys brought back in one claim: few, so that it matters
KEYS = ["a", "b", "é", "\udcff"]
REASON = "why\n\x1fnot"
LOST = st.sampled_from([0, 0, 0, 1])  # how many replies are lost, so that the request is resent
DATA = st.sampled_from([NOT_NAMED, NOT_NAMED, None, 0, "\x1f", {"n": [1]}])
NEXT = st.sampled_from(["", "+0", "+70", str(START_MS + 400)])  # when the next run of what is acked or buried is due
TIMES = st.integers(-200, 1200)  # ms, about the time that a history takes


@dataclass(eq=False)
class Run:
    """One schedule of a key, from its beginning to its end.

    Attributes:
        run_at: when it was due at first, ms.
        due: when it is due next, ms.
        attempt: the number of its last attempt that counted.
        is_counted: while it is out, whether this attempt counts already.
        crashed: whether the attempt before counted, and ended with its lease.
        parked: where it stands in Q instead, until a lease of its key has ended.
        deadline: of its lease, while it is out.
        end: what became of it: acked, superseded, cancelled, dead, taken (by a plain claim); '' until then.
    """

    key: str
    run_at: int
    due: int
    attempt: int = 0
    is_counted: bool = True
    crashed: bool = False
    parked: float | None = None
    fence: str = ""
    deadline: int = 0
    end: str = ""

    @property
    def shown(self) -> float:
        return self.due if self.parked is None else self.parked

    @property
    def number(self) -> int:
        """Of the attempt that is out."""
        return self.attempt + (not self.is_counted)

    @property
    def counts(self) -> str:
        """When the attempt that is out counts."""
        return "now" if self.is_counted else "suspect" if self.crashed else "later"

    def count(self) -> None:
        self.attempt, self.is_counted = self.number, True


class Held(NamedTuple):
    """What a holder knows of its claim, which may have changed since."""

    key: str
    fence: str
    deadline: int
    data: str  # as text, when it was claimed


class Leases(RuleBasedStateMachine):
    """The store, two leasing claimers and a plain one, replies that are lost, and a clock that also steps back."""

    @initialize()
    def begin(self) -> None:
        self.now = START_MS * 1000
        self.faults = Faults()
        self.store = RedisStore(self.faults, Q, lambda: self.now)
        self.counting = [Counting() for _ in range(2)]
        self.claimers = [self.store.leasing_claimer(LEASE_MS, each) for each in self.counting]
        self.runs: list[Run] = []
        self.waiting: dict[str, Run] = {}
        self.out: dict[str, Run] = {}
        self.letters: dict[str, tuple[Run, int, str]] = {}
        self.data: dict[str, str] = {}  # as text
        self.next_runs: dict[int, int] = {}  # of the last settle
        self.ghosts: dict[str, Run] = {}  # superseded between two attempts: the same time again is the same run again
        self.held: list[Held] = []
        for place, key in enumerate(KEYS):
            self.schedule(key, -100 * place, as_delay=False, keep="last")

    @property
    def ms(self) -> int:
        return self.now // 1000

    @property
    def up(self) -> int:
        return -(-self.now // 1000)

    # The model of the scripts.

    def write(self, key: str, ms: int) -> None:
        before = self.waiting.get(key)
        if before is not None and before.shown == ms:
            return
        if before is not None:
            before.end = "superseded"
            if before.attempt:
                self.ghosts[key] = before
            before.parked = None
        ghost = self.ghosts.get(key)
        if ghost is not None and ghost.due == ms:
            ghost.end = ""
            self.waiting[key] = self.ghosts.pop(key)
        else:
            self.begin_run(key, ms)

    def begin_run(self, key: str, ms: int) -> None:
        self.runs.append(Run(key, ms, ms))
        self.waiting[key] = self.runs[-1]

    def wait_again(self, run: Run, due: int) -> None:
        """A run whose lease has ended waits again, unless its key has a newer schedule."""
        if run.key in self.waiting:
            run.end = "superseded"
        else:
            run.due = due
            self.waiting[run.key] = run

    def set_data(self, key: str, text: str) -> None:
        self.data |= {key: text}
        if text in ("", "null"):
            del self.data[key]

    def next_moment(self, request: SettleRequest) -> int:
        return self.up + int(request.next_run) if request.next_run[0] == "+" else int(request.next_run)

    def next_run(self, place: int, request: SettleRequest) -> None:
        """The run of a key has ended: its data goes, unless a newer schedule or its next run stands."""
        if request.key in self.waiting:
            return
        if request.next_run:
            at = self.next_moment(request)
            self.begin_run(request.key, at)
            self.next_runs[place] = at
        else:
            self.data.pop(request.key, None)

    def release(self, run: Run) -> None:
        del self.out[run.key]
        if run.key in self.waiting:
            self.waiting[run.key].parked = None

    def bring_back(self) -> None:
        ended = [run for run in self.out.values() if run.deadline <= self.ms]
        for run in sorted(ended, key=lambda run: (run.deadline, to_member(run.key)))[:BOUND]:
            self.release(run)
            run.crashed = run.crashed or run.is_counted
            self.wait_again(run, run.run_at)

    def pop(self, limit: int) -> Iterator[Run]:
        """Yields the runs that a claim takes, and parks those whose key is under a lease."""
        due = [run for run in self.waiting.values() if run.shown <= self.ms]
        for run in sorted(due, key=lambda run: (run.shown, to_member(run.key)))[:limit]:
            other = self.out.get(run.key)
            self.ghosts.pop(run.key, None)
            if other is not None and other.deadline > self.ms:
                run.parked = other.deadline - 0.5
                other.crashed = False  # the mark takes the place of the suspicion
                continue
            if other is not None:
                other.end = "superseded"
                del self.out[run.key]
            del self.waiting[run.key]
            run.parked = None
            yield run

    def judge(self, request: SettleRequest, resent: bool, place: int = 0) -> int | None:
        run = self.out.get(request.key)
        if run is None or run.fence != request.fence:
            if resent and request.verb not in ("begin", "extend"):
                if self.ms >= request.deadline_ms:
                    return None
                if request.verb in ("ack", "bury") and request.next_run:
                    at = self.next_moment(request)
                    if request.key in self.waiting and self.waiting[request.key].shown == at:
                        self.next_runs[place] = at
                return 1
            return 0
        if run.deadline <= self.ms:
            return 0
        if request.verb == "extend":
            run.deadline = max(run.deadline, self.up + int(request.argument))
            return run.deadline
        if request.verb == "begin":
            run.count()
            return 1
        is_superseded = run.key in self.waiting
        run.crashed = run.crashed and request.verb == "back"
        self.release(run)
        if request.verb == "ack":
            run.end = "acked"
            self.next_run(place, request)
        elif request.verb == "bury":
            run.end = "dead"
            run.count()
            self.letters[run.key] = (run, self.ms, request.data)
            self.next_run(place, request)
        elif request.verb == "nack":
            run.count()
            self.wait_again(run, self.up + int(request.argument))
            return SUPERSEDED if is_superseded else 1
        else:
            run.attempt -= run.is_counted
            self.wait_again(run, run.run_at)
        return 1

    # Time.

    @rule(microseconds=st.sampled_from([1, 999, 1000, 50_000, 120_500, 299_999]))
    def time_goes_by(self, microseconds: int) -> None:
        self.now += microseconds

    @rule(late=st.sampled_from([0, -1, 1]))
    def something_happens_next(self, late: int) -> None:
        """To the microsecond: just before, at, and just after the next deadline or due time."""
        times = [run.deadline for run in self.out.values()] + [math.ceil(run.shown) for run in self.waiting.values()]
        self.now = min((ms * 1000 + late for ms in times if ms * 1000 + late > self.now), default=self.now)

    @rule(milliseconds=st.sampled_from([1, 50, 400]))
    def the_clock_steps_back(self, milliseconds: int) -> None:
        self.now -= milliseconds * 1000

    # The schedule.

    @rule(key=st.sampled_from(KEYS), ms=TIMES, as_delay=st.booleans(), keep=st.sampled_from(KEEP), carried=DATA)
    def schedule(self, key: str, ms: int, as_delay: bool, keep: Keep, carried: Any = NOT_NAMED) -> None:
        wanted = self.up + max(ms, 0) if as_delay else START_MS + ms
        time = timedelta(milliseconds=max(ms, 0)) if as_delay else (START_MS + ms) / 1000
        job = Job(key, time, data=carried)
        answer = self.store.schedule([job], keep)
        before = self.waiting.get(key)
        if before is None:
            is_accepted = keep != "absent" or key not in self.out
        else:
            is_accepted = {"earliest": wanted < before.due, "latest": wanted > before.due}.get(keep, keep == "last")
        if is_accepted:
            self.write(key, wanted)
            if carried is not NOT_NAMED:
                self.set_data(key, to_text(carried).decode())
        assert answer == (wanted if is_accepted else before.due if before else None)

    @rule(data=st.data(), ms=st.sampled_from([-1, 0, 1, 100]), keep=st.sampled_from(KEEP), carried=DATA)
    def schedule_what_is_out(self, data: st.DataObject, ms: int, keep: Keep, carried: Any) -> None:
        key = data.draw(st.sampled_from(sorted(self.out) or KEYS))
        self.schedule(key, self.up - START_MS + ms, as_delay=False, keep=keep, carried=carried)

    @rule(key=st.sampled_from(KEYS), late=st.sampled_from([1, 3, 9]))
    def fall_due_while_out(self, key: str, late: int) -> None:
        """The key is leased, is scheduled again, and a claim finds it due: chance alone does this seldom."""
        for _ in range(2):
            self.schedule(key, self.ms - START_MS - late, as_delay=False, keep="last")
            self.claim(0, 4, lost=0)

    @rule(key=st.sampled_from(KEYS))
    def schedule_as_before(self, key: str) -> None:
        run = self.ghosts.get(key) or self.waiting.get(key)
        if run is not None:
            self.schedule(key, run.due - START_MS, as_delay=False, keep="last")

    @rule(
        key=st.sampled_from(KEYS),
        all_=st.booleans(),
        verb=st.sampled_from(["bury", "cancel", "revive", "drop"]),
        next_run=NEXT,
    )
    def seldom(self, key: str, all_: bool, verb: str, next_run: str) -> None:
        """One rule for verbs that would end most runs early if they came as often as the others."""
        self.look_at_the_dead(2)
        if verb == "bury":
            self.settle_all([held for held in self.held[-4:] if held.key == key], "bury", next_run)
        elif verb == "cancel":
            self.cancel(key)
        else:
            (self.revive if verb == "revive" else self.drop)(None if all_ else key)

    def cancel(self, key: str) -> None:
        runs = [runs.pop(key) for runs in (self.waiting, self.out) if key in runs]
        self.ghosts.pop(key, None)
        self.data.pop(key, None)
        for run in runs:
            run.end = "cancelled"
        assert self.store.cancel(key) is bool(runs)

    # Claims.

    @rule(number=st.integers(0, 1))
    def claim_all(self, number: int) -> None:
        self.claim(number, 4, lost=0)

    @rule(number=st.integers(0, 1), up_to=st.sampled_from([0, 1, EVERY]))
    def count_later(self, number: int, up_to: int) -> None:
        self.counting[number].up_to = up_to

    @rule(number=st.integers(0, 1), limit=st.sampled_from([4, 2, 1, 0]), lost=LOST)
    def claim(self, number: int, limit: int, lost: int) -> None:
        self.faults.lost = lost
        got = self.claimers[number].claim(limit)
        runs: list[Run] = []
        for _ in range(1 + lost):
            self.bring_back()
            runs = runs or list(self.pop(limit))
        for run in runs:
            assert run.key not in self.out, "one key is never out twice"
            run.is_counted = False
            if run.number <= self.counting[number].up_to:
                run.count()
            run.fence, run.deadline = got.fence, self.up + LEASE_MS
            self.out[run.key] = run
            self.held.append(Held(run.key, got.fence, run.deadline, self.data.get(run.key, "")))
        assert list(zip(got.keys, map(int, got.scores), got.attempts, got.counts, strict=True)) == [
            (run.key, run.run_at, run.number, run.counts) for run in runs
        ]
        assert [text for _, _, text in to_entries(got)] == [self.data.get(run.key, "") for run in runs]
        assert not runs or got.deadline == self.up + LEASE_MS
        assert got.now == self.now
        looks = [run.deadline for run in self.out.values()]
        looks += [math.ceil(run.shown) for run in self.waiting.values() if limit]
        assert got.wait == (max(0, min(looks) * 1000 - self.now) / 1e6 if looks else None)

    @rule(limit=st.sampled_from([1, 4]), back=st.booleans())
    def plain_claim(self, limit: int, back: bool) -> None:
        plain_claimer = self.store.plain_claimer()
        got = plain_claimer.claim(limit)
        runs = list(self.pop(limit))
        assert list(zip(got.keys, map(int, got.scores), strict=True)) == [(run.key, run.run_at) for run in runs]
        texts = [self.data.pop(run.key, "") for run in runs]
        assert [text for _, _, text in to_entries(got)] == texts
        for run in runs:
            run.end = "taken"
        if back and runs:
            plain_claimer.hand_back(to_entries(got))
            for run, text in zip(runs, texts, strict=True):
                self.begin_run(run.key, run.run_at)
                self.set_data(run.key, text)
        plain_claimer.close()

    @rule(
        data=st.data(),
        verbs=st.lists(st.sampled_from(["begin", "ack", "nack", "extend", "bury", "back"]), min_size=1, max_size=3),
        delay=st.integers(0, 400),
        lost=LOST,
        next_run=NEXT,
    )
    def settle(self, data: st.DataObject, verbs: list[Verb], delay: int, lost: int, next_run: str) -> None:
        """Settle several claims at once, among them claims whose lease is not held any more."""
        if self.held:
            held = [data.draw(st.sampled_from(self.held[-6:])) for _ in verbs]
            self.settle_each(list(zip(verbs, held, strict=True)), delay, lost, next_run)

    @rule(verb=st.sampled_from(["begin", "nack", "extend", "back", "ack", "ack"]), next_run=NEXT)
    def settle_what_is_out(self, verb: Verb, next_run: str) -> None:
        self.settle_all([held for held in self.held[-4:] if held.key in self.out], verb, next_run)

    def settle_all(self, helds: list[Held], verb: Verb, next_run: str) -> None:
        self.settle_each([(verb, held) for held in helds], 50, 0, next_run)

    def settle_each(self, pairs: list[tuple[Verb, Held]], delay: int, lost: int, next_run: str) -> None:
        requests: list[SettleRequest] = []
        for verb, held in pairs:
            argument = {"nack": delay, "extend": delay, "bury": REASON}.get(verb, "")
            asked = SettleRequest(verb, held.key, held.fence, argument, held.deadline, 0, next_run, held.data)
            requests.append(asked)
        self.faults.lost = lost if requests else 0
        settled = self.store.settle(requests)
        for resent in range(1 + (lost if requests else 0)):
            self.next_runs = {}
            answers = [self.judge(request, bool(resent), place) for place, request in enumerate(requests)]
        assert settled.answers == answers
        assert settled.next_runs == self.next_runs
        for request, answer in zip(requests, answers, strict=True):
            if request.verb == "extend" and answer:
                self.held.append(Held(request.key, request.fence, answer, request.data))

    # Dead letters.

    def look_at_the_dead(self, n: int) -> None:
        shown = self.store.dead_peek(n)
        letters = sorted((ms, key, run, text) for key, (run, ms, text) in self.letters.items())[:n]
        assert [
            (each.key, (each.run_at - EPOCH) // timedelta(milliseconds=1), each.attempts, each.reason, each.data)
            for each in shown
        ] == [(key, run.run_at, run.attempt, REASON, from_text(text, key)) for _, key, run, text in letters]
        assert [(each.time - EPOCH) // timedelta(milliseconds=1) for each in shown] == [ms for ms, *_ in letters]
        assert self.store.dead_size() == len(self.letters)

    def revive(self, key: str | None) -> None:
        keys = [each for each in self.letters if key in (None, each)]
        keys = [each for each in keys if each not in self.waiting and each not in self.out]
        assert self.store.revive(key) == len(keys)
        for each in keys:
            run, _, text = self.letters.pop(each)
            self.begin_run(each, run.run_at)
            self.set_data(each, text)

    def drop(self, key: str | None) -> None:
        keys = [each for each in self.letters if key in (None, each)]
        assert self.store.drop(key) == len(keys)
        for each in keys:
            del self.letters[each]

    # What always holds.

    @invariant()
    def every_run_ends_once_or_it_waits_or_is_out(self) -> None:
        for run in self.runs:
            places = [bool(run.end), self.waiting.get(run.key) is run, self.out.get(run.key) is run]
            assert places.count(True) == 1, run

    @invariant()
    def redis_holds_what_the_model_holds(self) -> None:
        send = RedisClient.call
        waits = dict(send(self.faults, "ZRANGE", Q, 0, -1, "WITHSCORES"))
        assert waits == {to_member(key): run.shown for key, run in self.waiting.items()}
        carried = dict(send(self.faults, "HGETALL", data_key(Q)))
        assert carried == {to_member(key): text.encode() for key, text in self.data.items()}
        assert self.data.keys() <= self.waiting.keys() | self.out.keys(), "no data is left behind"
        out = dict(send(self.faults, "ZRANGE", claimed_key(Q), 0, -1, "WITHSCORES"))
        assert out == {to_member(key): run.deadline for key, run in self.out.items()}
        known = send(self.faults, "HGETALL", leases_key(Q))
        for member, value in known.items():
            fence, attempt, run_at, mark, _ = value.decode().split(" ")
            if member in out:
                run = self.out[to_key(member)]
                number = run.number if run.is_counted else -run.number
                assert (fence, int(attempt), int(run_at)) == (run.fence, number, run.run_at)
            else:
                assert fence == "-"
                run = self.waiting[to_key(member)]  # raises KeyError if a record of no waiting key was left
                if float(mark) == run.shown:
                    assert (abs(int(attempt)), int(run_at)) == (run.attempt, run.run_at)
                else:
                    assert run.attempt == 0, "a newer schedule stands"
        assert set(out) <= set(known)
        assert all(to_member(run.key) in known for run in self.waiting.values() if run.attempt)
        assert set(send(self.faults, "HKEYS", dead_key(Q))) == set(map(to_member, self.letters))

    @invariant()
    def stats_count_what_the_model_holds(self) -> None:
        shown = [run.shown for run in self.waiting.values()]
        ends = [run.deadline for run in self.out.values()]
        passed = [ms for ms in (*shown, *ends) if ms <= self.ms]
        lateness = self.now / 1e6 - min(passed) / 1e3 if passed else 0.0
        stats = self.store.stats()
        assert stats.lateness == pytest.approx(lateness, abs=1e-6)
        due = sum(ms <= self.ms for ms in shown)
        assert stats == Stats(len(shown), due, len(ends), len(self.letters), stats.lateness)

    def teardown(self) -> None:
        """All that is out ends, all that waits is taken, and Redis is empty."""
        if not hasattr(self, "faults"):
            return
        self.now += 10**10
        for _ in range(2 * len(KEYS)):
            self.claim(0, 4, 0)
            self.store.settle([SettleRequest("ack", run.key, run.fence, "", run.deadline) for run in self.out.values()])
            for run in list(self.out.values()):
                self.judge(SettleRequest("ack", run.key, run.fence, "", run.deadline), resent=False)
        self.drop(None)
        for leasing_claimer in self.claimers:
            assert leasing_claimer.close() == []
        self.every_run_ends_once_or_it_waits_or_is_out()
        assert not self.waiting
        assert not self.out
        left = RedisClient.call(self.faults, "KEYS", "*")
        assert all(RedisClient.call(self.faults, "PTTL", key) > 0 for key in left), (
            "but receipts of replies that were lost"
        )
        self.faults.close()


@pytest.fixture(autouse=True)
def few_come_back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claimers, "BROUGHT_BACK", BOUND)


@pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")
@pytest.mark.timeout(400)  # a failure is made small before it is shown
def test_any_history_of_claims_is_that_of_a_list_of_runs() -> None:
    run_machine(Leases, 15, 40)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")
@pytest.mark.timeout(1200)
def test_many_long_histories_of_claims_are_those_of_a_list_of_runs() -> None:
    run_machine(Leases, 200, 80)
