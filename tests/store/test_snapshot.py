"""The state of a queue at one moment: what one look reads, and how it is shown."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
import redis

from rx_runat import Due, Job, RunAt
from rx_runat.model.batch import SettleRequest
from rx_runat.model.snapshot import Place
from rx_runat.testing import Faults, virtual_queue

Q = "RunAt~default"


def snapshot(queue: RunAt, *args: object):
    return queue._store.snapshot(*args)  # type: ignore[arg-type]


@pytest.fixture(params=["memory", "real"])
def any_queue(request: pytest.FixtureRequest, make: Callable[..., RunAt]) -> RunAt:
    request.getfixturevalue("server")
    return make("memory://" if request.param == "memory" else None)


def test_an_empty_queue(any_queue: RunAt) -> None:
    seen = snapshot(any_queue, 5)
    assert (seen.scheduled, seen.due, seen.claimed, seen.dead) == (0, 0, 0, 0)
    assert (seen.due_keys, seen.coming, seen.leases, seen.slices) == ([], [], [], {})


def test_counts_are_whole_and_lists_are_short(any_queue: RunAt) -> None:
    any_queue.on_next([Job(f"past:{i}", 1) for i in range(30)])
    any_queue.on_next([Job(f"next:{i}", timedelta(seconds=100 + i)) for i in range(40)])
    seen = snapshot(any_queue, 2)
    assert (seen.scheduled, seen.due) == (70, 30)
    assert seen.due_keys == [("past:0", 1000.0), ("past:1", 1000.0)]
    assert [key for key, _ in seen.coming] == ["next:0", "next:1"]


def test_a_window_that_holds_more_than_is_listed_is_counted_in_slices(any_queue: RunAt) -> None:
    any_queue.on_next([Job(f"next:{i}", timedelta(seconds=1 + i / 10)) for i in range(100)])
    seen = snapshot(any_queue, 10, 5.0, 500)
    assert len(seen.coming) == 10
    assert 35 <= sum(seen.slices.values()) <= 50  # the last slice is counted whole
    assert all(start % 500 == 0 and count <= 5 for start, count in seen.slices.items())
    assert snapshot(any_queue, 100, 5.0, 500).slices == {}


def test_however_long_the_window_the_slices_are_bounded(any_queue: RunAt) -> None:
    any_queue.on_next([Job(f"next:{i}", timedelta(seconds=i)) for i in range(500)])
    assert len(snapshot(any_queue, 1, 1e6, 1000).slices) <= 200


def test_claimed_keys_and_dead_letters_are_seen(any_queue: RunAt, client: redis.Redis, queue: RunAt) -> None:
    client.zadd("{RunAt~default}:claimed", {"c": 2_000_000_000_000})
    client.hset("{RunAt~default}:dead", "d", "why")
    seen = snapshot(queue, 5)
    assert (seen.claimed, seen.dead, seen.leases) == (1, 1, [("c", 2e12)])
    assert "1</b> claimed" in queue._repr_html_()
    assert "1</b> dead" in queue._repr_html_()


def test_where_keys_are_that_are_seen_no_more(any_queue: RunAt) -> None:
    store = any_queue._store
    any_queue.on_next([Job(key, 1) for key in ("acked", "buried", "nacked", "out", "revived")])
    claimer = store.leasing_claimer(60_000)
    got = claimer.claim(5)
    assert [place.kind for place in store.locate([*got.keys, "nobody"])] == ["out"] * 5 + ["gone"]
    verbs = {"acked": "ack", "buried": "bury", "nacked": "nack", "revived": "bury"}
    store.settle([SettleRequest(verb, key, got.fence, 9999, got.deadline) for key, verb in verbs.items()])  # type: ignore[arg-type]
    any_queue.dead.revive("revived")
    places = dict(zip(got.keys, store.locate(got.keys), strict=True))
    now = got.now / 1e3
    assert (places["acked"], places["out"]) == (Place("gone"), Place("out"))
    assert places["revived"] == Place("gone", 1000)
    assert places["nacked"].kind == "again"
    assert places["nacked"].run_at == pytest.approx(now + 9999, abs=60_000)
    assert (places["buried"].kind, places["buried"].run_at) == ("gone", None)
    assert places["buried"].died == pytest.approx(now, abs=60_000)
    assert store.locate([]) == []
    any_queue.dead.drop(None)
    claimer.close()


def test_asking_where_keys_are_changes_nothing(queue: RunAt, client: redis.Redis) -> None:
    client.zadd("{RunAt~default}:claimed", {"c": 2_000_000_000_000})
    client.hset("{RunAt~default}:leases", "n", "- 1 1 1 -")
    client.hset("{RunAt~default}:dead", "d", "1000 1 1 why")
    before = {name: client.dump(name) for name in sorted(client.keys())}
    odd = b"\xff\x00".decode(errors="surrogateescape")
    assert queue._store.locate(["c", "n", "d", odd]) == [
        Place("out"),
        Place("again"),
        Place("gone", died=1000.0),
        Place("gone"),
    ]
    assert {name: client.dump(name) for name in sorted(client.keys())} == before


def test_looking_takes_and_writes_nothing(queue: RunAt, client: redis.Redis) -> None:
    queue.on_next([Job("a", 1), Job("b", 4e9)])
    before = client.info("stats")["total_commands_processed"], client.dump(Q)
    snapshot(queue, 10, 10.0, 100)
    assert client.keys() == [Q.encode()]
    assert client.dump(Q) == before[1]


def test_virtual_time_is_the_clock() -> None:
    queue, scheduler = virtual_queue()
    queue.schedule("a", 100.0)
    scheduler.advance_by(97)
    assert snapshot(queue, 1).now == 97_000
    assert "in 3 s" in queue._repr_html_()


def test_a_card_shows_the_next_keys_and_how_many_more() -> None:
    queue, _ = virtual_queue(queue_name="jobs")
    assert "<b>0</b> scheduled · <b>0</b> due" in queue._repr_html_()
    queue.on_next([Job(f"key {i}", 10.0 * i + 3.21) for i in range(8)])
    card = queue._repr_html_()
    assert "<b>8</b> scheduled · <b>0</b> due" in card
    assert "RunAt</b>" in card
    assert "jobs" in card
    assert "on memory://" in card
    assert "in 3.2 s" in card
    assert "key 4" in card
    assert "key 5" not in card
    assert "… 3 more" in card


def test_a_card_is_one_round_trip_and_a_plain_repr_is_none() -> None:
    faults = Faults()
    queue, _ = virtual_queue(faults=faults)
    queue._repr_html_()
    faults.commands.clear()
    for each in (queue, queue.jobs, queue.errors):
        each._repr_html_()  # type: ignore[union-attr]
        repr(each)
    assert len(faults.commands) == 3


def test_a_card_of_a_server_that_is_away_says_so() -> None:
    faults = Faults()
    queue, _ = virtual_queue(faults=faults)
    faults.away = True
    assert "nothing answers at memory://" in queue._repr_html_()
    faults.away, faults.refusal = False, "NOPERM <no>"
    assert "NOPERM &lt;no&gt;" in queue._repr_html_()
    queue.stop()
    assert "stopped" in queue._repr_html_()


def test_keys_cannot_break_out_of_a_card() -> None:
    queue, _ = virtual_queue()
    odd = [b"<script>alert(1)</script>", b"\xff\x00", b"a\nb", b"'\"&"]
    for each in odd:
        queue.schedule(each.decode(errors="surrogateescape"), 5.0)
    card = queue._repr_html_()
    card.encode()
    assert "<script" not in card
    assert "&lt;script&gt;" in card
    assert "\\xff\\x00" in card
    assert "a\\nb" in card


def test_the_streams_of_a_queue_say_whose_they_are() -> None:
    queue, _ = virtual_queue(queue_name="jobs")
    assert repr(queue.jobs) == "<jobs of <RunAt 'jobs' on memory://>>"
    assert repr(queue.errors) == "<errors of <RunAt 'jobs' on memory://>>"
    assert "jobs of RunAt" in queue.jobs._repr_html_()  # type: ignore[attr-defined]


def test_jobs_and_dues() -> None:
    moment = datetime(2026, 12, 24, 18, tzinfo=UTC)
    assert repr(Due("tea", moment, 0.0004)) == "<Due 'tea' at 2026-12-24 18:00:00.000 UTC, 0.4 ms late>"
    assert repr(Due("tea", moment, -3)) == "<Due 'tea' at 2026-12-24 18:00:00.000 UTC, 3 s to go>"
    assert "tea" in Due("tea", moment)._repr_html_()
    assert "for 2026-12-24 18:00:00.000 UTC" in Job("tea", moment)._repr_html_()
    assert "5 min after it is scheduled" in Job("tea", timedelta(minutes=5))._repr_html_()
    assert "for 1970-01-01 00:00:01.500 UTC" in Job("tea", 1.5)._repr_html_()
    edge = datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5)))
    assert "9999-12-31" in Due("tea", edge)._repr_html_()
