"""Any history of leases and failovers: each answer is true of the primary that gave it, and of what it still knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rx_runat import Job, OutcomeUnknown, Unavailable
from rx_runat.model.batch import Entry, Verb, to_entries
from rx_runat.model.claim import Lease
from rx_runat.model.data import NOT_NAMED
from rx_runat.model.members import to_key
from rx_runat.store.claimers import LEASE
from rx_runat.store.client import TRIES
from rx_runat.store.connect import connect
from rx_runat.store.dead_letter_store import REVIVE
from rx_runat.store.keys import claimed_key, data_key, dead_key, leases_key
from rx_runat.store.redis_store import RedisStore
from rx_runat.store.request import Arg
from rx_runat.store.verbs import CANCEL, SCHEDULE, SETTLE
from rx_runat.stream.leases import LeaseManager
from rx_runat.stream.taps import Taps
from rx_runat.stream.writes import Writes
from tests.support.failovers import FailoverClient
from tests.support.machines import run_machine
from tests.support.servers import Server
from tests.support.stores import Q

# Coverage would add half to the time of thousands of calls that are alike.
pytestmark = [pytest.mark.no_cover, pytest.mark.usefixtures("small_pieces")]

START_MS = 1_000_000
LEASE_MS = 2000
KEYS = ["a", "b", "é"]
DATA = st.sampled_from([NOT_NAMED, None, 0, {"n": [1]}])
ENDINGS: list[Verb] = ["ack", "nack", "bury", "back"]

SOME_FATES = st.lists(st.sampled_from(["lost", "late", "away", "switch", "lost, switch"]), min_size=1, max_size=TRIES)
FATES = st.just([]) | st.just([]) | SOME_FATES
"""Fates of the next commands, as in `FailoverClient`; later ones are replied to."""

LOSING = st.sampled_from([0, 1, 1, 2, 3])
"""How many changes a failover loses."""


class Seen(NamedTuple):
    """What the primary has after a change.

    Attributes:
        waits: the keys that wait.
        out: key -> the deadline of its lease.
        fences: key -> the fence of its lease.
        dead: key -> its dead letter.
        data: key -> its data, as text.
    """

    waits: frozenset[str]
    out: Mapping[str, float]
    fences: Mapping[str, str]
    dead: Mapping[str, bytes]
    data: Mapping[str, str]

    def is_out(self, key: str, fence: str, now_ms: int) -> bool:
        return self.fences.get(key) == fence and self.out.get(key, 0) > now_ms

    def places(self) -> frozenset[str]:
        return self.waits | self.out.keys() | self.dead.keys()


class ObservedClient(FailoverClient):
    """Keeps what was seen after each change, as long as no failover loses that change."""

    def __init__(self, client: Any, changed: Callable[[Seen, Seen, tuple[Arg, ...]], None]) -> None:
        super().__init__(client)
        self._changed = changed
        self.seen = [self._see()]

    def _exchange(self, connection: Any, *command: Arg, pushed: bool = False) -> Any:
        events = len(self.events)
        reply = super()._exchange(connection, *command, pushed=pushed)
        if len(self.events) > events and not isinstance(done := self.events[-1], int) and done.is_change:
            self.seen.append(self._see())
            self._changed(self.seen[-2], self.seen[-1], command)
        return reply

    def fail_over(self, losing: int | None = None) -> None:
        super().fail_over(losing)
        lost = self.events[-1]
        assert isinstance(lost, int)
        del self.seen[len(self.seen) - lost :]

    def _see(self) -> Seen:
        out = {to_key(member): score for member, score in self.look("ZRANGE", claimed_key(Q), 0, -1, "WITHSCORES")}
        records = self.look("HGETALL", leases_key(Q)).items()
        fences = {to_key(member): text.decode().split(" ")[0] for member, text in records}
        return Seen(
            frozenset(map(to_key, self.look("ZRANGE", Q, 0, -1))),
            out,
            {key: fence for key, fence in fences.items() if fence != "-"},
            {to_key(member): letter for member, letter in self.look("HGETALL", dead_key(Q)).items()},
            {to_key(member): text.decode() for member, text in self.look("HGETALL", data_key(Q)).items()},
        )


class LeaseFailovers(RuleBasedStateMachine):
    """The store, two claimers and the manager of their leases, on a server that fails over."""

    url = "memory://"

    @initialize()
    def begin(self) -> None:
        self.now = START_MS * 1000
        client = connect(self.url).client
        client.call("FLUSHDB")
        self.client = ObservedClient(client, self.changed)
        self.store = RedisStore(self.client, Q, lambda: self.now)
        sources: Any = SimpleNamespace(now=lambda: self.now / 1e6, wake_for=id, is_stopped=False, taps=Taps())
        self.manager = LeaseManager(self.store, Writes(self.store, sources), sources, LEASE_MS / 1000, 9, None)
        self.claimers = [self.store.leasing_claimer(LEASE_MS) for _ in range(2)]
        self.last: dict[int, list[Entry]] = {0: [], 1: []}
        self.leases: list[Lease] = []
        self.schedule_all()

    @property
    def ms(self) -> int:
        return self.now // 1000

    @property
    def present(self) -> Seen:
        return self.client.seen[-1]

    def was_out(self, key: str, fence: str) -> bool:
        """True if this primary has ever known the lease."""
        return any(seen.fences.get(key) == fence for seen in self.client.seen)

    # What no command may do, whatever is lost, late or resent.

    def changed(self, before: Seen, after: Seen, command: tuple[Arg, ...]) -> None:
        gone = before.places() - after.places()
        may_end = command[0] in ("HDEL", "EVAL") and (
            command[1] == CANCEL.body or command[0] == "HDEL" or (command[1] == SETTLE.body and "ack" in command)
        )
        assert not gone or may_end, "no key is lost"
        if command[:2] not in [("EVAL", SCHEDULE.body), ("EVAL", REVIVE.body)]:
            kept = {key: text for key, text in before.data.items() if key in after.waits | after.out.keys()}
            assert after.data == kept, "a key that waits or is out keeps its data, and no other has any"
        for key, fence in after.fences.items():
            former = before.fences.get(key, fence)
            assert former == fence or not before.is_out(key, former, self.ms), "no key is out twice while a lease lives"

    def ask(self, fates: list[str | None], losing: int, verb: Callable[[], Any]) -> tuple[bool, Any]:
        """Call a verb; returns whether it returned, and what."""
        self.client.fates, self.client.losing = list(fates), losing
        self.client.sent.clear()
        try:
            return True, verb()
        except OutcomeUnknown:
            assert fates
        except Unavailable:
            assert fates
        finally:
            self.client.fates = []
        return False, None

    # Time, and the wire.

    @rule(milliseconds=st.sampled_from([1, 300, 900, LEASE_MS]))
    def time_goes_by(self, milliseconds: int) -> None:
        self.now += milliseconds * 1000

    @rule(losing=LOSING)
    def fail_over(self, losing: int) -> None:
        self.client.fail_over(losing)

    @precondition(lambda self: self.client.copies)
    @rule(data=st.data())
    def a_late_copy_arrives(self, data: st.DataObject) -> None:
        command = data.draw(st.sampled_from(self.client.copies))
        before = self.present
        self.client.send_at_once(command)
        if command[:2] == ("EVAL", LEASE.body):
            token = command[3 + 5 + 1]
            if token not in [claimer._token for claimer in self.claimers]:
                taken = {key for key, fence in self.present.fences.items() if fence == token}
                assert taken <= before.fences.keys(), "a late copy of a claim that was replied to takes nothing"

    # The verbs.

    @rule(carried=DATA)
    def schedule_all(self, carried: Any = NOT_NAMED) -> None:
        jobs = [Job(key, (START_MS - 9) / 1000, data=carried) for key in KEYS]
        for job in jobs:
            self.ask([], 0, lambda job=job: self.store.schedule([job], "last"))  # type: ignore[misc]

    @rule(key=st.sampled_from(KEYS), fates=FATES, losing=LOSING)
    def cancel(self, key: str, fates: list[str | None], losing: int) -> None:
        answered, _ = self.ask(fates, losing, lambda: self.store.cancel(key))
        if answered:
            assert key not in self.present.waits | self.present.out.keys()

    @rule(key=st.sampled_from(KEYS), verb=st.sampled_from(["revive", "drop"]), fates=FATES, losing=LOSING)
    def empty_the_dead(self, key: str, verb: str, fates: list[str | None], losing: int) -> None:
        answered, answer = self.ask(fates, losing, lambda: getattr(self.store, verb)(key))
        if answered:
            stays = verb == "revive" and key in self.present.waits | self.present.out.keys()
            assert stays or key not in self.present.dead
            if answer:
                assert key in self.client.seen[-2].dead, "never yes where no letter was"

    # Leases.

    @rule(number=st.integers(0, 1), limit=st.sampled_from([4, 4, 1]), fates=FATES, losing=LOSING)
    def claim(self, number: int, limit: int, fates: list[str | None], losing: int) -> None:
        claimer = self.claimers[number]
        was_owed = claimer.is_owed
        answered, got = self.ask(fates, losing, lambda: claimer.claim(limit))
        if answered:
            self.last[number] = to_entries(got)
            for key, _, text in self.last[number]:
                assert self.was_out(key, got.fence), "what was claimed is known where it was claimed"
                assert was_owed or text == self.present.data.get(key, ""), (
                    "what lies there, unless it was claimed before"
                )
                self.leases.append(Lease(key, got.fence, got.deadline, self.manager, "now", got.generation, text))

    @precondition(lambda self: any(self.last.values()))
    @rule(data=st.data(), fates=FATES, losing=LOSING)
    def hand_back(self, data: st.DataObject, fates: list[str | None], losing: int) -> None:
        number = data.draw(st.sampled_from([number for number, entries in self.last.items() if entries]))
        fence = self.claimers[number]._last[0]
        answered, _ = self.ask(fates, losing, lambda: self.claimers[number].hand_back(self.last[number]))
        if answered:
            keys = [entry.key for entry in self.last[number]]
            assert not any(self.present.is_out(key, fence, self.ms) for key in keys)
            self.last[number] = []

    @precondition(lambda self: self.leases)
    @rule(
        data=st.data(),
        verbs=st.lists(st.sampled_from([*ENDINGS, "extend", "begin"]), min_size=1, max_size=2),
        fates=FATES,
        losing=LOSING,
        next_run=st.sampled_from(["", "", "+60"]),
    )
    def settle(
        self, data: st.DataObject, verbs: list[Verb], fates: list[str | None], losing: int, next_run: str
    ) -> None:
        leases = data.draw(st.lists(st.sampled_from(self.leases[-4:]), min_size=1, max_size=len(verbs), unique=True))
        if any(lease.is_unsure for lease in leases):
            leases = leases[:1]  # as `Acks` does
        for lease in leases:
            lease.next_run = next_run
        self.settle_with(list(zip(leases, verbs, strict=False)), fates, losing)

    @precondition(lambda self: self.leases)
    @rule(verb=st.sampled_from(ENDINGS), losing=LOSING)
    def a_lease_is_lost_and_then_a_reply(self, verb: Verb, losing: int) -> None:
        """Chance alone does this seldom."""
        self.fail_over(losing)
        self.settle_with([(self.leases[-1], verb)], ["lost"], 0)

    def settle_with(self, pairs: list[tuple[Lease, Verb]], fates: list[str | None], losing: int) -> None:
        arguments: dict[Verb, int | str] = {"nack": 50, "extend": LEASE_MS, "bury": "why"}
        was_unsure = {lease: lease.is_unsure for lease, _ in pairs}
        requests: list[tuple[Lease, Verb, int | str]] = [(each, verb, arguments.get(verb, "")) for each, verb in pairs]
        answered, reply = self.ask(fates, losing, lambda: self.manager.settle(requests))
        if not answered:
            return
        is_lost = bool(fates) and fates[0] not in ("away", "switch")
        for (lease, verb), answer in zip(pairs, reply.answers, strict=True):
            is_ours = self.present.is_out(lease.key, lease.fence, self.ms)
            if answer is None:
                assert is_lost or was_unsure[lease], "unknown only after a lost reply"
                assert not is_ours
            elif not answer:
                assert not is_ours, "no where the lease was not ours"
            else:
                assert self.was_out(lease.key, lease.fence), "never yes where the lease was never known"
                assert is_ours is (verb in ("extend", "begin")), "yes where it is so"
                if verb in ("ack", "bury") and lease.next_run and not is_lost and not was_unsure[lease]:
                    assert lease.key in self.present.waits, "a chain does not break"
                if verb == "bury" and not is_lost and not was_unsure[lease]:
                    assert self.present.dead[lease.key].endswith(b"why\x1f" + lease.data.encode())
                if verb == "extend":
                    assert self.present.out[lease.key] == answer == lease.deadline_ms

    # What always holds.

    @invariant()
    def a_key_that_is_out_has_a_record(self) -> None:
        assert self.present.out.keys() == self.present.fences.keys()

    def teardown(self) -> None:
        if hasattr(self, "client"):
            for claimer in self.claimers:
                claimer.hand_back([Entry(each.key, each.score) for each in claimer.close()])
            self.client.close()


@pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")
@pytest.mark.timeout(400)  # a failure is made small before it is shown
@pytest.mark.parametrize("examples", [5, pytest.param(150, marks=pytest.mark.slow)])
def test_25_any_history_of_leases_with_failovers_is_told_as_it_was(examples: int) -> None:
    run_machine(LeaseFailovers, examples)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")
@pytest.mark.timeout(400)
def test_25_any_history_of_leases_with_failovers_is_told_as_it_was_by_a_real_server(server: Server) -> None:
    machine = type("RealLeaseFailovers", (LeaseFailovers,), {"url": server.url})
    run_machine(machine, 60)
