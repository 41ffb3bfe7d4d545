"""How fast claims without work are settled, against a bare loop of the same two scripts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from rx_runat import Claim, Outcome, RunAt, settle
from tests.benchmarks import bare
from tests.benchmarks.bench import Bench, Row
from tests.benchmarks.drain import load


def settling(bench: Bench) -> Iterator[Row]:
    """With the default number of claims in flight, and with ten times as many."""
    for in_flight in (100, 1000):
        yield _row(bench, in_flight)


def _row(bench: Bench, in_flight: int) -> Row:
    count = bench.pick(50_000, 2_000)

    def nothing(claim: Claim) -> None:
        pass

    def ours() -> float:
        load(bench, count)
        done = 0

        def receive(_: Outcome[None]) -> None:
            nonlocal done
            done += 1

        with RunAt(bench.server.url) as queue:
            assert queue.size() == count  # connects before the time is taken
            began = time.perf_counter()
            queue.claims(max_in_flight=in_flight).pipe(settle(nothing)).subscribe(receive)
            pause = threading.Event()
            while (left := count - done) > 0:  # look rarely at first: each look takes the GIL from the workers
                pause.wait(0.5 * left / count + 0.0005)
            return count / (time.perf_counter() - began)

    def reference() -> float:
        load(bench, count)
        claim, ack = bare.leasing_claimer(bench.client, in_flight), bare.acker(bench.client)
        began = time.perf_counter()
        done = 0
        while done < count:
            done += ack(*claim())
        return count / (time.perf_counter() - began)

    both = list(bench.pairs(ours, reference))
    name = f"settle {count:,} keys, {in_flight:,} in flight"
    return Row(name, "keys/s", *zip(*both, strict=True), target="ratio >= 0.4")
