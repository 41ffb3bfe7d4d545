"""Any history of calls and failovers, compared with a dict that forgets what the failovers lost."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rx_runat import Job, OutcomeUnknown, Unavailable
from rx_runat.model.batch import Claimed, Entry, to_entries
from rx_runat.model.data import NOT_NAMED, to_text
from rx_runat.model.job import KEEP, Keep
from rx_runat.model.members import to_key, to_member
from rx_runat.store.claimers import CLAIM, HAND_BACK, PlainClaimer
from rx_runat.store.client import TRIES
from rx_runat.store.connect import connect
from rx_runat.store.keys import data_key
from rx_runat.store.redis_store import RedisStore
from rx_runat.store.request import Arg
from tests.support.failovers import Done, FailoverClient
from tests.support.machines import run_machine
from tests.support.servers import Server
from tests.support.stores import Q

# Coverage would add half to the time of thousands of calls that are alike.
pytestmark = [pytest.mark.no_cover, pytest.mark.usefixtures("small_pieces")]

START_MS = 1_000_000
KEYS = ["a", "b", "c", "é"]
DATA = st.sampled_from([NOT_NAMED, NOT_NAMED, None, 0, {"n": [1]}])

SOME_FATES = st.lists(st.sampled_from(["lost", "late", "away", "switch", "lost, switch"]), min_size=1, max_size=TRIES)
FATES = st.just([]) | st.just([]) | SOME_FATES
"""Fates of the next commands, as in `FailoverClient`; later ones are replied to."""

LOSING = st.sampled_from([0, 1, 1, 2, 3, 5])
"""How many changes a failover loses."""

Taken = list[tuple[str, int, str]]
"""Keys, each with its run_at and its data as text."""

Command = tuple[Arg, ...]


@dataclass
class State:
    """What the primary has.

    Attributes:
        waiting: key -> run_at, ms.
        data: key -> its data, as text.
        taken: what each claim took, by its token.
        returned: the tokens of the hand-backs that were done.
        result: of the last command of a sink's verb.
    """

    waiting: dict[str, int] = field(default_factory=dict[str, int])
    data: dict[str, str] = field(default_factory=dict[str, str])
    taken: dict[str, Taken] = field(default_factory=dict[str, Taken])
    returned: set[str] = field(default_factory=set[str])
    result: object = None

    def in_order(self) -> Taken:
        ordered = sorted(self.waiting.items(), key=lambda pair: (pair[1], to_member(pair[0])))
        return [(key, ms, self.data.get(key, "")) for key, ms in ordered]

    def set_data(self, key: str, text: str) -> None:
        self.data |= {key: text}
        if text in ("", "null"):
            del self.data[key]


class Known:
    """What a source knows."""

    def __init__(self, claimer: PlainClaimer) -> None:
        self.claimer = claimer
        self.entries: Taken = []  # claimed and replied to, neither delivered nor handed back
        self.token = ""  # of the claim that took them
        self.backing: Taken = []  # a hand-back that was not replied to

    def may_claim(self) -> bool:
        return not self.backing and not self.entries

    def may_hand_back(self) -> bool:
        return bool(self.backing or self.entries)


def args(command: Command) -> tuple[Any, ...]:
    """Returns a script's ARGV."""
    return command[3 + int(command[2]) :]


def no_effect(_: State) -> None:
    """A command that changes no key of the schedule."""


def forget(state: State, key: str) -> bool:
    """Cancel a key; returns whether it waited."""
    state.data.pop(key, None)
    return state.waiting.pop(key, None) is not None


class Failovers(RuleBasedStateMachine):
    """The store and two claimers on a server that fails over, beside a stack of dicts.

    A claim or hand-back has its effect at a primary once, however often it is sent there. A hand-back has none where
    its claim did not happen.
    """

    url = "memory://"

    @initialize()
    def begin(self) -> None:
        self.now = START_MS * 1000
        client = connect(self.url).client
        client.call("FLUSHDB")
        self.client = FailoverClient(client)
        self.store = RedisStore(self.client, Q, lambda: self.now)
        self.all_known = [Known(self.store.plain_claimer()) for _ in range(2)]
        self.state = State()
        self.past: list[State] = [self.state]
        self.claim_of: dict[str, str] = {}  # the token of a hand-back -> that of its claim
        for place, key in enumerate(KEYS):
            self.schedule(key, -100 * place, "last", [], 0)

    # The model of the scripts.

    def happened(self, done: Done, effect: Callable[[State], object]) -> None:
        command = done.command
        state = self.state = copy.deepcopy(self.state)
        self.past[len(self.past) - (not done.is_change) :] = [state]
        if command[:2] == ("EVAL", CLAIM.body):
            limit, token, _, resent, _, _, now = args(command)
            if token not in state.taken:
                due = [each for each in state.in_order() if each[1] <= now // 1000][:limit]
                if due or resent:  # one that took nothing leaves no receipt, so that the resent one may take keys
                    state.taken[token] = due
                for key, _, _ in due:
                    del state.waiting[key]
                    state.data.pop(key, None)
        elif command[:2] == ("EVAL", HAND_BACK.body):
            token, *_ = args(command)
            if token not in state.returned and self.claim_of[token] in state.taken:
                state.returned.add(token)
                _, _, _, _, width, *items = args(command)
                for i in range(0, len(items), width):
                    score, member, text = items[i], items[i + 1], items[i + 2] if width == 3 else b""
                    if to_key(member) not in state.waiting:
                        state.waiting[to_key(member)] = int(score)
                        state.set_data(to_key(member), text.decode())
        else:
            state.result = effect(state)

    def follow(self, effect: Callable[[State], object] = no_effect) -> int:
        """Change the model as the server has changed. Returns how many commands were done."""
        events, self.client.events = self.client.events, []
        for event in events:
            if isinstance(event, int):
                del self.past[len(self.past) - event :]
                self.state = self.past[-1]
            else:
                self.happened(event, effect)
        return sum(not isinstance(event, int) for event in events)

    def ask(
        self,
        fates: list[str | None],
        losing: int,
        verb: Callable[[], Any],
        effect: Callable[[State], object] = no_effect,
        claim_token: str = "",
    ) -> tuple[bool, Any]:
        """Call a verb and update the model; returns whether the verb returned, and what."""
        self.client.fates, self.client.losing = list(fates), losing
        self.client.sent.clear()
        answered, answer, error = True, None, None
        try:
            answer = verb()
        except Unavailable as raised:
            answered, error = False, raised
        self.client.fates = []
        for command in self.client.sent:
            if command[:2] == ("EVAL", HAND_BACK.body):
                self.claim_of.setdefault(args(command)[0], claim_token)
        done = self.follow(effect)
        if effect is not no_effect:
            assert error is None or isinstance(error, OutcomeUnknown) or not done, "unknown if it was done"
        return answered, answer

    # Time, and the wire.

    @rule(milliseconds=st.integers(0, 900))
    def time_goes_by(self, milliseconds: int) -> None:
        self.now += milliseconds * 1000

    @rule(losing=LOSING)
    def fail_over(self, losing: int) -> None:
        self.client.fail_over(losing)
        self.follow()

    @precondition(lambda self: self.client.copies)
    @rule(data=st.data())
    def a_late_copy_arrives(self, data: st.DataObject) -> None:
        self.client.send_at_once(data.draw(st.sampled_from(self.client.copies)))
        self.follow()

    # The sink's verbs.

    @rule(
        key=st.sampled_from(KEYS),
        ms=st.integers(-600, 2500),
        keep=st.sampled_from(KEEP),
        fates=FATES,
        losing=LOSING,
        carried=DATA,
    )
    def schedule(
        self, key: str, ms: int, keep: Keep, fates: list[str | None], losing: int, carried: Any = NOT_NAMED
    ) -> None:
        def write(state: State) -> int:
            new, old = START_MS + ms, state.waiting.get(key)
            if old is None or {"earliest": new < old, "latest": new > old}.get(keep, keep == "last"):
                state.waiting[key] = new
                if carried is not NOT_NAMED:
                    state.set_data(key, to_text(carried).decode())
            return state.waiting[key]

        job = Job(key, (START_MS + ms) / 1000, data=carried)
        answered, answer = self.ask(fates, losing, lambda: self.store.schedule([job], keep), write)
        if answered:
            assert answer == self.state.result == self.state.waiting[key]

    @rule(key=st.sampled_from(KEYS), fates=FATES, losing=LOSING)
    def cancel(self, key: str, fates: list[str | None], losing: int) -> None:
        answered, answer = self.ask(fates, losing, lambda: self.store.cancel(key), lambda state: forget(state, key))
        if answered:
            assert answer is self.state.result, "never yes where the key was not there, nor no where it was"
            assert key not in self.state.waiting
            assert answer or not fates or fates[0] in ("away", "switch"), "no is sure"

    # The claimers.

    def draw(self, data: st.DataObject, may: Callable[[Known], bool]) -> Known:
        return data.draw(st.sampled_from([known for known in self.all_known if may(known)]))

    @precondition(lambda self: any(map(Known.may_claim, self.all_known)))
    @rule(data=st.data(), limit=st.sampled_from([4, 4, 2, 1]), fates=FATES, losing=LOSING)
    def claim(self, data: st.DataObject, limit: int, fates: list[str | None], losing: int) -> None:
        known = self.draw(data, Known.may_claim)
        answered, claimed = self.ask(fates, losing, lambda: known.claimer.claim(limit))
        if answered:
            assert isinstance(claimed, Claimed)
            self.receive(known, [(key, int(score), text) for key, score, text in to_entries(claimed)])

    @precondition(lambda self: any(map(Known.may_claim, self.all_known)))
    @rule(data=st.data(), key=st.sampled_from(KEYS))
    def a_claim_is_lost_and_a_key_cancelled(self, data: st.DataObject, key: str) -> None:
        """Chance alone does this seldom."""
        self.claim(data, 4, [], 0)
        self.fail_over(1)
        self.cancel(key, [], 0)

    @precondition(lambda self: any(map(Known.may_claim, self.all_known)))
    @rule(data=st.data(), fates=FATES, losing=LOSING)
    def close(self, data: st.DataObject, fates: list[str | None], losing: int) -> None:
        self.close_with(self.draw(data, Known.may_claim), fates, losing)

    def close_with(self, known: Known, fates: list[str | None], losing: int) -> None:
        was_owed = known.claimer.is_owed
        answered, answer = self.ask(fates, losing, known.claimer.close)
        if answered and was_owed:
            self.receive(known, [(key, int(score), text) for key, score, text in answer])
        elif answered:
            assert answer == []

    def receive(self, known: Known, got: Taken) -> None:
        known.token = next(args(each)[1] for each in self.client.sent[::-1] if each[:2] == ("EVAL", CLAIM.body))
        assert got == self.state.taken.get(known.token, []), "what the claim took at the primary that replied"
        known.entries = got

    @precondition(lambda self: any(map(Known.may_hand_back, self.all_known)))
    @rule(
        data=st.data(),
        delivered=st.sampled_from([0, 0, 1, 4]),
        back=st.sampled_from([1, 1, 4]),
        fates=FATES,
        losing=LOSING,
    )
    def hand_back(self, data: st.DataObject, delivered: int, back: int, fates: list[str | None], losing: int) -> None:
        """The subscribers have received some, and these are theirs; of the rest, some go back, and more may follow."""
        known = self.draw(data, Known.may_hand_back)
        del known.entries[:delivered]
        self.hand_back_with(known, back, fates, losing)

    def hand_back_with(self, known: Known, back: int, fates: list[str | None], losing: int) -> None:
        if not known.backing:
            known.backing, known.entries = known.entries[:back], known.entries[back:]
        entries = [Entry(key, str(ms), text) for key, ms, text in known.backing]
        if entries:
            answered, _ = self.ask(fates, losing, lambda: known.claimer.hand_back(entries), claim_token=known.token)
            if answered:
                known.backing = []

    # What always holds.

    @invariant()
    def redis_holds_what_the_dict_holds(self) -> None:
        shown = self.client.look("ZRANGE", Q, 0, -1, "WITHSCORES")
        held = [(member, float(score)) for member, score in shown]
        assert held == [(to_member(key), ms) for key, ms, _ in self.state.in_order()]
        carried = self.client.look("HGETALL", data_key(Q))
        assert carried == {to_member(key): text.encode() for key, text in self.state.data.items()}

    @invariant()
    def nothing_else_lies_there_for_long(self) -> None:
        for key in self.client.look("KEYS", "*"):
            assert key in (Q.encode(), data_key(Q).encode()) or self.client.look("PTTL", key) > 0

    def teardown(self) -> None:
        """All claimers return what they have, and every copy arrives: Redis still holds what the dict holds."""
        if not hasattr(self, "client"):
            return
        for known in self.all_known:
            for _ in range(2):
                self.hand_back_with(known, 9, [], 0)
            self.close_with(known, [], 0)
            self.hand_back_with(known, 9, [], 0)
            self.close_with(known, [], 0)
        for command in self.client.copies:
            self.client.send_at_once(command)
        self.follow()
        self.redis_holds_what_the_dict_holds()
        self.client.close()


@pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")
@pytest.mark.timeout(400)  # a failure is made small before it is shown
@pytest.mark.parametrize("examples", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_25_any_history_with_failovers_is_that_of_a_dict(examples: int) -> None:
    run_machine(Failovers, examples)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")
@pytest.mark.timeout(400)
def test_25_any_history_with_failovers_is_that_of_a_dict_on_a_real_server(server: Server) -> None:
    run_machine(type("RealFailovers", (Failovers,), {"url": server.url}), 60)
