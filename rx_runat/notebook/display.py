"""Shows pictures below a notebook's cell. The only file that imports IPython, and only when it is called."""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# (IPython's display is not annotated)
from __future__ import annotations

from collections.abc import Callable


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
