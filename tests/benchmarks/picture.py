"""A picture of how late keys come: exact alarms against plain ticks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.benchmarks.bench import percentile
from tests.benchmarks.table import number

COLOURS = ("#0b6e99", "#c2571a")  # people who are colour-blind can tell them apart, and so can readers of a print
STEPS = 200  # points of a curve: more would make the file larger, and look the same


def draw(lateness: Mapping[str, Sequence[float]], path: Path) -> None:
    """Draw, for each way to tick, which share of the keys came within how many milliseconds."""
    import matplotlib as mpl  # imported here, because only the picture needs the extra `bench`
    from matplotlib.figure import Figure

    lowest = 0.1  # ms; earlier is drawn at this edge
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "rx_runat", "font.size": 10}):
        figure = Figure(figsize=(7, 3.4), layout="constrained")
        axes = figure.subplots()
        for colour, (name, values) in zip(COLOURS, lateness.items(), strict=True):
            shares = [step * 100 / STEPS for step in range(1, STEPS + 1)]
            late = [max(percentile(values, share), lowest) for share in shares]
            p50, p99 = percentile(values, 50), percentile(values, 99)
            label = f"{name}: p50 {number(p50)} ms, p99 {number(p99)} ms"
            axes.step(late, shares, where="post", color=colour, linewidth=2, label=label)
            axes.plot(max(p99, lowest), 99, "o", color=colour, markersize=5)
        axes.set_xscale("log")
        axes.set_xlim(lowest, 200)
        axes.set_ylim(0, 102)
        axes.set_xticks([0.1, 0.3, 1, 3, 10, 30, 100], ["0.1", "0.3", "1", "3", "10", "30", "100"])
        axes.minorticks_off()
        axes.set_xlabel("milliseconds after run_at")
        axes.set_ylabel("% of the keys have come")
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.16), ncols=2, frameon=False)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=120)
