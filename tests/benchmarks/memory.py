"""What a key costs in Redis: a scheduled key costs what it costs in a bare zset; a claimed key also costs its lease.

Chance changes both: the server draws the height of each node of a large zset at random, and its allocator may round a
piece up by 16 bytes. Two zsets of the same content differ by some hundredths of a byte a key.
"""

from __future__ import annotations

from collections.abc import Iterator

from rx_runat import Claim, Job, RunAt
from tests.benchmarks.bench import Bench, Q, Row
from tests.support.waiting import wait_until

FAR = 4_000_000_000  # epoch seconds; the year 2096


def memory(bench: Bench) -> Iterator[Row]:
    """A zset in its packed form and one in its large form, and keys under a lease."""
    for count in (100, bench.pick(200_000, 2_000)):
        ours, reference = zip(*bench.pairs(lambda: sink(bench, count), lambda: bare(bench, count)), strict=True)  # noqa: B023
        yield Row(f"memory, {count:,} keys", "bytes/key", ours, reference, by="difference", target="0, but for chance")
    count = bench.pick(100_000, 2_000)
    ours, reference = zip(*bench.pairs(lambda: claimed(bench, count), lambda: bare(bench, count)), strict=True)
    yield Row(f"memory, {count:,} keys that are out under a lease", "bytes/key", ours, reference)


def claimed(bench: Bench, count: int) -> float:
    """Returns the size of everything in Redis while every key is claimed, divided by the number of keys.

    The source's last receipt is included.
    """
    bare(bench, count, at=1)
    with RunAt(bench.server.url) as queue:
        got: list[Claim] = []
        queue.claims(lease=3600, max_in_flight=count).subscribe(got.append)
        wait_until(lambda: len(got) == count, "all keys are claimed", 60)
        return _bytes(bench, count)


def sink(bench: Bench, count: int) -> float:
    """Returns the size of everything in Redis after our sink has written, divided by the number of keys."""
    with RunAt(bench.server.url) as queue:
        for first in range(0, count, 1000):
            queue.on_next([Job(key, ms / 1000) for key, ms in _times(first, count).items()])
        return _bytes(bench, count)


def bare(bench: Bench, count: int, at: int = FAR) -> float:
    """Returns the same after `ZADD` has written the same keys and times."""
    for first in range(0, count, 1000):
        bench.client.zadd(Q, _times(first, count, at))
    return _bytes(bench, count)


def _times(first: int, count: int, at: int = FAR) -> dict[str, int]:
    return {f"job:{n:06}": at * 1000 + n for n in range(first, min(first + 1000, count))}


def _bytes(bench: Bench, count: int) -> float:
    return sum(bench.client.memory_usage(key, samples=0) or 0 for key in bench.client.scan_iter()) / count
