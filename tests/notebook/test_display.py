"""Cells of a notebook: when one starts, and that the output goes back to it."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.events import EventManager

from rx_runat import RunAt
from rx_runat.notebook import timeline
from rx_runat.notebook.display import Cells


class Shell(SimpleNamespace):
    """What ipykernel's shell has: events, and the message whose output it shows."""

    def __init__(self) -> None:
        super().__init__(parent={"metadata": {"cellId": "one"}})
        self.events = EventManager(self, {"pre_run_cell": lambda info: None})
        self.get_parent = lambda: self.parent
        self.set_parent = lambda parent: setattr(self, "parent", parent)

    def receive(self, message: dict[str, Any], *, is_cell: bool = True) -> None:
        self.parent = message
        if is_cell:
            self.events.trigger("pre_run_cell", None)


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Shell:
    shell = Shell()
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    return shell


def test_output_goes_back_to_the_cell_that_started_last(shell: Shell) -> None:
    starts: list[str | None] = []
    cells = Cells(lambda: starts.append(cells.running))
    assert cells.running == "one"
    second = {"metadata": {"cellId": "two"}}
    shell.receive(second)
    shell.receive({"msg_type": "comm_msg"}, is_cell=False)
    cells.give_output_back()
    assert (shell.parent, starts) == (second, ["two"])


def test_after_its_end_it_listens_to_cells_no_more(shell: Shell) -> None:
    starts: list[int] = []
    cells = Cells(lambda: starts.append(1))
    cells.close()
    cells.close()
    message = {"metadata": {}}
    shell.receive(message)
    cells.give_output_back()
    assert (starts, shell.parent, cells.running) == ([], message, None)


@pytest.mark.parametrize("is_imported", [True, False])
def test_outside_of_a_notebook_there_are_no_cells(is_imported: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not is_imported:
        monkeypatch.delitem(sys.modules, "IPython")
    cells = Cells(lambda: None)
    cells.give_output_back()
    assert cells.running is None
    cells.close()


def test_a_live_picture_is_live_again_in_its_own_cell(shell: Shell, queue: RunAt) -> None:
    def shows_live() -> bool:
        data, _ = picture._repr_mimebundle_()
        return data["application/vnd.jupyter.widget-view+json"]["model_id"] == picture.model_id

    picture = timeline(queue)
    assert shows_live()
    shell.receive({"metadata": {"cellId": "two"}})
    assert not shows_live()
    shell.receive({"metadata": {"cellId": "one"}})
    assert shows_live()
    picture.close()
