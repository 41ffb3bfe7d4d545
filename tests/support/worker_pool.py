"""Worker processes on one queue, which a test starts, stalls and kills; the pool ends them with the test."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from rx_runat import Job, RunAt
from rx_runat.store.receipts import RECEIPT_TTL_MS
from tests.support.waiting import wait_until
from tests.support.work_log import Summary, WorkLog, check_work_log

ROOT = Path(__file__).parents[2]
LONG = 60.0  # seconds; what a test waits for comes in a few, but a busy machine may need longer
# The number of waiting keys below which `busy_at` adds more, while faults are still to come. It is several times the
# number of keys that one worker claims.
SPARE = 100


class WorkerProcess:
    """A process that runs `worker_main.py`."""

    def __init__(self, url: str, log: WorkLog, **settings: object) -> None:
        command = [sys.executable, "-m", "tests.support.worker_main", url, str(log.path), json.dumps(settings)]
        self._popen = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._popen.pid

    def wait_until_ready(self) -> None:
        assert self._popen.stdout is not None
        assert self._popen.stdout.readline() == "ready\n"

    def open_gate(self) -> None:
        assert self._popen.stdin is not None
        print(file=self._popen.stdin, flush=True)

    def stall(self) -> None:
        """Stop the process, and wait until it stands still: on a busy machine its threads run on for a moment."""
        self._popen.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def go_on(self) -> None:
        """Continue the process after `stall`."""
        self._popen.send_signal(signal.SIGCONT)

    def kill(self, by: signal.Signals = signal.SIGKILL) -> None:
        """Kill the process by a signal; SIGTERM kills it, too, since it handles none."""
        self._popen.send_signal(by)
        self._popen.communicate()

    def is_dead(self) -> bool:
        return self._popen.poll() is not None

    def finish(self) -> None:
        """End its input, and wait until it has settled its claims and ended."""
        self._popen.communicate()
        assert self._popen.returncode == 0


class WorkerPool:
    """The workers on one queue, and the keys that they work on. At the end of the block no worker is left.

    Args:
        url: the server that the workers connect to.
        client: of the same server.
        log: in which the workers log what they do.
        rng: chooses the random moments.
        settings: of each worker; see `worker_main.Settings`.

    Attributes:
        workers: the running workers.
        killed: the pids of the workers that were killed.
        keys: all keys that were scheduled.
    """

    def __init__(self, url: str, client: redis.Redis, log: WorkLog, rng: random.Random, **settings: object) -> None:
        self.workers: list[WorkerProcess] = []
        self.killed: set[int] = set()
        self.keys: list[str] = []
        self.log = log
        self.client = client
        self.rng = rng
        self._url = url
        self._settings = settings
        self._queue = RunAt(client)

    def start(self, n: int = 1, **settings: object) -> WorkerProcess:
        """Start n more workers. Returns the last one, without waiting until it is ready."""
        self.workers += [WorkerProcess(self._url, self.log, **(self._settings | settings)) for _ in range(n)]
        return self.workers[-1]

    def kill(self, worker: WorkerProcess, by: signal.Signals = signal.SIGKILL) -> None:
        """Kill a worker, or note that it has killed itself."""
        worker.kill(by)
        self.killed.add(worker.pid)
        self.workers.remove(worker)

    def finish(self, worker: WorkerProcess) -> None:
        """Wait until a worker has settled its claims and ended."""
        worker.finish()
        self.workers.remove(worker)

    def schedule(self, n: int) -> None:
        """Schedule n more keys, due at once."""
        keys = [f"k{number:06}" for number in range(len(self.keys), len(self.keys) + n)]
        self._queue.on_next([Job(key, 1) for key in keys])
        self.keys += keys

    def random_milestones(self, n: int) -> list[int]:
        """Returns n random moments of the run, each as a number of keys that are done by then."""
        return sorted(self.rng.sample(range(len(self.keys)), n))

    def busy_at(self, milestone: int) -> list[WorkerProcess]:
        """Wait until so many keys are done. Returns the workers that have unsettled claims at that moment.

        Faults shall come in the middle of work, so keys are added while few wait, however fast the workers are.
        """
        busy: list[WorkerProcess] = []

        def reached() -> bool:
            if self._queue.size() < SPARE:
                self.schedule(SPARE)
            busy[:] = [worker for worker in self.workers if self.log.unsettled(worker.pid)]
            return bool(busy) and len(self.log.done) >= milestone

        wait_until(reached, f"{milestone} keys are done, and workers are busy", LONG)
        return busy

    def end(self, server_forgot: bool = False, receipts: int = 0) -> Summary:
        """Wait until every key is settled, end the workers, and check their log.

        Args:
            server_forgot: see `check_work_log`.
            receipts: how many receipts may be left in Redis: those of killed workers.
        """
        wait_until(self._is_settled, "every key is settled", LONG)
        for worker in tuple(self.workers):
            self.finish(worker)
        assert self._is_settled()
        left = self.client.keys()
        assert len(left) <= receipts
        assert all(0 < self.client.pttl(key) <= RECEIPT_TTL_MS for key in left)
        return check_work_log(self.log, self.keys, self.killed, server_forgot)

    def _is_settled(self) -> bool:
        """True if Redis holds nothing but receipts: no key waits, is claimed, or is a dead letter."""
        return all(b":receipt:" in key for key in self.client.scan_iter())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.kill()
        self._queue.stop()
