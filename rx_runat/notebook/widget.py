"""The live timeline: an `anywidget` that looks while somebody looks at it."""

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
from rx_runat.drawing.poller import Looking, title_of
from rx_runat.drawing.scene import Scene
from rx_runat.drawing.static_svg import counts, draw
from rx_runat.queue import RunAt

_HERE = Path(rx_runat.drawing.__file__).parent


class Timeline(anywidget.AnyWidget):
    """A live picture of a queue: `timeline` makes one.

    It looks at the queue from the beginning, and for as long as a view of it is in sight; a view that comes into sight
    makes it look again.
    """

    _esm = (_HERE / "timeline.js").read_text(encoding="utf-8")
    _css = (_HERE / "timeline.css").read_text(encoding="utf-8")
    frame = traitlets.Dict().tag(sync=True)

    def __init__(self, queue: RunAt, window: float, lane: Callable[[str], object] | None) -> None:
        super().__init__()
        self.looking = Looking(queue, Scene(title_of(queue), window * 1e3, lane), self._publish)
        self._publish(self.looking.look())
        self.on_msg(self._hear)
        self.looking.start()

    def still(self) -> str:
        """The picture as it is now, as SVG."""
        return draw(self.looking.look())

    def close(self) -> None:
        """Look no more, and take the views away; may be repeated."""
        self.looking.stop()
        super().close()

    def __repr__(self) -> str:
        frame = self.looking.look()
        return f"<Timeline of {frame['title']}: {frame['note'] or counts(frame)}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The live view, and a still for pages where widgets do not live."""
        live = super()._repr_mimebundle_(**kwargs)
        data, metadata = live if isinstance(live, tuple) else (live or {}, {})
        return {**data, "text/plain": repr(self), "image/svg+xml": self.still()}, metadata

    def _publish(self, frame: Any) -> None:
        self.frame = frame

    def _hear(self, _: object, content: dict[str, Any], __: object) -> None:
        if content.get("view") == "here":
            self.looking.attention.here()
            self.looking.start()
        elif content.get("view") == "gone":
            self.looking.attention.gone()
