"""Writes marble diagrams as text, for terminals."""

from __future__ import annotations

from collections.abc import Sequence

from rx_runat.drawing.svg import ticks
from rx_runat.model.humanize import columns, readable
from rx_runat.notebook.diagram import LABEL, NAME, Track

COLUMNS = 72  # of a line; with a short name it fits into a terminal of 80


def spell_out(tracks: Sequence[Track], seconds: float, elapsed: float) -> str:
    """The diagram as text: labels at their moments, `(3)` for three at once, `+2` for two that a label covers."""
    names = [readable(track.name, NAME) for track in tracks]
    width = max(map(columns, names), default=0)
    lines = [
        f"{_filled(name, width, ' ')}  {_spell_track(track, seconds, elapsed)}".rstrip()
        for name, track in zip(names, tracks, strict=True)
    ]
    axis = ""
    for moment, label in ticks(seconds, 6):
        column = int(moment / seconds * COLUMNS)
        if column >= len(axis):
            axis = axis.ljust(column) + label + " "
    return "\n".join([*lines, " " * (width + 2) + axis.rstrip()])


def _spell_track(track: Track, seconds: float, elapsed: float) -> str:
    def column(after: float) -> int:
        return int(after / seconds * COLUMNS)

    cells: list[tuple[int, list[str], int]] = []  # column of a group, its labels, and how many marbles these cover
    for after, label in track.marbles:
        at = column(after)
        if cells and at == cells[-1][0]:
            cells[-1][1].append(label)
        elif cells and at < cells[-1][0] + columns(_spell_cell(*cells[-1][1:])) + 1:
            cells[-1] = (*cells[-1][:2], cells[-1][2] + 1)
        else:
            cells.append((at, [label], 0))
    line = ""
    for at, labels, more in cells:
        line = _filled(line, at, "-") + _spell_cell(labels, more)
    if track.ended_after is None:
        return _filled(line, column(elapsed), "-") + "->"
    line = _filled(line, column(track.ended_after), "-")
    return line + ("|" if track.error is None else f"X {track.error}")


def _spell_cell(labels: list[str], more: int) -> str:
    if len(labels) == 1:
        return readable(labels[0], LABEL) + (f"+{more}" if more else "")
    return f"({len(labels) + more:,})"


def _filled(text: str, width: int, filler: str) -> str:
    return text + filler * (width - columns(text))
