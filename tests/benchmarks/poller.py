"""The program of a process that polls as npm runat does: `python -m tests.benchmarks.poller URL QUEUE_NAME`.

Every 100 ms it takes what is due in one transaction of two plain commands. To the request `cpu` it replies with the CPU
seconds that it has used.
"""

from __future__ import annotations

import json
import sys
import threading
import time

import redis

INTERVAL = 0.1  # seconds; npm runat's default, and ours


def main(url: str, queue_name: str) -> None:
    """Poll until the input ends."""
    client = redis.Redis.from_url(url)
    ended = threading.Event()

    def poll() -> None:
        began, looks = time.monotonic(), 0
        while not ended.wait(max(0.0, began + looks * INTERVAL - time.monotonic())):
            take(client, queue_name)
            looks += 1

    take(client, queue_name)  # connects
    polling = threading.Thread(target=poll)
    polling.start()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps({"cpu": time.process_time}[line.strip()]()), flush=True)
    ended.set()
    polling.join()


def take(client: redis.Redis, queue_name: str) -> list[bytes]:
    """Take all keys that are due, as npm runat does: MULTI, a read, a removal of the same range, EXEC."""
    now = time.time() * 1000
    with client.pipeline(transaction=True) as pipe:
        pipe.zrangebyscore(queue_name, "-inf", now)
        pipe.zremrangebyscore(queue_name, "-inf", now)
        return pipe.execute()[0]


if __name__ == "__main__":
    main(*sys.argv[1:])
