"""Keys that are read under WATCH, and taken by a transaction if nobody has written meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import pairwise
from typing import Any

import pytest
import redis

from rx_runat import OutcomeUnknown, Refused
from rx_runat.model.batch import Claimed
from rx_runat.store.candidates import CandidateReader
from rx_runat.store.claimers import PlainClaimer
from rx_runat.store.connection import DedicatedConnection
from rx_runat.store.keys import data_key, leases_key
from tests.support.backlog import COUNT, PAST, plain_claimer, taken, waits, write
from tests.support.permissions import WORKER, forbidden, worker_url
from tests.support.redis_content import entries
from tests.support.servers import Server
from tests.support.stores import Q
from tests.support.waiting import wait_until


@pytest.fixture
def claimer(server: Server) -> Iterator[PlainClaimer]:
    with plain_claimer(server.url) as claimer:
        yield claimer


def is_transaction(claimer: PlainClaimer) -> bool:
    """True if the claim that was asked for last is a transaction."""
    return claimer._ahead.to_take is not None


def drain(claimer: PlainClaimer) -> list[Claimed]:
    """Claim until a transaction is asked for: the third claim that is asked for ahead."""
    claims = [claimer.claim(100, 100) for _ in range(3)]
    assert is_transaction(claimer)
    return claims


def before_asking(claimer: PlainClaimer, act: Callable[[], object]) -> None:
    """Call a function each time just before a transaction is asked for."""
    ask = claimer._ahead.ask

    def act_and_ask(*words: Any) -> None:
        if claimer._ahead.count:
            act()
        ask(*words)

    claimer._ahead.ask = act_and_ask  # type: ignore[method-assign]


def read_sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Returns a list that will have how many bytes each reply to ZRANGE has."""
    read, sizes = CandidateReader.read, list[int]()

    def note_size(reader: CandidateReader, replies: Any, reply: bytes, has_begun: bool) -> Any:
        sizes.append(len(reply))
        return read(reader, replies, reply, has_begun)

    monkeypatch.setattr(CandidateReader, "read", note_size)
    return sizes


# What is read and taken.


@pytest.mark.parametrize("ahead", [10, 64, 65, 150])
def test_claims_follow_each_other_whoever_makes_them(claimer: PlainClaimer, client: redis.Redis, ahead: int) -> None:
    wrote = write(client)
    claims, by_transaction = [claimer.claim(100, ahead)], []
    while len(claims) < 5:
        by_transaction.append(is_transaction(claimer))
        claims.append(claimer.claim(1, ahead))
    claims += [claimer.claim(1), claimer.claim(COUNT)]
    assert [len(each.keys) for each in claims] == [100, *5 * [ahead], COUNT - 100 - 5 * ahead]
    assert list(taken(*claims).items()) == list(wrote.items())
    assert [each.wait for each in claims] == [*6 * [0.0], None]
    assert by_transaction == [False, False, ahead > 64, ahead > 64]


def test_keys_that_are_not_due_yet_are_read_and_stay(claimer: PlainClaimer, client: redis.Redis) -> None:
    wrote = write(client, 330)
    seconds, _ = client.time()  # type: ignore[misc]
    client.zadd(Q, {f"later{n:03}": (seconds + 1000 + n) * 1000 for n in range(500)})
    claims = [*drain(claimer), claimer.claim(1, 100)]
    assert list(taken(*claims)) == list(wrote)
    assert claims[-1].wait is not None
    assert 990 < claims[-1].wait <= 1000
    assert not claimer.is_owed
    assert client.zcard(Q) == 500


def test_candidates_are_taken_at_once_where_no_claim_was_asked_for(claimer: PlainClaimer, client: redis.Redis) -> None:
    """The last claim of a look asks for no further one. The next look begins with what that claim has read."""
    wrote = write(client)
    claims = [*drain(claimer), claimer.claim(100)]
    assert not claimer.is_ahead
    asked = list[None]()
    before_asking(claimer, lambda: asked.append(None))
    claims.append(claimer.claim(100, 100))
    assert len(asked) == 2, "this claim, and the next one"
    assert list(taken(*claims)) == list(wrote)[:500]


def test_fewer_keys_than_were_read_are_claimed_by_the_script(claimer: PlainClaimer, client: redis.Redis) -> None:
    wrote = write(client)
    claims = [*drain(claimer), claimer.claim(100), claimer.claim(99, 99)]
    assert list(taken(*claims)) == list(wrote)[:499]


def test_keys_of_middle_size_are_read_in_smaller_steps(claimer: PlainClaimer, client: redis.Redis) -> None:
    """With those of a claim they must have at most a megabyte."""
    wrote = write(client, 8000, length=500)
    claims = [claimer.claim(1000, 1000) for _ in range(12)]
    sizes = [len(each.keys) for each in claims]
    assert sizes[:4] == [1000] * 4, "by the script"
    assert all(300 < size < 600 for size in sizes[4:]), "by transactions, and none needs the script in between"
    assert list(taken(*claims)) == list(wrote)[: len(taken(*claims))]


@pytest.mark.parametrize("rank", [90, 250, 450])
def test_one_large_key_among_many_is_never_read_by_the_way(
    claimer: PlainClaimer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    """Nothing bounds ZRANGE in bytes; so it reads only keys before that one, and behind it."""
    sizes = read_sizes(monkeypatch)
    write(client)
    client.zadd(Q, {b"x" * 3_000_000: PAST + rank * 1.25 - 0.1})
    claims: list[Claimed] = []
    while client.zcard(Q) or claimer.is_owed:
        claims.append(claimer.claim(100, 100))
    assert len(taken(*claims)) == COUNT + 1
    assert max(sizes) < 10_000


@pytest.mark.parametrize("who", ["it claims itself, slowly", "others claim"])
def test_large_keys_that_come_nearer_unseen_are_not_read(
    claimer: PlainClaimer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    """A mean that was measured long before tells nothing of them."""
    sizes = read_sizes(monkeypatch)
    write(client, 2000)
    client.zadd(Q, {f"x{n}".encode() + b"x" * 100_000: PAST + 9000 for n in range(100)})
    claims = drain(claimer)
    if who == "it claims itself, slowly":
        claims += [claimer.claim(100) for _ in range(15)]
    else:
        client.zremrangebyrank(Q, 0, client.zcard(Q) - 150)  # type: ignore[operator]
    claims += [claimer.claim(100, 100) for _ in range(6)]
    assert max(sizes) < 10_000
    assert all(sum(map(len, each.keys)) < 1_100_000 for each in claims)


@pytest.mark.parametrize("where", ["in front of the backlog", "behind it"])
def test_8_large_keys_that_come_after_the_measuring_make_no_large_claim(
    claimer: PlainClaimer, client: redis.Redis, where: str
) -> None:
    wrote = write(client, 1400)
    claims = [claimer.claim(500, 500)]
    wait_until(lambda: client.zcard(Q) == 400, "the next claim was made; the measuring came with it")
    run_at = PAST - 10 if where == "in front of the backlog" else PAST + 9000
    client.zadd(Q, {f"x{n}".encode() + b"x" * 300_000: run_at + n for n in range(100)})
    while client.zcard(Q) or claimer.is_owed:
        claims.append(claimer.claim(500, 500))
    assert len(taken(*claims)) == len(wrote) + 100
    assert all(sum(map(len, each.keys)) < 1_400_000 for each in claims)


@pytest.mark.parametrize("what", ["leases", "data"])
def test_leases_and_data_that_appear_are_respected(claimer: PlainClaimer, client: redis.Redis, what: str) -> None:
    wrote = write(client)
    claims = drain(claimer)
    client.hset(leases_key(Q), "k000950", "junk") if what == "leases" else client.hset(data_key(Q), "k000950", "[1]")
    claims += [claimer.claim(100, 100) for _ in range(2)]
    assert not is_transaction(claimer)
    claims += [claimer.claim(100, 100) for _ in range(5)]
    assert list(taken(*claims)) == list(wrote)
    assert [data for each in claims for data in each.data if data] == ([] if what == "leases" else ["[1]"])


# What others write between the reading and the taking.

WRITES: dict[str, Callable[[redis.Redis], object]] = {
    "an earlier key": lambda client: client.zadd(Q, {"first": 1}),
    "a later key": lambda client: client.zadd(Q, {"last": 7e12}),
    "a candidate, for later": lambda client: client.zadd(Q, {"k000310": 7e12}),
    "a candidate, for earlier": lambda client: client.zadd(Q, {"k000310": 1}),
    "a candidate is cancelled": lambda client: client.zrem(Q, "k000310"),
    "a candidate is claimed": lambda client: client.zpopmin(Q),
    "a key behind them is cancelled": lambda client: client.zrem(Q, "k000900"),
    "none is left": lambda client: client.delete(Q),
    "nothing is left": lambda client: client.flushall(),
    "another schedule": lambda client: client.rename(Q, "other") and client.zadd(Q, {"k000310": 5, "new": 6}),
    "no receipt is left": lambda client: client.delete(*client.keys("*:receipt:*")),  # type: ignore[misc]
}


@pytest.mark.parametrize("what", WRITES)
@pytest.mark.parametrize("rests", [False, True], ids=["at once", "after a rest"])
def test_1_what_others_write_meanwhile_counts(
    claimer: PlainClaimer, client: redis.Redis, what: str, rests: bool
) -> None:
    """What is due now is claimed, as if nothing had been read before."""
    wrote = write(client)
    claims = [claimer.claim(100, 100), claimer.claim(100, 100)]
    waited = list[list[tuple[bytes, float]]]()

    def write_once() -> None:
        if not waited:
            WRITES[what](client)
            waited.append(client.zrange(Q, 0, -1, withscores=True))  # type: ignore[arg-type]

    before_asking(claimer, write_once)
    claims.append(claimer.claim(100, 0 if rests else 100))
    assert list(taken(*claims)) == list(wrote)[:300]
    last = claimer.claim(100, 100 if rests else 0)
    due = [(key, score) for key, score in waited[0] if score < 7e12]
    assert list(taken(last).items()) == due[:100]
    newest = claimer.claim(1) if claimer.is_ahead else Claimed([], [], 0, None)
    assert list(taken(newest).items()) == due[100:200][: len(newest.keys)]
    gone = taken(last, newest)
    assert waits(client) == {key: score for key, score in waited[0] if key not in gone}


def test_after_failures_candidates_are_read_more_seldom(claimer: PlainClaimer, client: redis.Redis) -> None:
    write(client, 60_000)
    number, transactions, writes = 0, list[int](), True

    def write_perhaps() -> None:
        transactions.append(number)
        if writes:
            client.zadd(Q, {"another": 7e12 + number})

    before_asking(claimer, write_perhaps)
    for number in range(400):  # noqa: B007 (the callback reads it)
        claimer.claim(100, 100)
    gaps = [after - before for before, after in pairwise(transactions)]
    assert gaps == sorted(gaps)
    assert 64 < gaps[-1] < 70
    writes = False
    while claimer.claim(100, 100).wait == 0:
        number += 1
    assert transactions[-20:] == list(range(number - 20, number)), "nobody writes any more"


@pytest.mark.parametrize("is_done", [True, False])
def test_11_a_transaction_without_a_reply_is_asked_for_again(
    claimer: PlainClaimer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, is_done: bool
) -> None:
    """Its keys come once: from the memory of the client if it was done, else from the script."""
    wrote = write(client)
    claims = drain(claimer)
    if not is_done:  # the script that is sent instead then comes first
        hold_back(claimer, monkeypatch)
        claims.append(claimer.claim(1, 100))
    lose_reply(monkeypatch)
    claims += [claimer.claim(100, 100) for _ in range(10)]
    assert list(taken(*claims)) == list(wrote)


def lose_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut the connection once all replies to the next request have come."""
    receive = DedicatedConnection.receive_until

    def receive_and_lose(connection: DedicatedConnection, *args: Any) -> bytes:
        monkeypatch.setattr(DedicatedConnection, "receive_until", receive)
        receive(connection, *args)
        connection.close()
        raise OutcomeUnknown("lost")

    monkeypatch.setattr(DedicatedConnection, "receive_until", receive_and_lose)


def hold_back(claimer: PlainClaimer, monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """Let the next request be stuck on its way. Returns a list that will have what lets it arrive."""
    stuck = list[Callable[[], None]]()
    send = DedicatedConnection.send

    def get_stuck(connection: DedicatedConnection, packed: bytes, name: str) -> None:
        monkeypatch.setattr(DedicatedConnection, "send", send)
        raw = connection._connection

        def arrive() -> None:
            raw.send_packed_command([packed])
            with suppress(redis.RedisError):
                raw.read_response()
            raw.disconnect()

        stuck.append(arrive)
        claimer._ahead._connection = None  # it opens another one
        raise OutcomeUnknown("stuck")

    monkeypatch.setattr(DedicatedConnection, "send", get_stuck)
    return stuck


@pytest.mark.parametrize("then", ["claims", "hands back", "closes"])
def test_11_a_transaction_that_comes_late_takes_nothing(
    claimer: PlainClaimer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    """By then the claim was sent once more, by the script. That one changes the receipt, even if it takes no key."""
    wrote = write(client)
    claims = [claimer.claim(100, 100), claimer.claim(100, 100)]
    stuck = hold_back(claimer, monkeypatch)
    claims.append(claimer.claim(100, 100))
    assert is_transaction(claimer)
    assert claimer.is_owed
    if then == "claims":
        claims.append(claimer.claim(100))
    elif then == "hands back":
        claimer.hand_back(entries(claims.pop()))
    else:
        assert claimer.close() == []
    gone = taken(*claims)
    (arrive,) = stuck
    arrive()
    assert waits(client) == {key: score for key, score in wrote.items() if key not in gone}


@pytest.mark.parametrize("when", ["sent", "to be received"])
@pytest.mark.parametrize("claimed", [1, 2, 3])
def test_7_an_interrupt_between_sending_and_receiving_costs_no_key(
    claimer: PlainClaimer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, when: str, claimed: int
) -> None:
    """Of a signal handler, at any instruction. The replies that nobody has received are not read as later ones."""
    wrote = write(client)
    claims = [claimer.claim(100, 100) for _ in range(claimed)]
    send, receive = DedicatedConnection.send, DedicatedConnection.receive_until

    def send_and_raise(connection: DedicatedConnection, packed: bytes, name: str) -> None:
        monkeypatch.setattr(DedicatedConnection, "send", send)
        send(connection, packed, name)
        raise KeyboardInterrupt

    def receive_not(connection: DedicatedConnection, *_: Any) -> bytes:
        monkeypatch.setattr(DedicatedConnection, "receive_until", receive)
        raise KeyboardInterrupt

    if when == "sent":
        claims.append(claimer.claim(100))
        monkeypatch.setattr(DedicatedConnection, "send", send_and_raise)
    else:
        monkeypatch.setattr(DedicatedConnection, "receive_until", receive_not)
    interrupted = list[Claimed]()
    with pytest.raises(KeyboardInterrupt):
        interrupted.append(claimer.claim(100, 100))
    while client.zcard(Q) or claimer.is_owed:
        claims.append(claimer.claim(100, 100))
    lost = set(wrote) - set(taken(*claims))
    assert len(lost) == (100 if when == "sent" and claimed == 1 else 0), (
        "only those that the interrupted call had in hand"
    )
    assert set(taken(*claims)) <= set(wrote)


def test_11_a_reply_that_cannot_be_read_is_asked_for_again(
    claimer: PlainClaimer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrote = write(client)
    claims = drain(claimer)
    receive = DedicatedConnection.receive_until

    def receive_garbage(connection: DedicatedConnection, *words: Any) -> bytes:
        monkeypatch.setattr(DedicatedConnection, "receive_until", receive)
        receive(connection, *words)
        return b"HTTP/1.1 400 Bad Request\r\n\r\n"

    monkeypatch.setattr(DedicatedConnection, "receive_until", receive_garbage)
    claims += [claimer.claim(100, 100) for _ in range(8)]
    assert list(taken(*claims)) == list(wrote)


# What goes back.


def test_7_what_a_transaction_took_goes_back(claimer: PlainClaimer, client: redis.Redis) -> None:
    """With the claim before it; a newer schedule of a key stands."""
    wrote = write(client)
    claims = drain(claimer)
    wait_until(lambda: client.zcard(Q) == COUNT - 400, "the transaction is done")
    newer = {b"k000200": 7e12, b"k000350": 8e12}
    client.zadd(Q, newer)  # type: ignore[arg-type]
    claimer.hand_back(entries(claims[-1])[1:])
    assert not claimer.is_ahead
    claimer.hand_back(entries(claims[-1])[:1])
    gone = taken(*claims[:-1])
    assert waits(client) == {key: score for key, score in wrote.items() if key not in gone} | newer
    assert claimer.close() == []
    assert client.keys("*:receipt:*") == []


def test_7_a_transaction_that_failed_leaves_nothing_to_hand_back(claimer: PlainClaimer, client: redis.Redis) -> None:
    wrote = write(client)
    before_asking(claimer, lambda: client.zadd(Q, {"first": 1}))
    claims = drain(claimer)
    claimer.hand_back(entries(claims[-1]))
    gone = taken(*claims[:-1])
    assert waits(client) == {key: score for key, score in wrote.items() if key not in gone} | {b"first": 1}
    assert claimer.close() == []
    assert client.keys("*:receipt:*") == []


def test_7_a_closed_claimer_returns_what_a_transaction_took(claimer: PlainClaimer, client: redis.Redis) -> None:
    wrote = write(client)
    claims = drain(claimer)
    back = claimer.close()
    assert [entry.key.encode() for entry in back] == list(wrote)[300:400]
    claimer.hand_back(back)
    assert claimer.close() == []
    assert waits(client) == dict(list(wrote.items())[100 * len(claims) :])
    assert client.keys("*:receipt:*") == []


# Refusals.


@pytest.mark.parametrize("when", ["at first", "in the middle"])
@pytest.mark.parametrize("command", ["multi", "exec", "watch", "echo", "memory", "set", "zremrangebyrank", "unwatch"])
def test_19_where_a_command_is_forbidden_every_key_comes_once(own_server: Server, command: str, when: str) -> None:
    """Those that scripts need as well are permitted again soon."""
    with ExitStack() as stack:
        client = stack.enter_context(own_server.client())
        wrote = write(client)
        claimer = stack.enter_context(plain_claimer(worker_url(own_server)))
        claims = drain(claimer) if when == "in the middle" else []
        with forbidden(client, command):
            for _ in range(5):
                with suppress(Refused):
                    claims.append(claimer.claim(100, 100))
        while client.zcard(Q) or claimer.is_owed:
            claims.append(claimer.claim(100, 100))
        assert list(taken(*claims)) == list(wrote)
        asked = client.acl_log()
        assert len(asked) < 6


@pytest.mark.parametrize("command", ["multi", "exec", "set", "zremrangebyrank"])
def test_19_nothing_that_was_meant_for_a_transaction_is_done_without_it(own_server: Server, command: str) -> None:
    """A permission is lost, and an earlier key written, in the very moment when keys are to be taken."""
    with ExitStack() as stack:
        client = stack.enter_context(own_server.client())
        wrote = write(client)
        claimer = stack.enter_context(plain_claimer(worker_url(own_server)))
        claims = [claimer.claim(100, 100), claimer.claim(100, 100)]

        def forbid_and_write() -> None:
            client.execute_command("ACL", "SETUSER", WORKER, f"-{command}")
            client.zadd(Q, {"first": 1})

        before_asking(claimer, forbid_and_write)
        claims.append(claimer.claim(100, 100))
        while claimer.is_ahead and len(claims) < 5:
            with suppress(Refused):
                claims.append(claimer.claim(100, 100))
        client.execute_command("ACL", "SETUSER", WORKER, "+@all")
        claims += [claimer.claim(COUNT), claimer.claim(COUNT), claimer.claim(COUNT)]
        assert taken(*claims) == wrote | {b"first": 1}


def test_a_server_that_forgot_the_scripts_is_told_them_again(claimer: PlainClaimer, client: redis.Redis) -> None:
    wrote = write(client, 2000)
    claims = drain(claimer)
    client.script_flush()
    claims += [claimer.claim(100, 100) for _ in range(6)]
    assert is_transaction(claimer)
    claims += [claimer.claim(100, 100) for _ in range(11)]
    assert list(taken(*claims)) == list(wrote)


@pytest.mark.parametrize("policy", ["noeviction", "volatile-lru", "volatile-ttl"])
def test_10_a_full_server_gives_all_keys(own_server: Server, policy: str) -> None:
    """It refuses the transaction, which writes a receipt, and permits the script, which frees memory first."""
    with ExitStack() as stack:
        client = stack.enter_context(own_server.client())
        wrote = write(client, 20_000)
        client.config_set("maxmemory-policy", policy)
        claimer = stack.enter_context(plain_claimer(own_server.url))
        claims = drain(claimer)
        client.config_set("maxmemory", client.info("memory")["used_memory"] - 50_000)
        while client.zcard(Q) or claimer.is_owed:
            claims.append(claimer.claim(100, 100))
        assert list(taken(*claims)) == list(wrote)
