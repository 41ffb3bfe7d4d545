"""Execute the notebooks.

`python -m tests.support.run_notebooks` writes their outputs into them, without paths of the machine.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.support.quick_nbformat import nbformat

FOLDER = Path(__file__).parents[2] / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
HOME = "/home/ada"  # in what is committed, instead of the home of whoever executed it
README_PICTURES = {
    "timeline.svg": ("1-schedule-and-receive.ipynb", 1),
    "marbles.svg": ("2-compose.ipynb", 0),
    "claims.svg": ("4-at-least-once.ipynb", 4),
}
"""The pictures that the README shows: file name -> (notebook, number of the picture among its outputs)."""
WIDGET = "application/vnd.jupyter.widget-view+json"


async def execute(path: Path, home: str) -> Any:
    """A notebook with its outputs; raises what a cell raises.

    Args:
        path: of the notebook.
        home: a directory that it takes for its user's home, where it keeps a durable queue.
    """
    from jupyter_client.manager import AsyncKernelManager  # here, because tests that execute nothing import this module
    from nbclient import NotebookClient

    book = nbformat.read(path, as_version=4)
    sources = [cell.source for cell in book.cells]
    for cell in book.cells:
        cell.source = cell.source.replace("Path.home()", f"Path({home!r})")
    resources = {"metadata": {"path": str(FOLDER)}}
    with tempfile.TemporaryDirectory(prefix="rxn-") as place:  # unix sockets in a private directory, no open TCP ports
        kernel = AsyncKernelManager(
            kernel_name="python3", transport="ipc", ip=f"{place}/socket", connection_file=f"{place}/kernel.json"
        )
        client = NotebookClient(book, km=kernel, timeout=60, coalesce_streams=True, resources=resources)
        await client.async_execute(cleanup_kc=True)
    for cell, source in zip(book.cells, sources, strict=True):
        cell.source = source
    return nbformat.from_dict(json.loads(json.dumps(book).replace(home, HOME)))


def outputs(book: Any) -> list[Any]:
    return [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]


def pictures(book: Any) -> list[str]:
    return [output.data["image/svg+xml"] for output in outputs(book) if "image/svg+xml" in output.get("data", {})]


def standard_error(book: Any) -> list[str]:
    """What the cells wrote to standard error: warnings, and exceptions of background threads."""
    return [output.text for output in outputs(book) if output.output_type == "stream" and output.name == "stderr"]


def tidy(book: Any) -> Any:
    """The notebook as it is committed: without traces of the machine, and without live widgets."""
    book.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in book.cells:
        cell.metadata = {}
    for output in outputs(book):
        output.get("data", {}).pop(WIDGET, None)
    return book


async def execute_for_tests(jobs: list[tuple[str, str, str]]) -> None:
    """Execute notebooks side by side, because most of their time is waiting.

    Args:
        jobs: of each notebook its path, the path to write it to with its outputs, and its `home`.
    """
    books = await asyncio.gather(*(execute(Path(source), home) for source, _, home in jobs))
    for book, (_, target, _) in zip(books, jobs, strict=True):
        nbformat.write(book, target)


def update_committed() -> None:
    """Execute all notebooks in place, one after the other, and write the README's pictures."""
    for path in PATHS:
        with tempfile.TemporaryDirectory(prefix="rxn-home-", ignore_cleanup_errors=True) as home:  # a server ends
            done = asyncio.run(execute(path, home))
        if standard_error(done):
            sys.exit(f"{path.name}: {standard_error(done)}")
        nbformat.write(tidy(done), path)
    for picture, (name, number) in README_PICTURES.items():
        book = nbformat.read(FOLDER / name, as_version=4)
        (FOLDER / picture).write_text(pictures(book)[number] + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:  # in a process of its own, because nbclient leaves sockets open
        asyncio.run(execute_for_tests(json.loads(sys.argv[1])))
    else:
        update_committed()
