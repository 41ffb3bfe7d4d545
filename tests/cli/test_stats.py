"""`rx-runat stats`: a queue in numbers, once, as lines, and as a live table on a terminal."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from rich.console import Console

from rx_runat import Job, Refused, RunAt, Unavailable
from rx_runat.cli.live_table import opened
from rx_runat.cli.watch import Lines, look_again_and_again
from rx_runat.testing import Faults, virtual_queue
from tests.support.command import MODULE, Start, environment, line_of, rest_of
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"


# Looks twenty times a second, for once a second.
QUICK = [
    *(sys.executable, "-c"),
    "import sys, rx_runat.cli.watch as w; w._SECONDS = 0.05; from rx_runat.cli import main; sys.exit(main())",
]


@pytest.fixture
def at(server: Server, here: Callable[..., int]) -> Callable[..., int]:
    """Runs a command in this process, on the real server."""
    return lambda *args: here(*args, "--redis", server.url)


@pytest.fixture
def three_kinds(queue: RunAt, client: redis.Redis) -> None:
    """A key that is due, two that are coming, one that is out under a lease, and a dead letter."""
    queue.on_next([Job("late", 1), Job("soon", 4e9), Job("later", 5e9)])
    client.zadd(f"{{{Q}}}:claimed", {"out": 4_000_000_000_000})
    client.hset(f"{{{Q}}}:dead", "gone", "1 5 1 why")


# Once.


@pytest.mark.usefixtures("three_kinds")
def test_stats_are_one_line_of_names_and_numbers(at: Callable[..., int], capfd: pytest.CaptureFixture[str]) -> None:
    assert at("stats") == 0
    out, err = capfd.readouterr()
    assert re.fullmatch(r"scheduled 3 due 1 claimed 1 dead 1 lateness \d+\.\d{3}\n", out)
    assert err == ""


@pytest.mark.usefixtures("three_kinds")
def test_stats_as_json(at: Callable[..., int], capfd: pytest.CaptureFixture[str]) -> None:
    assert at("stats", "--json") == 0
    stats = json.loads(capfd.readouterr().out)
    assert stats.pop("lateness") > 1e9
    assert stats == {"scheduled": 3, "due": 1, "claimed": 1, "dead": 1}


def test_stats_of_an_empty_queue(at: Callable[..., int], capfd: pytest.CaptureFixture[str]) -> None:
    assert at("stats") == 0
    assert capfd.readouterr().out == "scheduled 0 due 0 claimed 0 dead 0 lateness 0.000\n"


# As lines, once a second.


def test_watch_prints_a_line_a_second_until_stopped(server: Server, start: Start, queue: RunAt) -> None:
    process = start("stats", "--watch", "--redis", server.url, program=QUICK)
    assert line_of(process) == "scheduled 0 due 0 claimed 0 dead 0 lateness 0.000\n"
    queue.schedule("a", 4e9)
    wait_until(lambda: line_of(process).startswith("scheduled 1 due 0 "), "a line tells of the key")
    process.send_signal(signal.SIGINT)
    out, err, status = rest_of(process)
    assert (err, status) == ("", 128 + signal.SIGINT)
    assert all(line.startswith("scheduled 1 ") for line in out)


def test_watch_ends_when_nobody_reads(server: Server, start: Start) -> None:
    process = start("stats", "--watch", "--json", "--redis", server.url, program=QUICK)
    assert json.loads(line_of(process))["dead"] == 0
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(20) == 0


class Ended(Exception):
    """The test has seen enough."""


def lines_of(pauses: list[Callable[[], object]], queue: RunAt, as_json: bool = False) -> None:
    """Show a queue as lines; between two looks one of `pauses` is called, and after them the test ends."""

    def pause() -> None:
        if not pauses:
            raise Ended
        pauses.pop(0)()

    with pytest.raises(Ended):
        look_again_and_again(Lines(queue, as_json), pause)


def test_watch_outlasts_an_outage_and_tells_it_once(capfd: pytest.CaptureFixture[str]) -> None:
    faults = Faults()
    queue, scheduler = virtual_queue(faults=faults)
    queue.schedule("a", 1.0)

    def go(away: bool) -> Callable[[], None]:
        def act() -> None:
            faults.away = away
            scheduler.advance_by(1)

        return act

    lines_of([go(True), go(True), go(False), go(True), go(False)], queue)
    out, err = capfd.readouterr()
    assert out.splitlines() == [
        "scheduled 1 due 0 claimed 0 dead 0 lateness 0.000",
        "scheduled 1 due 1 claimed 0 dead 0 lateness 2.000",
        "scheduled 1 due 1 claimed 0 dead 0 lateness 4.000",
    ]
    assert len(err.splitlines()) == 2
    assert all(line.startswith("rx-runat: ") and "memory://" in line for line in err.splitlines())


def test_watch_ends_with_a_fault_that_stays() -> None:
    faults = Faults()
    queue, _ = virtual_queue(faults=faults)
    with pytest.raises(Refused, match="NOPERM"):
        lines_of([lambda: setattr(faults, "refusal", "NOPERM")], queue)


def test_watch_ends_if_its_first_look_fails() -> None:
    faults = Faults()
    queue, _ = virtual_queue(faults=faults)
    faults.away = True
    with pytest.raises(Unavailable):
        lines_of([], queue)


def test_a_server_that_is_not_there_ends_watch_in_words(
    here: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    assert here("stats", "--watch", "--redis", "redis://127.0.0.1:1") == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("rx-runat: nothing answers at redis://127.0.0.1:1")


# On a terminal.


class Terminal:
    """A command that runs on a terminal of 80 x 24, and what a person has seen there so far."""

    def __init__(self, *args: str, **more: str) -> None:
        self._person, program = pty.openpty()
        self._bytes = b""
        words = ["sh", "-c", 'stty rows 24 cols 80; exec "$@"', "sh", *QUICK, *args]
        env = environment(**{"TERM": "xterm", **more})
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job would ignore it
        try:
            self.process = subprocess.Popen(words, stdin=program, stdout=program, stderr=subprocess.PIPE, env=env)
        finally:
            signal.signal(signal.SIGINT, before)
        os.close(program)

    @property
    def text(self) -> str:
        """All that has come, without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self._bytes.decode(errors="replace"))

    def has(self, pattern: str) -> bool:
        """Read what comes next; returns True if the pattern has come by now."""
        with suppress(OSError):  # the command has ended
            self._bytes += os.read(self._person, 65536)
        return re.search(pattern, self.text, re.DOTALL) is not None

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()
        os.close(self._person)


@pytest.fixture
def terminal(server: Server) -> Iterator[Callable[..., Terminal]]:
    """Starts `stats --watch` on a terminal."""
    started: list[Terminal] = []

    def start(*args: str, **more: str) -> Terminal:
        started.append(Terminal("stats", "--watch", "--redis", server.url, *args, **more))
        return started[-1]

    yield start
    for each in started:
        each.end()


@pytest.mark.usefixtures("three_kinds")
def test_on_a_terminal_watch_is_a_table_with_the_next_keys(
    terminal: Callable[..., Terminal], queue: RunAt, server: Server
) -> None:
    shown = terminal()
    numbers = r"scheduled +3\r\ndue +1\r\nclaimed +1\r\ndead +1\r\nlateness +\S+ d late"
    table = rf"RunAt~default on \S+\r\n{numbers}\r\n\r\nlate +\S+ d late *\r\nsoon +in \S+ d *\r\nlater +in \S+ d"
    wait_until(lambda: shown.has(table), "the table is shown")
    assert server.url.split("://")[1] in shown.text
    queue.schedule("\x1b[2J[red]new", 3e9)
    wait_until(lambda: shown.has(r"\\x1b\[2J\[red\]new"), "a new key is shown as it is, and what it orders is not done")
    assert "\x1b[2J" not in shown.text
    shown.process.send_signal(signal.SIGINT)
    assert shown.process.wait(20) == 128 + signal.SIGINT
    assert shown.has(r"\x1b\[\?25h"), "the cursor is shown again"


def test_what_was_seen_last_stays_during_an_outage() -> None:
    queue, scheduler = virtual_queue()
    queue.on_next([Job(f"key {n}", 10.0 * n) for n in range(20)])
    scheduler.advance_by(5)
    shown = io.StringIO()
    with opened(queue, Console(file=shown, force_terminal=True, color_system=None, width=80, height=12)) as table:
        table.look()
        first = shown.getvalue()
        assert [row.split() for row in first.splitlines()[-4:]] == [
            [],
            ["key", "0", "5", "s", "late"],
            *(["key", str(n), "in", f"{10 * n - 5}", "s"] for n in range(1, 3)),
        ]
        table.tell(Unavailable("nothing answers"))
        table.tell(Unavailable("nothing answers any more"))
    frames = re.split(r"(?:\x1b\[1A\x1b\[2K)+", shown.getvalue())
    assert [frame.count("key 2") for frame in frames] == [1, 1, 1, 1], "the last one is what stays at the end"
    assert [frame.count("nothing answers") for frame in frames] == [0, 1, 1, 1]


def test_a_narrow_terminal_shows_whole_numbers() -> None:
    """The beginning of a number is another number."""
    queue, _ = virtual_queue(queue_name="a-long-name" * 3)
    queue.on_next([Job(f"a long key {n:04}", 1e9) for n in range(2000)])
    shown = io.StringIO()
    with opened(queue, Console(file=shown, force_terminal=True, color_system=None, width=22, height=24)) as table:
        table.look()
    for row in (r"scheduled +2,000", r"due +0", r"claimed +0", r"dead +0", r"lateness +on time"):
        assert re.search(rf"^{row}$", shown.getvalue(), re.MULTILINE), row


@pytest.mark.slow
def test_an_outage_stands_below_the_table_and_heals(own_server: Server, terminal: Callable[..., Terminal]) -> None:
    with own_server.client() as client:
        client.zadd(Q, {"a": 4e12})
    shown = terminal("--redis", own_server.url)
    wait_until(lambda: shown.has(r"\ba +in "), "the key is shown")
    own_server.kill()
    wait_until(lambda: shown.has("nothing answers"), "the outage is shown")
    own_server.start()
    with own_server.client() as client:
        client.zadd(Q, {"b": 4e12})
    wait_until(lambda: shown.has(r"\bb +in "), "the table goes on")
    assert shown.process.poll() is None


LINE = r"^scheduled 0 due 0 claimed 0 dead 0 lateness 0\.000\r\n"


@pytest.mark.slow
def test_a_terminal_that_cannot_move_its_cursor_gets_lines(terminal: Callable[..., Terminal]) -> None:
    shown = terminal(TERM="dumb")
    wait_until(lambda: shown.has(LINE), "a line is shown")


def test_without_rich_a_terminal_gets_lines(terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    (tmp_path / "rich.py").write_text("raise ImportError('it is not installed')\n")
    shown = terminal(PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    wait_until(lambda: shown.has(LINE), "a line is shown")


@pytest.mark.slow
def test_a_terminal_gets_lines_of_json_if_they_are_asked_for(terminal: Callable[..., Terminal]) -> None:
    shown = terminal("--json")
    wait_until(lambda: shown.has(r'^\{"scheduled": 0, .*\}\r\n'), "a line is shown")


@pytest.mark.slow
def test_standard_output_that_is_closed_is_said(server: Server) -> None:
    words = ["sh", "-c", 'exec "$@" >&-', "sh", *MODULE, "stats", "--watch", "--redis", server.url]
    done = subprocess.run(words, capture_output=True, env=environment(), timeout=20, check=False)
    assert (done.stderr, done.returncode) == (b"rx-runat: standard output is closed\n", 1)


@pytest.mark.slow
def test_the_table_needs_nothing_of_the_locale(terminal: Callable[..., Terminal], queue: RunAt) -> None:
    queue.schedule("naïve 日本", 4e9)
    shown = terminal(LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    wait_until(lambda: shown.has("naïve 日本"), "the key is shown")


@pytest.mark.slow
def test_what_needs_no_table_does_not_import_rich(server: Server) -> None:
    script = "import sys; from rx_runat.cli import main; main(sys.argv[1:]); assert 'rich' not in sys.modules"
    subprocess.run([sys.executable, "-c", script, "stats", "--redis", server.url], check=True, capture_output=True)
