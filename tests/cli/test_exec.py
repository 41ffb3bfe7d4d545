"""`--exec`: a command for each key, its input, its verdict, and its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from shlex import quote
from typing import Any

import pytest
import redis
from reactivex import operators as ops

from rx_runat import InvalidSetting, Outcome, RunAt, settle
from rx_runat.cli import exec  # noqa: A004
from rx_runat.cli.exec import Command, split
from rx_runat.settling.failures import WorkFailed
from tests.support.cli_worker import working
from tests.support.servers import Server
from tests.support.waiting import wait_until

Work = Callable[..., list[Outcome[Any]]]

# Says what it is called with, as JSON on a line of standard error. A `python3` on PATH may be a slow shell script.
SHOW = f"""{quote(sys.executable)} -IS -c '
import json, os, sys
print(json.dumps([sys.argv[1:], os.environ["RX_RUNAT_KEY"], sys.stdin.read()]), file=sys.stderr)
sys.exit(1)
' """


@pytest.fixture
def work(queue: RunAt) -> Work:
    """Runs a command for the keys that wait, and returns the next outcomes."""

    def work(template: str, n: int = 1, **settings: Any) -> list[Outcome[Any]]:
        async def main() -> list[Outcome[Any]]:
            settings.setdefault("max_attempts", 1)
            with ThreadPoolExecutor(8, "rx_runat command") as threads:
                settling = settle(Command(split(template), threads), **settings)
                return await queue.claims().pipe(settling, ops.take(n), ops.to_list())

        return asyncio.run(main())

    return work


def lives(pid: int) -> bool:
    """Whether a process runs: a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def pids(path: Path, n: int) -> list[int]:
    """The numbers of processes in a file, when there are so many."""
    wait_until(lambda: path.exists() and len(path.read_text().split()) >= n, "the command has begun")
    return [int(word) for word in path.read_text().split()]


def test_status_zero_acks(queue: RunAt, work: Work) -> None:
    queue.schedule("a", 1)
    (outcome,) = work("true {}")
    assert (outcome.verdict, outcome.error) == ("acked", None)
    assert queue.size() == 0


@pytest.mark.parametrize("key", ["a", "a b", "$(touch x); `y` *", "-n", "{}", "'\"", "a\nb", "ä\udcff"])
def test_a_key_is_one_word_whatever_it_holds(key: str, queue: RunAt, work: Work) -> None:
    queue.schedule(key, 1)
    (outcome,) = work(SHOW + "'--name={}' {} x {}")
    assert json.loads(str(outcome.error)) == [["--name={}", key, "x", key], key, "null\n"]


def test_data_is_the_standard_input_as_json(queue: RunAt, work: Work) -> None:
    data = {"to": "ann", "n": [1, None, "ä"]}
    queue.schedule("a", 1, data=data)
    (outcome,) = work(SHOW)
    assert json.loads(json.loads(str(outcome.error))[2]) == data


@pytest.mark.parametrize("template", ["true", "sh -c 'exec 0<&-; sleep 0.1'", "sh -c 'sleep 0.1'"])
def test_data_that_nobody_reads_does_no_harm(template: str, make: Callable[..., RunAt]) -> None:
    with make(data_limit=1 << 20) as queue, ThreadPoolExecutor(1, "rx_runat command") as threads:
        queue.schedule("a", 1, data="x" * 500_000)

        async def main() -> Outcome[Any]:
            return await queue.claims().pipe(settle(Command(split(template), threads)), ops.first())

        assert asyncio.run(main()).verdict == "acked"


@pytest.mark.parametrize(
    "script, reason",
    [
        ("echo first >&2; echo last >&2; exit 3", "last"),
        ("echo last >&2; echo >&2; exit 3", "last"),
        ("printf 'no end of line' >&2; exit 1", "no end of line"),
        ("printf 'bytes \\377' >&2; exit 1", "bytes \\xff"),
        ("echo to standard output; exit 3", "the command ended with status 3"),
        ("kill -9 $$", "the command was ended by SIGKILL"),
    ],
)
def test_any_other_status_nacks_with_the_last_line_of_standard_error_as_the_reason(
    script: str, reason: str, queue: RunAt, work: Work
) -> None:
    queue.schedule("a", 1)
    (first, second) = work(f'sh -c "{script}"', 2, max_attempts=2, backoff=lambda _: 0)
    assert (first.verdict, str(first.error)) == ("nacked", reason)
    assert (second.verdict, str(second.error)) == ("buried", reason)
    assert [letter.reason for letter in queue.dead.peek()] == [reason]


def test_standard_error_is_in_the_log_line_by_line(queue: RunAt, work: Work, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    queue.schedule("a", 1)
    work("sh -c 'echo one >&2; echo two >&2; head -c 20000 /dev/zero | tr \"\\\\0\" x >&2'")
    said = [record.getMessage() for record in caplog.records if vars(record).get("key") == "a"]
    assert said[:2] == ["'a': one", "'a': two"]
    assert sum(line.count("x") for line in said[2:]) == 20_000, "a long line comes in pieces"


def test_a_timeout_ends_the_process_group(
    queue: RunAt, work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a command that ignores SIGTERM, and what it has started."""
    monkeypatch.setattr(exec, "_TERM_SECONDS", 0.05)
    queue.schedule("a", 1)
    path = tmp_path / "pids"
    script = f'trap "" TERM; sleep 60 & echo $$ $! > {path}; wait; sleep 60'
    (outcome,) = work(f"sh -c '{script}'", timeout=0.3)
    assert (outcome.verdict, type(outcome.error)) == ("buried", TimeoutError)
    assert not any(map(lives, pids(path, 2)))


def test_a_command_may_clean_up_when_it_is_ended(queue: RunAt, work: Work, tmp_path: Path) -> None:
    queue.schedule("a", 1)
    script = f'trap "touch {tmp_path}/clean; exit" TERM; sleep 60 & wait'
    (outcome,) = work(f"sh -c '{script}'", timeout=0.3)
    assert type(outcome.error) is TimeoutError
    assert (tmp_path / "clean").exists()


def test_a_lost_lease_ends_the_command(queue: RunAt, work: Work, tmp_path: Path) -> None:
    """Else it would go on beside the next attempt."""
    queue.schedule("a", 1)
    path = tmp_path / "pids"
    with ThreadPoolExecutor(1, "rx_runat command") as threads:

        async def main() -> Outcome[Any]:
            command = Command(split(f"sh -c 'echo $$ > {path}; exec sleep 60'"), threads)
            outcome = asyncio.ensure_future(_next(queue.claims(lease=0.3).pipe(settle(command))))
            await asyncio.to_thread(pids, path, 1)
            await queue.aio.cancel("a")
            return await outcome

        assert asyncio.run(main()).verdict == "lost"
    assert not any(map(lives, pids(path, 1)))


async def _next(outcomes: Any) -> Any:
    return await outcomes.pipe(ops.first())


def test_what_a_command_leaves_running_keeps_nobody_waiting(queue: RunAt, work: Work, tmp_path: Path) -> None:
    """A daemon that it has started inherits its standard error, and goes on."""
    queue.schedule("a", 1)
    path = tmp_path / "pids"
    (outcome,) = work(f"sh -c 'sleep 60 & echo $! > {path}; echo last >&2; exit 1'")
    assert str(outcome.error) == "last"
    (daemon,) = pids(path, 1)
    assert lives(daemon)
    os.kill(daemon, signal.SIGKILL)


def test_a_daemon_that_writes_without_pause_keeps_nobody_waiting(queue: RunAt, work: Work, tmp_path: Path) -> None:
    queue.schedule("a", 1)
    path = tmp_path / "pids"
    (outcome,) = work(f"sh -c 'yes >&2 & echo $! > {path}; exit 3'")
    try:
        assert (outcome.verdict, type(outcome.error)) == ("buried", WorkFailed)
    finally:
        os.kill(*pids(path, 1), signal.SIGKILL)


@pytest.mark.parametrize("key, words", [("a\0b", "holds a NUL"), ("x" * 200_000, "too long")], ids=["NUL", "long"])
def test_a_key_that_cannot_be_a_word_is_buried_at_once(
    key: str, words: str, queue: RunAt, work: Work, client: redis.Redis
) -> None:
    client.zadd("RunAt~default", {key: 1})
    (outcome,) = work("true {}", max_attempts=5)
    assert outcome.verdict == "buried"
    (letter,) = queue.dead.peek()
    assert (letter.key, letter.attempts) == (key, 1)
    assert words in letter.reason


def test_a_command_that_is_gone_fails_like_any_other(queue: RunAt, work: Work, tmp_path: Path) -> None:
    """It may be back before the next attempt: a deploy replaces it, for example."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    queue.schedule("a", 1)
    with ThreadPoolExecutor(1, "rx_runat command") as threads:
        command = Command(split(f"{program} {{}}"), threads)
        program.unlink()

        async def main() -> Outcome[Any]:
            return await queue.claims().pipe(settle(command, backoff=lambda _: 3600), ops.first())

        outcome = asyncio.run(main())
    assert outcome.verdict == "nacked"
    assert str(outcome.error).startswith("the command could not be started: ")
    assert str(program) in str(outcome.error)


@pytest.mark.parametrize("template", ["", "  ", "{}", "{} x", "echo 'a", "no-such-command {}", "/nowhere/at/all {}"])
def test_a_template_that_is_no_command_is_refused(template: str) -> None:
    with pytest.raises(InvalidSetting, match=r"^--exec: "):
        split(template)


# As a process.


def test_a_worker_runs_a_command(server: Server, queue: RunAt, tmp_path: Path) -> None:
    queue.schedule("a", timedelta(0), data={"to": "ann"})
    with working(tmp_path, server.url, "--exec", "sh -c 'cat; echo $RX_RUNAT_KEY'") as worker:
        worker.wait_until_settled(1)
        assert worker.end() == 0
        assert worker.out == '{"to": "ann"}\na\n'


def test_the_first_signal_spares_the_command_and_the_second_kills_it(
    server: Server, queue: RunAt, tmp_path: Path
) -> None:
    queue.schedule("a", 1)
    path = tmp_path / "pids"
    script = f'trap "" TERM; sleep 60 & echo $$ $! > {path}; wait'
    with working(tmp_path, server.url, "--exec", f"sh -c '{script}'") as worker:
        running = pids(path, 2)
        worker.popen.send_signal(signal.SIGINT)
        worker.wait_for("no new work begins")
        assert all(map(lives, running))
        assert worker.end_at_once(signal.SIGINT) == 130
    wait_until(lambda: not any(map(lives, running)), "the command and its child are dead")


def test_ctrl_c_in_a_terminal_does_not_reach_the_command(server: Server, queue: RunAt, tmp_path: Path) -> None:
    """A terminal sends it to the process group of the worker."""
    queue.schedule("a", 1)
    path = tmp_path / "pids"
    with working(tmp_path, server.url, "--exec", f"sh -c 'echo $$ > {path}; exec sleep 60'") as worker:
        (running,) = pids(path, 1)
        assert os.getpgid(running) == running != os.getpgid(worker.popen.pid)
        assert os.getsid(running) == running
        subprocess.run(["kill", "-KILL", str(running)], check=True)
        worker.wait_for("the command was ended by SIGKILL")
