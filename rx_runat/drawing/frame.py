"""What a timeline is drawn from: marks in lanes, on Redis's clock."""

from __future__ import annotations

from typing import Any, NamedTuple, TypedDict

from rx_runat.model.humanize import readable


class Mark(NamedTuple):
    """Something to draw.

    Attributes:
        kind: as `scene.py` tells them; "done" is a "fired" that went out so long ago that it stands at its end.
        lane: its place from the top.
        at: epoch ms: when it is due, when it was taken, when its lease ends, when it died.
        keys: how many.
        label: the key, if it is one.
        late: ms, of the latest of them; None: unknown.
    """

    kind: str
    lane: int
    at: float
    keys: int
    label: str
    late: float | None


class Frame(TypedDict):
    """All that a picture is drawn from; JSON. Times are epoch ms on Redis's clock."""

    now: float
    window: float
    past: float
    lanes: list[str]
    marks: list[list[Any]]
    counts: dict[str, int]
    title: str
    note: str


def label_of(keys: int, key: str) -> str:
    """What is written beside a mark of so many keys, one of which is given."""
    return readable(key, 24) if keys == 1 else ""
