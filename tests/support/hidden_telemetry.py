"""OpenTelemetry's SDK, hidden from the processes that tests start.

redis-py imports the SDK wherever it is installed, though nobody measures anything: that is an eighth of the time in
which a process imports the package, and the tests start some two hundred processes. So these are like those of a user
who has not installed the SDK. In the process of the tests, and in those of the tests of telemetry, it is there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

# `opentelemetry` is a namespace of several packages: the first directory on the path that has a part of it provides it.
_FIRST = str(Path(__file__).parent / "no_telemetry")


def _without(path: str) -> list[str]:
    return [each for each in path.split(os.pathsep) if each not in ("", _FIRST)]


def hide() -> None:
    """Hide the SDK from the processes that are started from now on."""
    os.environ["PYTHONPATH"] = os.pathsep.join([_FIRST, *_without(os.environ.get("PYTHONPATH", ""))])
    sys.path[:] = [each for each in sys.path if each != _FIRST]  # a worker of pytest-xdist is such a process itself


def show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show the SDK to the processes that one test starts."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(_without(os.environ["PYTHONPATH"])))
