"""`rx-runat work`: a worker, which settles the claims of a queue by a function or by a command.

    queue.claims --> settle(function) --> outcomes --> log
                        ^ until: the first SIGTERM or SIGINT

Exit status: 0 after an orderly end, 1 after a stream that failed, 2 for wrong words, 130 after a second signal.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn

from reactivex import Observable
from reactivex import operators as ops
from reactivex.subject import ReplaySubject

from rx_runat.cli.child import kill_all
from rx_runat.cli.exec import Command, split
from rx_runat.cli.importing import import_function
from rx_runat.cli.opening import open_queue
from rx_runat.cli.standard import COPIES_SECONDS
from rx_runat.cli.telemetry import telemetry
from rx_runat.cli.work_log import WorkLog
from rx_runat.cli.work_options import again_of
from rx_runat.errors import InvalidSetting, RunAtError
from rx_runat.model.humanize import late, span, spell
from rx_runat.model.monotonic import monotonic
from rx_runat.model.outcome import Outcome
from rx_runat.model.safe_log import fault, inform, unmute
from rx_runat.settling.failures import is_failure
from rx_runat.settling.operator import settle
from rx_runat.stream.signals import signals

_PATIENCE = 1.0  # seconds; a coroutine that is cancelled ends at once, or catches that and perhaps never ends
_AT_ONCE = 130  # the exit status after a second signal, whichever it was


def work(options: argparse.Namespace) -> int:
    """Work until a signal comes or the stream fails, and return the exit status."""
    with WorkLog(options.log_json) as log:
        try:
            with _ending(log) as end, ExitStack() as stack:
                return _work(options, end, stack)
        except (RunAtError, OSError) as error:  # as a record: with --log-json each line is an object
            fault("%s", error)
            return 1


def _work(options: argparse.Namespace, end: Observable[signal.Signals], stack: ExitStack) -> int:
    try:
        function = _function(options, stack)
    except InvalidSetting as error:
        _refuse(options, error)
    except BaseException as error:  # SystemExit, too: a module that calls `sys.exit(0)` is no orderly end
        fault("%s could not be imported: it raised an error", options.name, error=error)
        return 1
    try:
        queue = stack.enter_context(open_queue(options))
        claims = queue.claims(options.lease, options.max_in_flight)
        settling = settle(
            function,
            max_attempts=options.max_attempts,
            max_concurrent=options.max_concurrent,
            timeout=options.timeout,
            until=end,
            again=again_of(options),
        )
    except (InvalidSetting, ImportError) as error:  # ImportError: of the `cron` extra
        _refuse(options, error)
    stack.callback(telemetry(queue).dispose)
    health = ""
    if options.health_port is not None:
        from rx_runat.cli.health import Health  # imports a web server, which the other commands do not need

        health = f"; {stack.enter_context(Health(queue.size, options.health_host, options.health_port)).url}"
    inform("%r: work begins, by %s%s", queue, options.name or options.exec, health)
    try:
        settled = _run(_count(claims.pipe(settling)))
    except Exception as error:
        fault("the stream failed: %s", error, error=error)
        return 1
    except BaseException as error:  # asyncio ends its event loop where a coroutine raises SystemExit or its like
        fault("the event loop was ended by %r", error, error=error)
        return 1
    inform("%r: work ended in order, claims settled: %d", queue, settled)
    return 0


def _refuse(options: argparse.Namespace, error: Exception) -> NoReturn:
    options.refuse(str(error))
    raise SystemExit(2)  # as `refuse` has done already


def _function(options: argparse.Namespace, stack: ExitStack) -> Callable[[Any], Any]:
    if (options.name is None) == (options.exec is None):
        raise InvalidSetting("name a function, such as app.jobs:send, or else a command by --exec 'CMD {}'")
    if options.exec is None:
        try:
            return import_function(options.name)
        finally:
            unmute()
    words = split(options.exec)
    return Command(words, stack.enter_context(ThreadPoolExecutor(options.max_concurrent, "rx_runat command")))


def _run(counting: Coroutine[Any, Any, int]) -> int:
    """As `asyncio.run`, which would wait for ever for a coroutine that `settle` has given up and that goes on."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(counting)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=_PATIENCE))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _count(outcomes: Observable[Outcome[Any]]) -> int:
    """Log all outcomes and return how many there were. On an event loop, because the function may be a coroutine's."""
    logged: Observable[Outcome[Any]] = outcomes.pipe(ops.do_action(_log))
    return await logged.pipe(ops.count())


def _log(outcome: Outcome[Any]) -> None:
    """Log an outcome, unless `settle` has logged it as a failure."""
    if not is_failure(outcome):
        claim = outcome.claim
        then = "" if outcome.next is None else f", next at {spell(outcome.next)}"
        inform(
            "%r %s: attempt %d, %s, %s%s",
            claim.key,
            outcome.verdict,
            claim.attempt,
            span(outcome.seconds or 0.0),
            late(claim.lateness),
            then,
            about={"outcome": outcome},
        )


@contextmanager
def _ending(log: WorkLog) -> Generator[Observable[signal.Signals]]:
    """Gives the first signal, also to those who ask for it later; a second one ends the process at once."""
    worker = os.getpid()
    is_set_up = False
    first: float | None = None  # when the first signal came; None: it has not, or the thread that tells is about to

    def end_at_once(number: int, _: object) -> None:
        if not is_set_up or os.getpid() != worker:  # a child that was forked, by multiprocessing for example
            signal.signal(number, before[signal.Signals(number)])
            os.kill(os.getpid(), number)
            return
        if first is None or monotonic() - first < COPIES_SECONDS:
            return
        kill_all()
        log.warn_at_once(f"{signal.Signals(number).name} again: the process ends at once")
        os._exit(_AT_ONCE)

    def tell(number: signal.Signals) -> None:
        nonlocal first
        first = monotonic()
        inform("%s: no new work begins, and what was begun ends; a second signal ends it at once", number.name)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # as in the background of a shell: it stays ignored
            signal.signal(number, end_at_once)
    end: ReplaySubject[signal.Signals] = ReplaySubject(1)
    subscription = signals().pipe(ops.do_action(tell)).subscribe(end)
    is_set_up = True
    try:
        yield end
    finally:
        subscription.dispose()
        for number, handler in before.items():
            signal.signal(number, handler)
