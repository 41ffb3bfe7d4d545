"""What becomes of a key's data: for every write, what lies in Redis before and after it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from rx_runat import InvalidJob, Job, OutcomeUnknown
from rx_runat.model.batch import Verb, to_entries
from rx_runat.model.data import DEEPEST, NOT_NAMED, from_text
from rx_runat.model.job import Keep
from rx_runat.store import receipts
from rx_runat.store.client import RedisClient
from rx_runat.store.connect import connect
from rx_runat.store.keys import data_key, leases_key
from rx_runat.store.redis_store import RedisStore
from tests.support.leases import LEASE, LEASE_S, one, to_settle
from tests.support.redis_content import content, keys_taken, put
from tests.support.scripts import inside
from tests.support.servers import Server
from tests.support.stores import MS, Clock, FlakyClient, Q, T, lossy

FOREIGN = [b"no JSON", b"\xff\xfe", b"one\x1ftwo", b"NaN", b'{"a":1', b"[" * 5000]


def data_in(flaky: FlakyClient) -> dict[bytes, bytes]:
    return RedisClient.call(flaky, "HGETALL", data_key(Q))


def put_data(flaky: FlakyClient, key: str, text: bytes) -> None:
    """As another client would."""
    RedisClient.call(flaky, "HSET", data_key(Q), key, text)


def write(store: RedisStore, ms: int = MS - 1, data: Any = 1, key: str = "a", keep: Keep = "last") -> float | None:
    return store.schedule([Job(key, ms / 1000, data=data)], keep)


# The table of write x data.


@pytest.mark.parametrize(
    "data, left", [(NOT_NAMED, {b"a": b"1"}), (None, {}), ({"to": "é"}, {b"a": '{"to":"é"}'.encode()})]
)
@pytest.mark.parametrize(
    "keep, ms, is_accepted",
    [
        ("last", MS, True),
        ("last", MS + 5, True),
        ("first", MS + 5, False),
        ("absent", MS + 5, False),
        ("earliest", MS - 5, True),
        ("earliest", MS, False),
        ("earliest", MS + 5, False),
        ("latest", MS + 5, True),
        ("latest", MS, False),
        ("latest", MS - 5, False),
    ],
)
def test_26_a_schedule_changes_both_time_and_data_or_neither(
    store: RedisStore, flaky: FlakyClient, keep: Keep, ms: int, is_accepted: bool, data: Any, left: dict[bytes, bytes]
) -> None:
    write(store, MS, data=1)
    stands = ms if is_accepted else MS
    assert write(store, ms, data, keep=keep) == stands
    assert content(flaky) == [(b"a", stands)]
    assert data_in(flaky) == (left if is_accepted else {b"a": b"1"})


@pytest.mark.parametrize("keep", ["last", "first", "earliest", "latest", "absent"])
def test_26_a_key_that_does_not_wait_gets_what_is_named(store: RedisStore, flaky: FlakyClient, keep: Keep) -> None:
    assert write(store, MS, ["x"], keep=keep) == MS
    assert data_in(flaky) == {b"a": b'["x"]'}


@pytest.mark.parametrize("is_over", [False, True])
def test_26_what_is_out_stays_as_it_is_under_absent(
    store: RedisStore, flaky: FlakyClient, clock: Clock, is_over: bool
) -> None:
    write(store)
    leased = store.leasing_claimer(LEASE).claim(1)
    clock.advance(LEASE_S if is_over else 0)
    assert write(store, MS + 5, "other", keep="absent") is None
    assert (content(flaky), data_in(flaky)) == ([], {b"a": b"1"})
    assert one(store, to_settle("ack", leased)) == [0 if is_over else 1]


def test_26_a_list_names_data_for_some_of_its_keys(store: RedisStore, flaky: FlakyClient) -> None:
    store.schedule([Job(key, 1, data=key) for key in ("left", "dropped", "replaced")], "last")
    jobs = [Job("left", 2), Job("dropped", 2, data=None), Job("replaced", 2, data="new"), Job("bare", 2)]
    store.schedule([*jobs, Job("delay", timedelta(0), data=False), Job("left", 3)], "last")
    assert data_in(flaky) == {b"left": b'"left"', b"replaced": b'"new"', b"delay": b"false"}


@pytest.mark.parametrize("keep, left", [("last", b"2"), ("first", b"1"), ("latest", b"2"), ("earliest", b"1")])
def test_26_a_key_that_is_twice_in_a_list_has_the_data_of_the_job_that_stands(
    store: RedisStore, flaky: FlakyClient, keep: Keep, left: bytes
) -> None:
    store.schedule([Job("a", 1, data=1), Job("a", 2, data=2), Job("a", 2)], keep)
    assert data_in(flaky) == {b"a": left}


NEXT = f"{MS + 99}"


@pytest.mark.parametrize("newer", [None, NOT_NAMED, "new"])
@pytest.mark.parametrize(
    "verb, next_run", [("ack", ""), ("ack", NEXT), ("nack", ""), ("back", ""), ("bury", ""), ("bury", NEXT)]
)
def test_26_what_settles_a_claim_leaves_data_only_where_the_key_waits(
    store: RedisStore, flaky: FlakyClient, verb: Verb, next_run: str, newer: Any
) -> None:
    """`newer`: a schedule made under the lease, without data, or with other data; None: there is no such schedule."""
    write(store)
    leased = store.leasing_claimer(LEASE).claim(1)
    assert (leased.data, data_in(flaky)) == (["1"], {b"a": b"1"}), "a lease copies it"
    if newer is not None:
        write(store, MS + 7, newer)
    settled = store.settle([to_settle(verb, leased)._replace(next_run=next_run, data="1")])
    waits = {"nack": MS + 5000, "back": MS - 1}.get(verb, MS + 99 if next_run else None)
    stands = waits if newer is None else MS + 7
    assert content(flaky) == ([] if stands is None else [(b"a", stands)])
    assert settled.next_runs == ({0: MS + 99} if next_run and newer is None else {})
    assert data_in(flaky) == ({b"a": b'"new"'} if newer == "new" else {b"a": b"1"} if stands else {})
    assert [letter.data for letter in store.dead_peek(2)] == ([1] if verb == "bury" else [])


@pytest.mark.parametrize("verb", ["ack", "bury"])
@pytest.mark.parametrize("meanwhile, told", [(None, {0: MS + 99}), ("moved", {}), ("taken", {})])
def test_27_a_next_run_whose_reply_was_lost_is_written_once_and_told_if_it_waits(
    store: RedisStore, flaky: FlakyClient, clock: Clock, verb: Verb, meanwhile: str | None, told: dict[int, float]
) -> None:
    write(store)
    request = to_settle(verb, store.leasing_claimer(LEASE).claim(1))._replace(next_run=NEXT, data="1")
    flaky.fates = ["lost"] * 9
    with pytest.raises(OutcomeUnknown):
        store.settle([request])
    flaky.fates = []
    if meanwhile == "moved":
        write(store, MS + 7, NOT_NAMED)
    if meanwhile == "taken":
        clock.us += 100_000
        assert store.plain_claimer().claim(1).keys == ["a"]
    before = content(flaky), data_in(flaky)
    settled = store.settle([request], 0)
    assert (settled.answers, settled.next_runs) == ([1], told)
    assert (content(flaky), data_in(flaky)) == before, "what has run meanwhile is not revived"


@pytest.mark.parametrize("is_out", [False, True])
def test_26_a_cancel_deletes_data(store: RedisStore, flaky: FlakyClient, is_out: bool) -> None:
    write(store)
    write(store, key="b")
    if is_out:
        store.leasing_claimer(LEASE).claim(1)
    assert store.cancel("a") is True
    assert data_in(flaky) == {b"b": b"1"}


def test_26_a_lease_that_ends_leaves_data_to_the_next_attempt(
    store: RedisStore, flaky: FlakyClient, clock: Clock
) -> None:
    write(store)
    store.leasing_claimer(LEASE).claim(1)
    clock.advance(LEASE_S)
    again = store.leasing_claimer(LEASE).claim(1)
    assert (again.keys, again.attempts, again.data) == (["a"], [2], ["1"])
    assert data_in(flaky) == {b"a": b"1"}


def test_26_a_parked_key_keeps_its_data_until_it_is_taken(store: RedisStore, flaky: FlakyClient, clock: Clock) -> None:
    """A plain claim beside a lease: it finds the key due, and leaves it with its data until the lease has ended."""
    write(store, MS - 2, "b", key="b")
    store.leasing_claimer(LEASE).claim(1)
    write(store, MS - 1, "newer", key="b")
    write(store, MS - 1, "a")
    plain_claimer = store.plain_claimer()
    assert to_entries(plain_claimer.claim(9)) == [("a", str(MS - 1), '"a"')]
    assert data_in(flaky) == {b"b": b'"newer"'}
    clock.advance(LEASE_S)
    assert to_entries(plain_claimer.claim(9)) == [("b", str(MS - 1), '"newer"')]
    assert data_in(flaky) == {}


@pytest.mark.parametrize("newer", [None, NOT_NAMED, "new"])
def test_26_a_hand_back_restores_data_unless_a_newer_schedule_stands(
    store: RedisStore, flaky: FlakyClient, newer: Any
) -> None:
    write(store)
    write(store, key="b", data=NOT_NAMED)
    plain_claimer = store.plain_claimer()
    mine = to_entries(plain_claimer.claim(9))
    assert (mine, data_in(flaky)) == ([("a", str(MS - 1), "1"), ("b", str(MS - 1), "")], {}), "a plain claim takes it"
    if newer is not None:
        write(store, MS + 7, newer)
    plain_claimer.hand_back(mine)
    assert dict(content(flaky)) == {b"a": MS - 1 if newer is None else MS + 7, b"b": MS - 1}
    assert data_in(flaky) == ({b"a": b"1"} if newer is None else {} if newer is NOT_NAMED else {b"a": b'"new"'})


def test_26_a_hand_back_without_data_leaves_none(store: RedisStore, flaky: FlakyClient) -> None:
    """What lies there belongs to a later schedule, whose key npm runat took."""
    write(store, data=NOT_NAMED)
    plain_claimer = store.plain_claimer()
    mine = to_entries(plain_claimer.claim(1))
    write(store, data="later")
    RedisClient.call(flaky, "ZREM", Q, "a")
    plain_claimer.hand_back(mine)
    assert (content(flaky), data_in(flaky)) == ([(b"a", MS - 1)], {})


@pytest.mark.parametrize("data, left", [(1, {b"a": b"1"}), (NOT_NAMED, {})])
def test_26_a_revived_key_has_the_data_of_the_run_that_was_buried(
    store: RedisStore, flaky: FlakyClient, data: Any, left: Mapping[bytes, bytes]
) -> None:
    write(store, data=data)
    leased = store.leasing_claimer(LEASE).claim(1)
    carried = "" if data is NOT_NAMED else "1"
    assert one(store, to_settle("bury", leased, argument="why\x1f\nnot")._replace(data=carried)) == [1]
    (letter,) = store.dead_peek(1)
    assert (letter.reason, letter.data, data_in(flaky)) == ("why\x1f\nnot", 1 if carried else None, {})
    put_data(flaky, "a", b'"an orphan"')
    assert store.revive("a") == 1
    assert (content(flaky), data_in(flaky)) == ([(b"a", MS - 1)], left)


# Lost and late replies, and bounds.


@lossy(2)
@pytest.mark.parametrize("kind", ["plain_claimer", "leasing_claimer"])
def test_26_a_claim_whose_replies_are_lost_gives_the_same_data(
    store: RedisStore, flaky: FlakyClient, kind: str, fates: list[str]
) -> None:
    for key in ("a", "b"):
        write(store, key=key, data={"of": key})
    claimer = getattr(store, kind)(*([LEASE] if kind == "leasing_claimer" else []))
    flaky.fates = [*fates]
    mine = to_entries(claimer.claim(1))
    assert mine == [("a", str(MS - 1), '{"of":"a"}')]
    late = flaky.arrive()
    assert all(keys_taken(reply)[-1] == b'{"of":"a"}' for reply in late), "a copy takes nothing else"
    assert data_in(flaky).keys() == ({b"b"} if kind == "plain_claimer" else {b"a", b"b"})
    claimer.hand_back(mine)
    assert data_in(flaky) == {b"a": b'{"of":"a"}', b"b": b'{"of":"b"}'}


@pytest.mark.parametrize("fate", ["lost", "late"])
def test_26_a_claim_that_was_never_replied_to_goes_back_with_its_data(
    store: RedisStore, flaky: FlakyClient, fate: str
) -> None:
    """As a source does that ends: it asks for what its last claim took, and hands it back."""
    write(store)
    plain_claimer = store.plain_claimer()
    flaky.fates = [fate] * 9
    with pytest.raises(OutcomeUnknown):
        plain_claimer.claim(1)
    flaky.fates = []
    flaky.arrive()
    mine = plain_claimer.close()
    assert mine == [("a", str(MS - 1), "1")]
    plain_claimer.hand_back(mine)
    assert (content(flaky), data_in(flaky)) == ([(b"a", MS - 1)], {b"a": b"1"})


@pytest.mark.parametrize("fate", ["lost", "late"])
def test_26_a_hand_back_whose_reply_is_lost_restores_data_once(
    store: RedisStore, flaky: FlakyClient, fate: str
) -> None:
    write(store)
    plain_claimer = store.plain_claimer()
    mine = to_entries(plain_claimer.claim(1))
    flaky.fates = [fate]
    plain_claimer.hand_back(mine)
    assert data_in(flaky) == {b"a": b"1"}
    assert store.cancel("a")
    flaky.arrive()
    assert (content(flaky), data_in(flaky)) == ([], {}), "a late copy does nothing"


@pytest.mark.parametrize("kind", ["plain_claimer", "leasing_claimer"])
def test_26_a_claim_is_bounded_in_bytes_of_data(real_flaky: FlakyClient, clock: Clock, kind: str) -> None:
    store = RedisStore(real_flaky, Q, clock)
    text = "x" * 50_000
    store.schedule([Job(f"k{number:02}", 1 + number, data=text) for number in range(60)], "last")
    claimer = getattr(store, kind)(*([LEASE] if kind == "leasing_claimer" else []))
    counts: list[int] = []
    while sum(counts) < 60:
        claimed = claimer.claim(1000)
        counts.append(len(claimed.keys))
        size = sum(map(len, claimed.keys)) + sum(map(len, claimed.data))
        assert 0 < size <= receipts.CLAIM_BYTES
        assert claimed.data == [json.dumps(text)] * len(claimed.keys)
    assert max(counts) == 20
    claimer.close()


def test_26_the_largest_data_comes_alone(real_flaky: FlakyClient, clock: Clock) -> None:
    store = RedisStore(real_flaky, Q, clock, data_limit=1 << 20)
    text = "x" * ((1 << 20) - 2)
    store.schedule([Job("a", 1, data=text), Job("b", 1, data=text)], "last")
    plain_claimer = store.plain_claimer()
    for key in ("a", "b"):
        claimed = plain_claimer.claim(1000)
        assert (claimed.keys, claimed.data == [json.dumps(text)]) == ([key], True)
    plain_claimer.close()


def test_26_data_over_the_limit_is_refused_before_anything_is_sent(flaky: FlakyClient, clock: Clock) -> None:
    store = RedisStore(flaky, Q, clock, data_limit=10)
    assert store.schedule([Job("a", 1, data="12345678")], "last") == 1000
    flaky.sent.clear()
    jobs = [Job("b", 1), Job("c", 1, data="123456789")]
    with pytest.raises(InvalidJob, match=r"^job 1 of the list: data: that of 'c' has 11 bytes .* at most 10 "):
        store.schedule(jobs, "last")
    with pytest.raises(InvalidJob, match=r"^data: that of 'c' has 11 bytes"):
        store.schedule(jobs[1:], "last")
    assert flaky.sent == []


# What another client wrote.


@pytest.mark.parametrize("text", FOREIGN, ids=range(len(FOREIGN)))
def test_26_data_that_is_no_json_passes_and_goes_back_byte_for_byte(
    store: RedisStore, flaky: FlakyClient, caplog: pytest.LogCaptureFixture, text: bytes
) -> None:
    key = f"foreign {FOREIGN.index(text)} {flaky.where}"
    put(flaky, (key, MS - 1))
    put_data(flaky, key, text)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert [due.data for due in store.peek(1)] == [None]
    assert len(caplog.records) == 1, "it is said once"
    plain_claimer, leasing_claimer = store.plain_claimer(), store.leasing_claimer(LEASE)
    for claimer in (plain_claimer, leasing_claimer):
        mine = to_entries(claimer.claim(1))
        assert from_text(mine[0].data, key) is None
        claimer.hand_back(mine)
        assert data_in(flaky) == {key.encode(): text}
    leased = leasing_claimer.claim(1)
    request = to_settle("bury", leased, key)._replace(data=leased.data[0])
    assert one(store, request) == [1]
    assert (store.dead_peek(1)[0].reason, store.dead_peek(1)[0].data) == ("no such address", None)
    assert data_in(flaky) == {}
    assert store.revive(key) == 1
    assert data_in(flaky) == ({} if b"\x1f" in text else {key.encode(): text}), "it would be cut at the wrong place"
    assert len(caplog.records) == 1


def test_26_data_of_no_bytes_is_none(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("a", MS - 1))
    put_data(flaky, "a", b"")
    assert store.peek(1)[0].data is None
    plain_claimer = store.plain_claimer()
    mine = to_entries(plain_claimer.claim(1))
    assert mine == [("a", str(MS - 1), "")]
    plain_claimer.hand_back(mine)
    assert (content(flaky), data_in(flaky)) == ([(b"a", MS - 1)], {})


# What a queue pays that has no data, and what is left behind.


def test_26_a_queue_without_data_pays_one_exists_a_claim(taught: Server) -> None:
    store_client = connect(taught.url).client
    store = RedisStore(store_client, Q)
    plain_claimer = store.plain_claimer()
    put(store_client, ("a", 1))
    work = inside(taught, lambda: plain_claimer.claim(2))
    assert work == ["TIME", "GETRANGE", "DEL", "ZCOUNT", "EXISTS", "ZRANGE", "SET", "ZREMRANGEBYRANK", "ZRANGE"]
    put(store_client, ("a", 1))
    leasing_claimer = store.leasing_claimer(LEASE)
    assert inside(taught, lambda: leasing_claimer.claim(2)).count("EXISTS") == 1
    plain_claimer.close()
    store_client.close()


def test_26_a_list_without_data_is_one_bare_zadd(store: RedisStore, flaky: FlakyClient) -> None:
    write(store, key="other")
    flaky.sent.clear()
    store.schedule([Job("a", 1), Job("b", 2)], "last")
    assert flaky.sent == [("ZADD", Q, 1000, "a", 2000, "b")]


def test_26_gc_deletes_the_data_of_keys_that_are_gone_and_no_other(
    store: RedisStore, flaky: FlakyClient, clock: Clock
) -> None:
    assert store.gc() == 0
    for number, key in enumerate(["out", "again", "over", "parked"]):
        write(store, MS - 9 + number, key, key=key)
    leased = store.leasing_claimer(LEASE).claim(4)
    one(
        store,
        to_settle("nack", leased, "again"),
        to_settle("extend", leased, "out"),
        to_settle("extend", leased, "parked"),
    )
    clock.advance(LEASE_S)
    write(store, MS + 1000 * LEASE_S - 1, key="parked")
    store.plain_claimer().claim(0)
    write(store, MS + 10**6, "waits", key="waits")
    kept = data_in(flaky)
    assert kept.keys() == {b"out", b"again", b"over", b"parked", b"waits"}
    store.schedule([Job(f"k{number}", T, data=number) for number in range(700)], "last")
    RedisClient.call(flaky, "ZREM", Q, *(f"k{number}" for number in range(700)))
    assert store.gc() == 700
    assert data_in(flaky) == kept
    assert store.gc() == 0


def test_gc_deletes_the_records_of_keys_that_npm_runat_took_between_two_attempts(
    store: RedisStore, flaky: FlakyClient
) -> None:
    for key in ("out", "again", "taken"):
        write(store, key=key)
    leased = store.leasing_claimer(LEASE).claim(3)
    one(store, to_settle("nack", leased, "again"), to_settle("nack", leased, "taken"))
    RedisClient.call(flaky, "ZREM", Q, "taken")
    assert store.gc() == 1, "of so many keys there was data"
    assert set(RedisClient.call(flaky, "HKEYS", leases_key(Q))) == {b"out", b"again"}
    assert store.locate(["taken"])[0].kind == "gone"


def test_the_log_tells_of_so_many_keys_with_foreign_data_once_each(
    store: RedisStore, flaky: FlakyClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rx_runat.model.data._logged", set())
    monkeypatch.setattr("rx_runat.model.data._MOST_LOGGED", 3)
    for number in range(5):
        put(flaky, (f"k{number}", MS + 9))
        put_data(flaky, f"k{number}", b"no JSON")
    for _ in range(2):
        assert [due.data for due in store.peek(9)] == [None] * 5
    said = [record.getMessage() for record in caplog.records]
    assert ["'k0'" in said[0], "'k1'" in said[1], "'k2'" in said[2], len(said)] == [True, True, True, 3]
    assert [line.endswith("of further keys nothing is logged") for line in said] == [False, False, True]


def test_26_data_is_as_deep_as_every_python_reads_it_anywhere() -> None:
    def nested(depth: int) -> Any:
        return "[[" if depth == 0 else {"a": [nested(depth - 2), 1]}

    assert Job("a", 1, data=nested(DEEPEST)).data == nested(DEEPEST)
    with pytest.raises(InvalidJob, match=f"more than {DEEPEST} lists and objects in each other"):
        Job("a", 1, data=[nested(DEEPEST)])
