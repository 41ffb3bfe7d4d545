"""The notebooks run from top to bottom, and are committed as executed: small, and without traces of a machine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.support.quick_nbformat import nbformat
from tests.support.run_notebooks import (
    FOLDER,
    HOME,
    PATHS,
    README_PICTURES,
    WIDGET,
    outputs,
    pictures,
    standard_error,
    tidy,
)

pytestmark = pytest.mark.timeout(120)  # on a busy machine kernels are slow to start

RAISES = """
import asyncio
from rx_runat import RunAt
queue = RunAt("embedded://")
queue.subscribe(lambda key: 1 / 0)
queue.schedule("a", 1)
while queue._source.subscribers:
    await asyncio.sleep(0.01)
await asyncio.sleep(0.1)
queue.stop()
"""

# What the button "Interrupt the kernel" does, after the first key. ipykernel ends an `await` when the event loop has
# something to do next: here that is the second key.
INTERRUPTED = [
    """
import os, signal, threading
from datetime import timedelta
from reactivex import operators as ops
from rx_runat import Job, RunAt
queue = RunAt("embedded://")

def interrupt(key):
    if key == "a":
        threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()

pipeline = queue.pipe(ops.do_action(interrupt), ops.ignore_elements())
jobs = [Job("a", 0), Job("b", timedelta(seconds=0.4))]
""",
    """
queue.on_next(jobs)
try:
    pipeline.run()
except KeyboardInterrupt:
    print("run() was interrupted")
""",
    """
queue.on_next(jobs)
try:
    await pipeline
except asyncio.CancelledError:
    print("await was interrupted")
""",
]
ALL_LEAVE = """
while queue._source.subscribers:
    await asyncio.sleep(0.01)
"""


SLOW = ("1", "2", "4", "5")  # the default run leaves these out: most of their time is waiting
PARAMS = [pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * path.name.startswith(SLOW)) for path in PATHS]


@pytest.fixture(scope="module")
def executed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The notebooks that the selected tests need, executed side by side in one process."""
    selected = [
        getattr(item, "callspec", None)
        for item in request.session.items
        if "executed" in getattr(item, "fixturenames", ())
    ]
    home = tmp_path_factory.mktemp("books")
    raises = home / "raises.ipynb"
    setup, run, wait = INTERRUPTED
    cells = [
        nbformat.v4.new_code_cell(each) for each in (RAISES, setup, run, ALL_LEAVE, wait, ALL_LEAVE, "queue.stop()")
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), raises)
    paths = [*{call.params["path"] for call in selected if call is not None}, raises]
    done = {path.name: home / f"done-{path.name}" for path in paths}
    jobs = [(str(path), str(done[path.name]), str(tmp_path_factory.mktemp("rx"))) for path in paths]
    subprocess.run(
        [sys.executable, "-m", "tests.support.run_notebooks", json.dumps(jobs)], cwd=FOLDER.parent, check=True
    )
    return {name: nbformat.read(path, as_version=4) for name, path in done.items()}


def test_they_are_numbered() -> None:
    assert [path.name.split("-")[0] for path in PATHS] == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("path", PARAMS)
def test_it_runs_and_writes_no_warning(path: Path, executed: dict[str, Any]) -> None:
    book = executed[path.name]
    assert standard_error(book) == []
    assert any("image/svg+xml" in output.get("data", {}) for output in outputs(book))


@pytest.mark.parametrize("path", PARAMS)
def test_it_prints_what_is_committed(path: Path, executed: dict[str, Any]) -> None:
    def printed(book: Any) -> list[str]:
        lines = "".join(output.text for output in outputs(book) if output.output_type == "stream").splitlines()
        return [line for line in lines if "->" not in line]  # live diagrams differ a little each time

    assert printed(executed[path.name]) == printed(nbformat.read(path, as_version=4))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_it_is_committed_as_executed_small_and_tidy(path: Path) -> None:
    text = path.read_text()
    book = nbformat.read(path, as_version=4)
    assert len(text) < 60_000
    assert not re.search(rf"(?!{HOME}/)/home/|/root|/tmp/|/usr/|unix://", text)
    assert nbformat.writes(tidy(nbformat.from_dict(book))) == nbformat.writes(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for output in outputs(book):
        assert WIDGET not in output.get("data", {})
        if "image/svg+xml" in output.get("data", {}):
            ElementTree.fromstring(output.data["image/svg+xml"])


NEEDS = {"embedded": "embedded://", "memory": "virtual_queue(", "notebook": "timeline(", "cron": "cron("}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_it_says_at_its_beginning_which_extras_it_needs(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    needed = [extra for extra, word in NEEDS.items() if word in code]
    assert f"This notebook needs `pip install 'rx-runat[{','.join(needed)}]'`" in cells[0].source.replace("\n", " ")


def test_the_first_notebook_begins_with_the_picture_that_the_readme_shows() -> None:
    book = nbformat.read(PATHS[0], as_version=4)
    assert README_PICTURES["timeline.svg"] == (PATHS[0].name, 1)
    beginning = [cell for cell in book.cells if cell.cell_type == "code"][:3]
    assert "timeline(queue" in beginning[1].source
    (shown,) = [output for output in beginning[2].outputs if "image/svg+xml" in output.get("data", {})]
    assert shown.data["image/svg+xml"] == (FOLDER / "timeline.svg").read_text().strip()


def test_an_exception_of_a_subscriber_shows_in_the_notebook(executed: dict[str, Any]) -> None:
    book = executed["raises.ipynb"]
    (text,) = standard_error(book)
    assert "ZeroDivisionError" in text
    assert "Exception in thread" in text


def test_a_cell_that_is_interrupted_leaves_no_subscription(executed: dict[str, Any]) -> None:
    """Both cells that wait until nobody subscribes have come to their end."""
    printed = [output.text for output in outputs(executed["raises.ipynb"]) if output.get("name") == "stdout"]
    assert printed == ["run() was interrupted\n", "await was interrupted\n"]


@pytest.mark.parametrize("picture", README_PICTURES)
def test_the_readme_shows_pictures_of_the_notebooks(picture: str) -> None:
    name, number = README_PICTURES[picture]
    text = (FOLDER / picture).read_text()
    assert text.strip() == pictures(nbformat.read(FOLDER / name, as_version=4))[number]
    assert len(list(ElementTree.fromstring(text).iter())) > 20
    assert f"(notebooks/{picture})" in (FOLDER.parent / "README.md").read_text()
