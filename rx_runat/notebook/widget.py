"""The live timeline: an `anywidget` that polls the queue while one of its views is in sight; and its stills."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeArgument=false
# (traitlets and ipywidgets are annotated in part)
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

import rx_runat.drawing
from rx_runat.drawing.frame import Frame
from rx_runat.drawing.poller import Poller, title_of
from rx_runat.drawing.scene import Scene
from rx_runat.drawing.static_svg import counts, draw
from rx_runat.notebook.display import Cells
from rx_runat.queue import RunAt

_HERE = Path(rx_runat.drawing.__file__).parent


class _Picture(anywidget.AnyWidget):
    """Draws what `frame` holds."""

    _esm = (_HERE / "timeline.js").read_text(encoding="utf-8")
    _css = (_HERE / "timeline.css").read_text(encoding="utf-8")
    frame = traitlets.Dict().tag(sync=True)

    def bundle(self, frame: Frame, **kwargs: Any) -> Any:
        """The widget, and what pages show that have no widgets: a static picture, and one line."""
        live = super()._repr_mimebundle_(**kwargs)
        data, metadata = live if isinstance(live, tuple) else (live or {}, {})
        return {**data, "text/plain": _line(frame), "image/svg+xml": draw(frame)}, metadata


class Still(_Picture):
    """A picture of one moment. It says so if the queue was stopped."""

    def __init__(self, frame: Frame) -> None:
        stands: Any = {**frame, "state": "still" if frame["state"] == "live" else frame["state"]}
        super().__init__(frame=stands)


class Timeline(_Picture):
    """A live picture of a queue, made by `timeline`.

    It polls the queue from the beginning, and stops about a minute after its last view went out of sight. A view that
    comes into sight starts it again.
    """

    def __init__(self, queue: RunAt, window: float, lane: Callable[[str], object] | None) -> None:
        super().__init__()
        self.poller = Poller(queue, Scene(title_of(queue), window * 1e3, lane), self._publish)
        self._cells = Cells(self.poller.viewers.sign)
        self._is_shown = False
        self._home: str | None = None  # the cell of the first display
        self._publish(self.poller.poll())
        self.on_msg(self._receive)
        self.poller.start()

    def still(self) -> str:
        """Poll once, and return the picture as SVG."""
        return draw(self.poller.poll())

    def close(self) -> None:
        """Stop polling, and remove the views. May be repeated."""
        self.poller.stop()
        self._cells.close()
        super().close()

    def __repr__(self) -> str:
        return _line(self.poller.poll())

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The live picture in the cell that displays it first; in other cells, a still of the moment."""
        frame, cell = self.poller.poll(), self._cells.running
        if not self._is_shown:
            self._is_shown, self._home = True, cell
        elif cell is None or cell != self._home:
            return Still(frame).bundle(frame, **kwargs)
        return self.bundle(frame, **kwargs)

    def _publish(self, frame: Any) -> None:
        self.frame = frame

    def _receive(self, _: object, content: dict[str, Any], __: object) -> None:
        self._cells.give_output_back()
        if content.get("view") == "here":
            self.poller.viewers.sign()
            self.poller.start()


def _line(frame: Frame) -> str:
    return f"<Timeline of {frame['title']}: {frame['note'] or counts(frame)}>"
