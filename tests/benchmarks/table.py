"""The figures as a Markdown table, and a line that says on what machine they were measured."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.bench import Row, middle

HEAD = ("what", "unit", "rx_runat", "reference", "compared", "target")


def table(rows: Sequence[Row]) -> str:
    """Returns the table: medians, with ranges in brackets. A comparison is the median of the pairs' comparisons."""
    return aligned([HEAD, *map(_cells, rows)])


def aligned(cells: Sequence[tuple[str, ...]]) -> str:
    """Returns a Markdown table of these rows, the first of which is its head."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in cells]
    padded.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(row)} |" for row in padded)


def origin(servers: Sequence[str]) -> str:
    """Returns the date, the machine, and the versions; `servers` are theirs."""
    packages = [f"{name} {version(name)}" for name in ("redis", "hiredis", "reactivex")]
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {_cpu()}, {platform.system()}; Python {platform.python_version()}, "
        f"{', '.join(packages)}; {', '.join(servers)}, each over TCP on the loopback, without an append-only file"
    )


def number(value: float) -> str:
    """Returns a number with three significant digits.

    >>> number(412345.6), number(0.81234), number(0), number(12.0)
    ('412,000', '0.812', '0', '12')
    """
    if not value:
        return "0"
    short = float(f"{value:.3g}")
    return f"{short:,.0f}" if short == int(short) else f"{short:,}"


def _cells(row: Row) -> tuple[str, ...]:
    compared = _spread(row.compared, sign="+" if row.by == "difference" else "")
    return row.name, row.unit, _spread(row.ours), _spread(row.reference), compared, row.target


def _spread(values: Sequence[float], sign: str = "") -> str:
    if not values:
        return ""
    low, median, high = (sign * (value > 0) + number(value) for value in (min(values), middle(values), max(values)))
    return median if low == high else f"{median} ({low}..{high})"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.machine()
