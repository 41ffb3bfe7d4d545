"""The command: as a process of its own where processes are the point, else called here."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis

from rx_runat import RunAt
from rx_runat.cli import main
from tests.support.servers import Server
from tests.support.waiting import wait_until

MODULE = [sys.executable, "-m", "rx_runat"]
SCRIPT = [str(Path(sys.executable).with_name("rx-runat"))]
SECONDS = 20.0  # within which a process has ended, or never will

HALVES = [["tail"], ["size"], ["peek"], ["cancel", "a"], ["schedule", "a", "+1"], ["schedule"]]

Start = Callable[..., "subprocess.Popen[bytes]"]
Filtered = Callable[..., tuple[bytes, bytes, int]]


def environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "REDIS_URL"} | {
        "PYTHONWARNINGS": "error",
        **more,
    }


def run(*args: str, feed: bytes = b"", program: list[str] = MODULE, **more: str) -> subprocess.CompletedProcess[bytes]:
    """The command from its beginning to its end."""
    return subprocess.run(
        [*program, *args], input=feed, capture_output=True, env=environment(**more), timeout=SECONDS, check=False
    )


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the command with pipes, and ends it whatever happens; Ctrl-C reaches it as from a terminal."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*args: str, **settings: int) -> subprocess.Popen[bytes]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | settings
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
        try:
            started.append(subprocess.Popen([*MODULE, *args], env=environment(), bufsize=0, **pipes))  # type: ignore[call-overload]
        finally:
            signal.signal(signal.SIGINT, before)
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        for end in (process.stdin, process.stdout, process.stderr):
            if end is not None:
                end.close()


@pytest.fixture
def embedded() -> Iterator[str]:
    """A URL of a durable server of the test's own."""
    directory = tempfile.mkdtemp(prefix="rxc-")
    yield f"embedded://{directory}"
    wait_until(lambda: not os.path.exists(f"{directory}/socket"), "the embedded server has ended")
    shutil.rmtree(directory)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Runs the command in this process: quicker, where no process is needed."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    before = signal.getsignal(signal.SIGTERM)
    yield lambda *args: main(args)
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def filtered(
    here: Callable[..., int],
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
    tmp_path: Path,
) -> Filtered:
    """Feeds the command in this process, on the real server; answers both outputs and the exit status."""

    def filtered(feed: bytes, *args: str) -> tuple[bytes, bytes, int]:
        (tmp_path / "in").write_bytes(feed)
        with open(tmp_path / "in") as file:
            monkeypatch.setattr(sys, "stdin", file)
            status = here(*args, "--redis", server.url)
        return (*capfdbinary.readouterr(), status)

    return filtered


def unread(pipe: object) -> int:
    """How many bytes lie in a pipe."""
    answer = fcntl.ioctl(pipe, termios.FIONREAD, b"\0\0\0\0")  # type: ignore[call-overload]
    return int.from_bytes(answer, sys.byteorder)


def line_of(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], SECONDS)
    assert ready, "waited in vain for a line"
    return process.stdout.readline().decode()


def rest_of(process: subprocess.Popen[bytes]) -> tuple[list[str], str, int]:
    """The lines that nobody has read yet, standard error, and the exit status."""
    out, err = process.communicate(timeout=SECONDS)
    return out.decode().splitlines(), err.decode(), process.returncode


def feed(process: subprocess.Popen[bytes], lines: bytes, end: bool = False) -> None:
    assert process.stdin is not None
    process.stdin.write(lines)
    if end:
        process.stdin.close()
        process.stdin = None


def schedule(queue: RunAt, keys: list[str]) -> None:
    queue.on_next([{"runAt": 1, "key": key} for key in keys])


def waiting(queue: RunAt) -> list[str]:
    return [due.key for due in queue.peek(100_000)]


# The filter.


def test_the_readme_example_prints_the_keys_in_the_order_of_their_times() -> None:
    done = run(feed=b"last +0.56\nmiddle +0.41\nfirst +0.33\n", program=SCRIPT)
    assert (done.stdout, done.stderr, done.returncode) == (b"first\nmiddle\nlast\n", b"", 0)


def test_a_private_server_leaves_nothing_behind() -> None:
    with tempfile.TemporaryDirectory(prefix="rxc-") as directory:
        done = run(feed=b"b +0.02\na +0.01", TMPDIR=directory)  # and the last line needs no newline
        assert (done.stdout, done.stderr, done.returncode) == (b"a\nb\n", b"", 0)
        assert os.listdir(directory) == []


def test_every_form_of_a_line_is_understood(filtered: Filtered) -> None:
    lines = [
        "delay +0",
        "",
        "zulu 2001-01-02T00:00:00Z",
        "iso 2001-01-02T00:00:00+01:00",
        "ms 1500ms\r",
        '{"runAt": 1000, "key": "with spaces"}',
    ]
    assert filtered("".join(f"{line}\n" for line in lines).encode()) == (
        b"with spaces\nms\niso\nzulu\ndelay\n",
        b"",
        0,
    )


def test_a_bad_line_is_reported_with_its_number_and_the_rest_goes_on(server: Server) -> None:
    done = run("--redis", server.url, feed=b'a +0\nnonsense\n\nb +0\n{"key": "c"}\nd +0\ne yesterday\n')
    assert sorted(done.stdout.split()) == [b"a", b"b", b"d"]
    reports = done.stderr.decode().splitlines()
    assert [report.partition(": got")[0].partition(": missing")[0] for report in reports] == [
        "rx-runat: line 2: line",
        "rx-runat: line 5: runAt",
        "rx-runat: line 7: WHEN",
    ]
    assert done.returncode == 1


def test_json_lines_have_key_run_at_and_lateness(filtered: Filtered) -> None:
    out, err, status = filtered(b"a 1500ms\nb c 2026-01-01T00:00:00+01:00\n", "--json")
    assert (err, status) == (b"", 0)
    one, other = map(json.loads, out.splitlines())
    assert one.keys() == other.keys() == {"key", "run_at", "lateness"}
    assert (one["key"], one["run_at"]) == ("a", "1970-01-01T00:00:01.500000+00:00")
    assert (other["key"], other["run_at"]) == ("b c", "2025-12-31T23:00:00+00:00")
    apart = datetime.fromisoformat(other["run_at"]) - datetime.fromisoformat(one["run_at"])
    assert one["lateness"] - other["lateness"] == pytest.approx(apart.total_seconds())
    assert other["lateness"] > 0


def test_a_key_that_is_no_utf8_passes_through_as_it_is(server: Server) -> None:
    done = run("--redis", server.url, feed=b"\xff\xfe +0\n")
    assert (done.stdout, done.stderr, done.returncode) == (b"\xff\xfe\n", b"", 0)


@pytest.mark.slow
def test_twenty_thousand_lines_are_all_printed_and_nothing_else_is_said(server: Server) -> None:
    keys = [str(n) for n in range(20_000)]
    done = run("--redis", server.url, feed="".join(f"{key} +0\n" for key in keys).encode())
    assert sorted(done.stdout.decode().splitlines()) == sorted(keys)
    assert (done.stderr, done.returncode) == (b"", 0)


@pytest.mark.parametrize("feed", [b"", b"\n", b" \n\n\t"])
def test_no_input_is_nothing_to_do(feed: bytes, filtered: Filtered) -> None:
    assert filtered(feed) == (b"", b"", 0)


def test_a_filter_that_follows_prints_what_others_schedule(server: Server, start: Start, queue: RunAt) -> None:
    process = start("--follow", "--redis", server.url)
    feed(process, b"mine 1ms\n", end=True)
    assert line_of(process) == "mine\n"
    schedule(queue, ["theirs"])
    assert line_of(process) == "theirs\n"
    process.terminate()
    assert rest_of(process) == ([], "", 128 + signal.SIGTERM)


@pytest.mark.slow
def test_a_filter_ends_though_another_process_took_its_key(server: Server, start: Start, client: redis.Redis) -> None:
    process = start("--redis", server.url)
    feed(process, b"mine +3600\n", end=True)
    wait_until(lambda: client.zcard("RunAt~default"), "the key is scheduled")
    client.zpopmin("RunAt~default")
    assert rest_of(process) == ([], "", 0)


@pytest.mark.parametrize("keys", ["a", "ab"], ids=["while it is printed", "while it is in hand"])
def test_a_filter_waits_for_a_key_that_it_schedules_again(
    keys: str, server: Server, start: Start, client: redis.Redis
) -> None:
    process = start("--redis", server.url)
    feed(process, "".join(f"{key} 1ms\n" for key in keys).encode())
    wait_until(lambda: unread(process.stdout) and not client.zcard("RunAt~default"), "the first is being printed")
    feed(process, f"{keys[-1]} +0.5\n".encode())
    wait_until(lambda: client.zcard("RunAt~default"), "the last is scheduled again")
    feed(process, b"", end=True)
    assert rest_of(process) == ([*keys, keys[-1]], "", 0)


def test_a_server_that_is_away_is_said_with_the_lines_that_were_not_scheduled() -> None:
    done = run("--redis", "unix:///nowhere/at.all", feed=b"a +0\nb +0\n")
    assert done.stdout == b""
    assert b"lines 1 to 2 were not scheduled" in done.stderr
    assert b"unix:///nowhere/at.all" in done.stderr
    assert b"Traceback" not in done.stderr
    assert done.returncode == 1


# Readers that leave, do not read, or cannot.


def test_head_takes_one_key_and_all_others_stay_in_the_queue(embedded: str, start: Start) -> None:
    head = subprocess.Popen(["head", "-n", "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert head.stdin is not None
    process = start("--redis", embedded, stdout=head.stdin.fileno())
    head.stdin.close()
    head.stdin = None
    feed(process, "".join(f"key{n} 1ms\n" for n in range(10)).encode(), end=True)
    assert head.communicate(timeout=SECONDS)[0] == b"key0\n"
    _, err = process.communicate(timeout=SECONDS)
    assert (err, process.returncode) == (b"", 0)
    assert run("size", "--redis", embedded).stdout == b"9\n"


def test_a_reader_that_has_left_before_gets_no_key(server: Server, start: Start, queue: RunAt) -> None:
    process = start("--redis", server.url)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    feed(process, b"a 1ms\n", end=True)
    _, err = process.communicate(timeout=SECONDS)
    assert (err, process.returncode) == (b"", 0)
    assert waiting(queue) == ["a"]


def test_a_full_disk_is_said_and_costs_no_key(server: Server, start: Start, queue: RunAt) -> None:
    schedule(queue, ["a", "b"])
    with open("/dev/full", "wb") as full:
        process = start("tail", "--redis", server.url, stdout=full.fileno())
        _, err = process.communicate(timeout=SECONDS)
    assert (err.decode(), process.returncode) == (f"rx-runat: [Errno 28] {os.strerror(errno.ENOSPC)}\n", 1)
    assert waiting(queue) == ["a", "b"]


@pytest.mark.parametrize("half", [["size"], ["peek"]], ids=" ".join)
def test_a_full_disk_is_said_in_words_by_the_halves_too(
    half: list[str], server: Server, start: Start, queue: RunAt
) -> None:
    schedule(queue, ["a"])
    with open("/dev/full", "wb") as full:
        process = start(*half, "--redis", server.url, stdout=full.fileno())
        _, err = process.communicate(timeout=SECONDS)
    assert "No space left" in err.decode()
    assert "Traceback" not in err.decode()
    assert process.returncode != 0


# The end by a signal.


@pytest.mark.parametrize("command, signal_number", [("tail", signal.SIGINT), ("--follow", signal.SIGTERM)])
def test_a_signal_hands_back_what_was_not_printed(
    command: str, signal_number: signal.Signals, server: Server, start: Start, queue: RunAt
) -> None:
    keys = [f"{n:04}" for n in range(1000)]
    schedule(queue, keys)
    process = start(command, "--redis", server.url)
    wait_until(lambda: unread(process.stdout), "a key is printed and unread")
    process.send_signal(signal_number)
    process.wait(SECONDS)
    printed, err, status = rest_of(process)
    assert (err, status) == ("", 128 + signal_number)
    assert printed == keys[: len(printed)]
    assert waiting(queue) == keys[len(printed) :]
    assert printed


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_whose_reader_does_not_read(
    signal_number: signal.Signals, server: Server, start: Start, queue: RunAt
) -> None:
    """A line longer than the pipe: as with a pager that waits for its user."""
    schedule(queue, ["x" * 200_000, "y"])
    process = start("tail", "--redis", server.url)
    wait_until(lambda: unread(process.stdout) >= 65_536, "the pipe is full")
    process.send_signal(signal_number)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    assert process.returncode == 128 + signal_number
    assert waiting(queue) == ["x" * 200_000, "y"]


def test_a_signal_ends_a_filter_with_a_private_server(start: Start) -> None:
    process = start()
    feed(process, b"a 1ms\nb +3600\n")
    assert line_of(process) == "a\n"
    process.send_signal(signal.SIGINT)
    assert rest_of(process) == ([], "", 128 + signal.SIGINT)


# The halves alone.


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
    """Runs a half in this process, on the real server."""
    return lambda *args: here(*args, "--redis", server.url)


def test_schedule_takes_lines_and_prints_nothing(filtered: Filtered, queue: RunAt) -> None:
    out, err, status = filtered(b"b +3601\na +3600\nbad\n", "schedule")
    assert (out, status) == (b"", 1)
    assert err.startswith(b"rx-runat: line 3: ")
    assert waiting(queue) == ["a", "b"]


def test_schedule_answers_the_run_at_of_a_delay(
    at: Callable[..., int], queue: RunAt, capfd: pytest.CaptureFixture[str]
) -> None:
    assert at("schedule", "a", "+1h") == 0
    out, err = capfd.readouterr()
    assert (datetime.fromisoformat(out.rstrip()), err) == (queue.when("a"), "")


@pytest.mark.parametrize("words", [["a"], ["a", "soon"], ["", "+1"], ["a", "2026-01-01T00:00:00"]])
def test_a_schedule_that_cannot_be_read_is_refused_in_words(
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


def test_cancel_takes_keys_out_and_says_which_did_not_wait(
    at: Callable[..., int], queue: RunAt, capfd: pytest.CaptureFixture[str]
) -> None:
    schedule(queue, ["a", "b", "c"])
    assert at("cancel", "a", "c") == 0
    assert capfd.readouterr() == ("", "")
    assert at("cancel", "a", "b") == 1
    assert capfd.readouterr() == ("", "rx-runat: 'a' did not wait\n")
    assert queue.size() == 0


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


@pytest.mark.parametrize("half", HALVES, ids=" ".join)
@pytest.mark.parametrize("url", [None, "embedded://"])
def test_a_half_alone_wants_a_server_that_stays(
    half: list[str],
    url: str | None,
    here: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if url:
        monkeypatch.setenv("REDIS_URL", url)
    assert here(*half) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"rx-runat: {half[0]}: a private server would be gone with this command")
    for way_out in ("--redis", "$REDIS_URL", "embedded:///"):
        assert way_out in err


@pytest.mark.parametrize("half", [["size"], ["peek"], ["cancel", "a"], ["schedule", "a", "+1"]], ids=" ".join)
def test_a_server_that_is_away_is_said_in_words_and_without_its_password(
    half: list[str], here: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    assert here(*half, "--redis", "redis://user:s3cret@127.0.0.1:1/0") == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("rx-runat: nothing answers at redis://127.0.0.1:1")
    assert "s3cret" not in err


@pytest.mark.parametrize(
    "options, words",
    [
        (["--redis", "nonsense"], "redis: "),
        (["--redis", "embedded://host/dir"], "redis: an embedded:// URL must be"),
        (["--redis", "memory://", "--queue-name", ""], "queue_name: got ''"),
        (["--redis", "memory://", "--queue-name", "a:dead"], "queue_name: got 'a:dead'"),
        (["--redis", "memory://", "--interval", "0"], "interval: got 0.0"),
        (["--redis", "memory://", "--interval", "nan"], "interval: got nan"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_in_words(
    options: list[str], words: str, here: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    assert here("size", *options) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"rx-runat: {words}")


@pytest.mark.parametrize(
    "args", [["frobnicate"], ["--interval", "soon"], ["cancel"], ["peek", "many"], ["size", "--frob"]], ids=" ".join
)
def test_wrong_usage_is_told_with_exit_status_two(
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


# Progress.


def test_a_long_input_shows_its_progress_on_a_terminal_and_leaves_the_line_empty(
    server: Server, start: Start, queue: RunAt
) -> None:
    terminal, its_end = pty.openpty()
    try:
        process = start("schedule", "--redis", server.url, stderr=its_end)
        os.close(its_end)
        lines = 0

        def said_something() -> bool:
            nonlocal lines
            lines += 1
            feed(process, f"key{lines} +3600\n".encode())
            return bool(select.select([terminal], [], [], 0)[0])

        wait_until(said_something, "progress is shown")
        feed(process, b"", end=True)
        said = b""
        with contextlib.suppress(OSError):  # the terminal's other end is closed
            while chunk := os.read(terminal, 4096):
                said += chunk
        assert process.wait(SECONDS) == 0
    finally:
        os.close(terminal)
    first, *_ = said.split(b"\r")[1:]
    assert first.endswith(b" lines scheduled")
    assert 0 < int(first.split()[0].replace(b",", b"")) <= lines
    assert said.endswith(b"\r\x1b[K")
    assert queue.size() == lines


@pytest.mark.parametrize(
    "closing, words", [("<&-", b"standard input is closed"), (">&-", b"standard output is closed")]
)
def test_a_closed_stream_is_said_in_words(closing: str, words: bytes) -> None:
    command = f"{sys.executable} -m rx_runat --redis memory:// {closing}"
    done = subprocess.run(["sh", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"rx-runat: " + words + b"\n")
