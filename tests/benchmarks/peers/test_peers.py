"""The comparison with other queues, as far as it needs none of them. People judge its figures; no test does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import main
from tests.benchmarks.bench import Bench
from tests.benchmarks.peers import command
from tests.benchmarks.peers.jobs import LINE
from tests.benchmarks.peers.measure import Figures
from tests.benchmarks.peers.peer import OURS, PEERS, ROOT, Peer, find
from tests.benchmarks.peers.table import HEAD, peers_table
from tests.benchmarks.peers.worker import Worker
from tests.support.servers import Server

APPS = Path(__file__).parent / "apps"
FIGURES = Figures(drain=1234.5, earliest=-12.3, p50=0.5, p99=1000.0, commands=0.0, server=0.25, worker=None, size=76.04)


def peer(name: str, *worker: str) -> Peer:
    return Peer(name, sys.executable, name, ("some 1.0",), worker, "every 1 s", "at most once", 10)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_has_a_row_for_each_queue() -> None:
    head, rule, some, other = peers_table({peer("some"): FIGURES, peer("other"): FIGURES}).splitlines()
    assert tuple(cells(head)) == HEAD
    assert len({len(line) for line in (head, rule, some, other)}) == 1
    assert cells(some)[:5] == ["some", "every 1 s", "1,230", "0.5", "1,000"]
    assert cells(other)[5:] == ["-12.3", "0", "0.25", "unknown", "76", "at most once"]


def test_there_is_an_app_for_each_name_and_each_has_the_same_names() -> None:
    assert {path.stem for path in APPS.glob("*.py")} - {"__init__"} == {*OURS, *PEERS}
    for name in (*OURS, *PEERS):
        text = (APPS / f"{name}.py").read_text()
        for each in ("WORKER", "PACKAGES", "LOOKS", "PROMISES", "BACKLOG", "schedule"):
            assert re.search(rf"^(def {each}\(|{each} = |from .* import .*\b{each}\b)", text, re.MULTILINE), (
                name,
                each,
            )


def test_the_requirements_are_the_versions_whose_source_the_apps_tell_of() -> None:
    wanted = dict(re.findall(r"^(\w+)[^=\n]*==([\d.]+)$", (ROOT / command.REQUIREMENTS).read_text(), re.MULTILINE))
    assert set(wanted) == set(PEERS)
    for name, version in wanted.items():
        assert f"What its source shows ({version})." in (APPS / f"{name}.py").read_text()


def test_our_own_apps_are_found_and_a_peer_that_is_not_installed_is_told(tmp_path: Path) -> None:
    nothing = tmp_path / "python"  # a Python without packages of others
    nothing.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    nothing.chmod(0o755)
    found, absent = find(["stream", "huey"], str(nothing))
    assert [each.title for each in found] == ["rx_runat"]
    assert absent == {"huey": "No module named 'huey'"}


def test_a_worker_that_ends_is_told_with_its_log(server: Server) -> None:
    with (
        pytest.raises(AssertionError, match=r"the worker has ended; 0 of 1 jobs ran(?s:.*)alas"),
        Worker(peer("ends", "-c", "raise SystemExit('alas')"), server.url) as worker,
    ):
        worker.wait(1)


def test_a_line_has_the_length_that_is_counted(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.touch()
    code = "from tests.benchmarks.peers.jobs import note; note('job:000001')"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={"PEER_NOTES": str(notes)}, check=True)
    assert re.fullmatch(r"job:000001 \d{10}\.\d{6}\n", notes.read_text())
    assert notes.stat().st_size == LINE


def test_a_queue_that_fails_loses_no_row_that_was_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(bench: Bench, peer: Peer) -> Figures:
        assert peer.name != "claims", "a job is missing"
        return FIGURES

    monkeypatch.setattr(command, "measure", measure)
    with pytest.raises(SystemExit, match="failed: claims"):
        main(["--peers", "stream", "claims", "long_interval"])
    printed = capsys.readouterr()
    assert "AssertionError: a job is missing" in printed.err
    assert [cells(line)[0] for line in printed.out.splitlines()[-2:]] == ["rx_runat", "rx_runat, interval=5"]


def test_a_name_that_is_no_queue_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--peers", "drain"])
    assert f"'drain' is none of {', '.join((*OURS, *PEERS))}" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(180)  # some 7 s for each app that is installed, most of it waits
def test_the_command_measures_what_is_installed_and_tells_what_is_not() -> None:
    """All apps that can run, in tiny sizes."""
    _, absent = find(PEERS, command.default_python())
    run = [sys.executable, "-W", "error", "-m", "tests.benchmarks", "--peers", "--quick"]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [cells(line) for line in done.stdout.splitlines() if line.startswith("|")][2:]
    assert len(rows) == len(OURS) + len(PEERS) - len(absent)
    for name, _, *figures, promises in rows:
        assert all(re.fullmatch(r"-?[\d,.]+(e-\d+)?|unknown", each) for each in figures), name
        assert promises
    for name in absent:
        assert f"{name} is absent" in done.stderr
    assert (command.INSTALL in done.stdout) == bool(absent)
