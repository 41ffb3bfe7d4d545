"""Writing to standard output: on a pipe, a line is delivered when the reader has read it."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rx_runat.cli import pipe as module
from rx_runat.cli.pipe import PipeWriter
from tests.support.waiting import wait_until


class Pipe:
    """A pipe whose ends can be closed once each."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self._open = {self.reader, self.writer}

    def close(self, *ends: int) -> None:
        for end in ends or tuple(self._open):
            if end in self._open:
                self._open.remove(end)
                os.close(end)

    def read_all(self) -> bytes:
        self.close(self.writer)
        with open(self.reader, "rb", closefd=False) as file:
            return file.read()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for a reader for a minute, so that no test depends on how fast its reader is."""
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 60.0)


class Writer:
    """Writes lines in a thread until one fails; `written` are those whose write returned."""

    def __init__(self, descriptor: int, lines: list[str]) -> None:
        self.written: list[str] = []
        self.error: BaseException | None = None
        self._output = PipeWriter(descriptor)
        self._lines = lines
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for line in self._lines:
                self._output.write(line)
                self.written.append(line)
        except BaseException as error:
            self.error = error

    def has_ended(self) -> bool:
        return not self._thread.is_alive()


def waits(seen: Callable[[], object]) -> None:
    wait_until(seen, "the writer is done")


def test_lines_reach_a_file(tmp_path: Path) -> None:
    with open(tmp_path / "out", "wb") as file:
        out = PipeWriter(file.fileno())
        for line in ("a", "", "with spaces", "é€😀", "\udcff\udcfe", "x" * 100_000):
            out.write(line)
    expected = b"a\n\nwith spaces\n" + "é€😀".encode() + b"\n\xff\xfe\n" + b"x" * 100_000 + b"\n"
    assert (tmp_path / "out").read_bytes() == expected


def test_a_full_disk_is_an_error() -> None:
    with open("/dev/full", "wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        PipeWriter(file.fileno()).write("a")


def test_a_closed_descriptor_is_refused(pipe: Pipe) -> None:
    pipe.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        PipeWriter(pipe.writer)


@pytest.mark.usefixtures("patient")
def test_a_line_is_written_when_the_reader_has_read_it(pipe: Pipe) -> None:
    writer = Writer(pipe.writer, ["a", "b"])
    assert os.read(pipe.reader, 100) == b"a\n"  # not "a\nb\n": the second waits until the first is read
    assert os.read(pipe.reader, 100) == b"b\n"
    waits(writer.has_ended)
    assert (writer.written, writer.error) == (["a", "b"], None)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("taken", [1, 3])
def test_a_reader_that_leaves_loses_no_line(pipe: Pipe, taken: int) -> None:
    lines = [f"line {n}" for n in range(100)]
    writer = Writer(pipe.writer, lines)
    got = b"".join(os.read(pipe.reader, 100) for _ in range(taken))
    pipe.close(pipe.reader)
    waits(writer.has_ended)
    assert isinstance(writer.error, BrokenPipeError)
    assert writer.written == lines[:taken] == got.decode().splitlines()


@pytest.mark.usefixtures("patient")
def test_a_line_that_was_read_before_the_reader_left_is_written(pipe: Pipe) -> None:
    writer = Writer(pipe.writer, ["a"])
    os.read(pipe.reader, 100)
    pipe.close(pipe.reader)
    waits(writer.has_ended)
    assert (writer.written, writer.error) == (["a"], None)


@pytest.mark.usefixtures("patient")
def test_a_line_that_the_reader_left_unread_is_not_written(pipe: Pipe) -> None:
    writer = Writer(pipe.writer, ["a"])
    poller = select.poll()
    poller.register(pipe.reader, select.POLLIN)
    assert poller.poll(20_000)
    pipe.close(pipe.reader)
    waits(writer.has_ended)
    assert writer.written == []
    assert isinstance(writer.error, BrokenPipeError)


def test_a_write_after_the_reader_has_left_is_a_broken_pipe(pipe: Pipe) -> None:
    out = PipeWriter(pipe.writer)
    pipe.close(pipe.reader)
    for _ in range(2):
        with pytest.raises(BrokenPipeError):
            out.write("a")


def test_a_write_does_not_wait_for_ever_for_a_reader_that_never_reads(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.01)
    out = PipeWriter(pipe.writer)
    out.write("a")
    out.write("b")
    assert pipe.read_all() == b"a\nb\n"


def test_the_longest_wait_is_the_half_second_that_the_readme_names() -> None:
    assert module.PATIENCE_SECONDS == 0.5


@pytest.mark.usefixtures("patient")
def test_a_line_longer_than_the_pipe_arrives_whole(pipe: Pipe) -> None:
    writer = Writer(pipe.writer, ["x" * 1_000_000])
    got = b""
    while not got.endswith(b"\n"):
        got += os.read(pipe.reader, 1 << 20)
    waits(writer.has_ended)
    assert got == b"x" * 1_000_000 + b"\n"
    assert writer.error is None


@pytest.mark.usefixtures("patient")
def test_a_reader_that_leaves_in_the_middle_of_a_long_line_breaks_the_pipe(pipe: Pipe) -> None:
    writer = Writer(pipe.writer, ["x" * 1_000_000, "after"])
    os.read(pipe.reader, 100_000)
    pipe.close(pipe.reader)
    waits(writer.has_ended)
    assert isinstance(writer.error, BrokenPipeError)
    assert writer.written == []


@pytest.mark.usefixtures("patient")
def test_many_lines_arrive_in_order(pipe: Pipe) -> None:
    lines = [str(n) for n in range(1000)]
    writer = Writer(pipe.writer, lines)
    got: list[str] = []
    with open(pipe.reader, "rb", closefd=False) as file, contextlib.closing(file):
        got.extend(next(file).decode().rstrip() for _ in lines)
    waits(writer.has_ended)
    assert got == lines
    assert writer.error is None


@pytest.mark.usefixtures("patient")
def test_a_write_does_not_wait_if_the_system_does_not_tell_what_is_unread(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_unread", lambda _: None)
    out = PipeWriter(pipe.writer)
    out.write("a")
    out.write("b")
    assert pipe.read_all() == b"a\nb\n"
