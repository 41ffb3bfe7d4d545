"""A process that works on claims and notes in a ledger what it does: `survivor URL LEDGER SETTINGS`, these in JSON.

It ends with its input. A line on it opens the gate that work waits at, where `waits` is set.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from reactivex import Observable
from reactivex import operators as ops

from rx_runat import Claim, OutcomeUnknown, RunAt, StoreError, settle
from tests.support.ledger import Ledger


class Settings(NamedTuple):
    """How it works.

    Attributes:
        lease: seconds.
        interval: seconds between heartbeats.
        in_flight: how many claims it may have out.
        threads: how many it works on at a time.
        seconds: what work takes at most; it takes less or more of that, and has its effect in the middle.
        waits: work waits until the gate is open.
        renews: in the middle of work it extends the lease.
        settles: `settle` has the work done, renews and acks; else we do, with claims alone.
        dies: after its first note of this word it kills itself, with the signal that nobody can handle.
    """

    lease: float = 1.0
    interval: float = 0.1
    in_flight: int = 16
    threads: int = 8
    seconds: float = 0.05
    waits: bool = False
    renews: bool = False
    settles: bool = False
    dies: str = ""


ANSWERS = {"acked": "yes", "lost": "no", "unknown": "unknown"}


def consume_by_settle(
    claims: Observable[Claim], work: Callable[[Claim], None], answered: Callable[[Claim, str], None], threads: int
) -> Callable[[], None]:
    """The core: as users write it. Nothing is to be ended: `stop` waits for what is under way."""
    outcomes = claims.pipe(settle(work, max_attempts=1000, max_concurrent=threads))
    outcomes.subscribe(lambda outcome: answered(outcome.claim, ANSWERS[outcome.verdict]))
    return lambda: None


def consume_by_hand(
    claims: Observable[Claim], work: Callable[[Claim], None], answered: Callable[[Claim, str], None], threads: int
) -> Callable[[], None]:
    """The same with claims alone. Answers how to end, when all that came has been settled."""
    pool = ThreadPoolExecutor(threads)

    def settle_by_hand(claim: Claim) -> None:
        work(claim)
        try:
            answer = "yes" if claim.ack() else "no"
        except OutcomeUnknown:
            answer = "unknown"
        except StoreError:
            answer = "away"
        answered(claim, answer)

    def submit(claim: Claim) -> None:
        pool.submit(settle_by_hand, claim).add_done_callback(Future.result)  # a bug of ours is shown

    subscription = claims.subscribe(submit)

    def end() -> None:
        subscription.dispose()
        pool.shutdown()

    return end


def main(url: str, path: str, settings_json: str) -> None:
    """Work until the input ends."""
    settings = Settings(**json.loads(settings_json))
    ledger = Ledger(Path(path))
    gate = threading.Event()
    if not settings.waits:
        gate.set()

    def note(word: str, claim: Claim) -> None:
        ledger.write(word, claim)
        if word == settings.dies:
            os.kill(os.getpid(), signal.SIGKILL)

    def work(claim: Claim) -> None:
        note("begun", claim)
        gate.wait()
        pause(random.uniform(0, settings.seconds / 2))
        note("done", claim)
        if settings.renews:
            try:
                claim.extend(settings.lease)
            except StoreError:
                pass  # the work goes on, and its ack will tell
        pause(random.uniform(0, settings.seconds / 2))

    with RunAt(url, interval=settings.interval) as queue:
        claims = queue.claims(lease=settings.lease, max_in_flight=settings.in_flight)
        consume = consume_by_settle if settings.settles else consume_by_hand
        end = consume(
            claims.pipe(ops.do_action(lambda claim: note("out", claim))),
            work,
            lambda claim, answer: note(answer, claim),
            settings.threads,
        )
        print("ready", flush=True)
        for _ in sys.stdin:
            gate.set()
        end()


def pause(seconds: float) -> None:
    """Work, as far as a queue can tell."""
    threading.Event().wait(seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
