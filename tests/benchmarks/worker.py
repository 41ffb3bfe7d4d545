"""The program of a process with sources: `python -m tests.benchmarks.worker URL QUEUE_NAME INTERVAL SOURCES`.

To the request `cpu` it replies with the CPU seconds that it has used, to `keys` with each key that came and the wall
clock at its `on_next`.
"""

from __future__ import annotations

import json
import sys
import time

from rx_runat import RunAt


def main(url: str, queue_name: str, interval: str, sources: str) -> None:
    """Consume until the input ends."""
    got: list[tuple[str, float]] = []
    queues = [RunAt(url, queue_name=queue_name, interval=float(interval)) for _ in range(int(sources))]
    for queue in queues:
        queue.subscribe(lambda key: got.append((key, time.time())))
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        reply = {"cpu": time.process_time, "keys": lambda: got}[line.strip()]()
        print(json.dumps(reply), flush=True)
    for queue in queues:
        queue.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
