"""`rx-runat work` as a process: what it works with, how it ends, and how it survives."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
import redis

from rx_runat import Job, RunAt
from rx_runat.cli import work
from rx_runat.cli.work_log import WorkLog
from rx_runat.store.keys import claimed_key, leases_key
from tests.support.cli_worker import working
from tests.support.command import MODULE, environment
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"


def write(queue: RunAt, keys: str) -> None:
    queue.on_next([Job(key, 1) for key in keys])


def nothing_is_left(client: redis.Redis) -> bool:
    return not client.exists(Q, claimed_key(Q), leases_key(Q))


@pytest.mark.parametrize(
    "name", [*(pytest.param(each, marks=pytest.mark.slow) for each in ("plain", "coroutine", "stream")), "mailer.send"]
)
def test_it_works_with_each_kind_of_function(
    name: str, server: Server, queue: RunAt, client: redis.Redis, tmp_path: Path
) -> None:
    write(queue, "abc")
    with working(tmp_path, server.url, f"jobs:{name}") as worker:
        worker.wait_until_settled(3)
        assert sorted(worker.verdicts) == [(key, 1, "acked") for key in "abc"]
        assert worker.end() == 0
        assert sorted(worker.done) == ["done a 1", "done b 1", "done c 1"]
    assert nothing_is_left(client)


@pytest.mark.slow  # up to a second passes between two attempts
def test_a_failure_is_nacked_and_buried_in_the_last_attempt(server: Server, queue: RunAt, tmp_path: Path) -> None:
    write(queue, "a")
    with working(tmp_path, server.url, "jobs:fails", "--max-attempts", "2") as worker:
        worker.wait_until_settled(2)
        assert worker.verdicts == [("a", 1, "nacked"), ("a", 2, "buried")]
        assert worker.end() == 0
    assert [letter.reason for letter in queue.dead.peek()] == ["ValueError: no route"]


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_lets_the_work_under_way_end(
    number: signal.Signals, server: Server, queue: RunAt, client: redis.Redis, tmp_path: Path
) -> None:
    write(queue, "abcdef")
    with working(tmp_path, server.url, "jobs:waits", "--max-concurrent", "2") as worker:
        wait_until(lambda: len(worker.done) == 2, "work has begun")
        worker.popen.send_signal(number)
        wait_until(lambda: queue.size() == 4, "what was not begun is back")
        assert worker.popen.poll() is None
        (tmp_path / "go").touch()
        assert worker.wait() == 0
        assert sorted(worker.verdicts) == [("a", 1, "acked"), ("b", 1, "acked")]
        assert worker.records[-1]["message"].endswith("work ended in order, claims settled: 2")
    assert {due.key for due in queue.peek()} == set("cdef")
    assert not client.exists(claimed_key(Q), leases_key(Q))


@pytest.mark.parametrize("second", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_second_signal_ends_it_at_once_and_what_was_begun_comes_again(
    second: signal.Signals, server: Server, queue: RunAt, tmp_path: Path
) -> None:
    write(queue, "abc")
    with working(tmp_path, server.url, "jobs:waits", "--max-concurrent", "2", "--lease", "0.5") as worker:
        wait_until(lambda: len(worker.done) == 2, "work has begun")
        worker.terminate()
        wait_until(lambda: queue.size() == 1, "what was not begun is back")
        assert worker.end_at_once(second) == 130
        assert worker.records[-1]["message"] == f"{second.name} again: the process ends at once"
    got: list[tuple[str, int]] = []
    queue.claims().subscribe(lambda claim: got.append((claim.key, claim.attempt)))
    wait_until(lambda: len(got) == 3, "all keys come again")
    assert sorted(got) == [("a", 2), ("b", 2), ("c", 1)]


def test_copies_of_the_first_signal_are_no_second_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `timeout` sends them: to the worker, and to the process group of which the worker is a member."""
    time, statuses = [100.0], list[int]()
    monkeypatch.setattr(work, "monotonic", lambda: time[0])
    monkeypatch.setattr("os._exit", statuses.append)
    told: list[signal.Signals] = []
    with WorkLog(as_json=False) as log, work._ending(log) as end:
        end.subscribe(told.append)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until(lambda: told, "the first one is told")
        for time[0], number in ((100.0, signal.SIGTERM), (100.19, signal.SIGINT)):
            os.kill(os.getpid(), number)
        assert (told, statuses) == ([signal.SIGTERM], [])
        time[0] = 100.21
        os.kill(os.getpid(), signal.SIGTERM)
        assert statuses == [130]


@pytest.mark.slow
def test_a_signal_of_a_forked_child_is_no_second_one(server: Server, queue: RunAt, tmp_path: Path) -> None:
    """A child of multiprocessing, for example, which its parent ends: it ends as a child of any command does."""
    write(queue, "a")
    with working(tmp_path, server.url, "jobs:forks") as worker:
        worker.wait_until_settled(1)
        assert worker.end() == 0
        assert worker.done == [f"{128 + signal.SIGTERM} a 1"]
        assert "again: the process ends at once" not in worker.err


@pytest.mark.slow
def test_a_log_that_nobody_reads_keeps_no_second_signal_waiting(server: Server, tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text("open('imported', 'w').close()\ndef plain(claim): ...\n")
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    args = [*MODULE, "work", "jobs:plain", "--redis", server.url]
    with subprocess.Popen(args, cwd=tmp_path, env=environment(), stderr=writing) as worker:
        try:
            wait_until((tmp_path / "imported").exists, "it has begun")

            def ends() -> bool:
                worker.terminate()
                return worker.poll() is not None

            wait_until(ends, "the second signal ends it")
            assert worker.returncode == 130
        finally:
            worker.kill()
            os.close(reading)
            os.close(writing)


def test_a_coroutine_that_raises_system_exit_is_no_orderly_end(server: Server, queue: RunAt, tmp_path: Path) -> None:
    """Asyncio ends its event loop then, and raises the error there."""
    write(queue, "a")
    with working(tmp_path, server.url, "jobs:exits") as worker:
        assert worker.wait() == 1
        assert "the event loop was ended by SystemExit(0)" in [each["message"] for each in worker.records]


@pytest.mark.slow
def test_a_coroutine_that_cannot_be_cancelled_does_not_keep_it_from_ending(
    server: Server, queue: RunAt, tmp_path: Path
) -> None:
    write(queue, "a")
    with working(tmp_path, server.url, "jobs:stays", "--timeout", "0.1", "--max-attempts", "1") as worker:
        worker.wait_for("was buried")
        worker.terminate()
        assert worker.wait() == 0


@pytest.mark.slow
def test_after_kill_9_another_worker_takes_over(server: Server, queue: RunAt, tmp_path: Path) -> None:
    write(queue, "a")
    args = ("jobs:dies", "--lease", "0.5")
    with working(tmp_path, server.url, *args) as worker:
        assert worker.wait() == -signal.SIGKILL
        with working(tmp_path, server.url, *args, name="second") as second:
            second.wait_until_settled(1)
            assert second.verdicts == [("a", 2, "acked")]
            assert second.end() == 0
        assert worker.done == ["begun a 1", "begun a 2", "done a 2"]


@pytest.mark.slow
def test_two_workers_share_a_queue(server: Server, queue: RunAt, client: redis.Redis, tmp_path: Path) -> None:
    args = ("jobs:coroutine", "--max-concurrent", "2", "--max-in-flight", "4")
    with working(tmp_path, server.url, *args) as one, working(tmp_path, server.url, *args, name="other") as other:
        one.wait_for("work begins")
        other.wait_for("work begins")
        queue.on_next([Job(f"k{n:03}", 1) for n in range(200)])
        wait_until(lambda: len(one.done) == 200, "all keys are done")
        assert (one.end(), other.end()) == (0, 0)
        assert sorted(one.done) == [f"done k{n:03} 1" for n in range(200)]
        assert {int(line.split()[-1]) for line in one.noted} == {one.popen.pid, other.popen.pid}
        assert len(one.verdicts) + len(other.verdicts) == 200
    assert nothing_is_left(client)


@pytest.mark.slow
def test_an_outage_is_survived(own_server: Server, tmp_path: Path) -> None:
    with working(tmp_path, own_server.url, "jobs:plain") as worker:
        worker.wait_for("work begins")
        own_server.kill()
        worker.wait_for("retrying until it answers")
        own_server.revive()
        with RunAt(own_server.url) as queue:
            write(queue, "a")
        worker.wait_until_settled(1)
        worker.wait_for("answers again, after")
        assert worker.end() == 0


def test_it_starts_and_ends_in_order_while_redis_is_away(own_server: Server, tmp_path: Path) -> None:
    own_server.kill()
    with working(tmp_path, own_server.url, "jobs:plain") as worker:
        worker.wait_for("retrying until it answers")
        assert worker.end() == 0


def test_a_stream_that_fails_ends_it_with_status_one(
    server: Server, queue: RunAt, client: redis.Redis, tmp_path: Path
) -> None:
    client.set(Q, "of another type")
    with working(tmp_path, server.url, "jobs:plain") as worker:
        assert worker.wait() == 1
        assert worker.records[-1]["message"].startswith("the stream failed: ")
        assert "WRONGTYPE" in worker.records[-1]["message"]


@pytest.mark.slow
def test_keys_come_again(server: Server, queue: RunAt, tmp_path: Path) -> None:
    queue.schedule("a", timedelta(0), data=[1])
    with working(tmp_path, server.url, "jobs:plain", "--again", "1h") as worker:
        worker.wait_until_settled(1)
        assert worker.end() == 0
        (next_run,) = [each["next"] for each in worker.records if "verdict" in each]
    (due,) = queue.peek()
    assert (due.key, due.run_at.isoformat(), due.data) == ("a", next_run, [1])


def test_the_log_tells_key_attempt_verdict_seconds_and_lateness(server: Server, queue: RunAt, tmp_path: Path) -> None:
    write(queue, "ab")
    with working(tmp_path, server.url, "jobs:coroutine") as worker:
        worker.wait_until_settled(2)
        assert worker.end() == 0
        records = [each for each in worker.records if "verdict" in each]
    for each in records:
        assert (each["level"], each["attempt"], each["verdict"]) == ("info", 1, "acked")
        assert 0.01 <= each["seconds"] < each["lateness"]  # they were due in 1970
    assert {each["key"] for each in records} == {"a", "b"}


@pytest.mark.slow
def test_the_log_of_the_function_looks_like_that_of_the_worker(server: Server, queue: RunAt, tmp_path: Path) -> None:
    write(queue, "a")
    with working(tmp_path, server.url, "jobs:logs") as worker:
        worker.wait_until_settled(1)
        assert worker.end() == 0
        said = [(each["logger"], each["level"], each["message"]) for each in worker.records]
    assert ("app", "info", "a word of a") in said


@pytest.mark.slow
def test_it_is_measured_where_the_environment_asks_for_it(
    server: Server, queue: RunAt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenTelemetry's own variables: spans go to standard output."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "none")
    write(queue, "a")
    with working(tmp_path, server.url, "jobs:plain") as worker:
        worker.wait_until_settled(1)
        assert worker.end() == 0, worker.err
        assert '"name": "process RunAt~default"' in worker.out
