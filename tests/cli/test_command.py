"""The commands beside the filter, their arguments, and where the queue is."""

from __future__ import annotations

import argparse
import json
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib import metadata

import pytest
import redis

from rx_runat import Job, RunAt
from rx_runat.cli.arguments import make_parser
from tests.support.command import Filtered, Start, feed, line_of, rest_of, run, schedule, waiting
from tests.support.servers import Server

COMMANDS = [["tail"], ["size"], ["stats"], ["peek"], ["cancel", "a"], ["schedule", "a", "+1"], ["schedule"]]
COMMANDS += [["dead"], ["dead", "size"], ["gc"]]


# The commands.


@pytest.mark.slow  # the README's shell blocks show it, too
def test_a_schedule_outlives_the_command(embedded: str) -> None:
    done = run("schedule", "--redis", embedded, "my", "key", "2096-10-02T09:06:40+02:00")
    assert (done.stdout, done.stderr, done.returncode) == (b"2096-10-02T07:06:40+00:00\n", b"", 0)
    done = run("peek", REDIS_URL=embedded)
    assert (done.stdout, done.stderr, done.returncode) == (b"my key 2096-10-02T07:06:40+00:00\n", b"", 0)


def test_processes_that_name_a_directory_share_its_queue(
    embedded: str, here: Callable[..., int], start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    process = start("tail", "--redis", embedded)
    feed(process, b"", end=True)
    with RunAt(embedded) as queue:
        queue.schedule("later", timedelta(hours=1))
        assert here("schedule", "a", "1ms", "--redis", embedded) == 0
        assert line_of(process) == "a\n"
        capfd.readouterr()
        assert here("size", "--redis", embedded) == 0
        assert capfd.readouterr() == ("1\n", "")
        assert here("cancel", "later", "--redis", embedded) == 0
        assert queue.size() == 0
    process.terminate()
    assert rest_of(process) == ([], "", 128 + signal.SIGTERM)


@pytest.fixture
def at(server: Server, here: Callable[..., int]) -> Callable[..., int]:
    """Runs a command in this process, on the real server."""
    return lambda *args: here(*args, "--redis", server.url)


def test_schedule_takes_lines_and_prints_nothing(filtered: Filtered, queue: RunAt) -> None:
    out, err, status = filtered(b"b +3601\na +3600\nbad\n", "schedule")
    assert (out, status) == (b"", 1)
    assert err.startswith(b"rx-runat: line 3: ")
    assert waiting(queue) == ["a", "b"]


def test_schedule_prints_the_run_at_of_a_delay(
    at: Callable[..., int], queue: RunAt, capfd: pytest.CaptureFixture[str]
) -> None:
    assert at("schedule", "a", "+1h") == 0
    out, err = capfd.readouterr()
    assert (datetime.fromisoformat(out.rstrip()), err) == (queue.when("a"), "")


@pytest.mark.parametrize("words", [["a"], ["a", "soon"], ["", "+1"], ["a", "2026-01-01T00:00:00"]])
def test_arguments_that_are_no_job_are_refused_with_a_reason(
    words: list[str], at: Callable[..., int], queue: RunAt, capfd: pytest.CaptureFixture[str]
) -> None:
    assert at("schedule", *words) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("rx-runat: ")
    assert "got " in err
    assert queue.size() == 0


def test_peek_shows_the_next_keys_and_takes_none(
    at: Callable[..., int], queue: RunAt, capfd: pytest.CaptureFixture[str]
) -> None:
    for n in range(12):
        queue.schedule(f"key {n}", datetime(2096, 1, 1, 0, 0, n, tzinfo=UTC))
    assert at("peek", "2") == 0
    assert capfd.readouterr().out == "key 0 2096-01-01T00:00:00+00:00\nkey 1 2096-01-01T00:00:01+00:00\n"
    assert at("peek", "--json", "1") == 0
    due = json.loads(capfd.readouterr().out)
    assert due.pop("lateness") < 0
    assert due == {"key": "key 0", "run_at": "2096-01-01T00:00:00+00:00"}
    assert at("peek") == 0
    assert len(capfd.readouterr().out.splitlines()) == 10
    assert queue.size() == 12


def test_cancel_takes_keys_out_and_names_those_that_were_not_scheduled(
    at: Callable[..., int], queue: RunAt, capfd: pytest.CaptureFixture[str]
) -> None:
    schedule(queue, ["a", "b", "c"])
    assert at("cancel", "a", "c") == 0
    assert capfd.readouterr() == ("", "")
    assert at("cancel", "a", "b") == 1
    assert capfd.readouterr() == ("", "rx-runat: 'a' was not scheduled\n")
    assert queue.size() == 0


@pytest.mark.parametrize(
    "until, size",
    [
        ([], 3),
        (["--until", "+1s"], 1),
        (["--until=+1h30m"], 2),
        (["--until", "2096-10-02T07:06:40Z"], 3),
        (["--until", "1ms"], 1),
    ],
)
def test_size_counts_what_falls_due_until_a_moment(
    until: list[str], size: int, at: Callable[..., int], queue: RunAt, capfd: pytest.CaptureFixture[str]
) -> None:
    queue.on_next([Job("past", 0.001), Job("soon", timedelta(hours=1)), Job("later", 4e9)])
    assert at("size", *until) == 0
    assert capfd.readouterr() == (f"{size}\n", "")


@pytest.mark.parametrize("until", ["soon", "", "2096-10-02T07:06:40", "5"])
def test_size_until_no_moment_is_refused_with_a_reason(
    until: str, at: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    assert at("size", "--until", until) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(("rx-runat: WHEN: got ", "rx-runat: until: got "))


def test_delays_with_several_units_stand_in_lines_and_arguments(
    at: Callable[..., int], filtered: Filtered, queue: RunAt
) -> None:
    assert at("schedule", "a", "+1h30m") == 0
    assert filtered(b"b +2d\nc +1w\n", "schedule")[2] == 0
    assert waiting(queue) == ["a", "b", "c"]
    for key, delay in (("a", timedelta(hours=1.5)), ("b", timedelta(days=2)), ("c", timedelta(weeks=1))):
        assert queue.size(delay - timedelta(minutes=5)) == "abc".index(key), f"{key} is not there before"
        then = delay + timedelta(milliseconds=1)  # a moment is rounded up to a whole one
        assert queue.size(then) == "abc".index(key) + 1, f"{key} is there then"


def test_dead_size_counts_the_dead_letters(
    at: Callable[..., int], client: redis.Redis, capfd: pytest.CaptureFixture[str]
) -> None:
    assert at("dead", "size") == 0
    client.hset("{RunAt~default}:dead", mapping={"a": "1 1 1 why", "b": "2 1 2 why", "c": "junk"})
    assert at("dead", "size") == 0
    assert capfd.readouterr() == ("0\n3\n", "")


def test_a_queue_has_a_name(at: Callable[..., int], make: Callable[..., RunAt]) -> None:
    assert at("schedule", "a", "+1h", "--queue-name", "mails") == 0
    assert make(queue_name="mails").size() == 1
    assert make().size() == 0


def test_tail_prints_what_others_schedule_until_stopped(server: Server, start: Start, queue: RunAt) -> None:
    process = start("tail", "--redis", server.url)
    feed(process, b"", end=True)
    for key in ("a", "b c"):
        schedule(queue, [key])
        assert line_of(process) == f"{key}\n"
    process.terminate()
    assert rest_of(process) == ([], "", 128 + signal.SIGTERM)


# Where the queue is.


def test_redis_url_is_honoured(
    here: Callable[..., int],
    server: Server,
    queue: RunAt,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    schedule(queue, ["a"])
    monkeypatch.setenv("REDIS_URL", server.url)
    assert here("size") == 0
    assert capfd.readouterr() == ("1\n", "")


def test_an_option_beats_redis_url(
    at: Callable[..., int], queue: RunAt, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    schedule(queue, ["a"])
    monkeypatch.setenv("REDIS_URL", "unix:///nowhere/at.all")
    assert at("size") == 0
    assert capfd.readouterr() == ("1\n", "")


@pytest.mark.parametrize(
    "before, after",
    [
        (["--redis", "URL", "--queue-name", "mails"], ["size"]),
        (["--redis", "URL"], ["size", "--queue-name", "mails"]),
        (["--queue-name", "mails"], ["size", "--redis", "URL"]),
        ([], ["size", "--redis", "URL", "--queue-name", "mails"]),
        (["--interval", "0.5", "--redis=URL"], ["size", "--queue-name=mails"]),
    ],
)
def test_options_may_stand_before_the_command_and_after_it(
    before: list[str],
    after: list[str],
    here: Callable[..., int],
    server: Server,
    make: Callable[..., RunAt],
    capfd: pytest.CaptureFixture[str],
) -> None:
    schedule(make(queue_name="mails"), ["a"])
    args = [word.replace("URL", server.url) for word in before + after]
    assert (here(*args), *capfd.readouterr()) == (0, "1\n", "")


def test_json_may_stand_before_the_command(
    here: Callable[..., int], server: Server, queue: RunAt, capfd: pytest.CaptureFixture[str]
) -> None:
    schedule(queue, ["a"])
    assert here("--json", "peek", "--redis", server.url) == 0
    assert json.loads(capfd.readouterr().out)["key"] == "a"


@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("url", [None, "embedded://"])
def test_a_command_without_the_filter_needs_a_lasting_server(
    args: list[str],
    url: str | None,
    here: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if url:
        monkeypatch.setenv("REDIS_URL", url)
    assert here(*args) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"rx-runat: {args[0]}: a private server would end with this command")
    for way_out in ("--redis", "$REDIS_URL", "embedded:///"):
        assert way_out in err


def test_a_queue_in_memory_is_no_lasting_server(here: Callable[..., int], capfd: pytest.CaptureFixture[str]) -> None:
    assert here("--redis", "memory://", "schedule", "a", "+1h") == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("rx-runat: schedule: a queue in memory would end with this command")


@pytest.mark.parametrize("args", [["size"], ["peek"], ["cancel", "a"], ["schedule", "a", "+1"]], ids=" ".join)
def test_if_the_server_is_away_the_error_names_it_without_its_password(
    args: list[str], here: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    assert here(*args, "--redis", "redis://user:s3cret@127.0.0.1:1/0") == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("rx-runat: nothing answers at redis://127.0.0.1:1")
    assert "s3cret" not in err


@pytest.mark.parametrize(
    "options, words",
    [
        (["--redis", "nonsense"], "redis: "),
        (["--redis", "embedded://host/dir"], "redis: an embedded:// URL must be"),
        (["--redis", "redis://127.0.0.1:1", "--queue-name", ""], "queue_name: got ''"),
        (["--redis", "redis://127.0.0.1:1", "--queue-name", "a:dead"], "queue_name: got 'a:dead'"),
        (["--redis", "redis://127.0.0.1:1", "--interval", "0"], "interval: got 0.0"),
        (["--redis", "redis://127.0.0.1:1", "--interval", "nan"], "interval: got nan"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_with_a_reason(
    options: list[str], words: str, here: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    assert here("size", *options) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"rx-runat: {words}")


@pytest.mark.parametrize(
    "args", [["frobnicate"], ["--interval", "soon"], ["cancel"], ["peek", "many"], ["size", "--frob"]], ids=" ".join
)
def test_wrong_usage_ends_with_exit_status_two(
    args: list[str], here: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        here(*args)
    assert end.value.code == 2
    assert capfd.readouterr().err.startswith("usage: rx-runat")


def test_help_shows_the_example_of_the_readme(here: Callable[..., int], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        here("--help")
    assert end.value.code == 0
    assert r"printf 'last +0.56\nmiddle +0.41\nfirst +0.33\n' | rx-runat" in capfd.readouterr().out


def test_the_version_is_that_of_the_package(here: Callable[..., int], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        here("--version")
    assert (end.value.code, capfd.readouterr()) == (0, (f"rx-runat {metadata.version('rx-runat')}\n", ""))


def test_a_folder_of_sources_has_no_version_and_says_so(
    here: Callable[..., int], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata.Distribution, "discover", lambda **_: iter(()))
    with pytest.raises(SystemExit) as end:
        here("--version")
    assert end.value.code == 0
    assert "not installed" in capfd.readouterr().out


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser, and those of its commands and of theirs."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from parsers(each)


def test_every_command_says_what_it_does() -> None:
    found = {each.prog: each.description for each in parsers(make_parser())}
    assert {"rx-runat", "rx-runat stats", "rx-runat dead revive"} <= set(found)
    assert [name for name, description in found.items() if not description] == []
    assert len(set(found.values())) == len(found), "each says something of its own"


def test_every_help_can_be_printed() -> None:
    for each in parsers(make_parser()):
        assert each.description
        assert " ".join(each.description.split())[:30] in " ".join(each.format_help().split())
