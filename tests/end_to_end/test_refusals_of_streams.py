"""Promises 19 and 20 where users meet them: streams, `settle`, dead letters, and what a new subscription receives."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
import redis
from reactivex import Observable
from reactivex import operators as ops

from rx_runat import Claim, RunAt, settle
from rx_runat.errors import Refused
from tests.support.permissions import forbidden, worker_url
from tests.support.scripts import used_commands
from tests.support.servers import Server
from tests.support.waiting import wait_until
from tests.support.whereabouts import FENCE, NAMES

COMMANDS = sorted(used_commands() - {"spublish", "ssubscribe"})  # those two in clusters only; Redis 6.2 has neither
Open = Callable[[RunAt, "list[str]"], "Observable[str]"]


def by_hand(queue: RunAt, came: list[str]) -> Observable[str]:
    def work(claim: Claim) -> str | None:
        came.append(claim.key)
        return claim.key if claim.ack() else None

    return queue.claims(lease=0.2).pipe(ops.map(work), ops.filter(lambda key: key is not None))


def settled(queue: RunAt, came: list[str]) -> Observable[str]:
    work = settle(lambda claim: came.append(claim.key))
    acked = ops.filter(lambda outcome: outcome.verdict == "acked")
    return queue.claims(lease=0.2).pipe(work, acked, ops.map(lambda outcome: outcome.claim.key))


STREAMS: dict[str, Open] = {
    "queue": lambda queue, came: queue.pipe(ops.do_action(came.append)),
    "jobs": lambda queue, came: queue.jobs.pipe(ops.map(lambda due: due.key), ops.do_action(came.append)),
    "claims": by_hand,
    "settle": settled,
}
each_stream = pytest.mark.parametrize("open_stream", STREAMS.values(), ids=list(STREAMS))


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is refused is told so after a pause, three times longer in a test of `retry`: a tenth of the usual ones."""
    monkeypatch.setattr("rx_runat.stream.outage.FIRST_BACKOFF", 0.005)


@pytest.fixture
def admin(any_server: Server) -> Iterator[redis.Redis]:
    with any_server.client() as client:
        yield client


@pytest.fixture
def queue(any_server: Server) -> Iterator[RunAt]:
    with RunAt(worker_url(any_server), interval=0.05) as queue:
        yield queue


class Seen:
    """A subscription, and what came of it.

    Attributes:
        keys: received for good; of claims: acked.
        came: received, at least once.
        errors: with which the stream ended.
    """

    def __init__(self, queue: RunAt, open_stream: Open, *operators: Any) -> None:
        self.keys: list[str] = []
        self.came: list[str] = []
        self.errors: list[Exception] = []
        stream = open_stream(queue, self.came).pipe(*operators)
        self._subscription = stream.subscribe(self.keys.append, self.errors.append)

    def dispose(self) -> None:
        self._subscription.dispose()


def due(admin: redis.Redis, n: int) -> list[str]:
    """Schedule so many keys, as npm runat does."""
    keys = [f"k{i:03}" for i in range(n)]
    admin.zadd(NAMES.schedule, {key: 1 + i for i, key in enumerate(keys)})
    return keys


def put_leases(admin: redis.Redis) -> None:
    """A colleague works on a key, for an hour."""
    admin.zadd(NAMES.claimed, {"theirs": 4e12})
    admin.hset(NAMES.leases, "theirs", f"{FENCE} 1 1 - -")


def everything(admin: redis.Redis) -> dict[bytes, Any]:
    """The queue as a value, without receipts."""
    return {name: admin.dump(name) for name in sorted(admin.keys()) if b":receipt:" not in name}


def nothing_is_left(admin: redis.Redis) -> bool:
    return not admin.zcard(NAMES.schedule) and {*admin.zrange(NAMES.claimed, 0, -1)} <= {b"theirs"}


def gets(
    queue: RunAt, admin: redis.Redis, open_stream: Open, keys: list[str], may_be_settled: Collection[str] = ()
) -> None:
    """A new subscription receives these keys, each once, and nothing else; then nothing is left.

    Args:
        queue: the queue.
        admin: a client that may do everything.
        open_stream: subscribes.
        keys: all of them come, but for those in the next list, which may come.
        may_be_settled: keys that the operator `settle` may ack after all: it had worked on them.
    """
    seen = Seen(queue, open_stream)
    wait_until(lambda: seen.errors or {*keys} <= {*seen.keys, *may_be_settled}, "all keys came")
    assert seen.errors == []
    wait_until(lambda: nothing_is_left(admin), "nothing is left")
    seen.dispose()
    assert Counter(seen.keys) == Counter(key for key in keys if key not in may_be_settled or key in seen.keys)


def refuse_one_command(queue: RunAt, admin: redis.Redis, open_stream: Open, command: str, *operators: Any) -> None:
    keys = due(admin, 50)
    put_leases(admin)
    before = everything(admin)
    with forbidden(admin, command):
        seen = Seen(queue, open_stream, *operators)
        wait_until(lambda: seen.errors or len(seen.keys) == len(keys), "the stream ends, or needs no such command")
        if seen.errors:
            assert isinstance(seen.errors[0], Refused)
            assert re.search("permission|can't run this command", str(seen.errors[0]))
            assert seen.came or everything(admin) == before
        seen.dispose()
    settled_later = seen.came if open_stream is settled else ()
    gets(queue, admin, open_stream, [key for key in keys if key not in seen.keys], settled_later)
    assert len({*seen.keys}) == len(seen.keys)


@each_stream
@pytest.mark.parametrize(
    "command", ["set", "hset", "zadd", *(pytest.param(each, marks=pytest.mark.slow) for each in ("exists", "hmget"))]
)
def test_19_a_forbidden_command_ends_the_stream_in_words_and_takes_nothing(
    queue: RunAt, admin: redis.Redis, open_stream: Open, command: str
) -> None:
    """However often the stream is retried; allowed again, every key comes once."""
    refuse_one_command(queue, admin, open_stream, command, ops.retry(3))


@pytest.mark.slow
@each_stream
@pytest.mark.parametrize("command", COMMANDS)
def test_19_any_forbidden_command_loses_no_key(
    queue: RunAt, admin: redis.Redis, open_stream: Open, command: str
) -> None:
    refuse_one_command(queue, admin, open_stream, command)


@each_stream
@pytest.mark.parametrize("name", [NAMES.claimed, NAMES.leases])
def test_19_a_wrong_type_beside_the_schedule_takes_nothing(
    queue: RunAt, admin: redis.Redis, open_stream: Open, name: str
) -> None:
    keys = due(admin, 100)
    put_leases(admin)
    admin.rename(name, "kept")
    admin.set(name, "x")
    before = everything(admin)
    seen = Seen(queue, open_stream)
    wait_until(lambda: seen.errors, "the stream ends")
    assert isinstance(seen.errors[0], Refused)
    assert "wrong kind of value" in str(seen.errors[0])
    assert everything(admin) == before
    admin.rename("kept", name)
    gets(queue, admin, open_stream, keys)


@each_stream
@pytest.mark.parametrize(
    "record", [b"x", b"", b"\xff", b"- nan 1 1 -", b"- 1 nan 1 -", b"- 1 0x10 50 -", b"f 1 1e400 50 -"]
)
def test_20_one_garbage_record_costs_none_of_the_good_keys(
    queue: RunAt, admin: redis.Redis, open_stream: Open, record: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor the key that it is about; and it is said once."""
    keys = due(admin, 100)
    admin.hset(NAMES.leases, keys[49], record)
    gets(queue, admin, open_stream, keys)
    said = [each.message for each in caplog.records if each.levelno >= logging.WARNING]
    assert ["a lease on 'k049'" in each for each in said] == [True] * (b"0x10" not in record)  # Lua reads that one
    wait_until(lambda: not admin.exists(NAMES.leases, NAMES.claimed, NAMES.schedule), "nothing is left")


@pytest.mark.parametrize("name", ["claims", "settle"])
@pytest.mark.parametrize("run_at", ["nan", "-nan", "0x10", "1e400", "inf", "x", "9" * 400])
def test_20_an_ended_lease_with_an_odd_run_at_comes_back(
    queue: RunAt, admin: redis.Redis, name: str, run_at: str
) -> None:
    keys = due(admin, 9)
    admin.zadd(NAMES.claimed, {"odd": 1})
    admin.hset(NAMES.leases, "odd", f"{FENCE} 1 {run_at} - -")
    gets(queue, admin, STREAMS[name], [*keys, "odd"])


@each_stream
def test_20_an_empty_key_comes_and_goes_back(
    queue: RunAt, admin: redis.Redis, open_stream: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """Only scheduling refuses it."""
    keys = due(admin, 9)
    admin.zadd(NAMES.schedule, {"": 1, b"\xff\xfe": 2})
    first = [""]
    if open_stream is not STREAMS["settle"]:  # it works on several at once
        one = Seen(queue, open_stream, ops.take(1))
        wait_until(lambda: one.keys or one.errors, "one key came")
        assert one.errors == []
        assert one.keys == first
    else:
        first = []
    gets(queue, admin, open_stream, [key for key in ["", "\udcff\udcfe", *keys] if key not in first])
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


def test_20_an_empty_key_is_handed_back_by_stop(any_server: Server, admin: redis.Redis) -> None:
    due(admin, 9)
    admin.zadd(NAMES.schedule, {"": 1})
    before = everything(admin)
    queue = RunAt(any_server.url)
    seen: list[str] = []

    def stop(key: str) -> None:
        seen.append(key)
        queue.stop()

    queue.pipe(ops.skip(0)).subscribe(stop)
    wait_until(lambda: seen, "a key came")
    queue.stop()
    assert seen == [""]
    admin.zadd(NAMES.schedule, {"": 1})
    assert everything(admin) == before


def test_20_a_claim_of_an_empty_key_has_all_its_verbs(queue: RunAt, admin: redis.Redis) -> None:
    claims: list[Claim] = []
    queue.claims().subscribe(claims.append)

    def claim() -> Claim:
        wait_until(lambda: claims, "it came")
        return claims.pop()

    admin.zadd(NAMES.schedule, {"": 1})
    first = claim()
    assert first.extend(60)
    assert first.nack()
    assert claim().bury("no such address")
    assert [letter.key for letter in queue.dead.peek()] == [""]
    assert queue.dead.revive("") == 1
    assert claim().ack()
    assert not queue.cancel("")
    assert nothing_is_left(admin)


def test_19_a_refused_bury_leaves_the_key_under_its_lease(queue: RunAt, admin: redis.Redis) -> None:
    due(admin, 1)
    claims: list[Claim] = []
    queue.claims().subscribe(claims.append)
    wait_until(lambda: claims, "it came")
    admin.set(NAMES.dead, "x")
    before = everything(admin)
    with pytest.raises(Refused, match="wrong kind of value"):
        claims[0].bury("no such address")
    assert everything(admin) == before
    admin.delete(NAMES.dead)
    assert claims[0].bury("no such address")
    assert [letter.key for letter in queue.dead.peek()] == ["k000"]


@pytest.mark.parametrize("key", ["a", None])
def test_19_a_refused_revival_leaves_the_letters(queue: RunAt, admin: redis.Redis, key: str | None) -> None:
    admin.hset(NAMES.dead, mapping=dict.fromkeys("abc", "1700000000000 3 1000 no such address"))
    admin.set(NAMES.schedule, "x")
    before = everything(admin)
    with pytest.raises(Refused, match="wrong kind of value"):
        queue.dead.revive(key)
    assert everything(admin) == before
    admin.delete(NAMES.schedule)
    assert queue.dead.revive(key) == (3 if key is None else 1)
    assert {each.key for each in queue.peek()} == ({"a", "b", "c"} if key is None else {"a"})


@pytest.mark.parametrize("nonsense", ["", "x", "1 2", "nan nan nan nan", "1e400 3 1000 reason", "0x10 3 1000 reason"])
def test_20_a_letter_of_nonsense_hides_no_other(queue: RunAt, admin: redis.Redis, nonsense: str) -> None:
    good = dict.fromkeys("abc", "1700000000000 3 1000 no such address")
    admin.hset(NAMES.dead, mapping={**good, "odd": nonsense})
    letters = {letter.key: letter for letter in queue.dead.peek()}
    assert set(letters) == {*good, "odd"}
    assert nonsense in letters["odd"].reason
    assert queue.dead.size() == 4
    assert queue.dead.drop("odd") == 1
    assert queue.dead.revive(None) == 3


def test_19_a_forbidden_bury_does_not_fail_499_acks(queue: RunAt, admin: redis.Redis) -> None:
    keys = due(admin, 500)
    claims: list[Claim] = []
    works: dict[str, Future[str]] = {}

    def work(claim: Claim) -> Future[str]:
        claims.append(claim)
        works[claim.key] = Future()
        return works[claim.key]

    done: list[Any] = []
    errors: list[Exception] = []
    stream = queue.claims(lease=60, max_in_flight=500).pipe(settle(work, max_concurrent=500, max_attempts=1))
    stream.subscribe(done.append, errors.append)
    wait_until(lambda: len(works) == 500, "all work has begun")
    with forbidden(admin, "hset"):
        for key in keys:
            if key != keys[249]:
                works[key].set_result(key)
        works[keys[249]].set_exception(ValueError("no such address"))  # last: when the stream ends, it cancels work
        wait_until(lambda: errors, "the stream ends in words")
        assert isinstance(errors[0], Refused)
        wait_until(lambda: admin.zrange(NAMES.claimed, 0, -1) == [keys[249].encode()], "all others are acked")
    assert not admin.exists(NAMES.schedule, NAMES.dead)
    assert {outcome.verdict for outcome in done} <= {"acked"}
    assert keys[249] not in {outcome.claim.key for outcome in done}


@pytest.mark.parametrize("name", ["queue", "jobs"])
def test_19_a_refused_hand_back_is_done_by_the_next_subscription(queue: RunAt, admin: redis.Redis, name: str) -> None:
    """What the source holds stays in its hold, and no key is lost."""
    keys = due(admin, 50)
    first: list[str] = []
    with forbidden(admin, "zadd"):
        subscription = STREAMS[name](queue, []).pipe(ops.take(1)).subscribe(first.append)
        wait_until(lambda: first, "one key came")
        subscription.dispose()
    gets(queue, admin, STREAMS[name], keys[1:])
