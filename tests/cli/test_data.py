"""Data on the command line: how it is named, where it is printed, and how orphans are removed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
import redis

from rx_runat import Claim, Job, RunAt
from tests.support.command import Filtered
from tests.support.servers import Server
from tests.support.waiting import wait_until


@pytest.fixture
def at(server: Server, here: Callable[..., int]) -> Callable[..., int]:
    """Runs a command in this process, on the real server."""
    return lambda *args: here(*args, "--redis", server.url)


@pytest.mark.parametrize(
    "args",
    [
        ["my", "key", "+1h", "--data", '{"to": "ann"}'],
        ["--data", '{"to": "ann"}', "my", "key", "+1h"],
        ['{"runAt": 1, "key": "my key", "data": {"to": "ann"}}'],
    ],
    ids=["after", "before", "as JSON"],
)
def test_schedule_names_data(args: list[str], at: Callable[..., int], queue: RunAt) -> None:
    assert at("schedule", *args) == 0
    assert [(due.key, due.data) for due in queue.peek()] == [("my key", {"to": "ann"})]


def test_schedule_without_data_leaves_what_the_key_has_and_null_drops_it(at: Callable[..., int], queue: RunAt) -> None:
    queue.schedule("a", timedelta(hours=1), data=7)
    assert at("schedule", "a", "+2h") == 0
    assert queue.peek()[0].data == 7
    assert at("schedule", "a", "+2h", "--data", "null") == 0
    assert queue.peek()[0].data is None


@pytest.mark.parametrize("text", ["", "ann", "{'to': 1}", "NaN", "1e400", "[" * 100_000, '"\\ud800"', "\udcff"])
def test_data_that_is_no_json_is_refused_in_words(
    text: str, at: Callable[..., int], queue: RunAt, capfd: pytest.CaptureFixture[str]
) -> None:
    assert at("schedule", "a", "+1h", "--data", text) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("rx-runat: data: got ")
    assert "no JSON" in err
    assert queue.size() == 0


@pytest.mark.parametrize("args", [["--data", "1"], ["--keep", "first"], ["--keep", "newest", "a", "+1"]], ids=" ".join)
def test_data_and_keep_without_a_key_or_of_no_such_name_are_wrong_usage(
    args: list[str], at: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        at("schedule", *args)
    assert end.value.code == 2
    err = capfd.readouterr().err
    assert err.startswith("usage: rx-runat schedule")
    assert "--keep" in err.splitlines()[-1]


@pytest.mark.parametrize(
    "keep, hours", [("last", 2), ("first", 3), ("earliest", 2), ("latest", 3), ("absent", 3)], ids=lambda value: value
)
def test_keep_decides_which_schedule_stands(
    keep: str, hours: int, at: Callable[..., int], queue: RunAt, capfd: pytest.CaptureFixture[str]
) -> None:
    before = queue.schedule("a", timedelta(hours=3), data="old")
    assert at("schedule", "a", "+2h", "--keep", keep, "--data", '"new"') == 0
    stands = queue.peek()[0]
    assert capfd.readouterr() == (f"{stands.run_at.isoformat()}\n", "")
    assert (stands.run_at == before, stands.data) == ((True, "old") if hours == 3 else (False, "new"))


def test_keep_absent_prints_nothing_where_the_key_is_out(
    at: Callable[..., int], queue: RunAt, capfd: pytest.CaptureFixture[str]
) -> None:
    queue.schedule("a", 1)
    claimed: list[Claim] = []
    queue.claims().subscribe(claimed.append)
    wait_until(lambda: claimed, "the key is out")
    assert at("schedule", "a", "+1h", "--keep", "absent") == 0
    assert capfd.readouterr() == ("", "")
    assert queue.size() == 0


def test_json_output_has_data_where_a_key_has_data(filtered: Filtered, queue: RunAt) -> None:
    lines = b'{"runAt": 1, "key": "a", "data": {"to": "ann"}}\n{"runAt": 2, "key": "b"}\n'
    queue.on_next([Job("a", 1, data={"to": "ann"}), Job("b", 2)])
    for feed, command in ((b"", ["peek"]), (lines, [])):
        if feed:
            queue.cancel("a")  # else it could be claimed once as it waits, and once as the line schedules it
            queue.cancel("b")
        out, err, status = filtered(feed, *command, "--json")
        assert (err, status) == (b"", 0)
        with_data, without = map(json.loads, out.splitlines())
        assert (with_data["key"], with_data["data"]) == ("a", {"to": "ann"})
        assert "data" not in without


def test_lines_of_standard_input_name_data(filtered: Filtered, queue: RunAt) -> None:
    lines = b'{"runAt": 1, "key": "a", "data": 0}\n{"runAt": 2, "key": "b", "data": NaN}\nc +1h\n'
    out, err, status = filtered(lines, "schedule")
    assert (out, status) == (b"", 1)
    assert err.startswith(b"rx-runat: line 2: data: got nan")
    assert [(due.key, due.data) for due in queue.peek()] == [("a", 0), ("c", None)]


def test_dead_as_json_has_data_where_a_letter_has_data(
    at: Callable[..., int], client: redis.Redis, capfd: pytest.CaptureFixture[str]
) -> None:
    client.hset("{RunAt~default}:dead", mapping={"a": '1 1 1 why\x1f{"to":"ann"}', "b": "2 1 2 why"})
    assert at("dead", "--json") == 0
    letters = {letter["key"]: letter for letter in map(json.loads, capfd.readouterr().out.splitlines())}
    assert letters["a"]["data"] == {"to": "ann"}
    assert "data" not in letters["b"]


def test_gc_removes_data_that_no_key_has_any_more(
    at: Callable[..., int], queue: RunAt, client: redis.Redis, capfd: pytest.CaptureFixture[str]
) -> None:
    queue.on_next([Job(key, timedelta(hours=1), data=key) for key in ("a", "b", "c")])
    client.zrem("RunAt~default", "a", "c")  # as npm runat takes keys
    assert at("gc") == 0
    assert capfd.readouterr() == ("2\n", "")
    assert client.hkeys("{RunAt~default}:data") == [b"b"]
    assert at("gc") == 0
    assert capfd.readouterr() == ("0\n", "")
