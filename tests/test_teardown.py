"""A test that fails while something of its own is blocked ends all the same, and so does the run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

CONFTEST = """
from tests.conftest import *
from tests.support import teardown_limit
teardown_limit.SECONDS = 1
"""
TEST = """
import threading

def test_that_blocks(make):
    queue, begun = make(), threading.Event()

    def never_returns(key):
        begun.set()
        threading.Event().wait()

    threading.Thread(target=threading.Event().wait).start()  # the interpreter's exit waits for it
    queue.subscribe(never_returns)
    queue.schedule("a", 0)
    assert begun.wait(20)
    assert False, "the test fails"

def test_that_follows():
    pass
"""


@pytest.mark.slow
def test_a_teardown_that_blocks_fails_by_name_with_the_stacks_and_ends_the_run(tmp_path: Path) -> None:
    """The subscriber never returns, so `stop` in the fixture waits for ever; pytest-timeout has ended its timer."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TEST)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--timeout=60", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 1
    assert "the teardown of test_it.py::test_that_blocks took longer than 1 s" in done.stdout
    assert "in never_returns" in done.stdout
    assert "in stop" in done.stdout
    assert "AssertionError: the test fails" in done.stdout
    assert "1 failed, 1 error" in done.stdout.splitlines()[-1]
    assert "Timeout (0:00:01)!" in done.stderr
