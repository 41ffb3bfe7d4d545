"""The server's own time in our scripts, for each key: what a claim, an ack and a hand-back cost all who share a server.

The figures come from `INFO commandstats`, which counts the microseconds of EVALSHA with the commands inside. They leave
out the client and the network. A figure is that of the quickest tenth of the calls, because the server's clock goes on
while another process has its core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import pairwise

from rx_runat.model.batch import Claimed, Entry, Leased, SettleRequest, Verb
from rx_runat.store.connect import connect
from rx_runat.store.redis_store import RedisStore
from tests.benchmarks import bare
from tests.benchmarks.bench import Bench, Q, Row, percentile
from tests.benchmarks.drain import load

LEASE_MS = 3_600_000  # no lease ends during a measurement
LIMIT = 1000  # the default of a queue
IN_FLIGHT = 100  # the default of `claims`


def server(bench: Bench) -> Iterator[Row]:
    """Claims of plain keys against two plain commands; leases, and what ends them in bulk."""
    pairs = list(bench.pairs(lambda: _plain(bench), lambda: _leanest(bench)))
    plain, leanest = zip(*pairs, strict=True)
    claim, back = zip(*plain, strict=True)
    yield _row(f"claim {LIMIT:,} keys", claim, leanest)
    yield _row(f"hand back {LIMIT:,} keys", back)
    samples = [bench.sample(lambda: _leased(bench)) for _ in range(bench.repeats)]
    for what, each in zip(("lease", "ack", "hand back leased"), zip(*samples, strict=True), strict=True):
        yield _row(f"{what} {IN_FLIGHT} keys", each)


def _row(name: str, ours: Iterable[float], reference: Iterable[float] = ()) -> Row:
    return Row(f"the server's time: {name}", "us/key", tuple(ours), tuple(reference))


def _plain(bench: Bench) -> tuple[float, float]:
    """Returns the time to claim a key and to hand it back."""
    rounds = bench.pick(30, 2)
    load(bench, LIMIT * rounds)
    with closing(RedisStore(connect(bench.server.url).client, Q)) as store:
        claimer = store.plain_claimer()
        claims: list[Claimed] = []
        claiming = _times(bench, lambda: claims.append(claimer.claim(LIMIT)), rounds)
        entries = [list(map(Entry, claimed.keys, claimed.scores)) for claimed in claims]
        assert sum(map(len, entries)) == LIMIT * rounds
        handing_back = _times(bench, lambda: claimer.hand_back(entries.pop()), rounds)
        assert store.size(None) == LIMIT * rounds
        claimer.close()
    return _quick(claiming) / LIMIT, _quick(handing_back) / LIMIT


def _leanest(bench: Bench) -> float:
    """Returns the time of the two commands of `bare.taker` for a key."""
    rounds = bench.pick(30, 2)
    load(bench, LIMIT * rounds)
    take = bare.taker(bench.client, LIMIT)
    take()
    return _quick(_times(bench, take, rounds - 1, "zrangebyscore", "zremrangebyrank")) / LIMIT


def _leased(bench: Bench) -> tuple[float, float, float]:
    """Returns the time to lease a key, to ack it, and to hand it back."""
    rounds = bench.pick(100, 4)
    load(bench, IN_FLIGHT * rounds)
    with closing(RedisStore(connect(bench.server.url).client, Q)) as store:
        claimer = store.leasing_claimer(LEASE_MS)
        claims = [claimer.claim(0)]
        store.settle([SettleRequest("ack", "nobody", "c0ffee", "", 1)])
        leasing = _times(bench, lambda: claims.append(claimer.claim(IN_FLIGHT)), rounds)
        assert sum(len(each.keys) for each in claims) == IN_FLIGHT * rounds
        acking = _times(bench, lambda: _settle(store, "ack", claims.pop()), rounds // 2)
        handing_back = _times(bench, lambda: _settle(store, "back", claims.pop()), rounds // 2)
        assert store.size(None) == IN_FLIGHT * rounds // 2
        claimer.close()
    return _quick(leasing) / IN_FLIGHT, _quick(acking) / IN_FLIGHT, _quick(handing_back) / IN_FLIGHT


def _settle(store: RedisStore, verb: Verb, leased: Leased) -> None:
    store.settle([SettleRequest(verb, key, leased.fence, "", leased.deadline) for key in leased.keys])


def _times(bench: Bench, call: Callable[[], object], rounds: int, *commands: str) -> list[int]:
    """Returns the microseconds that the server spent on each of some calls; `commands`: those that count."""
    spent = [_spent(bench, *commands)]
    for _ in range(rounds):
        call()
        spent.append(_spent(bench, *commands))
    return [after - before for before, after in pairwise(spent)]


def _spent(bench: Bench, *commands: str) -> int:
    stats = bench.client.info("commandstats")
    return sum(stats[f"cmdstat_{each}"]["usec"] for each in commands or ("evalsha",) if f"cmdstat_{each}" in stats)


def _quick(times: list[int]) -> float:
    return percentile(times, 10)
