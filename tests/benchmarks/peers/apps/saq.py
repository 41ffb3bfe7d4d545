"""saq: `enqueue(scheduled=...)`, and the `saq` worker with its defaults: 10 jobs at a time.

What its source shows (0.26.4). `scheduled` is an int of epoch seconds (`Job.scheduled`), here rounded up. Once a second
one worker moves all that is due on its own host's clock from a zset to a list, in one script (`RedisQueue.schedule`). A
worker moves a job from there to the list of active ones with BLMOVE (`dequeue`). Every 60 s a sweep ends active jobs
that are older than their timeout, 10 s by default (`sweep`, `Job.stuck`), and runs them again only if they have retries
left (`retryable`: `retries > attempts`). By default `retries` is 1, and the first attempt has used it: a killed
worker's jobs are marked as aborted. Killed in the middle of a job, it was so after 65 s; with `retries=2` the job came
again. A sweep also runs a job again that was moved and is not yet marked as active; we saw two run twice at a worker's
start.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

from saq import Queue

from tests.benchmarks.peers.jobs import URL, Jobs, note

WORKER = ["-m", "saq", "tests.benchmarks.peers.apps.saq.settings"]
PACKAGES = ["saq", "redis"]
LOOKS = "every 1 s; moments are whole seconds"
PROMISES = (
    "a sweep every 60 s marks the jobs of a killed worker as aborted, or runs them again where `retries` is 2 or more; "
    "one that was just taken may run twice; on the worker's clock"
)
BACKLOG = 5_000

queue = Queue.from_url(URL)


async def job(context: dict[str, Any], *, key: str) -> None:
    note(key)


settings = {"queue": queue, "functions": [("job", job)]}


def schedule(jobs: Jobs) -> None:
    async def enqueue() -> None:
        await queue.connect()
        for key, run_at in jobs:
            await queue.enqueue("job", scheduled=math.ceil(run_at), kwargs={"key": key})
        await queue.disconnect()

    asyncio.run(enqueue())
