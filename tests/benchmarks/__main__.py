"""The command: run benchmarks, print one table, draw one picture."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.awaits import awaits
from tests.benchmarks.backlog import backlog
from tests.benchmarks.bench import Bench, Row
from tests.benchmarks.drain import drain, operators
from tests.benchmarks.herd import herd
from tests.benchmarks.idle import idle
from tests.benchmarks.lateness import lateness
from tests.benchmarks.memory import memory
from tests.benchmarks.peers import command as peers
from tests.benchmarks.peers.peer import OURS, PEERS
from tests.benchmarks.picture import draw
from tests.benchmarks.scheduling import lists, single
from tests.benchmarks.server_time import server
from tests.benchmarks.servers import TcpServer, binaries, version
from tests.benchmarks.settling import settling
from tests.benchmarks.storm import storm
from tests.benchmarks.table import origin, table

BENCHMARKS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "drain": drain,
    "operators": operators,
    "lists": lists,
    "single": single,
    "awaits": awaits,
    "settle": settling,
    "server": server,
    "lateness": lateness,
    "backlog": backlog,
    "memory": memory,
    "idle": idle,
    "herd": herd,
    "storm": storm,
}
ON_EACH_SERVER = {"drain", "operators", "settle", "server"}  # the others run on the first one only
PICTURE = Path(__file__).parent / "lateness.svg"


def main(argv: Sequence[str]) -> None:
    """Run the benchmarks that the arguments name.

    Raises:
        SystemExit: a benchmark failed. The others have run, and all rows that were measured have been printed.
    """
    options = _options(argv)
    failed = _peers(options) if options.peers else _benchmarks(options)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _peers(options: argparse.Namespace) -> list[str]:
    with ExitStack() as stack:
        bench = _bench(stack, binaries()[0], options)
        return peers.run(bench, options.names, options.python, origin([version(bench.client)]))


def _benchmarks(options: argparse.Namespace) -> list[str]:
    with ExitStack() as stack:
        benches = [_bench(stack, binary, options) for binary in binaries()]
        rows: list[Row] = []
        failed: list[str] = []
        try:
            for name in options.names or BENCHMARKS:
                print(f"{name} ...", file=sys.stderr, flush=True)
                try:
                    for row in _rows(name, benches):
                        rows.append(row)  # noqa: PERF402 (one by one: what came before an error stays)
                except Exception:
                    traceback.print_exc()
                    failed.append(name)
        finally:  # also after Ctrl-C
            print(f"{origin([version(bench.client) for bench in benches])}\n\n{table(rows)}")
        if options.picture and benches[0].lateness:
            draw(benches[0].lateness, options.picture)
    return failed


def _rows(name: str, benches: Sequence[Bench]) -> Iterator[Row]:
    if name in ON_EACH_SERVER:
        for bench in benches:
            for row in BENCHMARKS[name](bench):
                yield replace(row, name=f"{row.name}; {_short(bench)}")
    else:
        yield from BENCHMARKS[name](benches[0])


def _bench(stack: ExitStack, binary: str, options: argparse.Namespace) -> Bench:
    server = TcpServer(binary)
    stack.callback(server.end)
    bench = Bench(server, options.repeats, options.quick)
    stack.callback(bench.client.close)
    return bench


def _short(bench: Bench) -> str:
    """The server's product and its first number, such as `Valkey 9`."""
    return version(bench.client).partition(".")[0]


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"some of: {', '.join(BENCHMARKS)}; with --peers: {', '.join((*OURS, *PEERS))}; the default is all",
    )
    parser.add_argument("--peers", action="store_true", help=f"beside other job queues; they want: {peers.INSTALL}")
    parser.add_argument(
        "--python",
        default=peers.default_python(),
        metavar="PATH",
        help=f"a Python that has the peers; the default is that of {peers.HOME}, if it exists, else this one",
    )
    parser.add_argument(
        "--repeats",
        type=int,
        default=5,
        metavar="N",
        help="pairs of each benchmark; at most 3 of the long ones, and with --peers",
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, once: only to see whether they run")
    parser.add_argument(
        "--picture", type=Path, metavar="PATH", help=f"PNG or SVG; the default is {PICTURE.name} beside this file"
    )
    options = parser.parse_args(argv)
    # `choices` would not do: before Python 3.12, argparse looks for the empty list of `*` among them.
    known = (*OURS, *PEERS) if options.peers else tuple(BENCHMARKS)
    for name in options.names:
        if name not in known:
            parser.error(f"{name!r} is none of {', '.join(known)}")
    if options.quick:
        options.repeats = 1
    elif options.picture is None:
        options.picture = PICTURE
    return options


if __name__ == "__main__":
    main(sys.argv[1:])
