"""The program of a process that writes keys at a steady rate: `python -m tests.benchmarks.writer URL QUEUE_NAME`.

The keys fall due in the far future. A request is a number of seconds: the process writes for so long, and replies with
the number of keys, which is less if the process or the server is too slow for the rate.
"""

from __future__ import annotations

import json
import sys
import threading
import time

import redis

BURST = 100  # keys in one round trip
PAUSE = 0.01  # seconds from burst to burst: 10,000 keys a second
FAR = 4_000_000_000_000  # epoch ms; the year 2096


def main(url: str, queue_name: str) -> None:
    """Write at each request, until the input ends."""
    client = redis.Redis.from_url(url)
    client.ping()
    print(json.dumps("ready"), flush=True)
    number = 0
    for line in sys.stdin:
        began, before = time.monotonic(), number
        for burst in range(round(float(line) / PAUSE)):
            threading.Event().wait(max(0.0, began + burst * PAUSE - time.monotonic()))
            if time.monotonic() - began > float(line):
                break
            with client.pipeline(transaction=False) as pipe:
                for _ in range(BURST):
                    number += 1
                    pipe.zadd(queue_name, {f"far:{number}": FAR + number})
                pipe.execute()
        print(json.dumps(number - before), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
