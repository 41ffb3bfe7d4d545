"""Workers in processes of their own, on one queue: started, killed, stalled, and ended with the test."""

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
from tests.support.ledger import Figures, Ledger, judge
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
LONG = 60.0  # seconds to wait for what comes in a few
SPARE = 100  # keys that wait while faults are to come: several times what a worker has in hand


class Worker:
    """A process that works; see `survivor.py`."""

    def __init__(self, url: str, ledger: Ledger, **settings: object) -> None:
        command = [sys.executable, "-m", "tests.support.survivor", url, str(ledger.path), json.dumps(settings)]
        self._popen = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._popen.pid

    def wait_until_ready(self) -> None:
        assert self._popen.stdout is not None
        assert self._popen.stdout.readline() == "ready\n"

    def open_gate(self) -> None:
        assert self._popen.stdin is not None
        print(file=self._popen.stdin, flush=True)

    def stall(self) -> None:
        self._popen.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)  # on a busy machine its threads run on for a moment

    def go_on(self) -> None:
        self._popen.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._popen.kill()
        self._popen.communicate()

    def is_dead(self) -> bool:
        return self._popen.poll() is not None

    def end(self) -> None:
        """Let it finish what it has in hand."""
        self._popen.communicate()
        assert self._popen.returncode == 0


class Crew:
    """Workers on one queue, what they are to do, and what became of them. None outlives the block.

    Args:
        url: where they work.
        client: of the same server.
        ledger: where they note what they do.
        dice: chances.
        settings: of each worker.

    Attributes:
        workers: who works now.
        killed: the pids of those who were killed.
        keys: all that was scheduled.
    """

    def __init__(self, url: str, client: redis.Redis, ledger: Ledger, dice: random.Random, **settings: object) -> None:
        self.workers: list[Worker] = []
        self.killed: set[int] = set()
        self.keys: list[str] = []
        self.ledger = ledger
        self.client = client
        self.dice = dice
        self._url = url
        self._settings = settings
        self._queue = RunAt(client)

    def hire(self, n: int = 1, **settings: object) -> Worker:
        """More workers; answers the last one, which is not ready yet."""
        self.workers += [Worker(self._url, self.ledger, **(self._settings | settings)) for _ in range(n)]
        return self.workers[-1]

    def kill(self, worker: Worker) -> None:
        """If it did not do it itself."""
        worker.kill()
        self.killed.add(worker.pid)
        self.workers.remove(worker)

    def dismiss(self, worker: Worker) -> None:
        """When it has settled what it has in hand."""
        worker.end()
        self.workers.remove(worker)

    def schedule(self, n: int) -> None:
        keys = [f"k{number:06}" for number in range(len(self.keys), len(self.keys) + n)]
        self._queue.on_next([Job(key, 1) for key in keys])
        self.keys += keys

    def marks(self, n: int) -> list[int]:
        """Moments at random, each a number of keys that are done."""
        return sorted(self.dice.sample(range(len(self.keys)), n))

    def at_work(self, mark: int) -> list[Worker]:
        """Wait until so many keys are done; who has claims in hand?

        There is always more to do: faults are to come in the middle of work, however fast it is done.
        """
        busy: list[Worker] = []

        def reached() -> bool:
            if self._queue.size() < SPARE:
                self.schedule(SPARE)
            busy[:] = [worker for worker in self.workers if self.ledger.in_hand(worker.pid)]
            return bool(busy) and len(self.ledger.done) >= mark

        wait_until(reached, f"{mark} keys are done, and more are in hand", LONG)
        return busy

    def end(self, forgetful: bool = False, receipts: int = 0) -> Figures:
        """Wait until every key is settled, end the workers, and judge.

        Args:
            forgetful: see `judge`.
            receipts: how many may be left, of those who could not clear them away.
        """
        wait_until(self._is_settled, "every key is settled", LONG)
        for worker in tuple(self.workers):
            self.dismiss(worker)
        assert self._is_settled()
        found = self.client.keys()
        assert len(found) <= receipts
        assert all(0 < self.client.pttl(key) <= RECEIPT_TTL_MS for key in found)
        return judge(self.ledger, self.keys, self.killed, forgetful)

    def _is_settled(self) -> bool:
        """No key waits, is out, or was given up: there is nothing in Redis but receipts."""
        return all(b":receipt:" in key for key in self.client.scan_iter())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.kill()
        self._queue.stop()
