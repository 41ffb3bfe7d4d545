"""The filter: lines in, keys out, and how it ends."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pty
import select
import signal
import subprocess
import sys
import tempfile
import threading
from datetime import datetime
from pathlib import Path

import pytest
import redis

from rx_runat import RunAt
from rx_runat.cli.duplex import Duplex
from tests.support.command import SECONDS, Filtered, Start, feed, line_of, rest_of, run, schedule, unread, waiting
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.waiting import wait_until

SCRIPT = [str(Path(sys.executable).with_name("rx-runat"))]


def changed(change: str) -> list[str]:
    """Returns the command with other waits than usual."""
    script = f"import sys, time\nfrom rx_runat.cli import main, pipe, standard\n{change}\nsys.exit(main())"
    return [sys.executable, "-c", script]


# Who writes to a slow reader, such as a test that has not read yet, does not wait for half a second.
IMPATIENT = changed("pipe.PATIENCE_SECONDS = 0.1")
# What is shown when half a second has passed is shown after a tenth.
HASTY = changed("standard.monotonic = lambda: 5 * time.monotonic()")


# The filter.


@pytest.mark.slow  # `.ci/run` begins with it, too
def test_the_readme_example_prints_the_keys_in_the_order_of_their_times() -> None:
    done = run(feed=b"last +0.12\nmiddle +0.08\nfirst +0.04\n", program=SCRIPT)
    assert (done.stdout, done.stderr, done.returncode) == (b"first\nmiddle\nlast\n", b"", 0)


def test_a_private_server_leaves_nothing_behind() -> None:
    with tempfile.TemporaryDirectory(prefix="rxc-") as directory:
        done = run(feed=b"b +0.02\na +0.01", TMPDIR=directory)  # and the last line needs no newline
        assert (done.stdout, done.stderr, done.returncode) == (b"a\nb\n", b"", 0)
        assert os.listdir(directory) == []


def test_every_form_of_a_line_is_scheduled(filtered: Filtered) -> None:
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


def test_a_bad_line_is_reported_with_its_number_and_the_others_are_scheduled(filtered: Filtered) -> None:
    out, err, status = filtered(b'a +0\nnonsense\n\nb +0\n{"key": "c"}\nd +0\ne yesterday\n')
    assert sorted(out.split()) == [b"a", b"b", b"d"]
    reports = err.decode().splitlines()
    assert [report.partition(": got")[0].partition(": missing")[0] for report in reports] == [
        "rx-runat: line 2: line",
        "rx-runat: line 5: runAt",
        "rx-runat: line 7: WHEN",
    ]
    assert status == 1


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
def test_twenty_thousand_lines_are_all_printed_and_nothing_else_is(server: Server) -> None:
    keys = [str(n) for n in range(20_000)]
    done = run("--redis", server.url, feed="".join(f"{key} +0\n" for key in keys).encode())
    assert sorted(done.stdout.decode().splitlines()) == sorted(keys)
    assert (done.stderr, done.returncode) == (b"", 0)


@pytest.mark.parametrize("feed", [b"", b"\n", b" \n\n\t"])
def test_no_input_is_nothing_to_do(feed: bytes, filtered: Filtered) -> None:
    assert filtered(feed) == (b"", b"", 0)


@pytest.mark.slow
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


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param("a", id="while it is printed", marks=pytest.mark.slow),
        pytest.param("ab", id="while it waits for its print"),
    ],
)
def test_a_filter_waits_for_a_key_that_it_schedules_again(
    keys: str, server: Server, start: Start, client: redis.Redis
) -> None:
    process = start("--redis", server.url, program=IMPATIENT)
    feed(process, "".join(f"{key} 1ms\n" for key in keys).encode())
    wait_until(lambda: unread(process.stdout) and not client.zcard("RunAt~default"), "the first is being printed")
    feed(process, f"{keys[-1]} +0.2\n".encode())
    wait_until(lambda: client.zcard("RunAt~default"), "the last is scheduled again")
    feed(process, b"", end=True)
    assert rest_of(process) == ([*keys, keys[-1]], "", 0)


def test_if_the_server_is_away_the_error_names_the_lines_that_were_not_scheduled() -> None:
    done = run("--redis", "unix:///nowhere/at.all", feed=b"a +0\nb +0\n")
    assert done.stdout == b""
    assert b"lines 1 to 2 were not scheduled; no line after them was scheduled: " in done.stderr
    assert b"unix:///nowhere/at.all" in done.stderr
    assert b"Traceback" not in done.stderr
    assert done.returncode == 1


def test_if_no_reply_comes_the_error_says_that_lines_may_be_scheduled(proxy: Proxy, queue: RunAt) -> None:
    proxy.of, proxy.cut = b"the key", 99
    done = run("--redis", proxy.url, "schedule", feed=b"the key +1h\n")
    assert b"lines 1 to 1 may be scheduled, or not; no line after them was scheduled: " in done.stderr
    assert (waiting(queue), done.returncode) == (["the key"], 1)


def test_a_line_over_a_limit_of_the_queue_is_reported_and_the_others_are_scheduled(filtered: Filtered) -> None:
    large = json.dumps({"runAt": 1, "key": "large", "data": "x" * 70_000})
    out, err, status = filtered(f"a +0\n{large}\nb +0\n".encode())
    assert sorted(out.split()) == [b"a", b"b"]
    assert err.startswith(b"rx-runat: line 2: data: ")
    assert (err.count(b"\n"), status) == (1, 1)


@pytest.mark.parametrize("prints, follows", [(False, False), (True, True)])
def test_keys_are_kept_in_mind_only_where_the_command_ends_by_them(
    prints: bool, follows: bool, queue: RunAt, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "in").write_text("a +1h\nb +1h\n")
    duplex = Duplex(queue, as_json=False)
    with open(tmp_path / "in") as file:
        monkeypatch.setattr(sys, "stdin", file)
        reading = threading.Thread(target=lambda: duplex.run(reads=True, prints=prints, follows=follows))
        reading.start()
        wait_until(lambda: queue.size() == 2, "both are scheduled")
        assert duplex._expected == set()
        duplex._over.set()
        reading.join()


@pytest.mark.slow
def test_10_an_outage_does_not_end_a_filter_that_waits_for_its_last_key(own_server: Server, start: Start) -> None:
    process = start("--redis", own_server.url)
    feed(process, b"a +0\nb +6\n", end=True)
    assert line_of(process) == "a\n"
    for _ in range(2):  # it looks every second
        own_server.kill()
        assert not select.select([process.stdout], [], [], 1.5)[0]
        own_server.start()
    out, err, status = rest_of(process)
    assert (out, status) == (["b"], 0)
    assert "Traceback" not in err


# Readers that leave, do not read, or cannot.


def test_head_takes_one_key_and_all_others_stay_in_the_queue(server: Server, start: Start, queue: RunAt) -> None:
    head = subprocess.Popen(["head", "-n", "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert head.stdin is not None
    process = start("--redis", server.url, stdout=head.stdin.fileno())
    head.stdin.close()
    head.stdin = None
    feed(process, "".join(f"key{n} 1ms\n" for n in range(10)).encode(), end=True)
    assert head.communicate(timeout=SECONDS)[0] == b"key0\n"
    _, err = process.communicate(timeout=SECONDS)
    assert (err, process.returncode) == (b"", 0)
    assert waiting(queue) == [f"key{n}" for n in range(1, 10)]


@pytest.mark.slow
def test_a_reader_that_has_left_before_gets_no_key(server: Server, start: Start, queue: RunAt) -> None:
    process = start("--redis", server.url)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    feed(process, b"a 1ms\n", end=True)
    _, err = process.communicate(timeout=SECONDS)
    assert (err, process.returncode) == (b"", 0)
    assert waiting(queue) == ["a"]


def test_a_full_disk_is_reported_and_loses_no_key(server: Server, start: Start, queue: RunAt) -> None:
    schedule(queue, ["a", "b"])
    with open("/dev/full", "wb") as full:
        process = start("tail", "--redis", server.url, stdout=full.fileno())
        _, err = process.communicate(timeout=SECONDS)
    assert (err.decode(), process.returncode) == (f"rx-runat: [Errno 28] {os.strerror(errno.ENOSPC)}\n", 1)
    assert waiting(queue) == ["a", "b"]


@pytest.mark.slow
@pytest.mark.parametrize("args", [["size"], ["peek"]], ids=" ".join)
def test_a_full_disk_is_reported_without_a_traceback_by_other_commands(
    args: list[str], server: Server, start: Start, queue: RunAt
) -> None:
    schedule(queue, ["a"])
    with open("/dev/full", "wb") as full:
        process = start(*args, "--redis", server.url, stdout=full.fileno())
        _, err = process.communicate(timeout=SECONDS)
    assert "No space left" in err.decode()
    assert "Traceback" not in err.decode()
    assert process.returncode != 0


# The end by a signal.


@pytest.mark.parametrize(
    "command, signal_number",
    [("tail", signal.SIGINT), pytest.param("--follow", signal.SIGTERM, marks=pytest.mark.slow)],
)
def test_a_signal_hands_back_what_was_not_printed(
    command: str, signal_number: signal.Signals, server: Server, start: Start, queue: RunAt
) -> None:
    keys = [f"{n:04}" for n in range(1000)]
    schedule(queue, keys)
    process = start(command, "--redis", server.url, program=IMPATIENT)
    wait_until(lambda: unread(process.stdout), "a key is printed and unread")
    process.send_signal(signal_number)
    process.wait(SECONDS)
    printed, err, status = rest_of(process)
    assert (err, status) == ("", 128 + signal_number)
    assert printed == keys[: len(printed)]
    assert waiting(queue) == keys[len(printed) :]
    assert printed


@pytest.mark.slow
@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("pause", [0.0, 0.001, 0.01])
def test_copies_of_a_signal_interrupt_no_hand_back(
    signal_number: signal.Signals, pause: float, server: Server, start: Start, queue: RunAt
) -> None:
    """`timeout` sends each signal to its command, and then to the whole process group."""
    keys = [f"{n:04}" for n in range(1000)]
    schedule(queue, keys)
    process = start("tail", "--redis", server.url, program=IMPATIENT)
    wait_until(lambda: unread(process.stdout), "a key is printed and unread")
    for _ in range(3):
        process.send_signal(signal_number)
        threading.Event().wait(pause)
    process.wait(SECONDS)
    printed, err, status = rest_of(process)
    assert (err, status) == ("", 128 + signal_number)
    assert [*printed, *waiting(queue)] == keys


@pytest.mark.slow
def test_a_later_signal_ends_the_command_at_once(own_server: Server, start: Start) -> None:
    with RunAt(own_server.url) as queue:
        schedule(queue, [f"{n:04}" for n in range(1000)])
    process = start("tail", "--interval", "60", "--redis", own_server.url)
    wait_until(lambda: unread(process.stdout), "a key is printed and unread")
    own_server.freeze()  # so that the end in order, which hands keys back, takes seconds
    process.send_signal(signal.SIGTERM)
    threading.Event().wait(0.3)  # an earlier one would be a copy of the first
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == 128 + signal.SIGINT


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_signal_ends_a_filter_with_a_private_server(start: Start) -> None:
    process = start()
    feed(process, b"a 1ms\nb +3600\n")
    assert line_of(process) == "a\n"
    process.send_signal(signal.SIGINT)
    assert rest_of(process) == ([], "", 128 + signal.SIGINT)


# Progress.


def test_a_long_input_shows_its_progress_on_a_terminal_and_leaves_the_line_empty(
    server: Server, start: Start, queue: RunAt
) -> None:
    terminal, its_end = pty.openpty()
    try:
        process = start("schedule", "--redis", server.url, stderr=its_end, program=HASTY)
        os.close(its_end)
        lines = 0

        def progress_is_shown() -> bool:
            nonlocal lines
            lines += 1
            feed(process, f"key{lines} +3600\n".encode())
            return bool(select.select([terminal], [], [], 0)[0])

        wait_until(progress_is_shown, "progress is shown")
        feed(process, b"", end=True)
        output = b""
        with contextlib.suppress(OSError):  # the terminal's other end is closed
            while chunk := os.read(terminal, 4096):
                output += chunk
        assert process.wait(SECONDS) == 0
    finally:
        os.close(terminal)
    first, *_ = output.split(b"\r")[1:]
    assert first.endswith(b" lines scheduled")
    assert 0 < int(first.split()[0].replace(b",", b"")) <= lines
    assert output.endswith(b"\r\x1b[K")
    assert queue.size() == lines


@pytest.mark.parametrize(
    "closing, words",
    [
        pytest.param("<&-", b"standard input is closed", marks=pytest.mark.slow),
        (">&-", b"standard output is closed"),
    ],
)
def test_a_closed_standard_stream_is_an_error(closing: str, words: bytes, server: Server) -> None:
    command = f"{sys.executable} -m rx_runat --redis {server.url} {closing}"
    done = subprocess.run(["sh", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"rx-runat: " + words + b"\n")
