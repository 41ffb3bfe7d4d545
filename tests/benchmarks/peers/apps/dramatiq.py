"""dramatiq: `send_with_options(delay=...)`, and `dramatiq` with its defaults but one process: 8 threads.

What its source shows (2.2.1). A delayed message lies in a list and a hash of its own, without order (`dispatch.lua`,
`enqueue`). A worker fetches 8,000 of them at most, 1,000 for each thread (`Worker.delay_prefetch`), keeps them in its
memory, and enqueues each again when its moment has come on its own host's clock (`handle_delayed_messages`). Behind
8,000 messages that were due in an hour, we saw one that was due in a second not run for ten. It looks when it has
fetched nothing, after a pause that grows from 5 ms to 1 s (`_RedisConsumer.__next__`, `compute_backoff`). Messages are
acked when they are done; those of a worker without a heartbeat for 60 s go back to their list by an upkeep that one of
1,000 commands brings (`dispatch.lua`, `RedisBroker._should_do_maintenance`). A job that raises is retried with a
backoff, 20 times by default (`Retries`).
"""

from __future__ import annotations

import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from tests.benchmarks.peers.jobs import URL, Jobs, note

WORKER = ["-m", "dramatiq", "--processes", "1", "tests.benchmarks.peers.apps.dramatiq"]
PACKAGES = ["dramatiq", "redis"]
LOOKS = "after 5 ms to 1 s, in the worker's memory"
PROMISES = (
    "at least once: the jobs of a killed worker, delayed ones in its memory included, go back 60 s later at the "
    "earliest; 20 retries; a worker with 8,000 delayed jobs in its memory sees no other, due sooner or not; on the "
    "worker's clock"
)
BACKLOG = 5_000

dramatiq.set_broker(RedisBroker(url=URL))


@dramatiq.actor
def job(key: str) -> None:
    note(key)


def schedule(jobs: Jobs) -> None:
    for key, run_at in jobs:
        job.send_with_options(args=(key,), delay=max(0, round((run_at - time.time()) * 1000)))
