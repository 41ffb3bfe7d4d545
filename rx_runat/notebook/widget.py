"""The live timeline: an `anywidget` that polls the queue while one of its views is in sight."""

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
from rx_runat.drawing.poller import Poller, title_of
from rx_runat.drawing.scene import Scene
from rx_runat.drawing.static_svg import counts, draw
from rx_runat.queue import RunAt

_HERE = Path(rx_runat.drawing.__file__).parent


class Timeline(anywidget.AnyWidget):
    """A live picture of a queue, made by `timeline`.

    It polls the queue from the beginning, and stops 10 s after its last view went out of sight. A view that comes into
    sight starts it again.
    """

    _esm = (_HERE / "timeline.js").read_text(encoding="utf-8")
    _css = (_HERE / "timeline.css").read_text(encoding="utf-8")
    frame = traitlets.Dict().tag(sync=True)

    def __init__(self, queue: RunAt, window: float, lane: Callable[[str], object] | None) -> None:
        super().__init__()
        self.poller = Poller(queue, Scene(title_of(queue), window * 1e3, lane), self._publish)
        self._publish(self.poller.poll())
        self.on_msg(self._receive)
        self.poller.start()

    def still(self) -> str:
        """Poll once, and return the picture as SVG."""
        return draw(self.poller.poll())

    def close(self) -> None:
        """Stop polling, and remove the views. May be repeated."""
        self.poller.stop()
        super().close()

    def __repr__(self) -> str:
        frame = self.poller.poll()
        return f"<Timeline of {frame['title']}: {frame['note'] or counts(frame)}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The live view, and a static picture for pages that show no widgets."""
        live = super()._repr_mimebundle_(**kwargs)
        data, metadata = live if isinstance(live, tuple) else (live or {}, {})
        return {**data, "text/plain": repr(self), "image/svg+xml": self.still()}, metadata

    def _publish(self, frame: Any) -> None:
        self.frame = frame

    def _receive(self, _: object, content: dict[str, Any], __: object) -> None:
        if content.get("view") == "here":
            self.poller.viewers.sign()
            self.poller.start()
        elif content.get("view") == "gone":
            self.poller.viewers.leave()
