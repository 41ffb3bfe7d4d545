"""The wall clock of a consumer's host steps by an hour: no tick stalls, and no key comes early.

The step is real for the consumer's process: libfaketime changes the time that it reads. Redis, and this process, which
schedules, keep the true time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from rx_runat import Job, RunAt
from tests.support.servers import Server
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

Q = "RunAt~default"
HOUR = 3600
ON_TIME = 30.0  # seconds: enough for a busy machine, and far less than the hour that a fault would cause

CONSUMER = """
import json, sys, threading, time
import redis
from rx_runat import RunAt

clock = redis.Redis.from_url(sys.argv[1])

def show(due):
    seconds, microseconds = clock.time()  # Redis's clock
    print(json.dumps([due.key, seconds + microseconds / 1e6 - due.run_at.timestamp()]), flush=True)

with RunAt(sys.argv[1]) as queue:
    queue.jobs.subscribe(show)
    for _ in sys.stdin:
        print(json.dumps(["clocks", time.time(), time.monotonic()]), flush=True)
clock.close()
"""


class Host:
    """A consumer whose wall clock can be set while it runs; its monotonic clock goes on, as a kernel's does."""

    def __init__(self, server: Server, home: Path) -> None:
        self._keys: deque[list[Any]] = deque()
        self._offset = home / "offset"
        self.step(0)
        env = os.environ | {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        command = [sys.executable, "-c", CONSUMER, server.url]
        self._popen = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def step(self, seconds: int) -> None:
        """Set its wall clock so many seconds from the truth. The file is replaced whole: it cannot read half of it."""
        fresh = self._offset.with_suffix(".fresh")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.replace(self._offset)

    def clocks(self) -> tuple[float, float]:
        """Returns how far its clocks are from ours, in seconds: wall clock and monotonic clock."""
        assert self._popen.stdin is not None
        print(file=self._popen.stdin, flush=True)
        while (line := self._read())[0] != "clocks":
            self._keys.append(line)
        _, wall, monotonic = line
        return wall - time.time(), monotonic - time.monotonic()

    def next_key(self) -> list[Any]:
        """Waits for the next key that it receives. Returns the key and its lateness in seconds."""
        return self._keys.popleft() if self._keys else self._read()

    def end(self) -> str:
        """End its input, and wait until it has ended. Returns the output that was not read before."""
        rest, _ = self._popen.communicate(timeout=20)
        assert self._popen.returncode == 0
        return rest

    def kill(self) -> None:
        self._popen.kill()
        self._popen.communicate()

    def _read(self) -> list[Any]:
        assert self._popen.stdout is not None
        return json.loads(self._popen.stdout.readline())


@pytest.fixture
def host(server: Server, tmp_path: Path) -> Iterator[Host]:
    host = Host(server, tmp_path)
    yield host
    host.kill()


@pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["an hour forward", "an hour back"])
def test_a_step_of_the_wall_clock_neither_stalls_the_ticks_nor_fires_anything_early(
    step: int, host: Host, server: Server, client: redis.Redis
) -> None:
    far = [
        Job(f"far:{minutes}", timedelta(minutes=minutes)) for minutes in (50, 59, 61)
    ]  # due at once if its wall clock decided
    with RunAt(server.url) as queue:
        queue.on_next([Job("first", timedelta(0)), *far])
        assert host.next_key()[0] == "first"  # the source ticks
        assert host.clocks() == pytest.approx((0, 0), abs=ON_TIME)

        queue.on_next(Job("waits", timedelta(seconds=0.3)))
        host.step(step)
        assert host.clocks() == pytest.approx((step, 0), abs=ON_TIME)
        _assert_on_time(host, "waits")

        for number in range(5):
            queue.on_next(Job(f"after:{number}", timedelta(seconds=0.1)))
            _assert_on_time(host, f"after:{number}")

        queue.on_next(Job("waits again", timedelta(seconds=0.3)))
        host.step(0)
        assert host.clocks() == pytest.approx((0, 0), abs=ON_TIME)
        _assert_on_time(host, "waits again")

    assert host.end() == ""
    assert client.zrange(Q, 0, -1) == [job.key.encode() for job in far]
    wait_until(lambda: client.keys() == [Q.encode()], "the consumer has left no other key")


def _assert_on_time(host: Host, key: str) -> None:
    """Assert that this key comes next, neither early by Redis's clock nor late."""
    came, lateness = host.next_key()
    assert came == key
    assert 0 <= lateness < ON_TIME


def _library() -> Path:
    """Returns the path of libfaketime, in its variant for programs with threads."""
    for folder in ("/usr/lib", "/usr/local/lib", "/opt/homebrew/lib"):
        for found in sorted(Path(folder).glob("**/faketime/libfaketimeMT.so.1")):
            return found
    pytest.fail("this test needs libfaketime, which is not installed: `apt-get install faketime`, as .ci/run does")
