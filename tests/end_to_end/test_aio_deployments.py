"""Awaits while a slot moves, while a primary is replaced, and on another event loop than asyncio's own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from rx_runat import RunAt, StoreError, Unavailable
from tests.support.clusters import Cluster
from tests.support.sentinels import Sentinels
from tests.support.servers import Server

Q = "RunAt~default"
FAR = 4_000_000_000


async def rounds(queue: RunAt, name: str) -> list[Any]:
    """Write a hundred keys by a gather, each with a script beside it, and read the last one."""
    aio = queue.aio
    writes = [aio.schedule(f"{name}{n}", FAR, keep="last" if n % 2 else "latest") for n in range(100)]
    return await asyncio.gather(*writes, aio.when(f"{name}99"), return_exceptions=True)


@pytest.mark.slow
def test_25_awaits_follow_a_slot_that_moves_key_by_key(cluster: Cluster) -> None:
    with RunAt(cluster.url) as queue:

        async def main() -> None:
            assert not [each for each in await rounds(queue, "a") if isinstance(each, Exception)]
            migration = await asyncio.to_thread(cluster.begin_migration, Q)
            # The scripts' keys are partly here and partly there, for longer than an await waits for that.
            stuck = await rounds(queue, "b")
            assert {type(each) for each in stuck if isinstance(each, Exception)} == {Unavailable}
            await asyncio.to_thread(migration.finish)
            assert not [each for each in await rounds(queue, "c") if isinstance(each, Exception)]
            written = {f"b{n}" for n in range(100) if not isinstance(stuck[n], Exception)}
            keys = {due.key for due in await queue.aio.peek(1000)}
            assert keys == {f"{name}{n}" for name in "ac" for n in range(100)} | written

        asyncio.run(main())


@pytest.mark.slow
def test_25_awaits_follow_a_failover(sentinels: Sentinels) -> None:
    """Each await says what came of it; what says that it was written, at the new primary, is there."""
    with RunAt(sentinels.url) as queue:

        async def main() -> set[str]:
            assert not [each for each in await rounds(queue, "a") if isinstance(each, Exception)]
            old = await asyncio.to_thread(lambda: sentinels.primary)
            await asyncio.to_thread(sentinels.failover)
            loop = asyncio.get_running_loop()
            moved = asyncio.create_task(asyncio.to_thread(sentinels.wait_for_new_primary, old))
            until = loop.time() + 20
            n = 0
            while not moved.done():
                assert loop.time() < until
                n += 1
                for each in await rounds(queue, f"b{n}:"):
                    assert not isinstance(each, Exception) or isinstance(each, Unavailable)
                await asyncio.sleep(0.05)
            await moved
            while True:
                got = await rounds(queue, "c")
                failed = [each for each in got if isinstance(each, Exception)]
                if not failed:
                    break
                assert all(isinstance(each, StoreError) for each in failed)
                assert loop.time() < until
                await asyncio.sleep(0.05)
            return {due.key for due in await queue.aio.peek(100_000)}

        keys = asyncio.run(main())
    assert {f"c{n}" for n in range(100)} <= keys


EXIT = """
import asyncio, sys
from rx_runat import RunAt
queue = RunAt(sys.argv[1])

async def main():
    await queue.aio.size()
    tasks = [asyncio.create_task(queue.aio.schedule(f"k{n}", 4e9)) for n in range(1000)]
    await asyncio.sleep(0)
    sys.exit(3)

asyncio.run(main())
"""


def test_a_process_exits_with_awaits_pending(server: Server) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EXIT, server.url], capture_output=True, text=True, check=False, timeout=20
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")


UVLOOP = """
import asyncio, os, signal, sys, uvloop
from reactivex import operators as ops
from rx_runat import Job, RunAt, settle, signals

async def main():
    async with RunAt(sys.argv[1]) as queue:
        await asyncio.gather(*(queue.aio.schedule(f"k{n}", 1) for n in range(100)))
        got = []
        async for claim in queue.claims():
            got.append(await claim.aio.ack())
            if len(got) == 10:
                break
        asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGTERM)

        async def work(claim):
            await asyncio.sleep(0.01)

        n = await queue.claims().pipe(settle(work, until=signals()), ops.count())
        print(got.count(True) + n + await queue.aio.size())

uvloop.run(main())
"""


@pytest.mark.slow
def test_on_uvloop(server: Server) -> None:
    done = subprocess.run(
        [sys.executable, "-c", UVLOOP, server.url], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "100\n", "")
