"""A worker that is told to end: real processes and real signals, in the middle of work."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from rx_runat import Job, RunAt
from rx_runat.store.keys import claimed_key, leases_key
from tests.support.servers import Server
from tests.support.waiting import wait_until

Q = "RunAt~default"

RUN = """
def main():
    def work(claim):
        note("begun", claim)
        pause(0.05)
        note("done", claim)

    with RunAt(url) as queue:
        n = queue.claims(lease=2).pipe(settle(work, until=signals(), max_concurrent=4), ops.count()).run()
    note("end", n)
"""
AWAIT = """
def main():
    async def work(claim):
        note("begun", claim)
        await asyncio.sleep(0.05)
        note("done", claim)

    async def serve():
        with RunAt(url) as queue:
            n = await queue.claims(lease=2).pipe(settle(work, until=signals(), max_concurrent=4), ops.count())
        note("end", n)

    asyncio.run(serve())
"""
HEAD = """
import asyncio, os, signal, sys, threading
from reactivex import operators as ops
from rx_runat import RunAt, settle, signals

signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background of a shell ignores it
url, path = sys.argv[1:]
log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
pause = lambda seconds: threading.Event().wait(seconds)

def note(event, about):
    os.write(log, f"{event} {getattr(about, 'key', about)}\\n".encode())
"""


@pytest.mark.parametrize(
    "program, number",
    [
        pytest.param(RUN, signal.SIGTERM, id="run-SIGTERM"),
        pytest.param(AWAIT, signal.SIGINT, id="await-SIGINT", marks=pytest.mark.slow),
        pytest.param(RUN, signal.SIGINT, id="run-SIGINT", marks=pytest.mark.slow),
        pytest.param(AWAIT, signal.SIGTERM, id="await-SIGTERM", marks=pytest.mark.slow),
    ],
)
def test_a_worker_ends_in_order(
    program: str, number: signal.Signals, server: Server, client: redis.Redis, tmp_path: Path
) -> None:
    """Work that has begun ends and is acked; all other keys wait for the next worker, and none is done twice."""
    log = tmp_path / "log"
    code = f"{HEAD}{program}\nmain()\n"
    keys = [f"k{n:02}" for n in range(60)]
    with RunAt(server.url) as queue:
        queue.on_next([Job(key, 1) for key in keys])
        worker = subprocess.Popen([sys.executable, "-c", code, server.url, str(log)], stderr=subprocess.PIPE)
        wait_until(lambda: log.exists() and log.read_text().count("done") >= 6, "work goes on")
        worker.send_signal(number)
        try:
            _, said = worker.communicate(timeout=20)
        finally:
            worker.kill()
        lines = [line.split() for line in log.read_text().splitlines()]
        begun, done = ([key for event, key in lines if event == what] for what in ("begun", "done"))
        assert (worker.returncode, said) == (0, b"")
        assert sorted(begun) == sorted(done)
        assert lines[-1] == ["end", str(len(done))]
        assert 6 <= len(done) < 60
        assert {due.key for due in queue.peek(99)} == set(keys) - set(done)
    assert not client.exists(claimed_key(Q), leases_key(Q))
    assert not [key for key in client.scan_iter() if b":receipt:" in key]


@pytest.mark.slow
def test_after_a_second_signal_what_was_begun_comes_again(server: Server, tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = f"{HEAD}{RUN}\nmain()\n".replace("pause(0.05)", "pause(60)").replace("lease=2", "lease=0.5")
    with RunAt(server.url) as queue:
        queue.on_next([Job(key, 1) for key in "abcdef"])
        worker = subprocess.Popen([sys.executable, "-c", code, server.url, str(log)])
        wait_until(lambda: log.exists() and log.read_text().count("begun") == 4, "work goes on")
        worker.send_signal(signal.SIGTERM)
        wait_until(lambda: queue.size() == 2, "what was not begun is back")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == -signal.SIGTERM
        got: list[tuple[str, int]] = []
        queue.claims().subscribe(lambda claim: got.append((claim.key, claim.attempt)))
        wait_until(lambda: len(got) == 6, "all keys come again")
        assert sorted(got) == [("a", 2), ("b", 2), ("c", 2), ("d", 2), ("e", 1), ("f", 1)]
