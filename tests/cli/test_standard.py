"""Standard streams as a shell leaves them: a terminal, closed ones, a line without end; and JSON that others read."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from rx_runat import RunAt
from rx_runat.cli import duplex, pipe
from rx_runat.cli.pipe import PipeWriter
from rx_runat.cli.standard import print_error
from tests.support.command import MODULE, Filtered, environment, run
from tests.support.servers import Server

pytestmark = pytest.mark.slow

Q = "RunAt~default"


# A terminal obeys what it is sent.

OBEYED = {
    "an escape": ("\x1b[2Jgone", "\\u001b[2Jgone"),
    "a title": ("\x1b]0;mine\x07", "\\u001b]0;mine\\u0007"),
    "a carriage return": ("real\rfake", "real\\u000dfake"),
    "a newline": ("a\nb", "a\\u000ab"),
    "a tab and a delete": ("a\tb\x7f", "a\\u0009b\\u007f"),
    "a control character of one byte more": ("\x9b2J", "\\u009b2J"),
    "a byte that is no UTF-8": ("\udc9b2J", "\\udc9b2J"),
    "a mark that turns the direction": ("a\u202eb", "a\\u202eb"),
}
SHOWN = ["a", "my key", "naïve", "日本", "👩‍👧", "\\x1b", "a\u00a0b"]


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal: the one that a person sees, and the one that a program writes to."""
    ends = pty.openpty()
    yield ends
    for end in ends:
        os.close(end)


def seen(person: int) -> str:
    return os.read(person, 1000).decode(errors="surrogateescape").replace("\r\n", "\n")


@pytest.mark.parametrize("what", OBEYED)
def test_a_terminal_is_shown_what_it_would_obey(what: str, terminal: tuple[int, int]) -> None:
    key, shown = OBEYED[what]
    person, program = terminal
    PipeWriter(program).write(key)
    assert seen(person) == f"{shown}\n"


@pytest.mark.parametrize("key", SHOWN)
def test_a_terminal_is_shown_all_else_as_it_is(key: str, terminal: tuple[int, int]) -> None:
    person, program = terminal
    PipeWriter(program).write(key)
    assert seen(person) == f"{key}\n"


@pytest.mark.parametrize("what", OBEYED)
def test_an_error_on_a_terminal_is_shown_so_too(
    what: str, terminal: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, shown = OBEYED[what]
    person, program = terminal
    with open(program, "w", closefd=False, errors="surrogateescape") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        print_error(f"no such key: {key}")
    assert seen(person) == f"rx-runat: no such key: {shown}\n"


@pytest.mark.parametrize("command", [["peek"], ["dead"], ["peek", "--json"]])
def test_a_key_reaches_a_terminal_escaped_and_a_pipe_as_it_is(
    command: list[str], server: Server, client: redis.Redis, terminal: tuple[int, int]
) -> None:
    client.zadd(Q, {"\x1b[2Jgone": 1})
    client.hset(f"{{{Q}}}:dead", "\x1b[2Jgone", "1 1 1 why")
    person, program = terminal
    words = [*MODULE, *command, "--redis", server.url]
    subprocess.run(words, stdout=program, stdin=subprocess.DEVNULL, env=environment(), check=True)
    assert "\x1b" not in (shown := seen(person))
    assert "\\u001b[2Jgone" in shown
    raw = run(*command, "--redis", server.url).stdout
    assert (b"\\u001b[2Jgone" if "--json" in command else b"\x1b[2Jgone") in raw


# Streams that the shell has closed.


def closed(which: str, *args: str, feed: bytes = b"") -> tuple[bytes, bytes, int]:
    """Run the command while some of its standard streams are closed, such as `0<&- 2>&-`."""
    words = ["sh", "-c", f'exec "$@" {which}', "sh", *MODULE, *args]
    done = subprocess.run(words, input=feed, capture_output=True, env=environment(), timeout=20, check=False)
    return done.stdout, done.stderr, done.returncode


def test_a_closed_standard_input_is_said(server: Server) -> None:
    for args in ([], ["schedule"], ["--follow"]):
        said = closed("0<&-", *args, "--redis", server.url)
        assert said == (b"", b"rx-runat: standard input is closed\n", 1)


def test_commands_that_do_not_read_need_no_standard_input(server: Server) -> None:
    assert closed("0<&-", "schedule", "a", "1ms", "--redis", server.url)[1:] == (b"", 0)
    assert closed("0<&-", "peek", "--redis", server.url) == (b"a 1970-01-01T00:00:00.001000+00:00\n", b"", 0)
    assert closed("0<&- 2>&-", "cancel", "a", "--redis", server.url) == (b"", b"", 0)


def test_without_standard_error_the_command_works_and_fails_as_with_it(server: Server) -> None:
    assert closed("2>&-", "--redis", server.url, feed=b"a +0.01\n") == (b"a\n", b"", 0)
    assert closed("2>&-", "--redis", server.url, feed=b"no line\nb +0.01\n") == (b"b\n", b"", 1)
    assert closed("2>&-", "cancel", "none", "--redis", server.url) == (b"", b"", 1)
    assert closed("2>&-", "--no-such-option")[1:] == (b"", 2)


def test_without_standard_output_a_command_that_prints_fails_in_words(server: Server) -> None:
    assert closed("1>&-", "size", "--redis", server.url) == (b"", b"rx-runat: standard output is closed\n", 1)
    assert closed("1>&-", "--version") == (b"", b"rx-runat: standard output is closed\n", 1)
    assert closed("0<&- 1>&- 2>&-", "size", "--redis", server.url) == (b"", b"", 1)


def test_nothing_that_is_opened_takes_the_place_of_a_closed_stream(embedded: str) -> None:
    """The files and sockets of an embedded server would be the first to be opened."""
    for which in ("0<&-", "0<&- 2>&-", "2>&-"):
        assert closed(which, "schedule", "a", "1ms", "--redis", embedded)[1:] == (b"", 0)
        with RunAt(embedded) as queue:
            assert queue.cancel("a")


def test_the_commands_of_a_worker_have_open_streams_too() -> None:
    script = (
        "from rx_runat.cli.standard import keep_closed; import os; keep_closed(); os.execlp('sh', 'sh', '-c', {!r})"
    )
    word = "echo nobody reads this && echo nor this >&2 && ! read line"
    command = [sys.executable, "-c", script.format(word)]
    done = subprocess.run(["sh", "-c", '"$@" <&- >&- 2>&-', "sh", *command], check=False, timeout=20)
    assert done.returncode == 0


# Long lines, and JSON.


def test_a_long_line_costs_as_much_as_it_is_long(monkeypatch: pytest.MonkeyPatch, filtered: Filtered) -> None:
    """In 130,000 pieces: to copy what has come with each of them would take minutes."""
    monkeypatch.setattr(duplex, "_CHUNK", 32)
    monkeypatch.setattr(pipe, "_PIECE", 32)
    key = b"x" * 2**22
    assert filtered(b"a +0\n" + key + b" +0.01\nb +0.02") == (b"a\n" + key + b"\nb\n", b"", 0)


def strict(line: str) -> Any:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(line, parse_constant=refuse)


def test_json_is_json_whatever_the_score(server: Server, client: redis.Redis) -> None:
    scores = {"first": "-inf", "early": "-1e300", "late": "1e300", "last": "inf", "half": "0.5"}
    client.zadd(Q, scores)  # type: ignore[arg-type]
    for place, key in enumerate(scores):
        client.hset(f"{{{Q}}}:dead", key, f"1 1 {list(scores.values())[place]} why")
    for command in (["peek"], ["dead"]):
        lines = run(*command, "--json", "--redis", server.url).stdout.decode().splitlines()
        assert {strict(line)["key"] for line in lines} == set(scores)
    lines = run("--json", "--redis", server.url, feed=b"own +0").stdout.decode().splitlines()
    assert {strict(line)["key"] for line in lines} >= {"first", "early", "half", "own"}
