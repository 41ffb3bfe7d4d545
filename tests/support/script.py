"""Runs a script in a process of its own, with the interpreter's real hooks and its real end."""

from __future__ import annotations

import subprocess
import sys
import textwrap


def run_script(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python source to its end, and return what it wrote. A script that hangs fails the test."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
