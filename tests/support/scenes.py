"""Scenes for tests of pictures: what snapshots and claims put into them, and the marks that come out."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rx_runat.drawing.frame import Frame
from rx_runat.drawing.scene import Scene
from rx_runat.model.batch import Claimed, Entry
from rx_runat.model.snapshot import Snapshot


def scene(lane: Callable[[str], object] | None = None) -> Scene:
    """A scene of 10 s of the future and 5 s of the past."""
    return Scene("jobs on memory://", 10_000.0, lane)


def snapshot(
    now: float, *, due: dict[str, float] | None = None, coming: dict[str, float] | None = None, **more: object
) -> Snapshot:
    """A snapshot that lists these keys with their run_at."""
    due, coming = due or {}, coming or {}
    state = {"scheduled": len(due) + len(coming), "due": len(due), **more}
    return Snapshot(now, due_keys=list(due.items()), coming=list(coming.items()), **state)  # type: ignore[arg-type]


def claim(now: float, keys: dict[str, float]) -> Claimed:
    """A claim of these keys with their run_at."""
    return Claimed(list(keys), list(map(str, keys.values())), int(now * 1000), None)


def see(picture: Scene, seen: Snapshot, taken: Iterable[tuple[Claimed, list[Entry]]] = (), **more: object) -> None:
    """Show a scene some claims, each with what nobody received of it, and then a snapshot."""
    for claimed, left in taken:
        picture.tracker.delivered(claimed, left)
    picture.see(seen, **more)  # type: ignore[arg-type]


def marks(frame: Frame) -> list[tuple[object, ...]]:
    """Kind, lane, keys, label and lateness of each mark, sorted."""
    return sorted(
        (kind, frame["lanes"][lane], keys, label, late) for kind, lane, _, keys, label, late in frame["marks"]
    )
