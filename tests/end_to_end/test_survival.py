"""Claims survive: workers killed, stalled and cut off in the middle of work, a server killed under them.

`python -m pytest tests/end_to_end/test_survival.py -m "slow or not slow" -rP --show-capture=stdout` shows the figures.
What fails shows its seed: `SURVIVAL_SEED=... python -m pytest tests/end_to_end/test_survival.py` rolls the same dice.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from rx_runat import Claim, Job, OutcomeUnknown, RunAt
from rx_runat.store.client import TRIES
from rx_runat.store.keys import claimed_key
from tests.support.crew import LONG, Crew
from tests.support.ledger import Figures, Ledger, judge
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"
HOUR = 3600.0

Record = Callable[[str, object], None]
pytestmark = pytest.mark.timeout(120)
slow = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def dice() -> random.Random:
    seed = int(os.environ.get("SURVIVAL_SEED", random.SystemRandom().randrange(2**32)))
    print(f"SURVIVAL_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger")
    yield ledger
    ledger.close()


def soon(dice: random.Random, seconds: float = 0.02) -> None:
    """A random moment: a step of a claim takes less than that."""
    threading.Event().wait(dice.uniform(0, seconds))


by_hand_and_by_settle = pytest.mark.parametrize("settles", [False, True], ids=["by-hand", "by-settle"])

# The judge.

RUN = ["1 out a 1 0 1000", "1 done a 1 0 1000", "2 out a 2 1000 2000", "2 done a 2 1000 2000", "2 yes a 2 1000 2000"]


@pytest.mark.parametrize(
    "lines, said",
    [
        (RUN[:1], "lost"),
        ([*RUN, "1 out b 1 0 1000", "1 done b 1 0 1000"], "made up"),
        ([*RUN, "3 out a 2 1000 2000"], "one claim, twice"),
        ([*RUN, "3 out a 3 1999 2999"], "out twice"),
        ([*RUN, "3 out a 3 2000 3000"], "came again after a yes"),
        ([*RUN[:4], "2 no a 2 1000 2000"], "at last: no"),
        ([*RUN[:4], "2 away a 2 1000 2000"], "at last: away"),
        (RUN[:4], "at last: None"),
    ],
)
def test_the_judge_sees_what_is_wrong(lines: list[str], said: str, ledger: Ledger) -> None:
    ledger.path.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(AssertionError, match=said):
        judge(ledger, ["a"], killed={1})


def test_the_judge_counts(ledger: Ledger) -> None:
    ledger.path.write_text("".join(f"{line}\n" for line in RUN))
    assert judge(ledger, ["a"], killed={1}) == Figures(
        keys=1, claims=2, killed_in_hand=1, twice=1, by_kill=1, by_lease=0, late_ms=(0, 0)
    )


# Workers that are killed.


@pytest.mark.parametrize(
    "settles, keys, kills",
    [
        pytest.param(True, 300, 3, id="by-settle-quick"),
        pytest.param(True, 5000, 20, id="by-settle-full", marks=slow),
        pytest.param(False, 5000, 20, id="by-hand-full", marks=slow),
    ],
)
def test_workers_killed_at_random_lose_nothing(
    settles: bool,
    keys: int,
    kills: int,
    server: Server,
    client: redis.Redis,
    ledger: Ledger,
    dice: random.Random,
    record_property: Record,
) -> None:
    with Crew(server.url, client, ledger, dice, settles=settles) as crew:
        crew.schedule(keys)
        crew.hire(3)
        for mark in crew.marks(kills):
            victim = dice.choice(crew.at_work(mark))
            soon(dice)
            crew.kill(victim)
            crew.hire()
        figures = crew.end(receipts=kills)
    figures.show(record_property, kills=kills)
    assert figures.killed_in_hand > 0


@pytest.mark.parametrize(
    "settles, dies, come_again, twice",
    [
        pytest.param(False, "out", 10, 0, id="by-hand-out"),
        pytest.param(False, "done", 10, 1, id="by-hand-done"),
        pytest.param(False, "yes", 9, 0, id="by-hand-yes"),
        pytest.param(True, "out", 10, 0, id="by-settle-out", marks=slow),
        pytest.param(True, "done", 10, 1, id="by-settle-done", marks=slow),
        # After a yes, settle has gone on, as it should, and how far is chance.
    ],
)
def test_what_a_killed_worker_had_in_hand_comes_when_its_lease_ends(
    settles: bool,
    dies: str,
    come_again: int,
    twice: int,
    server: Server,
    client: redis.Redis,
    ledger: Ledger,
    dice: random.Random,
    record_property: Record,
) -> None:
    """To one that sleeps, saw nothing of the claim, and has its next heartbeat in an hour: the lease alone wakes it."""
    with Crew(server.url, client, ledger, dice, interval=HOUR, settles=settles) as crew:
        heir = crew.hire(lease=HOUR)
        victim = crew.hire(lease=0.5, threads=1, dies=dies)
        wait_until(lambda: sum("t" in each["flags"] for each in client.client_list()) == 2, "both sleep, and listen")
        heir.stall()
        crew.schedule(10)
        wait_until(victim.is_dead, "it has died")
        heir.go_on()
        crew.kill(victim)
        figures = crew.end(receipts=1)
        came = ledger.of(heir.pid, "out")
    assert [(note.key, note.attempt) for note in came] == [(key, 2) for key in crew.keys[-come_again:]]
    assert figures.twice == figures.by_kill == twice
    figures.show(record_property)


# Workers that stall.


@by_hand_and_by_settle
def test_a_worker_that_stalls_is_told_no_and_harms_nobody(
    settles: bool, server: Server, client: redis.Redis, ledger: Ledger, dice: random.Random, record_property: Record
) -> None:
    """It wakes up when its lease has ended, half of its keys are done, and the others are out; it renews, and acks."""
    with Crew(server.url, client, ledger, dice, settles=settles) as crew:
        crew.schedule(10)
        stalled = crew.hire(lease=0.5, threads=10, waits=True, renews=not settles)
        wait_until(lambda: len(ledger.of(stalled.pid, "begun")) == 10, "it works on them all", LONG)
        stalled.stall()
        holder = crew.hire(lease=HOUR, in_flight=5, waits=True)
        wait_until(lambda: len(ledger.in_hand(holder.pid)) == 5, "another one has five", LONG)
        quick = crew.hire(lease=HOUR)
        wait_until(lambda: len(ledger.of(quick.pid, "yes")) == 5, "and five are done", LONG)
        held = client.zrange(claimed_key(Q), 0, -1, withscores=True)
        stalled.open_gate()
        stalled.go_on()
        crew.dismiss(stalled)
        assert len(ledger.of(stalled.pid, "no")) == len(ledger.of(stalled.pid, "begun"))
        assert client.zrange(claimed_key(Q), 0, -1, withscores=True) == held
        assert len(held) == 5
        holder.open_gate()
        figures = crew.end()
    assert len(ledger.of(holder.pid, "yes")) == 5
    assert figures.by_lease == 10
    figures.show(record_property)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_workers_that_stall_at_random_lose_nothing(
    server: Server, client: redis.Redis, ledger: Ledger, dice: random.Random, record_property: Record
) -> None:
    """Each wakes up at the very moment at which its leases end."""
    with Crew(server.url, client, ledger, dice, settles=True) as crew:
        crew.schedule(2000)
        crew.hire(3)
        for mark in crew.marks(8):
            stalled = dice.choice(crew.at_work(mark))
            soon(dice)
            stalled.stall()
            ends = max((note.ends for note in ledger.in_hand(stalled.pid)), default=0)
            wait_until(lambda: now_ms(client) >= ends, "its leases have ended")  # noqa: B023
            stalled.go_on()
        figures = crew.end()
    figures.show(record_property, stalls=8)


def now_ms(client: redis.Redis) -> int:
    seconds, microseconds = client.time()
    return seconds * 1000 + microseconds // 1000


# A server that is killed.


@pytest.mark.parametrize(
    "settles, fsync, keys, kills",
    [
        pytest.param(True, "always", 300, 2, id="by-settle-always-quick"),
        pytest.param(False, "always", 3000, 10, id="by-hand-always-full", marks=slow),
        pytest.param(True, "always", 3000, 10, id="by-settle-always-full", marks=slow),
        pytest.param(True, "everysec", 3000, 10, id="by-settle-everysec-full", marks=slow),
    ],
)
def test_a_server_killed_and_restarted_on_its_append_only_file_loses_nothing(
    settles: bool, fsync: str, keys: int, kills: int, ledger: Ledger, dice: random.Random, record_property: Record
) -> None:
    """`always` keeps what was answered; `everysec` may forget some, and then work is done twice."""
    server = Server("--appendfsync", fsync)
    try:
        with server.client() as client, Crew(server.url, client, ledger, dice, lease=0.5, settles=settles) as crew:
            crew.schedule(keys)
            crew.hire(3)
            for mark in crew.marks(kills):
                crew.at_work(mark)
                soon(dice)
                server.kill()
                soon(dice, 0.2)
                server.start()
            figures = crew.end(forgetful=fsync != "always", receipts=3 * kills)
    finally:
        server.end()
    figures.show(record_property, kills=kills)


# Answers that are cut.

VERBS: dict[str, Callable[[Claim], bool]] = {
    "ack": Claim.ack,
    "nack": lambda claim: claim.nack(HOUR),
    "bury": lambda claim: claim.bury("poison"),
    "extend": lambda claim: claim.extend(HOUR),
}


def asks(verb: str) -> bytes:
    """What a request holds that asks for it: the word as the protocol spells it."""
    return f"\r\n{verb}\r\n".encode()


@pytest.mark.parametrize("cuts", [1, 2, TRIES, TRIES + 2])
def test_claims_whose_answers_are_cut_come_once(
    cuts: int, make: Callable[..., RunAt], proxy: Proxy, client: redis.Redis
) -> None:
    queue = make(proxy.url, interval=0.05)
    keys = [f"k{number:03}" for number in range(50)]
    queue.on_next([Job(key, 1) for key in keys])
    got: list[tuple[str, int]] = []
    proxy.of, proxy.cut = b":receipt:", cuts
    queue.claims(max_in_flight=20).subscribe(lambda claim: claim.ack() and got.append((claim.key, claim.attempt)))
    wait_until(lambda: len(got) == 50, "all were acked")
    assert got == [(key, 1) for key in keys]
    assert proxy.cuts == cuts


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("cuts", [1, TRIES - 1, TRIES])
def test_verbs_whose_answers_are_cut_tell_the_truth(
    verb: str, cuts: int, make: Callable[..., RunAt], proxy: Proxy, client: redis.Redis
) -> None:
    queue = make(proxy.url)
    got: list[Claim] = []
    queue.claims().subscribe(got.append)
    queue.schedule("a", 1)
    wait_until(lambda: got, "it came")
    (claim,) = got
    proxy.of, proxy.cut = asks(verb), cuts
    if cuts == TRIES:
        with pytest.raises(OutcomeUnknown):
            VERBS[verb](claim)
    assert VERBS[verb](claim)
    assert proxy.cuts == cuts
    assert VERBS[verb](claim) is (verb == "extend")
    assert client.zrange(claimed_key(Q), 0, -1) == ([b"a"] if verb == "extend" else [])
    assert queue.size() == (verb == "nack")
    assert queue.dead.size() == (verb == "bury")
    if verb == "extend":
        assert client.zscore(claimed_key(Q), "a") == claim.deadline.timestamp() * 1000


@pytest.mark.parametrize(
    "settles, keys, times",
    [
        pytest.param(True, 300, 15, id="by-settle-quick"),
        pytest.param(True, 3000, 200, id="by-settle-full", marks=slow),
        pytest.param(False, 3000, 200, id="by-hand-full", marks=slow),
    ],
)
def test_workers_whose_answers_are_cut_at_random_lose_nothing(
    settles: bool,
    keys: int,
    times: int,
    proxy: Proxy,
    client: redis.Redis,
    ledger: Ledger,
    dice: random.Random,
    record_property: Record,
) -> None:
    with Crew(proxy.url, client, ledger, dice, renews=not settles, settles=settles) as crew:
        crew.schedule(keys)
        crew.hire(3)
        for mark in crew.marks(times):
            crew.at_work(mark)
            proxy.of, proxy.cut = dice.choice([b":receipt:", asks("ack"), asks("extend")]), dice.randint(1, TRIES + 1)
        proxy.cut = 0
        figures = crew.end(receipts=proxy.cuts)
    figures.show(record_property, cuts=proxy.cuts)
    assert proxy.cuts > 0


# All of it.


@pytest.mark.slow
@pytest.mark.timeout(300)
@by_hand_and_by_settle
def test_everything_at_once_loses_nothing(
    settles: bool, ledger: Ledger, dice: random.Random, record_property: Record
) -> None:
    server = Server("--appendfsync", "always")
    proxy = Proxy(server)
    faults = dice.choices(["kill", "stall", "server", "cut"], k=40)
    stalled = None
    try:
        with (
            server.client() as client,
            Crew(proxy.url, client, ledger, dice, renews=not settles, settles=settles) as crew,
        ):
            crew.schedule(4000)
            crew.hire(4)
            for mark, fault in zip(crew.marks(len(faults)), faults, strict=True):
                victim = dice.choice(crew.at_work(mark))
                soon(dice)
                if stalled:
                    stalled.go_on()
                    stalled = None
                if fault == "kill":
                    crew.kill(victim)
                    crew.hire()
                elif fault == "stall":
                    stalled = victim
                    stalled.stall()
                elif fault == "server":
                    server.kill()
                    soon(dice, 0.2)
                    server.start()
                else:
                    proxy.of = dice.choice([b":receipt:", asks("ack"), asks("extend")])
                    proxy.cut = dice.randint(1, TRIES + 1)
            if stalled:
                stalled.go_on()
            proxy.cut = 0
            figures = crew.end(receipts=4 * len(faults))
    finally:
        proxy.end()
        server.end()
    figures.show(record_property, cuts=proxy.cuts, **{fault: faults.count(fault) for fault in sorted(set(faults))})
