"""What a notebook's kernel knows and does: cells, and where their output goes. The only file that imports IPython.

It imports IPython only when it is called, and works without: then there are no cells.
"""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# (IPython is not annotated)
from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def shown(bundle: dict[str, str]) -> Callable[[dict[str, str]], None]:
    """Show a picture below the cell that runs, and return a function that replaces it, from any thread.

    Args:
        bundle: the picture, as MIME type -> content.
    """
    from IPython.display import display

    handle = display(bundle, raw=True, display_id=True)

    def show_again(bundle: dict[str, str]) -> None:
        if handle is not None:
            handle.update(bundle, raw=True)

    return show_again


class Cells:
    """The cells of the notebook that this process runs.

    Args:
        started: called on the kernel's main thread when a cell starts, until `close` is called.
    """

    def __init__(self, started: Callable[[], object]) -> None:
        self._started = started
        self._shell: Any = _shell()
        self._message = self._parent()
        if self._shell is not None:
            self._shell.events.register("pre_run_cell", self._starts)

    @property
    def running(self) -> str | None:
        """The id of the cell that started last; None if the front end gives cells no ids."""
        metadata = self._message.get("metadata") or {}
        return metadata.get("cellId")

    def give_output_back(self) -> None:
        """Return what threads print to the cell that started last, after a message of a widget has taken it.

        ipykernel 7 sends the output of threads to the message that it received last. JupyterLab shows the output of a
        widget's message nowhere.
        """
        if self._shell is not None and self._message:
            self._shell.set_parent(self._message)

    def close(self) -> None:
        """Listen to cells no more. May be repeated."""
        shell, self._shell, self._message = self._shell, None, {}
        if shell is not None:
            shell.events.unregister("pre_run_cell", self._starts)

    def _starts(self, *_: object) -> None:
        self._message = self._parent()
        self._started()

    def _parent(self) -> dict[str, Any]:
        """The message that started the cell; empty outside of a notebook."""
        get_parent = getattr(self._shell, "get_parent", None)  # IPython in a terminal has none
        return (get_parent() if get_parent else None) or {}


def _shell() -> Any:
    """The kernel's IPython; None outside of it."""
    if "IPython" not in sys.modules:  # not imported yet, so it does not run this process
        return None
    from IPython import get_ipython

    return get_ipython()
