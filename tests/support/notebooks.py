"""Executes the notebooks.

`python -m tests.support.notebooks` writes what they put out into them, without machine paths.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
PLACE = "/tmp/rx-runat-notebook"  # where a notebook keeps a durable queue
STILLS = {
    "timeline.svg": ("1-schedule-and-receive.ipynb", -1),
    "marbles.svg": ("2-compose.ipynb", 0),
    "claims.svg": ("4-at-least-once.ipynb", 3),
}
"""What the README shows: which picture of which notebook."""
WIDGET = "application/vnd.jupyter.widget-view+json"


def execute(path: Path, place: str = PLACE) -> Any:
    """A notebook with its outputs; raises what a cell raises."""
    book = nbformat.read(path, as_version=4)
    for cell in book.cells:
        cell.source = cell.source.replace(PLACE, place)
    there = {"metadata": {"path": str(FOLDER)}}
    with tempfile.TemporaryDirectory(prefix="rxn-") as home:  # on sockets of our own, not on TCP for all who are here
        kernel = AsyncKernelManager(
            kernel_name="python3", transport="ipc", ip=f"{home}/socket", connection_file=f"{home}/kernel.json"
        )
        client = NotebookClient(book, km=kernel, timeout=60, coalesce_streams=True, resources=there)
        client.execute(cleanup_kc=True)
    return book


def outputs(book: Any) -> list[Any]:
    return [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]


def pictures(book: Any) -> list[str]:
    return [output.data["image/svg+xml"] for output in outputs(book) if "image/svg+xml" in output.get("data", {})]


def complaints(book: Any) -> list[str]:
    """What was written to standard error: exceptions of background threads and warnings are there."""
    return [output.text for output in outputs(book) if output.output_type == "stream" and output.name == "stderr"]


def tidy(book: Any) -> Any:
    """As it is committed: the stills of widgets, which live in no file, and nothing about the machine."""
    book.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in book.cells:
        cell.metadata = {}
    for output in outputs(book):
        output.get("data", {}).pop(WIDGET, None)
    return book


if __name__ == "__main__":
    if len(sys.argv) > 1:  # for the tests, which give each a process of its own: nbclient leaves sockets open
        source, target, place = sys.argv[1:]
        nbformat.write(execute(Path(source), place), target)
    else:
        for path in PATHS:
            done = execute(path)
            if complaints(done):
                sys.exit(f"{path.name}: {complaints(done)}")
            nbformat.write(tidy(done), path)
        for still, (name, place) in STILLS.items():
            book = nbformat.read(FOLDER / name, as_version=4)
            (FOLDER / still).write_text(pictures(book)[place] + "\n")
