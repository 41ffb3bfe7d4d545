"""The notebooks run from top to bottom, and are committed as executed: small, and without a word about the machine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nbformat
import pytest

from tests.support.notebooks import FOLDER, PATHS, STILLS, WIDGET, complaints, outputs, pictures, tidy

pytestmark = pytest.mark.timeout(120)  # kernels take their time on a busy machine

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


SLOW = ("2", "4", "5")  # the default run does without these
PARAMS = [pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * path.name.startswith(SLOW)) for path in PATHS]


@pytest.fixture(scope="module")
def executed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All that are asked for, at once: most of their time is waiting."""
    calls = [
        getattr(item, "callspec", None)
        for item in request.session.items
        if "executed" in getattr(item, "fixturenames", ())
    ]
    asked = {call.params["path"] for call in calls if call is not None}
    there = tmp_path_factory.mktemp("books")
    raises = there / "raises.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(RAISES)]), raises)
    running = {}
    for path in [*asked, raises]:
        arguments = [str(path), str(there / f"done-{path.name}"), str(tmp_path_factory.mktemp("rx"))]
        running[path.name] = subprocess.Popen(
            [sys.executable, "-m", "tests.support.notebooks", *arguments],
            cwd=FOLDER.parent,
            stderr=subprocess.PIPE,
            text=True,
        )
    for process in running.values():
        said = process.communicate()[1]
        assert process.returncode == 0, said
    return {name: nbformat.read(there / f"done-{name}", as_version=4) for name in running}


def test_they_are_numbered() -> None:
    assert [path.name.split("-")[0] for path in PATHS] == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("path", PARAMS)
def test_it_runs_and_nothing_complains(path: Path, executed: dict[str, Any]) -> None:
    book = executed[path.name]
    assert complaints(book) == []
    assert any("image/svg+xml" in output.get("data", {}) for output in outputs(book))


@pytest.mark.parametrize("path", PARAMS)
def test_it_prints_what_is_committed(path: Path, executed: dict[str, Any]) -> None:
    def printed(book: Any) -> list[str]:
        lines = "".join(output.text for output in outputs(book) if output.output_type == "stream").splitlines()
        return [
            line for line in lines if "->" not in line
        ]  # a diagram of what was live is a little different each time

    assert printed(executed[path.name]) == printed(nbformat.read(path, as_version=4))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_it_is_committed_as_executed_small_and_tidy(path: Path) -> None:
    text = path.read_text()
    book = nbformat.read(path, as_version=4)
    assert len(text) < 60_000
    assert not re.search(r"/home/|/root|/tmp/(?!rx-runat-notebook)|/usr/|unix://", text)
    assert nbformat.writes(tidy(nbformat.from_dict(book))) == nbformat.writes(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for output in outputs(book):
        assert WIDGET not in output.get("data", {})
        if "image/svg+xml" in output.get("data", {}):
            ElementTree.fromstring(output.data["image/svg+xml"])


def test_what_a_subscriber_raises_in_the_background_shows_in_the_notebook(executed: dict[str, Any]) -> None:
    book = executed["raises.ipynb"]
    (said,) = complaints(book)
    assert "ZeroDivisionError" in said
    assert "Exception in thread" in said


@pytest.mark.parametrize("still", STILLS)
def test_the_stills_of_the_readme_are_pictures_of_the_notebooks(still: str) -> None:
    name, place = STILLS[still]
    text = (FOLDER / still).read_text()
    assert text.strip() == pictures(nbformat.read(FOLDER / name, as_version=4))[place]
    assert len(list(ElementTree.fromstring(text).iter())) > 20
    assert f"(notebooks/{still})" in (FOLDER.parent / "README.md").read_text()
