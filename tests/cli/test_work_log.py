"""The log of a worker: whatever comes is a line, and no error of a record does any harm."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rx_runat.cli.work_log import WorkLog


class Awkward:
    def __str__(self) -> str:
        raise ValueError("no text")


class Dies:
    def __del__(self) -> None:
        raise ValueError("while it is deleted")


class AwkwardError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.fixture
def log() -> logging.Logger:
    return logging.getLogger("app")


def objects(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capfd.readouterr().err.splitlines()]


def test_a_line_in_words_has_the_time_the_level_and_the_logger(
    log: logging.Logger, capfd: pytest.CaptureFixture[str]
) -> None:
    with WorkLog(as_json=False):
        log.info("one %s", "word")
    time, *words = capfd.readouterr().err.split(" ")
    assert words == ["INFO", "app:", "one", "word\n"]
    assert time.endswith("+00:00")


def test_each_record_is_one_json_object_on_one_line(log: logging.Logger, capfd: pytest.CaptureFixture[str]) -> None:
    with WorkLog(as_json=True):
        log.warning("two\nlines \x1b[2J \udcff")
        try:
            raise ValueError("no")
        except ValueError:
            log.exception("it failed")
    first, second = objects(capfd)
    assert (first["level"], first["logger"], first["message"]) == ("warning", "app", "two\nlines \x1b[2J \udcff")
    assert second["traceback"].endswith("ValueError: no")


@pytest.mark.parametrize("as_json", [False, True])
def test_no_record_does_any_harm(
    as_json: bool, log: logging.Logger, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # those of pytest raise
    with WorkLog(as_json):
        log.info("%s", Awkward())
        log.info("%d %d", 1)
        log.info("bytes \udcff \ud800")
        try:
            raise AwkwardError
        except AwkwardError:
            log.exception("awkward")
    said = capfd.readouterr().err
    for words in ("%s", "%d %d", "awkward", "AwkwardError"):
        assert words in said


def test_warnings_and_errors_that_nobody_handles_are_records(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ValueError("in a thread")

    with WorkLog(as_json=True):
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.warn("old", DeprecationWarning, stacklevel=1)
        try:
            raise SystemExit(3)
        except SystemExit as end:
            sys.excepthook(type(end), end, end.__traceback__)
        Dies()
    error, warning, exit_, last = objects(capfd)
    assert error["message"] == exit_["message"] == last["message"] == "an error that nobody handles"
    assert error["traceback"].endswith("ValueError: in a thread")
    assert exit_["traceback"].endswith("SystemExit: 3")
    assert last["traceback"].endswith("ValueError: while it is deleted")
    assert "DeprecationWarning: old" in warning["message"]


def test_afterwards_all_is_as_before(log: logging.Logger) -> None:
    root = logging.getLogger()

    def now() -> list[object]:
        hooks = threading.excepthook, sys.excepthook, sys.unraisablehook, warnings.showwarning
        return [root.level, list(root.handlers), *hooks]

    before = now()
    with WorkLog(as_json=True):
        assert threading.excepthook is not before[2]
    assert now() == before


def test_no_text_looks_like_a_record_or_is_obeyed_by_a_terminal(
    log: logging.Logger, capfd: pytest.CaptureFixture[str]
) -> None:
    forged = "2026-03-27T08:00:00.012+00:00 INFO rx_runat: 'mail:1' acked"
    with WorkLog(as_json=False):
        log.info("a\x1b[2J\n%s\r%s", forged, forged)
        try:
            raise ValueError(f"\n{forged}")
        except ValueError:
            log.exception("it failed")
    said = capfd.readouterr().err
    assert "a\\u001b[2J\n" in said
    assert said.count(forged) == 3
    assert [line[24:] for line in said.splitlines() if line[0] != " "] == [
        "+00:00 INFO app: a\\u001b[2J"[1:],
        "+00:00 ERROR app: it failed"[1:],
    ]


def test_lines_are_whole_where_standard_error_does_not_block(log: logging.Logger) -> None:
    """Another process that has the same pipe may have set that."""
    reading, writing = os.pipe()
    before = os.dup(2)
    os.set_blocking(writing, False)
    os.dup2(writing, 2)
    try:
        with WorkLog(as_json=True), ThreadPoolExecutor(1) as threads, open(reading) as lines:
            written = threads.submit(log.info, "x" * 200_000)
            assert len(json.loads(lines.readline())["message"]) == 200_000
            written.result()
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(writing)
