"""What the tables show, and what a search finds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import redis

from rx_runat import Claim, RunAt
from rx_runat.testing import Faults, virtual_queue
from rx_runat.ui import search, tables
from rx_runat.ui.search import Search
from rx_runat.ui.tables import Tables
from tests.support.asking import ask
from tests.support.permissions import forbidden, worker_url
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"


def read(queue: RunAt) -> dict[str, Any]:
    return Tables(queue, lambda _: None).read()


def test_the_next_keys_have_their_data_and_are_text() -> None:
    queue, scheduler = virtual_queue()
    scheduler.advance_by(20)
    queue.schedule("<b>", 10, data="<script>")
    queue.schedule("line\nbreak", 30)
    seen = read(queue)
    assert seen["lateness"] == 10
    assert seen["next"] == [
        {"key": "<b>", "shown": "<b>", "at": 10_000, "data": '"<script>"'},
        {"key": "line\nbreak", "shown": "line\\nbreak", "at": 30_000, "data": ""},
    ]


def test_what_is_out_and_until_when() -> None:
    queue, scheduler = virtual_queue()
    queue.schedule("a", 1)
    queue.claims(lease=30).subscribe(lambda _: None)
    scheduler.advance_by(1)
    assert read(queue)["out"] == [{"key": "a", "shown": "a", "until": 31_000}]
    assert read(queue)["next"] == []


def test_dead_letters_have_their_reasons() -> None:
    queue, scheduler = virtual_queue()
    queue.schedule("a", 1, data=7)
    queue.claims().subscribe(lambda claim: claim.bury("no such\nmailbox"))
    scheduler.advance_by(1)
    assert read(queue)["dead"] == [
        {"key": "a", "shown": "a", "at": 1000, "attempts": 1, "reason": "no such\\nmailbox", "data": "7"}
    ]


def test_large_things_are_cut() -> None:
    queue, _ = virtual_queue()
    queue.schedule("k" * 1001, 1, data="d" * 5000)
    (row,) = read(queue)["next"]
    assert (row["key"], len(row["shown"]), len(row["data"])) == (None, 200, 300)
    queue.on_next([{"runAt": 0, "key": f"{i:04}"} for i in range(1000)])
    assert len(read(queue)["next"]) == tables.ROWS


def test_what_other_clients_wrote_is_shown(client: redis.Redis, queue: RunAt) -> None:
    client.zadd(Q, {b"\xff": float("-inf"), "": 1, "late": float("inf")})
    client.hset("{RunAt~default}:dead", "odd", "nonsense")
    client.zadd("{RunAt~default}:claimed", {"out": float("inf")})
    seen = read(queue)
    assert [row["shown"] for row in seen["next"]] == ["\\xff", "", "late"]
    assert [row["reason"] for row in seen["dead"]] == ["nonsense"]
    assert [row["until"] for row in seen["out"]] == [1e15]


def letter(claim: Claim) -> None:
    claim.bury("why")


def test_letters_are_read_again_only_if_their_number_changes() -> None:
    """To find the oldest of them, all are read."""
    queue, scheduler = virtual_queue()
    queue.claims().subscribe(letter)
    queue.schedule("a", 1)
    scheduler.advance_by(1)
    seen = Tables(queue, lambda _: None)
    first = seen.read()["dead"]
    assert seen.read()["dead"] is first
    queue.schedule("b", 1)
    scheduler.advance_by(1)
    assert [row["key"] for row in seen.read()["dead"]] == ["a", "b"]


def test_too_many_letters_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_MOST_LETTERS", 1)
    queue, scheduler = virtual_queue()
    queue.claims().subscribe(letter)
    queue.on_next([{"runAt": 1, "key": "a"}, {"runAt": 1, "key": "b"}])
    scheduler.advance_by(1)
    assert queue.dead.size() == 2
    assert read(queue)["dead"] == []


def test_an_outage_is_survived_and_a_stop_is_the_end() -> None:
    faults = Faults()
    queue, _ = virtual_queue(faults=faults)
    seen: list[Any] = []
    reading = Tables(queue, seen.append)
    faults.away = True
    assert reading._look()
    assert not seen
    faults.away = False
    assert reading._look()
    assert len(seen) == 1
    queue.stop()
    assert not reading._look()


def test_what_a_table_may_not_read_is_told_there_and_the_others_go_on(own_server: Server) -> None:
    with own_server.client() as client, RunAt(worker_url(own_server)) as queue:
        queue.schedule("a", 4e9, data=7)
        client.hset("{RunAt~default}:dead", "odd", "nonsense")
        with forbidden(client, "hscan"):
            seen = read(queue)
            assert "hscan" in seen["dead"]
            assert [row["key"] for row in seen["next"]] == ["a"]
        with forbidden(client, "hget"):
            seen = read(queue)
            assert "hget" in seen["next"]
            assert [row["key"] for row in seen["dead"]] == ["odd"]


def test_it_goes_on_reading(queue: RunAt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rx_runat.ui.tables._SECONDS", 0.05)
    seen: list[Any] = []
    reading = Tables(queue, seen.append)
    reading.start()
    wait_until(lambda: len(seen) > 1, "it has read again")
    reading.stop()


# The search.


def find(queue: RunAt, match: str) -> tuple[list[str], str]:
    found = asyncio.run(Search(queue).find(match))
    return [row["shown"] for row in found["rows"]], found["said"]


def test_a_search_finds_the_keys_that_match() -> None:
    queue, _ = virtual_queue()
    queue.on_next([{"runAt": i, "key": key} for i, key in enumerate(["mail:1", "sms:1", "mail:2", "[x]"])])
    assert find(queue, "mail:*") == (["mail:1", "mail:2"], "2 keys match.")
    assert find(queue, "sms:?") == (["sms:1"], "1 key matches.")
    assert find(queue, "[[]x]") == (["[x]"], "1 key matches.")
    assert find(queue, "mail") == ([], "0 keys match.")


def test_a_search_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, _ = virtual_queue()
    queue.on_next([{"runAt": i, "key": f"{i}"} for i in range(205)])
    rows, said = find(queue, "*")
    assert (len(rows), said) == (100, "The first 100 keys that match.")
    monkeypatch.setattr(search, "_MOST_READ", 200)
    assert find(queue, "204") == ([], "0 keys match, of the next 200; later ones were not read.")


def test_one_search_runs_at_a_time(make: Callable[..., RunAt]) -> None:
    from rx_runat.ui import app

    queue = make()
    page = app(queue)
    seeking = Search(queue)
    seeking._turn.acquire()
    with pytest.raises(BlockingIOError, match="another search runs"):
        asyncio.run(seeking.find("*"))
    seeking._turn.release()
    assert asyncio.run(seeking.find("*"))["rows"] == []
    assert ask(page, "/search", params={"match": "x" * 1001}).status_code == 400
    queue.stop()
    assert ask(page, "/search?match=*").status_code == 503
    assert asyncio.run(_stopped(seeking))


async def _stopped(seeking: Search) -> bool:
    """True if a search that failed has given its turn back: the next one fails for the same reason."""
    for _ in range(2):
        with pytest.raises(Exception, match="was stopped"):
            await seeking.find("*")
    return True
