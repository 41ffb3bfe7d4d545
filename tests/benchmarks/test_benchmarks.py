"""The benchmarks run, and print figures. People judge these, on a quiet machine; no test does."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
import redis

from rx_runat import Job, RunAt
from tests.benchmarks import bare, poller
from tests.benchmarks.__main__ import BENCHMARKS, main
from tests.benchmarks.bench import Bench, Row
from tests.benchmarks.herd import received
from tests.benchmarks.picture import draw
from tests.benchmarks.servers import binaries
from tests.benchmarks.table import HEAD, table
from tests.support.servers import Server

ROOT = Path(__file__).parents[2]
Q = "RunAt~default"
FIGURE = re.compile(r"[+-]?[\d,.]+(e[+-]\d+)?( \(.*\.\..*\))?")


@pytest.mark.slow
def test_the_command_prints_a_row_for_each_figure_and_draws_the_picture(tmp_path: Path) -> None:
    """All benchmarks run, in tiny sizes."""
    picture = tmp_path / "lateness.svg"
    command = [sys.executable, "-W", "error", "-m", "tests.benchmarks", "--quick", "--picture", str(picture)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [f"{name} ..." for name in BENCHMARKS]

    origin, _, head, _, *lines = done.stdout.splitlines()
    assert re.match(r"20\d\d-\d\d-\d\d, .+; Python 3.+ redis .+ hiredis .+ reactivex .+; (Valkey|Redis) ", origin)
    assert tuple(_cells(head)) == HEAD
    rows = [_cells(line) for line in lines]
    for name, _, ours, *compared, _ in rows:
        assert all(FIGURE.fullmatch(each) for each in (ours, *filter(None, compared))), name
    names = " ".join(row[0] for row in rows)
    for each in (
        "scan",
        "lists",
        "one by one",
        "gather",
        "p99",
        "among",
        "memory",
        "interval=5",
        "claims",
        "storm",
        "lease",
    ):
        assert each in names
    on_each_server = 1 + 1 + 6 + 5  # drain, operators, settle, the server's time
    assert len(rows) == len({row[0] for row in rows}) == 29 + on_each_server * len(binaries())
    for binary in binaries():
        product = "Valkey" if "valkey" in binary else "Redis"
        for each in ("drain of", "scan", "settle", "the server's time: claim"):
            assert re.search(rf"{each} .*; {product} \d", "\n".join(row[0] for row in rows))

    assert ElementTree.parse(picture).getroot().tag.endswith("svg")
    assert os.listdir(tmp_path) == ["lateness.svg"]


def test_the_command_runs_the_benchmarks_that_it_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    main(["single", "--quick"])
    printed = capsys.readouterr()
    assert printed.err == "single ...\n"
    *_, line = printed.out.splitlines()
    assert _cells(line)[:2] == ["schedule one by one", "keys/s"]


def test_a_name_that_is_no_benchmark_is_refused_with_the_names_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["drain", "settel"])
    assert f"'settel' is none of {', '.join(BENCHMARKS)}" in capsys.readouterr().err


def test_a_benchmark_that_fails_loses_no_row_that_was_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(bench: Bench) -> Iterator[Row]:
        yield Row("before the error", "1/s", ours=(1,))
        raise AssertionError("a key is missing")

    monkeypatch.setitem(BENCHMARKS, "single", breaks)
    monkeypatch.setitem(BENCHMARKS, "lists", lambda bench: iter([Row("another one", "1/s", ours=(2,))]))
    with pytest.raises(SystemExit, match=r"^failed: single$"):
        main(["single", "lists", "--quick"])
    printed = capsys.readouterr()
    assert "AssertionError: a key is missing" in printed.err
    *_, before, after = printed.out.splitlines()
    assert (_cells(before)[0], _cells(after)[0]) == ("before the error", "another one")


def test_the_herd_waits_for_keys_that_are_taken_and_not_yet_delivered() -> None:
    class Slow:
        """A process that has received its second key when it is asked again."""

        def __init__(self) -> None:
            self._got: list[tuple[str, float]] = []

        def request(self, line: str) -> list[tuple[str, float]]:
            assert line == "keys"
            self._got.append((f"job:{len(self._got)}", 0.0))
            return self._got

    assert received([Slow()], 2) == [("job:0", 0.0), ("job:1", 0.0)]


def test_the_poller_takes_what_is_due_and_leaves_the_rest(client: redis.Redis) -> None:
    client.zadd(Q, {"b": 2, "a": 1, "far": 4_000_000_000_000})
    assert poller.take(client, Q) == [b"a", b"b"]
    assert client.zrange(Q, 0, -1) == [b"far"]


def test_the_leanest_loop_takes_what_is_due_and_leaves_the_rest(client: redis.Redis) -> None:
    client.zadd(Q, {"b": 2, "a": 1, "c": 3, "far": 4_000_000_000_000})
    assert bare.drain(bare.taker(client, limit=2)) == ["a", "b", "c"]
    assert client.zrange(Q, 0, -1) == [b"far"]


def test_a_row_shows_the_median_of_the_pairs_ratios() -> None:
    row = Row("drain", "keys/s", ours=(100, 300, 1000), reference=(100, 200, 8000), target="ratio >= 0.8")
    *_, line = table([row]).splitlines()
    assert _cells(line) == ["drain", "keys/s", "300 (100..1,000)", "200 (100..8,000)", "1 (0.125..1.5)", "ratio >= 0.8"]


def test_a_row_without_a_reference_compares_nothing() -> None:
    *_, line = table([Row("idle", "1/s", ours=(0.2, 0.2))]).splitlines()
    assert _cells(line) == ["idle", "1/s", "0.2", "", "", ""]


@pytest.mark.parametrize("name", ["picture.png", "picture.svg"])
def test_the_same_figures_draw_the_same_picture(name: str, tmp_path: Path) -> None:
    lateness = {"exact": [0.05, 0.4, math.pi], "plain ticks": [1.0, 50.0, 100.0]}
    draw(lateness, tmp_path / name)
    once = (tmp_path / name).read_bytes()
    draw(lateness, tmp_path / name)
    assert (tmp_path / name).read_bytes() == once
    assert 1_000 < len(once) < 60_000


@pytest.mark.parametrize("count", [1, 100, 20_000])
def test_a_scheduled_key_costs_the_bare_zset_and_not_a_byte_more(
    count: int, server: Server, client: redis.Redis
) -> None:
    """Redis holds the same zset, byte for byte, and nothing else; the tolerance is for the server's allocator.

    An extra byte a key would exceed the tolerance. The size of one allocation varies by 16 bytes, and a packed zset
    consists of two or three allocations. The random heights of a large zset's nodes vary its size by a tenth of a byte
    a key, with 20,000 keys.
    """
    with RunAt(server.url) as queue:
        for first in range(0, count, 1000):
            keys = range(first, min(first + 1000, count))
            queue.on_next([Job(f"job:{n:06}", 4_000_000_000 + n) for n in keys])
        assert client.keys() == [Q.encode()]
    dump, ours = client.dump(Q), client.memory_usage(Q, samples=0)
    client.delete(Q)
    for first in range(0, count, 1000):
        keys = range(first, min(first + 1000, count))
        client.zadd(Q, {f"job:{n:06}": (4_000_000_000 + n) * 1000 for n in keys})
    assert dump == client.dump(Q)
    assert abs(ours - client.memory_usage(Q, samples=0)) < max(count, 48)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
