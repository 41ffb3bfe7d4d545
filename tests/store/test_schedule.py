"""`schedule`, on fakeredis and on a real server: what it returns, what it writes, and what a lost reply leaves."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rx_runat import Job, OutcomeUnknown, Refused, Unavailable
from rx_runat.model.job import KEEP, Keep
from rx_runat.store.client import TRIES, RedisClient
from rx_runat.store.connect import connect
from rx_runat.store.redis_store import RedisStore
from tests.support.redis_content import at, content, keys_of, put
from tests.support.servers import Server
from tests.support.stores import MS, Clock, FlakyClient, Q, T, lossy


def test_a_fixed_time_is_written_as_npm_runat_writes_it(store: RedisStore, flaky: FlakyClient) -> None:
    assert store.schedule([Job("é", T + 0.5)], "last") == MS + 500
    assert content(flaky) == [("é".encode(), MS + 500)]
    assert keys_of(flaky) == [Q.encode()]


def test_a_delay_counts_from_the_stores_clock(store: RedisStore, flaky: FlakyClient, clock: Clock) -> None:
    clock.advance(10)
    assert store.schedule([Job("a", timedelta(seconds=1.5))], "last") == MS + 11_500
    assert content(flaky) == [(b"a", MS + 11_500)]


def test_a_delay_is_rounded_up_never_early(store: RedisStore, clock: Clock) -> None:
    clock.us += 1
    assert store.schedule([Job("a", timedelta(seconds=1))], "last") == MS + 1001


def test_a_delay_counts_from_rediss_clock(real: RedisStore, flaky: FlakyClient) -> None:
    def now() -> float:
        seconds, microseconds = RedisClient.call(flaky, "TIME")
        return float(seconds) * 1000 + float(microseconds) / 1000

    before = now()
    stands = real.schedule([Job("a", timedelta(seconds=60))], "last")
    assert before + 60_000 <= stands <= now() + 60_001
    assert content(flaky) == [(b"a", stands)]


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
def test_keep_says_which_schedule_stands_and_that_one_is_returned(
    store: RedisStore, flaky: FlakyClient, keep: Keep, before: int | None, then: int, stands: int, as_delay: bool
) -> None:
    if before is not None:
        put(flaky, ("a", MS + before * 1000))
    run_at = timedelta(seconds=then) if as_delay else T + then
    assert store.schedule([Job("a", run_at)], keep) == MS + stands * 1000
    assert content(flaky) == [(b"a", MS + stands * 1000)]
    assert store.when("a") == at(MS + stands * 1000)


@pytest.mark.parametrize("keep", KEEP)
def test_a_list_is_written_whole_and_returns_its_earliest(store: RedisStore, flaky: FlakyClient, keep: Keep) -> None:
    jobs = [Job("c", T + 3), Job("a", timedelta(seconds=1)), Job("b", at(MS + 2000))]
    assert store.schedule(jobs, keep) == MS + 1000
    assert content(flaky) == [(b"a", MS + 1000), (b"b", MS + 2000), (b"c", MS + 3000)]


@pytest.mark.parametrize("keep, stands", [("last", 9), ("first", 5), ("earliest", 5), ("latest", 9)])
@pytest.mark.parametrize("as_delay", [False, True], ids=["fixed", "delay"])
def test_a_key_that_is_twice_in_a_list_obeys_the_policy_too(
    store: RedisStore, flaky: FlakyClient, keep: Keep, stands: int, as_delay: bool
) -> None:
    jobs = [Job("a", timedelta(seconds=each) if as_delay else T + each) for each in (5, 9)]
    answer = store.schedule(jobs, keep)
    assert content(flaky) == [(b"a", MS + stands * 1000)]
    if keep == "last" and not as_delay:
        stands = 5
    assert answer == MS + stands * 1000, "the run_at that stands, or for plain writes the earliest written"


@pytest.mark.parametrize("keep", KEEP)
@pytest.mark.parametrize("as_delay", [False, True], ids=["fixed", "delay"])
def test_a_list_that_is_refused_writes_nothing(
    store: RedisStore, flaky: FlakyClient, keep: Keep, as_delay: bool
) -> None:
    RedisClient.call(flaky, "SET", Q, "another type")
    with pytest.raises(Refused):
        store.schedule([Job(key, timedelta(seconds=1) if as_delay else T) for key in "abc"], keep)
    assert RedisClient.call(flaky, "GET", Q) == b"another type"
    assert keys_of(flaky) == [Q.encode()]


@pytest.mark.parametrize("keep", ["last", "first"])
def test_a_list_of_a_hundred_thousand_is_one_round_trip(real_flaky: FlakyClient, keep: Keep) -> None:
    jobs = [Job(f"k{number}", T + number) for number in range(100_000)]
    store = RedisStore(real_flaky, Q)
    assert store.schedule(jobs, keep) == MS
    assert len(real_flaky.sent) == 1
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


@lossy(TRIES)
@pytest.mark.parametrize("keep, as_delay", [*((keep, False) for keep in KEEP), ("last", True)])
def test_a_schedule_whose_reply_is_lost(
    store: RedisStore, flaky: FlakyClient, fates: list[str | None], keep: Keep, as_delay: bool
) -> None:
    """It is written, or raises OutcomeUnknown; the other jobs stay as they were."""
    put(flaky, ("other", MS))
    flaky.fates = list(fates)
    job = Job("a", timedelta(seconds=5) if as_delay else T + 5)
    if len(fates) < TRIES:
        assert store.schedule([job], keep) == MS + 5000
    else:
        with pytest.raises(OutcomeUnknown):
            store.schedule([job], keep)
    written = len(fates) < TRIES or "lost" in fates
    assert content(flaky) == [(b"other", MS)] + [(b"a", MS + 5000)] * written
