"""`rx-runat work` as a process, and the functions that it works with."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.signals import interruptible
from tests.support.waiting import wait_until
from tests.support.web import Process

JOBS = '''
import asyncio, logging, os, pathlib, signal, threading
import reactivex as rx

HOME = pathlib.Path(__file__).parent
number, nothing = 3, None

def note(claim, event="done"):
    line = f"{event} {claim.key} {claim.attempt} {os.getpid()}\\n"
    with open(HOME / "done", "a") as file:
        file.write(line)

def plain(claim):
    note(claim)
    return claim.key

async def coroutine(claim):
    await asyncio.sleep(0.01)
    note(claim)

def stream(claim):
    return rx.timer(0.01).pipe(rx.operators.do_action(lambda _: note(claim)))

def fails(claim):
    raise ValueError("no route")

def logs(claim):
    logging.getLogger("app").info("a word of %s", claim.key)

def waits(claim):
    """Go on when there is a file `go`."""
    note(claim, "begun")
    while not (HOME / "go").exists():
        threading.Event().wait(0.01)
    note(claim)

def dies(claim):
    note(claim, "begun")
    if claim.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    note(claim)

async def stays(claim):
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

async def exits(claim):
    raise SystemExit(0)

def forks(claim):
    """Tell how a child ends that gets a SIGTERM."""
    pid = os.fork()
    if pid == 0:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait()
        except BaseException as error:
            os._exit(error.code)
    note(claim, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

def generates(claim):
    yield claim

class Mailer:
    def send(self, claim):
        note(claim)

mailer = Mailer()
'''


class CliWorker(Process):
    """A worker in a directory with the module `jobs`, which holds `JOBS`.

    Args:
        home: the directory.
        redis: the URL of Redis.
        args: of `rx-runat work`.
        name: of the files to which it writes.
    """

    def __init__(self, home: Path, redis: str, *args: str, name: str = "worker") -> None:
        (home / "jobs.py").write_text(JOBS)
        self._home = home
        with interruptible():
            super().__init__(home, name, redis, "-m", "rx_runat", "work", *args)

    @property
    def records(self) -> list[dict[str, Any]]:
        """What it has logged with `--log-json`: whole lines only."""
        *lines, _ = self.err.split("\n")
        return [json.loads(line) for line in lines]

    @property
    def verdicts(self) -> list[tuple[str, int, str]]:
        """Key, attempt and verdict of each outcome that it has logged."""
        return [(each["key"], each["attempt"], each["verdict"]) for each in self.records if "verdict" in each]

    @property
    def done(self) -> list[str]:
        """What the functions of all workers in the directory have noted: event, key and attempt."""
        return [line.rpartition(" ")[0] for line in self.noted]

    @property
    def noted(self) -> list[str]:
        """The same with the number of the process."""
        path = self._home / "done"
        return path.read_text().splitlines() if path.exists() else []

    def wait_for(self, words: str) -> None:
        """Wait until it has logged these words."""
        wait_until(lambda: words in self.err or self.popen.poll() is not None, f"it logs {words!r}")
        assert words in self.err, self.err

    def wait_until_settled(self, n: int) -> None:
        """Wait until it has logged so many outcomes."""
        wait_until(lambda: len(self.verdicts) >= n or self.popen.poll() is not None, f"{n} claims are settled")
        assert len(self.verdicts) >= n, self.err

    @property
    def health(self) -> str:
        """The URL of `/healthz`, when it is served."""
        self.wait_for("/healthz")
        found = re.search(r"http://\S+/healthz", self.err)
        assert found
        return found[0]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and return the exit status."""
        self.popen.send_signal(number)
        return self.wait()

    def end_at_once(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a second signal, wait for the end, and return the exit status.

        It is sent until the worker ends, because one that comes soon after the first is taken for a copy of it.
        """

        def ends() -> bool:
            self.popen.send_signal(number)  # which does nothing once `poll` has seen the end
            return self.popen.poll() is not None

        wait_until(ends, "it ends at once")
        return self.wait()


@contextmanager
def working(home: Path, redis: str, *args: str, name: str = "worker") -> Iterator[CliWorker]:
    """A worker that is killed at the end, if it has not ended by then."""
    worker = CliWorker(home, redis, "--log-json", *args, name=name)
    try:
        yield worker
    finally:
        worker.kill()
