"""The verbs on a schedule, on fakeredis and on a real server: what they answer, what they leave, what they survive."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any

import pytest
from reactivex.testing import TestScheduler
from redis.crc import key_slot

from rx_runat import InvalidJob, Job, OutcomeUnknown, Refused, StoreError, Unavailable
from rx_runat.model.batch import Claimed, Entry
from rx_runat.model.job import KEEP, Keep
from rx_runat.queue import RunAt
from rx_runat.store.client import TRIES, RedisClient
from rx_runat.store.connect import connect
from rx_runat.store.plain_claimer import PlainClaimer
from rx_runat.store.receipts import RECEIPT_TTL_MS
from rx_runat.store.redis_store import RedisStore
from rx_runat.testing import Faults
from tests.support.servers import Server
from tests.support.stores import MS, Clock, Line, T
from tests.support.waiting import wait_until

Q = "RunAt~default"
RECEIPTS = f"{{{Q}}}:receipt:*"


@pytest.fixture
def real(line: Line) -> RedisStore:
    """A store that goes by Redis's own clock."""
    return RedisStore(line, Q)


@pytest.fixture
def real_line(server: Server) -> Iterator[Line]:
    """RedisClient to a real server only."""
    line = Line(connect(server.url).client)
    yield line
    line.close()


def content(store_client: RedisClient) -> list[tuple[bytes, float]]:
    """The whole schedule."""
    flat = RedisClient.call(store_client, "EVAL", "return redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')", 1, Q)
    return [(member, float(score)) for member, score in zip(flat[::2], flat[1::2], strict=True)]


def keys_of(store_client: RedisClient) -> list[bytes]:
    return sorted(RedisClient.call(store_client, "KEYS", "*"))


def receipts(store_client: RedisClient) -> list[bytes]:
    return sorted(RedisClient.call(store_client, "KEYS", RECEIPTS))


def put(store_client: RedisClient, *pairs: tuple[str | bytes, float | str]) -> None:
    """As an npm runat or a redis-cli would."""
    for member, score in pairs:
        RedisClient.call(store_client, "ZADD", Q, score, member)


def entries(claimed: Claimed) -> list[Entry]:
    return [Entry(key, score) for key, score in zip(claimed.keys, claimed.scores, strict=True)]


def at(milliseconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


# schedule


def test_a_fixed_time_is_written_as_npm_runat_writes_it(store: RedisStore, line: Line) -> None:
    assert store.schedule([Job("é", T + 0.5)], "last") == MS + 500
    assert content(line) == [("é".encode(), MS + 500)]
    assert keys_of(line) == [Q.encode()]


def test_a_delay_counts_from_the_stores_clock(store: RedisStore, line: Line, clock: Clock) -> None:
    clock.advance(10)
    assert store.schedule([Job("a", timedelta(seconds=1.5))], "last") == MS + 11_500
    assert content(line) == [(b"a", MS + 11_500)]


def test_a_delay_is_rounded_up_never_early(store: RedisStore, clock: Clock) -> None:
    clock.us += 1
    assert store.schedule([Job("a", timedelta(seconds=1))], "last") == MS + 1001


def test_a_delay_counts_from_rediss_clock(real: RedisStore, line: Line) -> None:
    def now() -> float:
        seconds, microseconds = RedisClient.call(line, "TIME")
        return float(seconds) * 1000 + float(microseconds) / 1000

    before = now()
    stands = real.schedule([Job("a", timedelta(seconds=60))], "last")
    assert before + 60_000 <= stands <= now() + 60_001
    assert content(line) == [(b"a", stands)]


@pytest.mark.parametrize("as_delay", [False, True], ids=["fixed", "delay"])
@pytest.mark.parametrize(
    "keep, before, then, stands",
    [
        ("last", 5, 9, 9),
        ("last", 9, 5, 5),
        ("first", 5, 9, 5),
        ("first", 9, 5, 9),
        ("earliest", 5, 9, 5),
        ("earliest", 9, 5, 5),
        ("latest", 5, 9, 9),
        ("latest", 9, 5, 9),
        ("last", None, 7, 7),
        ("first", None, 7, 7),
        ("earliest", None, 7, 7),
        ("latest", None, 7, 7),
        ("first", 7, 7, 7),
        ("earliest", 7, 7, 7),
        ("latest", 7, 7, 7),
    ],
)
def test_keep_says_which_schedule_stands_and_the_answer_is_that(
    store: RedisStore, line: Line, keep: Keep, before: int | None, then: int, stands: int, as_delay: bool
) -> None:
    if before is not None:
        put(line, ("a", MS + before * 1000))
    run_at = timedelta(seconds=then) if as_delay else T + then
    assert store.schedule([Job("a", run_at)], keep) == MS + stands * 1000
    assert content(line) == [(b"a", MS + stands * 1000)]
    assert store.when("a") == at(MS + stands * 1000)


@pytest.mark.parametrize("keep", KEEP)
def test_a_list_is_written_whole_and_answers_its_earliest(store: RedisStore, line: Line, keep: Keep) -> None:
    jobs = [Job("c", T + 3), Job("a", timedelta(seconds=1)), Job("b", at(MS + 2000))]
    assert store.schedule(jobs, keep) == MS + 1000
    assert content(line) == [(b"a", MS + 1000), (b"b", MS + 2000), (b"c", MS + 3000)]


@pytest.mark.parametrize("keep, stands", [("last", 9), ("first", 5), ("earliest", 5), ("latest", 9)])
@pytest.mark.parametrize("as_delay", [False, True], ids=["fixed", "delay"])
def test_a_key_that_is_twice_in_a_list_obeys_the_policy_too(
    store: RedisStore, line: Line, keep: Keep, stands: int, as_delay: bool
) -> None:
    jobs = [Job("a", timedelta(seconds=each) if as_delay else T + each) for each in (5, 9)]
    answer = store.schedule(jobs, keep)
    assert content(line) == [(b"a", MS + stands * 1000)]
    if keep == "last" and not as_delay:
        stands = 5
    assert answer == MS + stands * 1000, "the answer is what stands, or for plain writes the earliest that was written"


@pytest.mark.parametrize("keep", KEEP)
@pytest.mark.parametrize("as_delay", [False, True], ids=["fixed", "delay"])
def test_a_list_that_is_refused_writes_nothing(store: RedisStore, line: Line, keep: Keep, as_delay: bool) -> None:
    RedisClient.call(line, "SET", Q, "another type")
    with pytest.raises(Refused):
        store.schedule([Job(key, timedelta(seconds=1) if as_delay else T) for key in "abc"], keep)
    assert RedisClient.call(line, "GET", Q) == b"another type"
    assert keys_of(line) == [Q.encode()]


@pytest.mark.parametrize("keep", ["last", "first"])
def test_a_list_of_a_hundred_thousand_is_one_round_trip(real_line: Line, keep: Keep) -> None:
    jobs = [Job(f"k{number}", T + number) for number in range(100_000)]
    store = RedisStore(real_line, Q)
    assert store.schedule(jobs, keep) == MS
    assert len(real_line.sent) == 1
    assert store.size(None) == 100_000
    assert store.when("k99999") == at(MS + 99_999_000)


@pytest.mark.parametrize("keep", KEEP)
@pytest.mark.parametrize("as_delay", [False, True], ids=["fixed", "delay"])
def test_a_full_server_takes_nothing_of_a_list(own_server: Server, keep: Keep, as_delay: bool) -> None:
    store_client = connect(own_server.url).client
    store = RedisStore(store_client, Q)
    store_client.call("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(Unavailable, match="OOM"):
        store.schedule([Job(key, timedelta(seconds=1) if as_delay else T) for key in "abc"], keep)
    assert store.size(None) == 0
    store_client.call("CONFIG", "SET", "maxmemory", "0")
    store.schedule([Job("a", T)], keep)
    assert store.size(None) == 1
    store_client.close()


# cancel, when, peek, size


def test_cancel_takes_a_key_out_once(store: RedisStore, line: Line) -> None:
    put(line, ("a", MS), ("b", MS))
    assert store.cancel("a") is True
    assert store.cancel("a") is False
    assert content(line) == [(b"b", MS)]


def test_when_tells_the_time_of_a_key_that_waits(store: RedisStore, line: Line) -> None:
    put(line, ("a", MS + 1), ("odd", MS + 0.5), ("never", "inf"), ("ever", "-inf"))
    assert store.when("a") == at(MS + 1)
    assert store.when("odd") == at(MS + 0.5)
    assert store.when("never") == datetime.max.replace(tzinfo=UTC)
    assert store.when("ever") == datetime.min.replace(tzinfo=UTC)
    assert store.when("none") is None


def test_peek_shows_the_next_keys_in_order_and_how_late_they_are(store: RedisStore, line: Line) -> None:
    put(line, ("c", MS + 2000), ("b", MS - 500), ("a", MS - 500), ("d", MS + 3000))
    shown = store.peek(3)
    assert [(due.key, due.run_at, due.lateness) for due in shown] == [
        ("a", at(MS - 500), 0.5),
        ("b", at(MS - 500), 0.5),
        ("c", at(MS + 2000), -2.0),
    ]
    assert len(content(line)) == 4
    assert [due.key for due in store.peek(100)] == ["a", "b", "c", "d"]


def test_peek_shows_odd_members_and_scores(store: RedisStore, line: Line) -> None:
    put(line, (b"\xff\x00", "-inf"), ("a", "inf"))
    first, last = store.peek(2)
    assert (first.key, first.run_at, first.lateness) == ("\udcff\x00", datetime.min.replace(tzinfo=UTC), float("inf"))
    assert (last.key, last.run_at, last.lateness) == ("a", datetime.max.replace(tzinfo=UTC), float("-inf"))


def test_an_empty_schedule_answers_everything(store: RedisStore, line: Line) -> None:
    assert store.peek(3) == []
    assert store.size(None) == store.size(T) == store.size(timedelta(seconds=1)) == 0
    assert store.when("a") is None
    assert store.cancel("a") is False
    assert store.plain_claimer().claim(10) == Claimed([], [], T * 1_000_000, None)
    assert keys_of(line) == []


@pytest.mark.parametrize(
    "until, size",
    [
        (None, 4),
        (T, 1),
        (T + 0.999, 1),
        (T + 1, 2),
        (float(T + 1), 2),
        (at(MS + 1999), 2),
        (at(MS + 2000), 3),
        (at(MS + 2000).astimezone(), 3),
        (timedelta(0), 1),
        (timedelta(seconds=-5), 1),
        (timedelta(milliseconds=999), 1),
        (timedelta(seconds=1), 2),
        (timedelta(days=1), 3),
        (253_402_300_799.0, 3),
    ],
)
def test_size_counts_what_waits_until_a_moment(store: RedisStore, line: Line, until: Any, size: int) -> None:
    put(line, ("a", MS), ("b", MS + 1000), ("c", MS + 2000), ("d", "inf"))
    assert store.size(until) == size


def test_size_until_a_delay_goes_by_rediss_clock(real: RedisStore) -> None:
    real.schedule([Job("a", timedelta(0)), Job("b", timedelta(hours=1))], "last")
    assert real.size(timedelta(minutes=1)) == 1
    assert real.size(timedelta(minutes=61)) == 2


@pytest.mark.parametrize("until", [datetime(2026, 1, 1), float("nan"), True, "soon", MS])
def test_size_until_nonsense_is_refused_before_redis_is_asked(store: RedisStore, line: Line, until: Any) -> None:
    with pytest.raises(InvalidJob, match="until"):
        store.size(until)
    assert line.sent == []


# claim


def test_a_claim_takes_what_is_due_in_order(store: RedisStore, line: Line) -> None:
    put(line, ("b", MS - 1), ("a", MS - 1), ("z", MS - 2), ("c", MS), ("later", MS + 1))
    claimed = store.plain_claimer().claim(10)
    assert claimed.keys == ["z", "a", "b", "c"]
    assert list(map(float, claimed.scores)) == [MS - 2, MS - 1, MS - 1, MS]
    assert content(line) == [(b"later", MS + 1)]


def test_a_claim_takes_no_more_than_its_limit(store: RedisStore, line: Line) -> None:
    put(line, *((f"k{number}", MS - 10 + number) for number in range(10)))
    plain_claimer = store.plain_claimer()
    assert plain_claimer.claim(3).keys == ["k0", "k1", "k2"]
    assert plain_claimer.claim(4).keys == ["k3", "k4", "k5", "k6"]
    assert len(content(line)) == 3


def test_a_claim_is_never_early(store: RedisStore, line: Line, clock: Clock) -> None:
    put(line, ("a", MS + 1), ("half", MS + 1.5))
    clock.us += 999
    plain_claimer = store.plain_claimer()
    assert plain_claimer.claim(10).keys == []
    clock.us += 1
    assert plain_claimer.claim(10).keys == ["a"]
    clock.us += 500
    assert plain_claimer.claim(10).keys == [], "a fraction of a millisecond waits for the whole"
    clock.us += 500
    assert plain_claimer.claim(10).keys == ["half"]


def test_a_claim_tells_how_long_to_wait(store: RedisStore, line: Line, clock: Clock) -> None:
    plain_claimer = store.plain_claimer()
    assert plain_claimer.claim(1).wait is None
    put(line, ("a", MS + 2500))
    assert plain_claimer.claim(1).wait == 2.5
    clock.us += 1
    assert plain_claimer.claim(1).wait == 2.499999
    put(line, ("half", MS + 1.5))
    assert plain_claimer.claim(1).wait == 0.001999
    put(line, ("b", MS), ("c", MS))
    assert plain_claimer.claim(1).wait == 0.0
    assert plain_claimer.claim(1).wait == 0.001999


@pytest.mark.parametrize("score", ["inf", "1e300", str(10**15)])
def test_a_key_that_never_falls_due_is_not_waited_for(store: RedisStore, line: Line, score: str) -> None:
    put(line, ("never", score))
    claimed = store.plain_claimer().claim(10)
    assert (claimed.keys, claimed.wait) == ([], None)
    assert content(line) == [(b"never", float(score))]


def test_a_claim_tells_the_clock_it_went_by(store: RedisStore, real: RedisStore, line: Line, clock: Clock) -> None:
    clock.us += 7
    assert store.plain_claimer().claim(1).now == clock.us

    def now() -> int:
        seconds, microseconds = RedisClient.call(line, "TIME")
        return int(seconds) * 1_000_000 + int(microseconds)

    before = now()
    assert before <= real.plain_claimer().claim(1).now <= now()


def test_two_takers_never_get_the_same_key(store: RedisStore, line: Line) -> None:
    put(line, *((f"k{number}", MS) for number in range(6)))
    one, other = store.plain_claimer(), store.plain_claimer()
    assert one.claim(4).keys == ["k0", "k1", "k2", "k3"]
    assert other.claim(4).keys == ["k4", "k5"]
    assert one.claim(4).keys == []


def test_a_claim_writes_down_what_it_took_until_the_next(store: RedisStore, line: Line) -> None:
    put(line, ("a", MS), ("b", MS))
    plain_claimer = store.plain_claimer()
    plain_claimer.claim(1)
    (receipt,) = receipts(line)
    assert 0 < RedisClient.call(line, "PTTL", receipt) <= RECEIPT_TTL_MS
    plain_claimer.claim(1)
    assert receipts(line) == [receipt]
    plain_claimer.claim(1)
    assert receipts(line) == [], "an empty claim leaves none"


def test_a_claim_that_finds_nothing_writes_nothing(store: RedisStore, line: Line) -> None:
    put(line, ("later", MS + 1))
    store.plain_claimer().claim(10)
    assert keys_of(line) == [Q.encode()]


# hand_back


def test_what_goes_back_has_its_own_score(store: RedisStore, line: Line) -> None:
    put(line, ("a", MS - 3), ("b", MS - 2), ("c", MS - 1))
    plain_claimer = store.plain_claimer()
    before = content(line)
    plain_claimer.hand_back(entries(plain_claimer.claim(10)))
    assert content(line) == before


def test_some_may_go_back(store: RedisStore, line: Line) -> None:
    put(line, ("a", MS - 3), ("b", MS - 2), ("c", MS - 1))
    plain_claimer = store.plain_claimer()
    plain_claimer.hand_back(entries(plain_claimer.claim(10))[1:])
    assert content(line) == [(b"b", MS - 2), (b"c", MS - 1)]


@pytest.mark.parametrize("run_at", [T - 60, T + 60])
def test_a_schedule_made_meanwhile_stands(store: RedisStore, line: Line, run_at: float) -> None:
    put(line, ("a", MS - 1), ("b", MS - 1))
    plain_claimer = store.plain_claimer()
    claimed = plain_claimer.claim(10)
    store.schedule([Job("a", run_at)], "last")
    plain_claimer.hand_back(entries(claimed))
    assert dict(content(line)) == {b"a": run_at * 1000, b"b": MS - 1}


def test_what_went_back_is_there_for_everybody(store: RedisStore, line: Line) -> None:
    put(line, ("a", MS))
    one, other = store.plain_claimer(), store.plain_claimer()
    one.hand_back(entries(one.claim(10)))
    assert other.claim(10).keys == ["a"]
    other.hand_back(entries(Claimed(["a"], [str(MS).encode()], 0, None)))
    assert one.claim(10).keys == ["a"]


ODD = {
    b"-inf": b"a",
    b"-62135596800001": b"before the year 1",
    b"-1.5": b"\xff\xfe",
    b"0": b"\x00",
    b"0.1": b"b\r\n$3",
    b"1699999999999.25": "🐢".encode(),
    b"1699999999999.9998": b"\xc3\x28",
    b"1700000000000": b"\xed\xa0\x80",
}


def test_odd_scores_and_members_go_back_byte_for_byte(store: RedisStore, line: Line) -> None:
    put(line, *((member, score.decode()) for score, member in ODD.items()), ("never", "inf"))
    before = content(line)
    plain_claimer = store.plain_claimer()
    claimed = plain_claimer.claim(100)
    assert [key.encode(errors="surrogateescape") for key in claimed.keys] == list(ODD.values())
    assert list(map(float, claimed.scores)) == list(map(float, ODD))
    plain_claimer.hand_back(entries(claimed))
    assert content(line) == before


def test_odd_ones_survive_a_lost_answer_too(store: RedisStore, line: Line) -> None:
    put(line, *((member, score.decode()) for score, member in ODD.items()))
    before = content(line)
    plain_claimer = store.plain_claimer()
    line.fates = ["lost", "lost", None, "lost", "lost", None]
    claimed = plain_claimer.claim(100)
    assert [key.encode(errors="surrogateescape") for key in claimed.keys] == list(ODD.values())
    plain_claimer.hand_back(entries(claimed))
    assert content(line) == before


def test_every_byte_may_be_in_a_key(store: RedisStore, line: Line) -> None:
    put(line, *((bytes([byte]), MS) for byte in range(256)), (bytes(range(256)), MS))
    before = content(line)
    plain_claimer = store.plain_claimer()
    line.fates = ["lost"]
    claimed = plain_claimer.claim(1000)
    assert len(claimed.keys) == 257
    plain_claimer.hand_back(entries(claimed))
    assert content(line) == before


# close


def test_close_leaves_no_key(store: RedisStore, line: Line) -> None:
    put(line, ("a", MS), ("b", MS))
    plain_claimer = store.plain_claimer()
    plain_claimer.claim(1)
    assert plain_claimer.close() == []
    assert keys_of(line) == [Q.encode()]
    plain_claimer.hand_back(entries(plain_claimer.claim(1)))
    assert len(receipts(line)) == 1
    assert plain_claimer.close() == plain_claimer.close() == []
    assert keys_of(line) == [Q.encode()]


def test_closing_what_has_taken_nothing_asks_nothing(store: RedisStore, line: Line) -> None:
    assert store.plain_claimer().close() == []
    assert line.sent == []


def test_close_answers_what_a_lost_claim_took(store: RedisStore, line: Line) -> None:
    put(line, ("a", MS - 2), ("b", MS - 1), ("c", MS + 1))
    plain_claimer = store.plain_claimer()
    line.fates = ["lost"] * TRIES
    with pytest.raises(OutcomeUnknown):
        plain_claimer.claim(10)
    found = plain_claimer.close()
    assert [(each.key, float(each.score)) for each in found] == [("a", MS - 2), ("b", MS - 1)]
    plain_claimer.hand_back(found)
    assert plain_claimer.close() == []
    assert content(line) == [(b"a", MS - 2), (b"b", MS - 1), (b"c", MS + 1)]


def test_close_takes_nothing_for_a_claim_that_never_arrived(store: RedisStore, line: Line) -> None:
    put(line, ("a", MS))
    plain_claimer = store.plain_claimer()
    line.fates = ["late"] * TRIES
    with pytest.raises(OutcomeUnknown):
        plain_claimer.claim(10)
    assert plain_claimer.close() == []
    assert [answer[2] for answer in line.arrive()] == [b"", b"", b""]
    assert content(line) == [(b"a", MS)]


def test_what_a_lost_answer_leaves_behind_expires(store: RedisStore, line: Line) -> None:
    put(line, ("a", MS))
    plain_claimer = store.plain_claimer()
    line.fates = ["lost"]
    plain_claimer.hand_back(entries(plain_claimer.claim(10)))
    plain_claimer.close()
    for receipt in receipts(line):
        assert 0 < RedisClient.call(line, "PTTL", receipt) <= RECEIPT_TTL_MS


# Answers that are lost.

FATES = [list(fates) for times in range(4) for fates in itertools.product(["lost", "late"], repeat=times)]


def names(fates: object) -> str:
    return "-".join(fates) if isinstance(fates, list) else ""


lossy = pytest.mark.parametrize("fates", FATES, ids=names)


@lossy
@pytest.mark.parametrize("keep, as_delay", [*((keep, False) for keep in KEEP), ("last", True)])
def test_a_schedule_whose_answer_is_lost(
    store: RedisStore, line: Line, fates: list[str | None], keep: Keep, as_delay: bool
) -> None:
    """It is written, or it says that it does not know; the other jobs are as they were."""
    put(line, ("other", MS))
    line.fates = list(fates)
    job = Job("a", timedelta(seconds=5) if as_delay else T + 5)
    if len(fates) < TRIES:
        assert store.schedule([job], keep) == MS + 5000
    else:
        with pytest.raises(OutcomeUnknown):
            store.schedule([job], keep)
    written = len(fates) < TRIES or "lost" in fates
    assert content(line) == [(b"other", MS)] + [(b"a", MS + 5000)] * written


@lossy
@pytest.mark.parametrize("waits", [True, False])
def test_a_cancel_whose_answer_is_lost(store: RedisStore, line: Line, fates: list[str | None], waits: bool) -> None:
    """No answer is false: what cannot be known is said to be unknown."""
    put(line, ("other", MS), *([("a", MS)] if waits else []))
    line.fates = list(fates)
    try:
        answer = store.cancel("a")
    except OutcomeUnknown:
        assert fates
        answer = None
    if not fates:
        assert answer is waits
    if answer is True:
        assert waits
    if answer is False:
        assert not waits
    if waits and "lost" not in fates and len(fates) < TRIES:
        assert answer is True, "nobody else took it, and this can be known"
    gone = not waits or len(fates) < TRIES or "lost" in fates
    assert dict(content(line)) == {b"other": MS} | ({} if gone else {b"a": MS})


@lossy
def test_a_look_whose_answer_is_lost(store: RedisStore, line: Line, fates: list[str | None]) -> None:
    put(line, ("a", MS), ("b", MS + 1000))
    looks: list[tuple[Callable[[], object], object]] = [
        (lambda: store.when("a"), at(MS)),
        (lambda: [due.key for due in store.peek(1)], ["a"]),
        (lambda: store.size(None), 2),
        (lambda: store.size(T), 1),
    ]
    for look, answer in looks:
        line.fates = list(fates)
        if len(fates) < TRIES:
            assert look() == answer
        else:
            with pytest.raises(OutcomeUnknown):
                look()
    assert content(line) == [(b"a", MS), (b"b", MS + 1000)]


@lossy
def test_a_size_until_a_delay_whose_answers_are_lost(real: RedisStore, line: Line, fates: list[str | None]) -> None:
    real.schedule([Job("a", timedelta(0)), Job("b", timedelta(hours=1))], "last")
    if len(fates) < TRIES:
        line.fates = [*fates, None, *fates]
        assert real.size(timedelta(minutes=1)) == 1
    else:
        line.fates = [*fates]
        with pytest.raises(OutcomeUnknown):
            real.size(timedelta(minutes=1))


@lossy
@pytest.mark.parametrize("pending", [0, 1])
def test_a_claim_whose_answer_is_lost_is_asked_again_and_gives_the_same_keys(
    store: RedisStore, line: Line, fates: list[str | None], pending: int
) -> None:
    """Lost within one call, or over two; with a receipt of an earlier claim, and without."""
    plain_claimer, other = store.plain_claimer(), store.plain_claimer()
    if pending:
        put(line, ("early", MS - 9))
        assert plain_claimer.claim(1).keys == ["early"]
    put(line, ("a", MS - 2), ("b", MS - 1), ("c", MS), ("later", MS + 1))
    line.fates = list(fates)
    if len(fates) == TRIES:
        with pytest.raises(OutcomeUnknown):
            plain_claimer.claim(2)
    got = plain_claimer.claim(2)
    assert got.keys == ["a", "b"]
    assert list(map(float, got.scores)) == [MS - 2, MS - 1]
    assert plain_claimer.claim(2).keys == ["c"], "the next claim is another one"
    assert other.claim(2).keys == []
    assert content(line) == [(b"later", MS + 1)]


def test_a_lost_claim_is_taken_from_all_others_at_once(store: RedisStore, line: Line) -> None:
    put(line, ("a", MS), ("b", MS))
    plain_claimer, other = store.plain_claimer(), store.plain_claimer()
    line.fates = ["lost"] * TRIES
    with pytest.raises(OutcomeUnknown):
        plain_claimer.claim(1)
    assert other.claim(10).keys == ["b"]
    assert plain_claimer.claim(1).keys == ["a"]


@lossy
def test_a_hand_back_whose_answer_is_lost_happens_once(store: RedisStore, line: Line, fates: list[str | None]) -> None:
    put(line, ("a", MS - 2), ("b", MS - 1), ("c", MS))
    plain_claimer, other = store.plain_claimer(), store.plain_claimer()
    mine = entries(plain_claimer.claim(2))
    line.fates = list(fates)
    if len(fates) == TRIES:
        with pytest.raises(OutcomeUnknown):
            plain_claimer.hand_back(mine)
        line.fates = []
        others = other.claim(1).keys
        plain_claimer.hand_back(mine)
        assert others == (["a"] if "lost" in fates else ["c"])
        rest = {b"a": MS - 2, b"b": MS - 1, b"c": MS}
        assert dict(content(line)) == {key: score for key, score in rest.items() if key.decode() not in others}
    else:
        plain_claimer.hand_back(mine)
        assert dict(content(line)) == {b"a": MS - 2, b"b": MS - 1, b"c": MS}


@lossy
def test_a_close_whose_answer_is_lost_may_be_repeated(store: RedisStore, line: Line, fates: list[str | None]) -> None:
    put(line, ("a", MS))
    plain_claimer = store.plain_claimer()
    plain_claimer.claim(1)
    line.fates = list(fates)
    for _ in range(1 + len(fates)):
        try:
            found = plain_claimer.close()
            break
        except OutcomeUnknown:
            continue
    assert found == []
    assert receipts(line) == []


@pytest.mark.parametrize(
    "fates", [["away"], ["refused"], ["late", "away", "away"], ["lost", "refused", "refused"]], ids=names
)
def test_a_close_that_failed_may_be_repeated(store: RedisStore, line: Line, fates: list[str | None]) -> None:
    put(line, ("a", MS))
    plain_claimer = store.plain_claimer()
    plain_claimer.claim(1)
    line.fates = list(fates)
    with pytest.raises(StoreError):
        plain_claimer.close()
    assert plain_claimer.close() == []
    assert receipts(line) == []


@pytest.mark.parametrize("times", [0, 1, 2, 3])
def test_the_faults_that_we_ship_lose_no_key(times: int) -> None:
    faults = Faults()
    plain_claimer = PlainClaimer(faults, Q, None)
    put(faults, ("a", 1), ("b", 2))
    faults.lost = times
    if times == TRIES:
        with pytest.raises(OutcomeUnknown):
            plain_claimer.claim(2)
    claimed = plain_claimer.claim(2)
    assert claimed.keys == ["a", "b"]
    faults.lost = times
    if times == TRIES:
        with pytest.raises(OutcomeUnknown):
            plain_claimer.hand_back(entries(claimed))
    plain_claimer.hand_back(entries(claimed))
    assert content(faults) == [(b"a", 1), (b"b", 2)]
    faults.close()


def verbs_of(store: RedisStore) -> list[Callable[[], object]]:
    return [
        lambda: store.schedule([Job("a", T)], "last"),
        lambda: store.schedule([Job("a", timedelta(0))], "last"),
        lambda: store.schedule([Job("a", T)], "latest"),
        lambda: store.cancel("a"),
        lambda: store.when("a"),
        lambda: store.peek(1),
        lambda: store.size(None),
        lambda: store.size(T),
        lambda: store.plain_claimer().claim(1),
        lambda: store.plain_claimer().hand_back([Entry("b", b"1")]),
    ]


@pytest.mark.parametrize("number", range(10))
def test_a_verb_that_was_not_done_says_so(store: RedisStore, line: Line, number: int) -> None:
    put(line, ("a", MS + 1))
    line.fates = ["away"]
    with pytest.raises(Unavailable) as caught:
        verbs_of(store)[number]()
    assert not isinstance(caught.value, OutcomeUnknown)
    line.fates = ["refused"]
    with pytest.raises(Refused):
        verbs_of(store)[number]()
    assert content(line) == [(b"a", MS + 1)]
    assert line.fates == [], "and it was asked once"


@pytest.mark.parametrize("number", [0, 1, 2, 3, 8, 9])
@pytest.mark.parametrize("then", ["away", "refused"])
def test_a_write_that_may_have_been_done_never_says_that_it_was_not(
    store: RedisStore, line: Line, number: int, then: str
) -> None:
    """The first answer is lost, and then the server is gone or has another mind: the outcome stays unknown."""
    put(line, ("a", MS))
    line.fates = ["lost", then, then]
    with pytest.raises(OutcomeUnknown):
        verbs_of(store)[number]()


@pytest.mark.parametrize("then", ["away", "refused"])
def test_a_claim_is_remembered_over_any_error(store: RedisStore, line: Line, then: str) -> None:
    put(line, ("a", MS), ("b", MS))
    plain_claimer = store.plain_claimer()
    for fates in (["lost", then, then], [then], [then], ["lost", "late", then]):
        line.fates = list(fates)
        with pytest.raises(StoreError):
            plain_claimer.claim(1)
    line.fates = []
    assert plain_claimer.claim(1).keys == ["a"]
    assert plain_claimer.claim(1).keys == ["b"]


# Late copies.


def test_a_late_copy_of_a_claim_takes_nothing(store: RedisStore, line: Line) -> None:
    """The request was held up, its second asking answered; then it arrives, now, or much later."""
    put(line, ("a", MS), ("b", MS), ("c", MS))
    plain_claimer = store.plain_claimer()
    line.fates = ["late", "late"]
    assert plain_claimer.claim(1).keys == ["a"]
    copies = list(line.late)
    assert [answer[2][:1] for answer in line.arrive()] == [b"a", b"a"], "the same keys, to nobody"
    assert plain_claimer.claim(1).keys == ["b"]
    line.late = copies
    line.arrive()
    assert content(line) == [(b"c", MS)]
    plain_claimer.close()
    line.late = copies
    line.arrive()
    assert content(line) == [(b"c", MS)]


def test_a_late_copy_of_a_claim_that_found_nothing_takes_nothing(store: RedisStore, line: Line) -> None:
    plain_claimer = store.plain_claimer()
    line.fates = ["late"]
    assert plain_claimer.claim(1).keys == []
    put(line, ("a", MS))
    assert [answer[2] for answer in line.arrive()] == [b""]
    assert content(line) == [(b"a", MS)]


def test_a_late_copy_of_a_claim_is_found_by_its_second_asking(store: RedisStore, line: Line) -> None:
    put(line, ("a", MS), ("b", MS))
    plain_claimer = store.plain_claimer()
    line.fates = ["late"] * TRIES
    with pytest.raises(OutcomeUnknown):
        plain_claimer.claim(1)
    line.arrive()
    assert plain_claimer.claim(1).keys == ["a"]
    assert content(line) == [(b"b", MS)]


@pytest.mark.parametrize("lost", [["lost"], ["late"], ["lost", "late"], ["late", "lost"]], ids=names)
def test_a_late_copy_of_a_hand_back_returns_nothing(store: RedisStore, line: Line, lost: list[str | None]) -> None:
    put(line, ("a", MS), ("b", MS))
    plain_claimer, other = store.plain_claimer(), store.plain_claimer()
    mine = entries(plain_claimer.claim(2))
    line.sent.clear()
    line.fates = list(lost)
    plain_claimer.hand_back(mine)
    copies = line.sent.copy()
    assert len(copies) == len(lost) + 1
    assert other.claim(2).keys == ["a", "b"]
    line.late = copies.copy()
    assert set(line.arrive()) == {-1}
    plain_claimer.claim(1)
    plain_claimer.close()
    line.late = copies.copy()
    assert set(line.arrive()) == {-1}
    assert content(line) == []


def test_a_late_copy_of_a_claim_after_its_keys_went_back_takes_nothing(store: RedisStore, line: Line) -> None:
    put(line, ("a", MS))
    plain_claimer = store.plain_claimer()
    line.fates = ["late"]
    mine = entries(plain_claimer.claim(1))
    plain_claimer.hand_back(mine)
    line.arrive()
    assert content(line) == [(b"a", MS)]


def test_a_late_copy_of_a_close_loses_no_claim(store: RedisStore, line: Line) -> None:
    """Its DEL is held up; a new claim loses its answer; the DEL arrives; the claim is asked again."""
    put(line, ("a", MS), ("b", MS), ("c", MS))
    plain_claimer = store.plain_claimer()
    assert plain_claimer.claim(1).keys == ["a"]
    line.fates = ["late"] * TRIES
    with pytest.raises(OutcomeUnknown):
        plain_claimer.close()
    line.fates = ["lost"] * TRIES
    with pytest.raises(OutcomeUnknown):
        plain_claimer.claim(1)
    line.arrive()
    line.fates = []
    assert plain_claimer.claim(1).keys == ["b"]
    assert content(line) == [(b"c", MS)]


# A full server.


def test_a_full_server_lets_keys_out_and_back(own_server: Server) -> None:
    store_client = connect(own_server.url).client
    put(store_client, *((f"k{number}", 1) for number in range(10)))
    plain_claimer = RedisStore(store_client, Q).plain_claimer()
    store_client.call("CONFIG", "SET", "maxmemory", "1")
    claimed = plain_claimer.claim(4)
    assert len(claimed.keys) == 4
    plain_claimer.hand_back(entries(claimed))
    assert len(content(store_client)) == 10
    assert len(plain_claimer.claim(100).keys) == 10
    assert plain_claimer.claim(100).keys == []
    assert plain_claimer.close() == []
    assert keys_of(store_client) == []
    store_client.close()


def test_a_server_that_forgot_the_scripts_is_taught_them_again(server: Server) -> None:
    store_client = connect(server.url).client
    store = RedisStore(store_client, Q)
    plain_claimer = store.plain_claimer()
    for verb in (
        lambda: store.schedule([Job("a", 1)], "first"),
        lambda: store.peek(1),
        lambda: plain_claimer.hand_back(entries(plain_claimer.claim(1))),
        lambda: plain_claimer.claim(1),
    ):
        store_client.call("SCRIPT", "FLUSH")
        verb()
    plain_claimer.close()
    store_client.close()


# What the scripts touch, and how much.

LUA = {script.name: script.read_text() for script in files("rx_runat.store").joinpath("lua").iterdir()}


@pytest.mark.parametrize("name", sorted(LUA))
def test_every_key_that_a_script_touches_is_declared(name: str) -> None:
    code = re.sub(r"--[^\n]*", "", LUA[name])
    declared = {"KEYS[1]", "KEYS[2]"}
    for names_, values in re.findall(r"local ([\w, ]+?) = ([^\n]+)", code):
        pairs = zip(map(str.strip, names_.split(",")), map(str.strip, values.split(",")), strict=False)
        declared |= {name for name, value in pairs if re.fullmatch(r"KEYS\[\d\]", value)}
    store_client = re.findall(r"redis\.p?call\(\s*([^,)]+)(?:,\s*([^,)]+))?", code)
    assert store_client
    for command, key in store_client:
        assert re.fullmatch(r"'[A-Z]+'", command), "no command is made up at run time"
        assert key.strip() in declared or (command == "'TIME'" and not key), f"{command} {key}"
    for key in declared - {"KEYS[1]", "KEYS[2]"}:
        assert len(re.findall(rf"\b{key}\b\s*(?:,\s*\w+\s*)*=[^=]", code)) == 1, f"{key} is given one value"


@pytest.mark.parametrize("name", sorted(LUA))
def test_every_script_begins_with_its_contract(name: str) -> None:
    head = LUA[name].split("\nlocal ", 1)[0]
    for part in ("KEYS", "ARGV", "->", "cost"):
        assert re.search(rf"^-- {part}\b|^-- {part} ", head, re.MULTILINE), part
    for index in map(int, re.findall(r"KEYS\[(\d)\]", LUA[name])):
        assert index <= len(re.findall(r"^-- (?:KEYS)? +\d \{?Q", head, re.MULTILINE))


def test_a_user_limited_to_the_queues_keys_can_do_everything(own_server: Server) -> None:
    with own_server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "me", "on", "nopass", "resetkeys", f"~{Q}", f"~{{{Q}}}:*", "resetchannels", "+@all"
        )
    got: list[str] = []
    with RunAt(f"unix://me:x@{own_server.path}") as queue:
        queue.on_next([Job("a", 1.0), Job("b", timedelta(0)), Job("c", timedelta(hours=1))])
        for keep in KEEP:
            queue.schedule("d", timedelta(hours=1), keep=keep)
        assert queue.cancel("d")
        assert queue.when("c") is not None
        assert [due.key for due in queue.peek(1)] == ["a"]
        assert queue.size() == 3
        assert queue.size(until=timedelta(minutes=1)) == 2
        plain_claimer = queue._store.plain_claimer()
        plain_claimer.hand_back(entries(plain_claimer.claim(1)))
        plain_claimer.close()
        queue.subscribe(got.append, lambda error: pytest.fail(str(error)))
        wait_until(lambda: got == ["a", "b"], "the keys came")
    with own_server.client() as client:
        assert client.keys() == [Q.encode()]
        assert client.execute_command("ACL", "LOG") == []


def watched(server: Server, act: Callable[[], object]) -> list[tuple[str, list[str]]]:
    """What the server did meanwhile: who asked (an address, or `lua`), and the words."""
    with server.client() as asker, server.client() as watcher, watcher.monitor() as monitor:
        act()
        asker.echo("that was all")
        seen: list[tuple[str, list[str]]] = []
        while True:
            each = monitor.next_command()
            if "that was all" in each["command"]:
                return seen
            seen.append((each["client_type"], each["command"].split(" ")))


@pytest.fixture
def taught(server: Server) -> Server:
    """A server that knows the scripts."""
    with server.client() as client:
        for text in LUA.values():
            client.script_load(text)
    return server


def sha_of(name: str) -> str:
    return hashlib.sha1(LUA[name].encode(), usedforsecurity=False).hexdigest()


def runs_of(name: str, seen: Sequence[tuple[str, list[str]]]) -> list[list[str]]:
    """The ARGV of each run of a script."""
    runs = [
        words for kind, words in seen if kind != "lua" and words[0].upper() == "EVALSHA" and words[1] == sha_of(name)
    ]
    return [words[3 + int(words[2]) :] for words in runs]


def use_all(queue: RunAt, wait: Callable[[Callable[[], bool]], None]) -> None:
    got: list[str] = []
    queue.schedule("a", 1.0, keep="first")
    queue.schedule("b", timedelta(0))
    queue.schedule("c", timedelta(hours=1), keep="latest")
    queue.peek(3)
    queue.size(until=timedelta(minutes=1))
    plain_claimer = queue._store.plain_claimer()
    plain_claimer.hand_back(entries(plain_claimer.claim(1)))
    plain_claimer.close()
    queue.subscribe(got.append)
    wait(lambda: {"a", "b"} <= set(got))


def test_a_queue_of_real_time_never_tells_redis_the_time(taught: Server) -> None:
    def act() -> None:
        with RunAt(taught.url) as queue:
            use_all(queue, lambda condition: wait_until(condition, "the keys came"))

    seen = watched(taught, act)
    claims, peeks = runs_of("claim.lua", seen), runs_of("peek.lua", seen)
    schedules, backs = runs_of("schedule.lua", seen), runs_of("hand_back.lua", seen)
    assert len(claims) >= 2
    assert {len(each) for each in claims} == {4}
    assert peeks == [["3"]]
    assert [each[:2] for each in schedules] == [["NX", ""], ["", ""], ["GT", ""]], "no time where one may stand"
    assert len(backs) == 1
    assert not [words for kind, words in seen if kind != "lua" and words[0].upper() == "EVAL"], "all by their hash"
    times = [words for kind, words in seen if kind == "lua" and words[0].upper() == "TIME"]
    assert len(times) == len(claims) + len(peeks) + len(schedules), "each asks Redis's own clock"


def test_a_queue_of_virtual_time_always_does(taught: Server) -> None:
    scheduler = TestScheduler()

    def wait(condition: Callable[[], bool]) -> None:
        scheduler.advance_by(60)
        assert condition()

    def act() -> None:
        with RunAt(taught.url, interval=10, scheduler=scheduler) as queue:
            use_all(queue, wait)

    seen = watched(taught, act)
    claims, peeks, schedules = (runs_of(f"{name}.lua", seen) for name in ("claim", "peek", "schedule"))
    assert len(claims) >= 7
    assert {len(each) for each in claims} == {5}
    assert [len(each) for each in peeks] == [2]
    assert len(schedules) == 3
    assert not [words for _, words in seen if words[0].upper() == "TIME"], "nobody asks Redis's clock"
    assert all(0 <= int(each[4]) <= 60_000_000 for each in claims)


def inside(server: Server, act: Callable[[], object]) -> list[str]:
    """The commands that scripts ran meanwhile."""
    return [words[0].upper() for kind, words in watched(server, act) if kind == "lua"]


def test_a_claims_work_does_not_grow_with_the_queue(taught: Server) -> None:
    store_client = connect(taught.url).client
    store = RedisStore(store_client, Q)
    plain_claimer = store.plain_claimer()
    works: list[list[str]] = []
    for waiting in (2, 5000):
        store.schedule([Job(f"k{number}", 1) for number in range(waiting)], "last")
        works.append(inside(taught, lambda: plain_claimer.claim(1)))
        plain_claimer.close()
    assert works[0] == works[1]
    assert len(works[0]) <= 9
    store_client.close()


def test_a_look_that_finds_nothing_writes_nothing(taught: Server) -> None:
    store_client = connect(taught.url).client
    plain_claimer = RedisStore(store_client, Q).plain_claimer()
    put(store_client, ("later", "inf"))

    def changes() -> bytes:
        return re.findall(rb"rdb_changes_since_last_save:(\d+)", store_client.call("INFO", "persistence"))[0]

    before = changes()
    work = inside(taught, lambda: plain_claimer.claim(1000))
    assert not {"ZPOPMIN", "SET", "ZADD"} & set(work)
    assert len(work) <= 6
    assert changes() == before, "there is nothing to resend_lost or to replicate"
    store_client.close()


def test_a_hand_back_is_one_command_a_key(taught: Server) -> None:
    store_client = connect(taught.url).client
    plain_claimer = RedisStore(store_client, Q).plain_claimer()
    put(store_client, ("a", 1), ("b", 2))
    mine = entries(plain_claimer.claim(10))
    assert inside(taught, lambda: plain_claimer.hand_back(mine)) == ["GET", "DEL", "ZADD", "ZADD", "SET"]
    plain_claimer.close()
    store_client.close()


def test_a_claim_of_twenty_thousand_comes_whole(real_line: Line) -> None:
    """Lua's `unpack` ends at 8,000."""
    store = RedisStore(real_line, Q)
    keys = [f"k{number:05}" for number in range(20_000)]
    store.schedule([Job(key, 1) for key in keys], "last")
    plain_claimer = store.plain_claimer()
    real_line.fates = ["lost"]
    claimed = plain_claimer.claim(100_000)
    assert claimed.keys == keys
    plain_claimer.hand_back(entries(claimed))
    assert store.size(None) == 20_000
    plain_claimer.close()


def test_a_queue_with_a_hash_tag_keeps_its_keys_in_one_slot(real_line: Line) -> None:
    for name in (Q, "jobs{eu}", "a{b}c{d}"):
        plain_claimer = RedisStore(real_line, name).plain_claimer()
        RedisClient.call(real_line, "ZADD", name, 1, "a")
        plain_claimer.claim(1)
        (receipt,) = keys_of(real_line)
        assert key_slot(name.encode()) == key_slot(receipt)
        plain_claimer.close()
        assert keys_of(real_line) == []


def test_two_queues_do_not_meet(line: Line, clock: Clock) -> None:
    one, other = RedisStore(line, "one", clock), RedisStore(line, "other", clock)
    one.schedule([Job("a", T)], "last")
    assert other.plain_claimer().claim(10).keys == []
    assert other.size(None) == 0
    assert one.plain_claimer().claim(10).keys == ["a"]


def test_a_closed_store_says_so(store: RedisStore) -> None:
    store.close()
    store.close()
    with pytest.raises(Unavailable, match="closed"):
        store.size(None)


def test_an_npm_runats_schedule_is_ours(store: RedisStore, server: Server) -> None:
    with server.client() as npm:
        npm.zadd(Q, {"a": 1})
        store_client = connect(server.url).client
        assert RedisStore(store_client, Q).plain_claimer().claim(1).keys == ["a"]
        RedisStore(store_client, Q).schedule([Job("b", T + 1)], "last")
        assert npm.zrangebyscore(Q, 0, MS + 1000) == [b"b"]
        store_client.close()
