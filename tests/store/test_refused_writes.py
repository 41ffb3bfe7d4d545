"""`schedule`, `cancel`, `revive` and `drop` that a server refuses half-way: nothing is lost, doubled or half-written.

Each case runs twice from the same state: once with all permissions, and once with a command forbidden or a name that
holds another type. The second run does what the first one did and returns the same, or raises and changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
import redis

from rx_runat import Job, Refused, Unavailable
from rx_runat.errors import StoreError
from rx_runat.store import scan
from rx_runat.store.client import RedisClient
from rx_runat.store.connect import connect
from rx_runat.store.keys import queue_keys
from rx_runat.store.redis_store import RedisStore
from tests.support.scripts import lua
from tests.support.servers import Server
from tests.support.stores import MS, Clock, FlakyClient, Q, T

KEYS = queue_keys(Q)
MARK = f"{MS + 30_000 - 0.5:.1f}"

VERBS: dict[str, Callable[[RedisStore], object]] = {
    "schedule moments": lambda store: store.schedule([Job("a", T + 7), Job("new", T + 7)], "last"),
    "schedule delays": lambda store: store.schedule(
        [Job(key, timedelta(seconds=7)) for key in ("a", "b", "n")], "last"
    ),
    "schedule data": lambda store: store.schedule(
        [Job("a", T + 7, data="new"), Job("b", T + 7, data=None), Job("new", T + 7, data=1), Job("out", T + 7)], "last"
    ),
    "schedule absent, data": lambda store: store.schedule(
        [Job(key, T + 7, data="new") for key in ("parked", "out", "a", "new")], "absent"
    ),
    "schedule first": lambda store: store.schedule([Job(key, T + 7) for key in ("parked", "a", "new", "a")], "first"),
    "schedule earliest": lambda store: store.schedule([Job(key, T - 7) for key in ("parked", "a", "new")], "earliest"),
    "schedule latest": lambda store: store.schedule([Job(key, T + 99) for key in ("parked", "a", "new")], "latest"),
    "cancel what waits": lambda store: store.cancel("a"),
    "cancel what is out": lambda store: store.cancel("out"),
    "cancel what is parked": lambda store: store.cancel("parked"),
    "cancel what is nowhere": lambda store: store.cancel("nobody"),
    "revive one": lambda store: store.revive("dead"),
    "revive what waits again": lambda store: store.revive("a"),
    "revive all": lambda store: store.revive(None),
    "gc": lambda store: store.gc(),
    "drop one": lambda store: store.drop("dead"),
    "drop all": lambda store: store.drop(None),
}
ANSWERS: dict[str, object] = {  # where they are not 1, or True
    "cancel what is nowhere": False,
    "revive what waits again": 0,
    "revive all": 2,
    "drop all": 3,
    "gc": 2,
}
COMMANDS = sorted(
    {"zadd", "hdel", "hscan"}
    | {
        command.lower()
        for script in ("schedule", "cancel", "revive", "gc")
        for command in re.findall(r"(?:redis\.p?call|bulk)\('(\w+)'", lua(script))
    }
)


def fill(client: redis.Redis) -> None:
    """A queue with keys in every state."""
    client.flushall()
    client.zadd(Q, {"a": MS + 5000, "b": MS, "parked": MARK})
    client.zadd(KEYS.claimed, {"out": MS + 30_000, "parked": MS + 30_000})
    client.hset(KEYS.leases, "out", f"fence 1 {MS - 1} - -")
    client.hset(KEYS.leases, "parked", f"fence -1 {MS - 1} {MARK} {MS + 50}")
    client.hset(KEYS.leases, "b", f"- 2 {MS - 9} {MS} -")
    for key in ("dead", "a", "other"):
        client.hset(KEYS.dead, key, f"{MS} 5 {MS - 60_000} no such address\x1f{'' if key == 'other' else 5}")
    client.hset(KEYS.data, mapping={key: f'"{key}"' for key in ("a", "b", "out", "parked", "orphan", "dead")})


def content(client: redis.Redis) -> dict[bytes, object]:
    """The whole of Redis, whatever types are in it."""
    reads: dict[bytes, Callable[[bytes], object]] = {
        b"zset": lambda name: client.zrange(name, 0, -1, withscores=True),
        b"hash": client.hgetall,
        b"string": client.get,
        b"set": client.smembers,
        b"list": lambda name: client.lrange(name, 0, -1),
    }
    return {name: reads[client.type(name)](name) for name in sorted(client.keys())}  # type: ignore[index,type-var,union-attr]


@pytest.fixture
def restricted(server: Server, client: redis.Redis) -> Iterator[RedisClient]:
    """A client of a user whose permissions a test takes away."""
    client.execute_command("ACL", "SETUSER", "restricted", "reset", "on", ">password", "~*", "&*", "+@all")
    restricted = connect(f"unix://restricted:password@{server.path}").client
    yield restricted
    restricted.close()
    client.execute_command("ACL", "DELUSER", "restricted")


def attempt(verb: str, store_client: RedisClient, clock: Clock | None) -> tuple[object, StoreError | None]:
    try:
        return VERBS[verb](RedisStore(store_client, Q, clock)), None
    except StoreError as error:
        return None, error


@pytest.mark.slow  # the refusal matrix has other states, and shows the same
@pytest.mark.parametrize("verb", VERBS)
def test_19_a_forbidden_command_changes_nothing(
    client: redis.Redis, restricted: RedisClient, clock: Clock, verb: str
) -> None:
    fill(client)
    answer, error = attempt(verb, restricted, clock)
    assert error is None
    done = content(client)
    refused: set[str] = set()
    for command in COMMANDS:
        fill(client)
        before = content(client)
        client.execute_command("ACL", "SETUSER", "restricted", "+@all", f"-{command}")
        got, error = attempt(verb, restricted, clock)
        if error is None:
            assert (got, content(client)) == (answer, done), command
        else:
            assert isinstance(error, Refused), command
            assert content(client) == before, command
            refused.add(command)
    assert refused & {"zadd", "hdel"}, "what the verb needs was among the forbidden commands"


@pytest.mark.parametrize("keep", ["last", "first"])
def test_19_a_delay_is_not_written_without_the_servers_clock(
    client: redis.Redis, restricted: RedisClient, keep: str
) -> None:
    fill(client)
    before = content(client)
    client.execute_command("ACL", "SETUSER", "restricted", "-time")
    with pytest.raises(Refused):
        RedisStore(restricted, Q).schedule([Job("new", timedelta(seconds=1))], keep)  # type: ignore[arg-type]
    assert content(client) == before


@pytest.mark.slow  # the refusal matrix has other states, and shows the same
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", KEYS, ids=KEYS._fields)
def test_19_a_name_of_another_type_changes_nothing(
    server: Server, client: redis.Redis, clock: Clock, verb: str, name: str
) -> None:
    store_client = connect(server.url).client
    fill(client)
    client.delete(name)
    answer, error = attempt(verb, store_client, clock)
    assert error is None
    done = content(client)
    for spoil in (
        lambda: client.set(name, "x"),
        lambda: client.sadd(name, "x"),
        lambda: client.rpush(name, "x"),
        lambda: client.hset(name, "x", "y") if client.type(KEYS.dead) == b"none" else client.zadd(name, {"x": 1}),
    ):
        fill(client)
        kind = client.type(name)
        client.delete(name)
        spoil()
        if client.type(name) == kind:
            continue
        spoiled = {name.encode(): content(client)[name.encode()]}
        before = content(client)
        got, error = attempt(verb, store_client, clock)
        if error is None:
            assert got == answer
            assert content(client) == done | spoiled
        else:
            assert isinstance(error, Refused)
            assert content(client) == before
    store_client.close()


def test_19_a_full_server_lets_keys_out_and_back_and_refuses_new_ones(own_server: Server, clock: Clock) -> None:
    store_client = connect(own_server.url).client
    with own_server.client() as client:
        for verb in VERBS:
            fill(client)
            before = content(client)
            client.config_set("maxmemory", "1")
            got, error = attempt(verb, store_client, clock)
            client.config_set("maxmemory", "0")
            if verb.startswith("schedule"):
                assert isinstance(error, Unavailable)
                assert content(client) == before
            else:
                assert error is None
                assert got == ANSWERS.get(verb, 1)
    store_client.close()


@pytest.mark.parametrize("keep", ["first", "earliest", "latest"])
@pytest.mark.parametrize(
    "record",
    [
        "x",
        "",
        f"fence 1 {MS - 1} {MARK} nan",
        f"fence 1 {MS - 1} {MARK} soon",
        f"fence 1 {MS - 1} nan {MS}",
        f"fence 1 {MS - 1} {MARK}",
    ],
)
def test_20_a_lease_record_that_cannot_be_read_counts_as_none(
    flaky: FlakyClient, store: RedisStore, keep: str, record: str
) -> None:
    """A policy then compares with the score that stands in Q."""
    RedisClient.call(flaky, "ZADD", Q, MARK, "a")
    RedisClient.call(flaky, "HSET", KEYS.leases, "a", record)
    jobs = [Job("a", T + 7), Job("new", T + 99)]
    stands = float(MARK) if keep in ("first", "latest") else MS + 7000
    assert store.schedule(jobs, keep) == stands  # type: ignore[arg-type]
    assert RedisClient.call(flaky, "HGET", KEYS.leases, "a") == record.encode()


@pytest.mark.parametrize("mark", ["x", "nan", "-"])
def test_20_a_mark_that_is_no_number_is_no_score_of_a_key_that_does_not_wait(
    flaky: FlakyClient, store: RedisStore, mark: str
) -> None:
    RedisClient.call(flaky, "HSET", KEYS.leases, "a", f"fence 1 {MS - 1} {mark} {MS + 50}")
    assert store.schedule([Job("a", T + 7)], "first") == MS + 7000


@pytest.mark.parametrize("keep, stands", [("first", MS + 50), ("latest", MS + 7000), ("earliest", MS + 50)])
@pytest.mark.parametrize("attempt", ["1", "-2"])
def test_a_policy_compares_with_the_run_at_of_a_parked_key_whether_its_attempt_has_begun_or_not(
    flaky: FlakyClient, store: RedisStore, keep: str, stands: int, attempt: str
) -> None:
    RedisClient.call(flaky, "ZADD", Q, MARK, "a")
    RedisClient.call(flaky, "HSET", KEYS.leases, "a", f"fence {attempt} {MS - 1} {MARK} {MS + 50}")
    assert store.schedule([Job("a", T + 7)], keep) == stands  # type: ignore[arg-type]


def test_19_letters_revived_before_a_refusal_are_told(
    flaky: FlakyClient, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "MOST", 50)
    for first in range(0, 2000, 500):
        words = [word for n in range(first, first + 500) for word in (f"k{n:04}", f"{MS} 1 {MS + n} poison")]
        RedisClient.call(flaky, "HSET", KEYS.dead, *words)
    flaky.fates = [None, None, None, "refused"]  # step, revive, step, revive
    with pytest.raises(Refused, match=r"no; [\d,]+ dead letters were revived before that") as caught:
        store.revive(None)
    told = re.search(r"([\d,]+) dead letters", str(caught.value))
    assert told
    revived = int(told[1].replace(",", ""))
    assert 0 < revived < 2000
    assert (store.size(None), store.dead_size()) == (revived, 2000 - revived)
    flaky.fates = [None, "refused"]
    with pytest.raises(Refused, match=r"no$"):
        store.drop(None)
    assert store.revive(None) == 2000 - revived
