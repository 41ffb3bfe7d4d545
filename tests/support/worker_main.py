"""The program of a worker process: `python -m tests.support.worker_main URL LOG SETTINGS`, the settings in JSON.

It works on claims and logs what it does. It prints `ready` when it has subscribed, and ends with its input. A line on
its input opens the gate at which work waits if the setting `waits` is true.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from reactivex import Observable
from reactivex import operators as ops

from rx_runat import Claim, OutcomeUnknown, RunAt, StoreError, settle
from tests.support.work_log import WorkLog


class Settings(NamedTuple):
    """How the worker works.

    Attributes:
        lease: seconds.
        interval: seconds between heartbeats.
        in_flight: how many claims it may have out.
        threads: how many claims it works on at a time.
        seconds: how long work takes at most. It takes a random part of that, and has its effect in the middle.
        waits: True if work waits until the gate is open.
        renews: True if work extends the lease in its middle.
        settles: True if `settle` runs the work, renews and acks; False if the worker does so
            itself, with the verbs of each claim.
        dies: after it has logged this event so often, the worker kills itself with SIGKILL.
        dies_at: how often.
        poison: the key whose work ends the process at once.
        attempts: of `settle`, the number of the last attempt that is made.
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
    dies_at: int = 1
    poison: str = ""
    attempts: int = 1000


def consume_by_settle(
    claims: Observable[Claim], work: Callable[[Claim], None], log: Callable[[str, Claim], None], settings: Settings
) -> Callable[[], None]:
    """Work as users do, by `settle`. Returns a function to call at the end.

    The function does nothing, because `queue.stop()` waits for work under way.
    """
    outcomes = claims.pipe(settle(work, max_attempts=settings.attempts, max_concurrent=settings.threads))
    outcomes.subscribe(lambda outcome: log(outcome.verdict, outcome.claim))
    return lambda: None


def consume_by_hand(
    claims: Observable[Claim], work: Callable[[Claim], None], log: Callable[[str, Claim], None], settings: Settings
) -> Callable[[], None]:
    """Work with the verbs of each claim. Returns a function to call at the end: it waits until all are settled."""
    pool = ThreadPoolExecutor(settings.threads)

    def settle_by_hand(claim: Claim) -> None:
        work(claim)
        try:
            verdict = "acked" if claim.ack() else "lost"
        except OutcomeUnknown:
            verdict = "unknown"
        except StoreError:
            verdict = "away"
        log(verdict, claim)

    def submit(claim: Claim) -> None:
        pool.submit(settle_by_hand, claim).add_done_callback(Future.result)  # prints what a bug of this file raises

    subscription = claims.subscribe(submit)

    def end() -> None:
        subscription.dispose()
        pool.shutdown()

    return end


def main(url: str, path: str, settings_json: str) -> None:
    """Work until the input ends."""
    settings = Settings(**json.loads(settings_json))
    work_log = WorkLog(Path(path))
    gate = threading.Event()
    logged: Counter[str] = Counter()
    if not settings.waits:
        gate.set()

    def log(event: str, claim: Claim) -> None:
        work_log.write(event, claim)
        logged[event] += 1
        if event == settings.dies and logged[event] == settings.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def work(claim: Claim) -> None:
        log("begun", claim)
        if claim.key == settings.poison:
            os._exit(1)
        gate.wait()
        pause(random.uniform(0, settings.seconds / 2))
        log("done", claim)
        if settings.renews:
            try:
                claim.extend(settings.lease)
            except StoreError:
                pass  # the work goes on; the result of its ack shows whether the lease was still the worker's
        pause(random.uniform(0, settings.seconds / 2))

    with RunAt(url, interval=settings.interval) as queue:
        claims = queue.claims(lease=settings.lease, max_in_flight=settings.in_flight)
        consume = consume_by_settle if settings.settles else consume_by_hand
        claims_logged = claims.pipe(ops.do_action(lambda claim: log("claimed", claim)))
        end = consume(claims_logged, work, log, settings)
        print("ready", flush=True)
        for _ in sys.stdin:
            gate.set()
        end()


def pause(seconds: float) -> None:
    """Stand for work that takes so long."""
    threading.Event().wait(seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
