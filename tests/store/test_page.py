"""Pages of the schedule: a key that nobody touches is listed exactly once and in order, whatever happens around it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rx_runat import Due, Job, Refused
from rx_runat.model.batch import Cursor
from rx_runat.model.members import to_member
from rx_runat.store import verbs
from rx_runat.store.client import RedisClient
from rx_runat.store.connect import connect
from rx_runat.store.redis_store import RedisStore
from tests.support.redis_content import ODD, at, content, keys_of, put
from tests.support.servers import Server
from tests.support.stores import MS, Clock, FlakyClient, Q, T

SIZES = [1, 2, 3, 1000]
AWKWARD = [b"", b"\x00", b"\x00\x00", b"a", b"a\x00", b"aa", b"a\xff", b"B", b"_b", b"b", "é".encode(), b"\xff", b"~"]


@pytest.fixture(params=SIZES)
def page_keys(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many keys a page has."""
    monkeypatch.setattr(verbs, "PAGE_KEYS", request.param)
    return int(request.param)


def pages(store: RedisStore, until: str = "+inf") -> Iterator[list[Due]]:
    """Reads page by page, each when it is asked for."""
    cursor = Cursor(until)
    while True:
        page = store.do(store.plans.page(cursor))
        if not page.dues:
            return
        yield page.dues
        cursor = page.last


def listed(store: RedisStore, until: str = "+inf") -> list[bytes]:
    return [to_member(due.key) for page in pages(store, until) for due in page]


def members(client: RedisClient) -> list[bytes]:
    return [member for member, _ in content(client)]


def test_each_key_is_listed_once_and_in_order(store: RedisStore, flaky: FlakyClient, page_keys: int) -> None:
    put(flaky, *((f"k{n}", MS + n % 5) for n in range(40)))
    found = list(pages(store))
    assert [to_member(due.key) for page in found for due in page] == members(flaky)
    assert [len(page) for page in found[:-1]] == [page_keys] * (len(found) - 1)
    assert keys_of(flaky) == [Q.encode()]


def test_many_keys_with_one_score_are_listed_once_each(store: RedisStore, flaky: FlakyClient, page_keys: int) -> None:
    put(flaky, *((f"k{n}", MS) for n in range(50)))
    assert listed(store) == members(flaky)


@pytest.mark.parametrize("page_keys", [1, 3], indirect=True)
def test_more_keys_with_one_score_than_some_pages_hold(store: RedisStore, flaky: FlakyClient, page_keys: int) -> None:
    store.schedule([Job(f"k{n}", T) for n in range(300)], "last")
    assert listed(store) == members(flaky)


def test_20_keys_of_any_bytes_are_listed(store: RedisStore, flaky: FlakyClient, page_keys: int) -> None:
    put(flaky, *((member, MS) for member in AWKWARD))
    assert listed(store) == sorted(AWKWARD) == members(flaky)


def test_20_a_place_whose_key_has_gone_is_found_by_the_bytes_of_the_keys(store: RedisStore, flaky: FlakyClient) -> None:
    """Each key is the last one of its page and leaves before the next page is read. A locale has another order."""
    for last in AWKWARD:
        put(flaky, *((member, MS) for member in AWKWARD))
        RedisClient.call(flaky, "ZREM", Q, last)
        place = Cursor("+inf", str(MS), last.decode(errors="surrogateescape"))
        found = [to_member(due.key) for due in store.do(store.plans.page(place)).dues]
        assert found == [member for member in sorted(AWKWARD) if member > last]


def test_20_infinite_negative_and_fractional_scores_are_listed(
    store: RedisStore, flaky: FlakyClient, page_keys: int
) -> None:
    scores = ["-inf", "-1e300", "-62135596800001", "-1.5", "0", "0.1", str(MS - 0.25), str(MS), "1e300", "inf"]
    put(flaky, *((f"{place}{n}", score) for place, score in enumerate(scores) for n in range(2)))
    assert listed(store) == members(flaky)
    first, *_, last = [due for page in pages(store) for due in page]
    assert first.run_at == datetime.min.replace(tzinfo=UTC)
    assert last.run_at == datetime.max.replace(tzinfo=UTC)


def test_20_members_that_somebody_else_wrote_are_listed(store: RedisStore, flaky: FlakyClient, page_keys: int) -> None:
    put(flaky, *((member, score.decode()) for score, member in ODD.items()))
    assert listed(store) == list(ODD.values())


@pytest.mark.parametrize(
    "until, keys", [(MS - 1, "ab"), (MS, "abc"), (MS + 1, "abc"), (MS + 2, "abcd"), (MS - 99, ""), (MS + 99, "abcd")]
)
def test_until_is_the_last_moment_that_is_listed(
    store: RedisStore, flaky: FlakyClient, page_keys: int, until: int, keys: str
) -> None:
    put(flaky, ("a", MS - 2), ("b", MS - 1), ("c", MS), ("d", MS + 2))
    assert listed(store, str(until)) == [key.encode() for key in keys]


def test_a_due_tells_its_run_at_its_lateness_and_its_data(
    store: RedisStore, flaky: FlakyClient, clock: Clock, page_keys: int
) -> None:
    store.schedule([Job("a", T + 1, data={"x": [1]}), Job("b", T + 3, data=None), Job("c", T + 4, data="é")], "last")
    clock.advance(2)
    found = [due for page in pages(store) for due in page]
    assert [(due.key, due.run_at, due.lateness, due.data) for due in found] == [
        ("a", at(MS + 1000), 1.0, {"x": [1]}),
        ("b", at(MS + 3000), -1.0, None),
        ("c", at(MS + 4000), -2.0, "é"),
    ]


def test_real_time_goes_by_rediss_clock(real: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("a", 0))
    before = int(RedisClient.call(flaky, "TIME")[0])
    ((due,),) = pages(real)
    assert before <= due.lateness <= int(RedisClient.call(flaky, "TIME")[0]) + 1


@pytest.mark.parametrize("has_data", [False, True])
def test_a_page_is_bounded_in_bytes(
    store: RedisStore, flaky: FlakyClient, monkeypatch: pytest.MonkeyPatch, has_data: bool
) -> None:
    """A page has one key at least, also one that is longer than the bound."""
    monkeypatch.setattr(verbs, "CLAIM_BYTES", 10_000)
    long = {"data": "d" * 4_000} if has_data else {}
    store.schedule([Job(f"{n:02}" + "k" * (100 if has_data else 4_000), T + n, **long) for n in range(12)], "last")
    store.schedule([Job("10" + "k" * 30_000, T + 10)], "last")
    found = list(pages(store))
    assert [to_member(due.key) for page in found for due in page] == members(flaky)
    assert max(map(len, found)) == 2
    assert len(found) >= 7


def test_a_listing_ends_although_keys_are_added_behind_it_all_the_time(
    store: RedisStore, flaky: FlakyClient, page_keys: int
) -> None:
    put(flaky, ("a", MS), ("b", MS), ("c", MS + 1))
    found: list[str] = []
    for number, page in enumerate(pages(store)):
        assert number < 5
        found += [due.key for due in page]
        put(flaky, *((f"new{number}-{n}", MS + 2 + number) for n in range(3)))
    assert found == ["a", "b", "c"]


def test_the_next_page_of_a_queue_that_was_emptied_has_no_key(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("a", MS), ("b", MS))
    page = store.do(store.plans.page(Cursor()))
    RedisClient.call(flaky, "DEL", Q)
    assert store.do(store.plans.page(page.last)).dues == []
    assert store.do(store.plans.page(Cursor())).dues == []


def test_a_page_writes_nothing_and_its_lost_reply_costs_nothing(store: RedisStore, flaky: FlakyClient) -> None:
    put(flaky, ("a", MS), ("b", MS))
    flaky.fates = ["lost", "late"]
    assert listed(store) == [b"a", b"b"]
    flaky.arrive()
    assert content(flaky) == [(b"a", MS), (b"b", MS)]
    assert keys_of(flaky) == [Q.encode()]


def test_19_a_name_of_another_type_is_refused_in_words(store: RedisStore, flaky: FlakyClient) -> None:
    RedisClient.call(flaky, "SET", Q, "x")
    with pytest.raises(Refused):
        store.do(store.plans.page(Cursor()))


# While others write.

KEYS = [*AWKWARD[:8], b"x", b"y", b"z", b"q"]
SCORES = [-1.5, 0.0, 1.0, 1.0, 1.0, 2.0, 3.0]

change = st.tuples(
    st.sampled_from(["move", "take", "cursor moves", "cursor goes", "add"]),
    st.integers(0, len(KEYS) - 1),
    st.sampled_from(SCORES),
)
changes = st.lists(st.lists(change, max_size=4), max_size=15)
schedule = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(SCORES), min_size=1)


def check_random_writes(
    store: RedisStore, client: RedisClient, before: dict[bytes, float], between: list[list[Any]]
) -> None:
    RedisClient.call(client, "DEL", Q)
    put(client, *before.items())
    touched: set[bytes] = set()
    found: list[bytes] = []
    steps = itertools.chain(between, itertools.repeat([]))
    new = itertools.count()
    for page, writes in zip(pages(store), steps, strict=False):
        found += [to_member(due.key) for due in page]
        assert len(found) < 1000
        for what, number, score in writes:
            key = found[-1] if what.startswith("cursor") else KEYS[number]
            if what == "add":
                key = KEYS[number] + b"+%d" % next(new)
            touched.add(key)
            if what in ("take", "cursor goes"):
                RedisClient.call(client, "ZREM", Q, key)
            else:
                put(client, (key, score))
    untouched = [key for key, _ in sorted(before.items(), key=lambda each: (each[1], each[0])) if key not in touched]
    assert [key for key in found if key not in touched] == untouched


def random_writes(make_client: Callable[[], RedisClient], examples: int) -> None:
    client = make_client()
    store = RedisStore(client, Q, Clock())

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from([1, 2, 3]), schedule, changes)
    def check(size: int, before: dict[bytes, float], between: list[list[Any]]) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(verbs, "PAGE_KEYS", size)
            check_random_writes(store, client, before, between)

    try:
        check()
    finally:
        client.close()


def test_a_key_that_nobody_touches_is_listed_once_whatever_others_write(any_server: Server) -> None:
    random_writes(lambda: connect(any_server.url).client, 150)


@pytest.mark.slow
def test_a_key_that_nobody_touches_is_listed_once_in_memory_too() -> None:
    random_writes(lambda: connect("memory://").client, 150)
