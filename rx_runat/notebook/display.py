"""The notebook that pictures are shown in: the only place that knows IPython, which need not be there."""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# (IPython's display is not annotated)
from __future__ import annotations

from collections.abc import Callable


def shown(bundle: dict[str, str]) -> Callable[[dict[str, str]], None]:
    """Show something below the cell that runs; what this answers shows another in its place, from any thread.

    Args:
        bundle: MIME type -> content.
    """
    from IPython.display import display

    handle = display(bundle, raw=True, display_id=True)

    def show_again(bundle: dict[str, str]) -> None:
        if handle is not None:
            handle.update(bundle, raw=True)

    return show_again
