"""The command: run benchmarks, print one table, draw one picture."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.benchmarks.backlog import backlog
from tests.benchmarks.bench import Bench, Row
from tests.benchmarks.drain import drain, operators
from tests.benchmarks.herd import herd
from tests.benchmarks.idle import idle
from tests.benchmarks.lateness import lateness
from tests.benchmarks.memory import memory
from tests.benchmarks.picture import draw
from tests.benchmarks.scheduling import lists, single
from tests.benchmarks.settling import settling
from tests.benchmarks.storm import storm
from tests.benchmarks.table import origin, table
from tests.support.servers import Server

BENCHMARKS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    each.__name__: each
    for each in (drain, operators, lists, single, settling, lateness, backlog, memory, idle, herd, storm)
}
PICTURE = Path(__file__).parent / "lateness.svg"


def main(argv: Sequence[str]) -> None:
    """Run the benchmarks that the arguments name."""
    options = _options(argv)
    server = Server("--appendonly", "no")
    try:
        bench = Bench(server, options.repeats, options.quick)
        rows: list[Row] = []
        for name in options.only:
            print(f"{name} ...", file=sys.stderr, flush=True)
            rows += BENCHMARKS[name](bench)
        print(f"{origin(bench.client)}\n\n{table(rows)}")
        if options.picture and bench.lateness:
            draw(bench.lateness, options.picture)
        bench.client.close()
    finally:
        server.end()


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=BENCHMARKS, default=BENCHMARKS, metavar="NAME", help="some of: %(choices)s"
    )
    parser.add_argument(
        "--repeats", type=int, default=5, metavar="N", help="pairs of each benchmark; at most 3 of the long ones"
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, once: only to see whether they run")
    parser.add_argument(
        "--picture", type=Path, metavar="PATH", help=f"PNG or SVG; the default is {PICTURE.name} beside this file"
    )
    options = parser.parse_args(argv)
    if options.quick:
        options.repeats = 1
    elif options.picture is None:
        options.picture = PICTURE
    return options


if __name__ == "__main__":
    main(sys.argv[1:])
