"""A frame: all that one picture is drawn from, as JSON. `static_svg.py` and `timeline.js` draw it."""

from __future__ import annotations

from typing import Any, NamedTuple, TypedDict

from rx_runat.model.humanize import readable


class Mark(NamedTuple):
    """One or more keys that are drawn as one.

    Attributes:
        kind: one of those that `scene.py` lists.
        lane: the number of its lane, from the top.
        at: epoch ms: when it is due, was claimed or was given up, or when its lease ends.
        keys: how many keys.
        label: the key if it is only one, else empty.
        late: ms by which the latest of the keys was late; None if unknown.
    """

    kind: str
    lane: int
    at: float
    keys: int
    label: str
    late: float | None


class Frame(TypedDict):
    """All that one picture is drawn from, as JSON. Times are epoch ms on Redis's clock.

    Attributes:
        now: the moment of the snapshot.
        window: how many ms of the future the picture shows.
        past: how many ms of the past it shows.
        lanes: their names, from the top.
        marks: each a `Mark` as a list.
        counts: scheduled, due, claimed and dead in Redis, and received by this process.
        title: the name of the queue, and where it is.
        note: shown in place of the counts, such as an error; empty if there is none.
        state: "live"; "away" while the server does not answer; "stopped" for the last picture of a stopped queue;
            "still" for a picture of one moment.
        asks: how often views were asked for a sign that somebody looks at them.
    """

    now: float
    window: float
    past: float
    lanes: list[str]
    marks: list[list[Any]]
    counts: dict[str, int]
    title: str
    note: str
    state: str
    asks: int


FAR = 1e15  # ms, 30,000 years: scores may be infinite, but JSON holds no infinity


def listed(mark: Mark) -> list[Any]:
    """Returns a mark as a frame holds it: a list, whose times are finite.

    >>> listed(Mark("due", 0, float("-inf"), 1, "a", float("inf")))
    ['due', 0, -1000000000000000.0, 1, 'a', 1000000000000000.0]
    """
    kind, lane, at, keys, label, late = mark
    return [kind, lane, max(-FAR, min(at, FAR)), keys, label, None if late is None else min(late, FAR)]


def label_of(keys: int, key: str) -> str:
    """The label of a mark: the key if it stands for one key, else empty."""
    return readable(key, 24) if keys == 1 else ""
