"""Any history of calls, compared with a dict: with any requests lost, late or resent, every key is in one place."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from rx_runat import Job, OutcomeUnknown, Unavailable
from rx_runat.model.batch import Entry, to_entries
from rx_runat.model.data import NOT_NAMED, from_text, to_text
from rx_runat.model.job import KEEP, Keep
from rx_runat.model.members import to_key, to_member
from rx_runat.store.claimers import CLAIM, HAND_BACK, PlainClaimer
from rx_runat.store.client import TRIES, RedisClient
from rx_runat.store.connect import connect
from rx_runat.store.keys import data_key
from rx_runat.store.redis_store import RedisStore
from rx_runat.store.request import Arg
from tests.support.machines import run_machine
from tests.support.stores import FlakyClient, Q

pytestmark = pytest.mark.no_cover  # it would add half to the time of thousands of calls that are alike

START_MS = 1_000_000
KEYS = ["a", "b", "c", "d", "é", "\udcff"]
DATA = st.sampled_from([NOT_NAMED, NOT_NAMED, None, 0, "é\x1f", {"n": [1]}])

Run: TypeAlias = tuple[str, int, str]
"""A key, its run_at, and its data as text; "": none."""

FATES = st.lists(st.sampled_from(["lost", "late", "away"]), max_size=TRIES)
"""Fates of the next requests: done and not replied to; delayed; never sent. Later requests are replied to."""


class Sent(NamedTuple):
    """A command that was sent, and the number of its wish: all sendings of one claim belong to one wish."""

    wish: int
    command: tuple[Arg, ...]

    def is_claim(self) -> bool:
        return self.command[:2] == ("EVAL", CLAIM.body)

    def is_hand_back(self) -> bool:
        return self.command[:2] == ("EVAL", HAND_BACK.body)

    def args(self) -> tuple[Arg, ...]:
        """A script's ARGV."""
        return self.command[3 + int(self.command[2]) :] if self.command[0] == "EVAL" else ()

    def may_be_late(self) -> bool:
        """False for a write of the sink, which writes when it comes late, as documented. A claimer's does nothing."""
        return self.is_claim() or self.is_hand_back() or self.command[0] == "DEL"


class DuplicatingClient(FlakyClient):
    """A flaky client; what was not replied to may arrive at any time later, as often as one likes."""

    def __init__(self, client: RedisClient) -> None:
        super().__init__(client)
        self.wish = 0  # the number of the wish that the next calls belong to
        self.duplicates: list[Sent] = []

    def call(self, *command: Arg, **more: Any) -> Any:
        try:
            return super().call(*command, **more)
        except OutcomeUnknown:
            sent = Sent(self.wish, command)
            if sent.may_be_late():
                self.duplicates.append(sent)
            raise

    def begin(self, fates: list[str | None], wish: int) -> None:
        self.fates, self.wish = list(fates), wish
        self.sent.clear()
        self.late.clear()

    def done(self) -> list[Sent]:
        """Returns what the server did since `begin`."""
        late = set(map(id, self.late))
        return [Sent(self.wish, command) for command in self.sent if id(command) not in late]

    def at_once(self, *command: Arg) -> Any:
        """Send a command whatever the fates."""
        return RedisClient.call(self, *command)


class Known:
    """What the model knows of a claimer."""

    def __init__(self, claimer: PlainClaimer) -> None:
        self.claimer = claimer
        self.entries: list[Run] = []  # claimed and replied to, neither delivered nor handed back
        self.wish = 0  # of its claim or hand-back
        self.claiming = False
        self.backing: list[Run] | None = None  # a hand-back that was not replied to

    def may_claim(self) -> bool:
        return self.backing is None

    def may_hand_back(self) -> bool:
        return not self.claiming and bool(self.entries or self.backing is not None)


class Schedule(RuleBasedStateMachine):
    """The store, two claimers and a client that fails, beside a dict.

    A wish is fulfilled once: the first of its askings that the server does has the effect, all others have none.
    """

    @initialize()
    def begin(self) -> None:
        self.now = START_MS * 1000
        self.client = DuplicatingClient(connect("memory://").client)
        self.store = RedisStore(self.client, Q, lambda: self.now)
        self.all_known = [Known(self.store.plain_claimer()), Known(self.store.plain_claimer())]
        self.waiting = {key: START_MS - 100 * place for place, key in enumerate(KEYS)}
        self.client.at_once("ZADD", Q, *(each for key, ms in self.waiting.items() for each in (ms, to_member(key))))
        self.wishes = 0
        self.data: dict[str, str] = {}  # as text, orphans included
        self.taken: dict[int, list[Run]] = {}  # by the wish of the claim that took them
        self.returned: set[int] = set()  # the wishes of hand-backs

    def new_wish(self) -> int:
        self.wishes += 1
        return self.wishes

    # The model of the scripts.

    def happened(self, sent: Sent) -> None:
        """Change the model as a command that was done changed Redis."""
        args = sent.args()
        if sent.is_claim() and sent.wish not in self.taken:
            limit, _, _, resent, _, _, now = args
            due = [each for each in self.in_order() if each[1] <= int(now) // 1000][: int(limit)]
            if due or resent:  # one that took nothing leaves no receipt, so that the resent one may take keys
                self.taken[sent.wish] = due
            for key, _, _ in due:
                del self.waiting[key]
                self.data.pop(key, None)
        if sent.is_hand_back() and sent.wish not in self.returned:
            self.returned.add(sent.wish)
            width = int(args[4])
            for i in range(5, len(args), width):
                score, member, text = args[i], args[i + 1], args[i + 2] if width == 3 else b""
                assert isinstance(member, bytes)
                assert isinstance(text, bytes)
                key = to_key(member)
                if key not in self.waiting:
                    self.waiting[key] = int(score)
                    self.set_data(key, text.decode())

    def set_data(self, key: str, text: str) -> None:
        self.data |= {key: text}
        if text in ("", "null"):
            del self.data[key]

    def in_order(self) -> list[Run]:
        ordered = sorted(self.waiting.items(), key=lambda pair: (pair[1], to_member(pair[0])))
        return [(key, ms, self.data.get(key, "")) for key, ms in ordered]

    def ask(self, fates: list[str | None], verb: Callable[[], Any], wish: int = 0) -> tuple[bool, Any]:
        """Call a verb and update the model; returns whether the verb returned, and what."""
        self.client.begin(fates, wish)
        answered, answer, error = True, None, None
        try:
            answer = verb()
        except Unavailable as raised:
            answered, error = False, raised
        assert error is None or isinstance(error, OutcomeUnknown) is (fates[0] != "away"), "unknown if it was sent"
        self.client.fates = []
        self.done = self.client.done()
        for sent in self.done:
            self.happened(sent)
        return answered, answer

    # Time, and the wire.

    @rule(milliseconds=st.integers(0, 900), microseconds=st.integers(0, 999))
    def time_goes_by(self, milliseconds: int, microseconds: int) -> None:
        self.now += milliseconds * 1000 + microseconds

    @precondition(lambda self: self.client.duplicates)
    @rule(data=st.data())
    def a_late_copy_arrives(self, data: st.DataObject) -> None:
        sent = data.draw(st.sampled_from(self.client.duplicates))
        self.client.at_once(*sent.command)
        self.happened(sent)

    # The sink's verbs.

    @rule(
        jobs=st.lists(
            st.tuples(st.sampled_from(KEYS), st.integers(-600, 2500), DATA),
            min_size=1,
            max_size=3,
            unique_by=lambda job: job[0],
        ),
        as_delay=st.booleans(),
        keep=st.sampled_from(KEEP),
        fates=FATES,
    )
    def schedule(self, jobs: list[tuple[str, int, Any]], as_delay: bool, keep: Keep, fates: list[str | None]) -> None:
        now = -(-self.now // 1000)
        wanted = {key: (now + max(ms, 0) if as_delay else START_MS + ms, carried) for key, ms, carried in jobs}
        made = [
            Job(key, timedelta(milliseconds=ms) if as_delay else (START_MS + ms) / 1000, data=carried)
            for key, ms, carried in jobs
        ]
        answered, answer = self.ask(fates, lambda: self.store.schedule(made, keep))
        if self.done:
            for key, (ms, carried) in wanted.items():
                before = self.waiting.get(key)
                is_better = before is None or {"earliest": ms < before, "latest": ms > before}.get(keep, keep == "last")
                if is_better:
                    self.waiting[key] = ms
                    if carried is not NOT_NAMED:
                        self.set_data(key, to_text(carried).decode())
        if answered:
            assert answer == min(self.waiting[key] for key in wanted)

    @rule(key=st.sampled_from(KEYS), fates=FATES)
    def cancel(self, key: str, fates: list[str | None]) -> None:
        waited = key in self.waiting
        answered, answer = self.ask(fates, lambda: self.store.cancel(key))
        if self.done:
            self.waiting.pop(key, None)
            self.data.pop(key, None)
        if answered:
            assert answer is waited

    # Another client, which knows nothing of data.

    @rule(key=st.sampled_from(KEYS))
    def npm_runat_takes(self, key: str) -> None:
        self.client.at_once("ZREM", Q, to_member(key))
        self.waiting.pop(key, None)

    @rule(key=st.sampled_from(KEYS), ms=st.integers(-600, 2500))
    def npm_runat_schedules(self, key: str, ms: int) -> None:
        self.client.at_once("ZADD", Q, START_MS + ms, to_member(key))
        self.waiting[key] = START_MS + ms

    @rule()
    def gc(self) -> None:
        orphans = self.data.keys() - self.waiting.keys()
        assert self.store.gc() == len(orphans)
        for key in orphans:
            del self.data[key]

    # The looks.

    @rule(key=st.sampled_from(KEYS), n=st.integers(1, 8), until=st.none() | st.integers(-600, 2500), fates=FATES)
    def look(self, key: str, n: int, until: int | None, fates: list[str | None]) -> None:
        answered, when = self.ask(fates, lambda: self.store.when(key))
        if answered:
            ms = self.waiting.get(key)
            assert when == (None if ms is None else datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ms))
        answered, dues = self.ask(fates, lambda: self.store.peek(n))
        if answered:
            shown = [(due.key, round(due.run_at.timestamp() * 1000), due.data) for due in dues]
            assert shown == [(key, ms, from_text(text, key)) for key, ms, text in self.in_order()[:n]]
            assert [due.lateness for due in dues] == [(self.now - ms * 1000) / 1e6 for _, ms, _ in shown]
        moment = None if until is None else (START_MS + until) / 1000
        answered, size = self.ask(fates, lambda: self.store.size(moment))
        if answered:
            assert size == sum(until is None or ms <= START_MS + until for ms in self.waiting.values())

    # The claimers.

    def draw(self, data: st.DataObject, may: Callable[[Known], bool]) -> Known:
        return data.draw(st.sampled_from([known for known in self.all_known if may(known)]))

    @precondition(lambda self: any(map(Known.may_claim, self.all_known)))
    @rule(data=st.data(), limit=st.integers(1, 4), fates=FATES)
    def claim(self, data: st.DataObject, limit: int, fates: list[str | None]) -> None:
        self.claim_with(self.draw(data, Known.may_claim), limit, fates)

    def claim_with(self, known: Known, limit: int, fates: list[str | None]) -> None:
        if not known.claiming:
            known.claiming, known.wish = True, self.new_wish()
        answered, answer = self.ask(fates, lambda: known.claimer.claim(limit), known.wish)
        if answered:
            known.claiming = False
            got = [(key, int(score), text) for key, score, text in to_entries(answer)]
            assert got == self.taken.get(known.wish, [])
            assert answer.now == self.now
            self.check_wait(answer.wait)
            known.entries += got

    def check_wait(self, wait: float | None) -> None:
        if self.waiting:
            assert wait == max(min(self.waiting.values()) * 1000 - self.now, 0) / 1e6
        else:
            assert wait is None

    @precondition(lambda self: any(map(Known.may_hand_back, self.all_known)))
    @rule(data=st.data(), delivered=st.integers(0, 1), fates=FATES)
    def hand_back(self, data: st.DataObject, delivered: int, fates: list[str | None]) -> None:
        """The subscribers have received some, and these are theirs; the rest goes back."""
        known = self.draw(data, Known.may_hand_back)
        if known.backing is None:
            del known.entries[:delivered]
        self.hand_back_with(known, fates)

    @precondition(lambda self: any(map(Known.may_claim, self.all_known)))
    @rule(data=st.data(), limit=st.integers(1, 4), fates=FATES)
    def deliver_and_claim(self, data: st.DataObject, limit: int, fates: list[str | None]) -> None:
        known = self.draw(data, Known.may_claim)
        known.entries.clear()
        self.claim_with(known, limit, fates)

    def hand_back_with(self, known: Known, fates: list[str | None]) -> None:
        if known.backing is None:
            known.backing, known.entries, known.wish = known.entries, [], self.new_wish()
        entries = [Entry(key, str(ms), text) for key, ms, text in known.backing]
        answered, _ = self.ask(fates, lambda: known.claimer.hand_back(entries), known.wish)
        if answered:
            known.backing = None

    @precondition(lambda self: any(map(Known.may_claim, self.all_known)))
    @rule(data=st.data(), fates=FATES)
    def close(self, data: st.DataObject, fates: list[str | None]) -> None:
        self.close_with(self.draw(data, Known.may_claim), fates)

    def close_with(self, known: Known, fates: list[str | None]) -> None:
        claiming = known.claiming
        answered, answer = self.ask(fates, known.claimer.close, known.wish)
        if not answered:
            return
        got = [(key, int(score), text) for key, score, text in answer]
        if claiming:
            assert got == self.taken.get(known.wish, [])
            known.claiming = False
            known.entries += got
        else:
            assert got == []

    # What always holds.

    @invariant()
    def redis_holds_what_the_dict_holds(self) -> None:
        shown = self.client.at_once("ZRANGE", Q, 0, -1, "WITHSCORES")
        held = [(member, float(score)) for member, score in shown]
        assert held == [(to_member(key), ms) for key, ms, _ in self.in_order()]
        carried = self.client.at_once("HGETALL", data_key(Q))
        assert carried == {to_member(key): text.encode() for key, text in self.data.items()}

    @invariant()
    def nothing_else_lies_there_for_long(self) -> None:
        for key in self.client.at_once("KEYS", "*"):
            assert key in (Q.encode(), data_key(Q).encode()) or self.client.at_once("PTTL", key) > 0

    def teardown(self) -> None:
        """All claimers return what they have, and every duplicate arrives: Redis still holds what the dict holds."""
        if not hasattr(self, "client"):
            return
        for known in self.all_known:
            if known.backing is not None:
                self.hand_back_with(known, [])
            self.close_with(known, [])
            self.hand_back_with(known, [])
            self.close_with(known, [])
        for sent in self.client.duplicates:
            self.client.at_once(*sent.command)
            self.happened(sent)
        self.redis_holds_what_the_dict_holds()
        self.client.close()


@pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")
@pytest.mark.timeout(400)  # a failure is made small before it is shown
@pytest.mark.parametrize("examples", [25, pytest.param(100, marks=pytest.mark.slow)])
def test_any_history_of_calls_is_that_of_a_dict(examples: int) -> None:
    run_machine(Schedule, examples)
