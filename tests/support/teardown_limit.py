"""No test hangs the run after its end: each teardown has a time limit.

A test that fails while its own subscriber is blocked would make the `queue.stop()` of a fixture wait for ever, and the
timer of pytest-timeout is cancelled when a test fails. A teardown that takes longer than `SECONDS` fails, and says what
every thread did; the run ends after it, because the threads that are left would fail each test that follows.

`tests/conftest.py` names the two hooks, so that pytest finds them.
"""

from __future__ import annotations

import faulthandler
import signal
import sys
import tempfile
from collections.abc import Generator
from types import FrameType
from typing import NoReturn

import pytest

SECONDS = 60.0


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Bound the teardown of a test. The timer fires again and again: each fixture may be the next that waits."""

    def give_up(_: int, __: FrameType | None) -> NoReturn:
        item.session.shouldfail = f"the teardown of {item.nodeid} took longer than {SECONDS:g} s"
        pytest.fail(f"{item.session.shouldfail}; the threads, the most recent call first:\n{_stacks()}", pytrace=False)

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, SECONDS, SECONDS)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def pytest_unconfigure() -> None:
    """Bound the exit of the interpreter, which waits for threads that are no daemons."""
    faulthandler.dump_traceback_later(SECONDS, exit=True, file=sys.__stderr__ or 2)


def _stacks() -> str:
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        return file.read()
