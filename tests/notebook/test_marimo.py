"""In marimo, pictures are live, subscribers print into cells, and diagrams and cards are shown."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = """
import marimo

app = marimo.App()


@app.cell
def _():
    import asyncio
    from datetime import timedelta
    from reactivex import operators as ops
    from rx_runat import Job, RunAt
    from rx_runat.notebook import fresh, marbles, timeline

    jobs = [Job(f"key {n}", timedelta(seconds=n / 10)) for n in range(1, 4)]
    queue = fresh("queue", RunAt, "memory://")
    queue
    return asyncio, fresh, jobs, marbles, ops, queue, timeline


@app.cell
def _(queue, timeline):
    picture = timeline(queue, window=3)
    picture
    return (picture,)


@app.cell
async def _(fresh, jobs, ops, picture, queue):
    picture
    fresh("printer", queue.subscribe, lambda key: print("Got", key))
    queue.on_next(jobs)
    keys = await queue.pipe(ops.take(3), ops.to_list())
    return (keys,)


@app.cell
async def _(asyncio, jobs, keys, marbles, picture, queue):
    queue.on_next(jobs)
    recording = await marbles(0.5, printed=keys and queue)
    while picture.frame["counts"]["received"] < 6:
        await asyncio.sleep(0.01)
    recording
    return
"""


@pytest.mark.slow
def test_a_marimo_notebook_shows_live_pictures_diagrams_cards_and_prints(tmp_path: Path) -> None:
    """Its page, as `marimo export` writes it, has what a browser would show: outputs, and the state of widgets."""
    book, page = tmp_path / "book.py", tmp_path / "book.html"
    book.write_text(NOTEBOOK)
    command = [sys.executable, "-m", "marimo", "export", "html", str(book), "-o", str(page)]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=50)
    text = page.read_text()
    assert "marimo-anywidget" in text
    # The frame is the last one that the picture's own thread sent.
    frame = json.JSONDecoder().raw_decode(text[text.index('"frame": ') + len('"frame": ') :])[0]
    assert frame["counts"]["received"] == 6
    assert [mark[0] for mark in frame["marks"]]
    assert "Marble diagram of printed" in text
    assert "RunAt~default" in text
    for key in ("key 1", "key 2", "key 3"):
        assert text.count(f"Got {key}\\n") == 2
