"""`schedule`, on fakeredis and on a real server: what it returns, what it writes, and what a lost reply leaves."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest

from rx_runat import Due, InvalidJob, Job, OutcomeUnknown, Refused, Unavailable
from rx_runat.model.job import KEEP, Keep
from rx_runat.store import steps
from rx_runat.store.client import TRIES, RedisClient
from rx_runat.store.connect import connect
from rx_runat.store.redis_store import RedisStore
from rx_runat.store.steps import DELAYS, MOMENTS
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


@pytest.mark.parametrize("keep", ["first", "latest", "absent"])
def test_a_key_that_waits_for_ever_stands_like_any_other(store: RedisStore, flaky: FlakyClient, keep: Keep) -> None:
    """Another client wrote this score. None would say that the key does not wait."""
    put(flaky, ("a", math.inf))
    assert store.schedule([Job("a", T)], keep) == math.inf
    assert content(flaky) == [(b"a", math.inf)]


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


@pytest.mark.slow
def test_13_a_list_of_a_hundred_thousand_moments_is_one_round_trip(real_flaky: FlakyClient) -> None:
    jobs = [Job(f"k{number}", T + number) for number in range(MOMENTS)]
    store = RedisStore(real_flaky, Q)
    assert store.schedule(jobs, "last") == MS
    assert [len(words) for words in real_flaky.sent] == [2 + 2 * 100_000]
    assert store.size(None) == 100_000
    assert store.when("k99999") == at(MS + 99_999_000)


@pytest.mark.slow
def test_13_one_moment_more_is_a_second_step(real_flaky: FlakyClient) -> None:
    jobs = [Job(f"k{number}", T - number) for number in range(MOMENTS + 1)]
    store = RedisStore(real_flaky, Q)
    assert store.schedule(jobs, "last") == MS - 100_000_000
    assert [(words[0], len(words)) for words in real_flaky.sent] == [("ZADD", 2 + 2 * 100_000), ("ZADD", 2 + 2)]
    assert store.size(None) == 100_001


@pytest.mark.parametrize("kind", ["delays", "a delay among moments", "first"])
def test_13_twenty_thousand_delays_are_one_round_trip_and_one_more_is_a_second_step(
    real_flaky: FlakyClient, kind: str
) -> None:
    jobs = [Job(f"k{n}", timedelta(days=n) if kind == "delays" else T + n) for n in range(DELAYS)]
    if kind == "a delay among moments":
        jobs[-1] = Job("k19999", timedelta(days=9))
    keep: Keep = "first" if kind == "first" else "last"
    store = RedisStore(real_flaky, Q)
    store.schedule(jobs, keep)
    assert len(real_flaky.sent) == 1
    real_flaky.sent.clear()
    store.schedule([*jobs, Job("more", T)], keep)
    first, second = real_flaky.sent
    assert len(first) - len(second) == 2 * (DELAYS - 1)
    assert store.size(None) == 20_001


@pytest.fixture
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of four moments or two delays."""
    monkeypatch.setattr(steps, "MOMENTS", 4)
    monkeypatch.setattr(steps, "DELAYS", 2)


LISTS: dict[str, tuple[Keep, int, list[Job]]] = {
    "moments": ("last", 4, [Job(f"k{n}", T + n) for n in range(9)]),
    "delays": ("last", 2, [Job(f"k{n}", timedelta(seconds=n)) for n in range(5)]),
    "a delay among moments": ("last", 2, [*(Job(f"k{n}", T + n) for n in range(4)), Job("k4", timedelta(seconds=4))]),
    "earliest": ("earliest", 2, [Job(f"k{n}", T + n) for n in range(5)]),
}


@pytest.mark.usefixtures("short_steps")
@pytest.mark.parametrize("step", [0, 1, 2])
@pytest.mark.parametrize(
    "fate, error, words",
    [
        ("refused", Refused, "was not written"),
        ("away", Unavailable, "was not written"),
        ("lost", OutcomeUnknown, "may not have been written"),
        ("late", OutcomeUnknown, "may not have been written"),
    ],
)
@pytest.mark.parametrize("kind", LISTS)
def test_13_an_error_in_a_step_names_the_first_job_that_was_not_written(
    store: RedisStore, flaky: FlakyClient, kind: str, fate: str, error: type[Exception], words: str, step: int
) -> None:
    keep, most, jobs = LISTS[kind]
    flaky.fates = [None] * step + [fate] * (TRIES if error is OutcomeUnknown else 1)
    written = step * most
    told = rf"of the list's {len(jobs)} jobs {written} were written before that; the first that {words} is job "
    with pytest.raises(error, match=rf"{told}{written} of the list, 'k{written}'$") as caught:
        store.schedule(jobs, keep)
    assert type(caught.value) is error
    there = [job.key.encode() for job in jobs[: written + most * (fate == "lost")]]
    assert [member for member, _ in content(flaky)] == there
    store.schedule(jobs[written:], keep)
    assert [member for member, _ in content(flaky)] == [job.key.encode() for job in jobs], "the rest can be sent"


@pytest.mark.usefixtures("short_steps")
@pytest.mark.parametrize("keep, stands", [("last", 3), ("first", 5), ("earliest", 1), ("latest", 9)])
@pytest.mark.parametrize("as_delay", [False, True], ids=["fixed", "delay"])
def test_13_a_key_that_is_in_several_steps_obeys_the_policy(
    store: RedisStore, flaky: FlakyClient, keep: Keep, stands: int, as_delay: bool
) -> None:
    times = [5, 9, 7, 1, 8, 2, 6, 4, 3]
    jobs = [Job("a", timedelta(seconds=each) if as_delay else T + each) for each in times]
    store.schedule([each for job in jobs for each in (job, Job(f"beside {job.run_at}", T + 99))], keep)
    assert dict(content(flaky))[b"a"] == MS + stands * 1000


@pytest.mark.parametrize("run_at", [T, timedelta(0)], ids=["moments", "delays"])
def test_13_a_step_is_bounded_in_bytes_too(
    store: RedisStore, flaky: FlakyClient, monkeypatch: pytest.MonkeyPatch, run_at: float | timedelta
) -> None:
    """A server closes the connection of a client that sends too many bytes in one request."""
    monkeypatch.setattr(steps, "BYTES", 10)
    names = ["0000", "1111", "2222", "3333333333", "4", "5", "6666666666"]
    store.schedule([Job(name, run_at) for name in names], "last")
    written = [[word for word in words if word in names] for words in flaky.sent]
    assert written == [names[:2], names[2:3], names[3:4], names[4:6], names[6:]]
    assert store.size(None) == len(names)
    flaky.fates = [None, "refused"]
    with pytest.raises(Refused, match="the first that was not written is job 2 of the list, '2222'"):
        store.schedule([Job(name, run_at) for name in names], "last")
    flaky.sent.clear()
    with pytest.raises(InvalidJob, match="with 11 bytes; Redis takes keys of at most 10 bytes"):
        store.schedule([Job("a", run_at), Job("b" * 11, run_at)], "last")
    assert flaky.sent == []


@pytest.mark.parametrize("times", [[5, 9, 7], [-5, 3], [-5, -9], [99, 100], [0, 0.001]])
def test_the_earliest_of_times_with_any_number_of_digits(store: RedisStore, times: list[float]) -> None:
    assert store.schedule([Job(f"k{n}", each) for n, each in enumerate(times)], "last") == min(times) * 1000


@pytest.mark.usefixtures("short_steps")
def test_13_a_job_that_is_refused_in_a_later_step_stops_the_first(store: RedisStore, flaky: FlakyClient) -> None:
    jobs = [*(Job(f"k{n}", T) for n in range(9)), Due("", at(MS))]
    with pytest.raises(InvalidJob):
        store.schedule(jobs, "last")
    assert flaky.sent == []


@pytest.mark.usefixtures("short_steps")
def test_13_the_earliest_of_all_steps_is_returned(store: RedisStore) -> None:
    for run_at in (T, timedelta(0)):
        jobs = [*(Job(f"k{n}", T + 9) for n in range(5)), Job("a", run_at), *(Job(f"l{n}", T + 9) for n in range(5))]
        assert store.schedule(jobs, "last") == MS


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
